import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import mysql from 'mysql2/promise';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { ParityError } from '../support/error.ts';
import { canonicalStructure, countRows } from './byte-server.ts';
import { deleteRows, insertRows } from './mysql-apply.ts';
import { clientOptions } from './mysql-client.ts';
import { diagnoseMysql } from './mysql-errors.ts';
import { scanMysql } from './mysql-scan.ts';
import { loadDataFormat, loadDataQuery, mysqlIdentifier, planMysql } from './mysql-types.ts';
import { toRefusal, unrepresentable } from './refusals.ts';
import type { OwnedDriver, OwnedSession } from './session.ts';
import type { Connection, ExportOptions, LoadOptions, SourceTable, SourceTableColumn } from './source.ts';
import { toSourceError } from './source-errors.ts';

/** MySQL 8 and MariaDB 10.6, and later. Types: docs/reference/types.md. */
export const mysqlDriver: OwnedDriver = {
  engine: 'MySQL',
  plan: planMysql,

  async connect(connection, { signal }) {
    let client: mysql.Connection | undefined;
    try {
      signal.throwIfAborted();
      client = await mysql.createConnection(clientOptions(connection));
      const session = new MysqlSession(client, connection, signal);
      await session.prepare();
      return session;
    } catch (error) {
      client?.destroy();
      if (signal.aborted) throw new ParityError('Cancelled', 'MySQL, connecting: cancelled.');
      throw toSourceError(error, { engine: 'MySQL', doing: 'connecting', connection }, diagnoseMysql(connection));
    }
  },
};

/** The mark of tables that are not there yet for others: a load under way, or one that a killed attempt left. */
const unfinished = 'parity~';

class MysqlSession implements OwnedSession {
  readonly #client: mysql.Connection;
  readonly #connection: Connection;
  readonly #signal: AbortSignal;
  readonly #onAbort: () => void;
  #collation = '';
  #exports = 0;

  constructor(client: mysql.Connection, connection: Connection, signal: AbortSignal) {
    this.#client = client;
    this.#connection = connection;
    this.#signal = signal;
    // An idle connection that breaks is reported by the next query; without a listener it would end the process.
    client.on('error', () => undefined);
    this.#onAbort = () => client.destroy();
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Strict in every way, in UTC, with a collation that compares bytes and does not pad (the two families name it differently). */
  async prepare(): Promise<void> {
    const [[row]] = await this.#client.query<mysql.RowDataPacket[]>('SELECT VERSION() AS version');
    this.#collation = /mariadb/i.test(String(row?.version)) ? 'utf8mb4_nopad_bin' : 'utf8mb4_0900_bin';
    for (const setting of [
      "sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO'",
      "time_zone = '+00:00'",
      'unique_checks = 0',
      'foreign_key_checks = 0',
      'sql_safe_updates = 0',
      'sql_select_limit = 18446744073709551615',
      'lock_wait_timeout = 60',
      'innodb_lock_wait_timeout = 60',
      'net_read_timeout = 3600',
      'net_write_timeout = 3600',
    ])
      await this.#client.query(`SET SESSION ${setting}`);
  }

  async load(engine: Engine, table: SourceTable, rows: Relation, options: LoadOptions): Promise<number> {
    const target = mysqlIdentifier(table.name);
    const partial = mysqlIdentifier(unfinishedName(table.name));
    return await this.#doing(`loading ${table.name}`, table, async () => {
      await this.#client.query(`DROP TABLE IF EXISTS ${partial}`);
      await this.#client.query(`CREATE TABLE ${partial} (${columnList(table)}) ${this.#tableOptions()}`);
      const loaded = await this.#copy(engine, table, rows, partial, options).catch(async (error: unknown) => {
        await this.#client.query(`DROP TABLE IF EXISTS ${partial}`).catch(() => undefined);
        throw error;
      });
      const additions = [...primaryKeyOf(table), ...indexOf(table)];
      if (additions.length > 0) await this.#client.query(`ALTER TABLE ${partial} ${additions.join(', ')}`);
      // Until here readers see the table as it was; DDL cannot be rolled back, but a rename is atomic.
      await this.#client.query(`DROP TABLE IF EXISTS ${target}`);
      await this.#client.query(`RENAME TABLE ${partial} TO ${target}`);
      return loaded;
    });
  }

  async apply(
    engine: Engine,
    table: SourceTable,
    changes: { deletes: Relation; inserts: Relation },
    options: LoadOptions,
  ): Promise<{ deleted: number; inserted: number }> {
    return await this.#doing(`applying changes to ${table.name}`, table, async () => {
      const stage = async (name: string, rows: Relation): Promise<number> => {
        await this.#client.query(`DROP TEMPORARY TABLE IF EXISTS ${name}`);
        await this.#client.query(`CREATE TEMPORARY TABLE ${name} (${columnList(table)}) ${this.#tableOptions()}`);
        return await this.#copy(engine, table, rows, name, options);
      };
      const staged = {
        deletes: mysqlIdentifier(`${unfinished}deletes`),
        inserts: mysqlIdentifier(`${unfinished}inserts`),
      };
      const deletes = await stage(staged.deletes, changes.deletes);
      const inserts = await stage(staged.inserts, changes.inserts);
      await this.#client.query('START TRANSACTION');
      try {
        const deleted = await deleteRows(this.#client, table, staged.deletes, deletes);
        const inserted = await insertRows(this.#client, table, staged.inserts, inserts);
        await this.#client.query('COMMIT');
        return { deleted, inserted };
      } catch (error) {
        await this.#client.query('ROLLBACK').catch(() => undefined);
        throw error;
      } finally {
        for (const name of [staged.deletes, staged.inserts])
          await this.#client.query(`DROP TEMPORARY TABLE IF EXISTS ${name}`).catch(() => undefined);
      }
    });
  }

  async alter(table: SourceTable): Promise<void> {
    await this.#doing(`changing the columns of ${table.name}`, table, async () => {
      const [rows] = await this.#client.query<mysql.RowDataPacket[]>(
        'SELECT column_name AS name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?',
        [table.name],
      );
      const present = rows.map((row) => String(row.name));
      const changes = [
        ...table.columns
          .filter(({ field }) => !present.includes(field.name))
          .map((column) => `ADD COLUMN ${definition(column)}`),
        ...present
          .filter((name) => !table.columns.some(({ field }) => field.name === name))
          .map((name) => `DROP COLUMN ${mysqlIdentifier(name)}`),
      ];
      if (changes.length > 0)
        await this.#client.query(`ALTER TABLE ${mysqlIdentifier(table.name)} ${changes.join(', ')}`);
    });
  }

  async export(engine: Engine, table: SourceTable, options: ExportOptions): Promise<Relation> {
    const file = join(engine.scratch, `mysql-${process.pid}-${this.#exports++}.parquet`);
    const target = `file(${quoteString(file)}, Parquet)`;
    const read = await this.scan(engine, table, options, async (relation) => {
      await engine.execute(
        `INSERT INTO FUNCTION ${target} ${relation.sql} SETTINGS output_format_parquet_compression_method = 'lz4'`,
        { signal: options.signal },
      );
      return { rows: await countRows(engine, target) };
    });
    const columns = table.columns.map(({ field }) => field);
    const names = columns.map(({ name }) => quoteIdentifier(name)).join(', ');
    const sql = `SELECT ${names} FROM file(${quoteString(file)}, Parquet, ${quoteString(canonicalStructure(columns))})`;
    return { columns, sql, rows: read.rows, sizeBytes: undefined, name: `${table.name} in MySQL` };
  }

  async scan<Result extends { readonly rows: number }>(
    engine: Engine,
    table: SourceTable,
    options: ExportOptions,
    consume: (relation: Relation) => Promise<Result>,
  ): Promise<Result> {
    return await this.#doing(`reading ${table.name}`, table, () =>
      scanMysql(this.#client, this.#connection, engine, table, options, consume),
    );
  }

  async listTables(): Promise<string[]> {
    return await this.#doing('listing tables', undefined, async () => {
      const [rows] = await this.#client.query<mysql.RowDataPacket[]>(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY BINARY table_name",
      );
      return rows.map((row) => String(row.name)).filter((name) => !name.startsWith(unfinished));
    });
  }

  async close(): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    const late = setTimeout(() => this.#client.destroy(), 5_000);
    await this.#client.end().catch(() => this.#client.destroy());
    clearTimeout(late);
  }

  async #copy(
    engine: Engine,
    table: SourceTable,
    rows: Relation,
    target: string,
    options: LoadOptions,
  ): Promise<number> {
    const failure: { error?: unknown } = {};
    const columns = table.columns.map(({ field }) => mysqlIdentifier(field.name)).join(', ');
    const chunks = engine.stream(loadDataQuery(table, rows), 'CSV', { signal: options.signal });
    const packets = Readable.from(toPackets(chunks, failure, options), { objectMode: true, highWaterMark: 4 });
    let result: mysql.ResultSetHeader;
    try {
      [result] = await this.#client.query<mysql.ResultSetHeader>({
        sql: `LOAD DATA LOCAL INFILE 'parity' INTO TABLE ${target} ${loadDataFormat} (${columns})`,
        infileStreamFactory: () => packets,
      });
    } finally {
      // Where the server ended first, the query that feeds it has to end as well.
      packets.destroy();
    }
    const fields = table.columns.map(({ field }) => field);
    if (failure.error !== undefined) throw toRefusal(failure.error, 'MySQL', table.name, fields);
    await this.#refuseWarnings(table, result.warningStatus);
    const loaded = result.affectedRows;
    options.onProgress({ rows: loaded, bytes: 0 });
    if (rows.rows !== undefined && rows.rows !== loaded)
      throw new ParityError(
        'CorruptTable',
        `Loading ${table.name} into MySQL: ${loaded} rows arrived where ${rows.name} has ${rows.rows}.`,
        { subject: table.name },
      );
    return loaded;
  }

  async #refuseWarnings(table: SourceTable, count: number): Promise<void> {
    if (count === 0) return;
    const [rows] = await this.#client.query<mysql.RowDataPacket[]>('SHOW WARNINGS LIMIT 1');
    const message = String(rows[0]?.Message ?? '');
    // `Out of range value for column 'n' at row 7`, ``… for column `db`.`t`.`n` at row 7``: the value in between is not for a message.
    const column = /column (?:`[^`]*`\.`[^`]*`\.)?[`'](.+?)[`'] at row/.exec(message)?.[1];
    if (column !== undefined)
      throw unrepresentable('MySQL', table.name, column, `${count} values that it would change`);
    throw new ParityError(
      'UnrepresentableValue',
      `Loading ${table.name} into MySQL: ${count} warnings (${String(rows[0]?.Code ?? '')}).`,
      {
        subject: table.name,
      },
    );
  }

  #tableOptions(): string {
    return `ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=${this.#collation}`;
  }

  async #doing<Result>(doing: string, table: SourceTable | undefined, action: () => Promise<Result>): Promise<Result> {
    try {
      this.#signal.throwIfAborted();
      return await action();
    } catch (error) {
      if (this.#signal.aborted) throw new ParityError('Cancelled', `MySQL, ${doing}: cancelled.`);
      const where = table === undefined ? {} : { table: table.name };
      throw toSourceError(
        error,
        { engine: 'MySQL', doing, connection: this.#connection, ...where },
        diagnoseMysql(this.#connection),
      );
    }
  }
}

/**
 * Chunks as packets of the protocol. Where the query fails half-way the protocol has no word for it: the server takes what it got for the whole. So the
 * failure is kept, and the table being filled is one that nobody reads yet.
 */
async function* toPackets(
  chunks: AsyncIterable<Uint8Array>,
  failure: { error?: unknown },
  options: LoadOptions,
): AsyncIterable<Buffer> {
  let bytes = 0;
  try {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      options.onProgress({ rows: 0, bytes });
      for (let at = 0; at < chunk.length; at += packetBytes)
        yield Buffer.from(chunk.buffer, chunk.byteOffset + at, Math.min(packetBytes, chunk.length - at));
    }
  } catch (error) {
    failure.error = error;
  }
}

/** A packet of the protocol holds 16 MiB, and a server takes 16 MiB unless it is told otherwise. */
const packetBytes = 1024 * 1024;

function unfinishedName(table: string): string {
  return `${unfinished}${createHash('sha256').update(table).digest('hex').slice(0, 32)}`;
}

function columnList(table: SourceTable): string {
  return table.columns.map(definition).join(', ');
}

function definition({ field, sqlType }: SourceTableColumn): string {
  return `${mysqlIdentifier(field.name)} ${sqlType} NULL`;
}

function primaryKeyOf({ primaryKey, columns }: SourceTable): string[] {
  if (primaryKey.length === 0) return [];
  const notNull = columns
    .filter(({ field }) => primaryKey.includes(field.name))
    .map(({ field, sqlType }) => `MODIFY COLUMN ${mysqlIdentifier(field.name)} ${sqlType} NOT NULL`);
  return [...notNull, `ADD PRIMARY KEY (${primaryKey.map(mysqlIdentifier).join(', ')})`];
}

function indexOf({ cursor, primaryKey, columns }: SourceTable): string[] {
  if (cursor === undefined || (primaryKey.length === 1 && primaryKey[0] === cursor)) return [];
  const type = columns.find(({ field }) => field.name === cursor)?.sqlType ?? '';
  return [`ADD INDEX (${mysqlIdentifier(cursor)}${/text|blob|json/i.test(type) ? '(255)' : ''})`];
}
