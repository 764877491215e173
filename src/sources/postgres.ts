import { join } from 'node:path';
import pg from 'pg';
import { ownName } from '../compare/row-digest.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { ParityError } from '../support/error.ts';
import { canonicalStructure, countRows, positional, readBytes, readBytesSettings } from './byte-server.ts';
import { castNested } from './nested-read.ts';
import { isEnum } from './plan.ts';
import { applyChanges } from './postgres-apply.ts';
import { copyIn, copyOut } from './postgres-copy.ts';
import { diagnosePostgres, refusedColumn } from './postgres-errors.ts';
import { copyInQuery, pgIdentifier, planPostgres, readColumn } from './postgres-types.ts';
import { toRefusal, unrepresentable } from './refusals.ts';
import type { OwnedDriver, OwnedSession } from './session.ts';
import type { Connection, ExportOptions, LoadOptions, SourceTable } from './source.ts';
import { codeOf, toSourceError } from './source-errors.ts';

/** Postgres 12 and later. Types: docs/reference/types.md. */
export const postgresDriver: OwnedDriver = {
  engine: 'Postgres',
  plan: planPostgres,

  async connect(connection, { signal }) {
    const client = new pg.Client({
      ...clientOptions(connection),
      options: `-c timezone=UTC -c bytea_output=hex -c datestyle=ISO,YMD -c intervalstyle=postgres -c extra_float_digits=1 -c lock_timeout=${lockTimeoutMs} -c client_encoding=UTF8${searchPath(connection)}`,
    });
    const session = new PostgresSession(client, connection, signal);
    try {
      signal.throwIfAborted();
      await client.connect();
    } catch (error) {
      await session.close();
      throw session.error(error, 'connecting');
    }
    return session;
  },
};

/** A killed attempt's transaction ends when its connection does; longer than this nobody should have to wait. */
const lockTimeoutMs = 60_000;

/** Spaces and backslashes in an option are escaped by a backslash. */
function searchPath({ schema }: Connection): string {
  return schema === undefined ? '' : ` -c search_path=${pgIdentifier(schema).replaceAll(/[\\ ]/g, '\\$&')}`;
}

/** How `pg` is told of a connection; TLS is used and verified where there is a CA. */
export function clientOptions({ host, port, user, password, database, ca }: Connection): pg.ClientConfig {
  return {
    host,
    port,
    user,
    password,
    database,
    connectionTimeoutMillis: 15_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    application_name: 'pipeline-parity',
    ...(ca === undefined ? {} : { ssl: { ca, rejectUnauthorized: true } }),
  };
}

class PostgresSession implements OwnedSession {
  readonly #client: pg.Client;
  readonly #connection: Connection;
  readonly #signal: AbortSignal;
  readonly #onAbort: () => void;
  #exports = 0;

  constructor(client: pg.Client, connection: Connection, signal: AbortSignal) {
    this.#client = client;
    this.#connection = connection;
    this.#signal = signal;
    // An idle connection that breaks is reported by the next query; without a listener it would end the process.
    client.on('error', () => undefined);
    // A query has no signal of its own: without its connection the server ends it and rolls back.
    this.#onAbort = () => client.connection.stream.destroy();
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  async load(engine: Engine, table: SourceTable, rows: Relation, options: LoadOptions): Promise<number> {
    const name = pgIdentifier(table.name);
    return await this.#transaction(`loading ${table.name}`, table, async () => {
      await this.#client.query(`DROP TABLE IF EXISTS ${name} CASCADE`);
      await this.#prepareTypes(table);
      await this.#client.query(`CREATE TABLE ${name} (${columnList(table)})`);
      // The table is new in this transaction: FREEZE spares the first reader from writing every page again.
      const loaded = await this.#copy(
        engine,
        table,
        rows,
        `${name} (${names(table)}) FROM STDIN WITH (FREEZE)`,
        options,
      );
      if (table.primaryKey.length > 0)
        await this.#client.query(
          `ALTER TABLE ${name} ADD PRIMARY KEY (${table.primaryKey.map(pgIdentifier).join(', ')})`,
        );
      if (table.cursor !== undefined && !(table.primaryKey.length === 1 && table.primaryKey[0] === table.cursor))
        await this.#client.query(`CREATE INDEX ON ${name} (${pgIdentifier(table.cursor)})`);
      return loaded;
    });
  }

  async apply(
    engine: Engine,
    table: SourceTable,
    changes: { deletes: Relation; inserts: Relation },
    options: LoadOptions,
  ): Promise<{ deleted: number; inserted: number }> {
    return await this.#transaction(`applying changes to ${table.name}`, table, () =>
      applyChanges(this.#client, table, {
        deletes: (target) => this.#copy(engine, table, changes.deletes, `${target} FROM STDIN`, options),
        inserts: (target) =>
          this.#copy(engine, table, changes.inserts, `${target} (${names(table)}) FROM STDIN`, options),
      }),
    );
  }

  async alter(table: SourceTable): Promise<void> {
    await this.#transaction(`changing the columns of ${table.name}`, table, async () => {
      const { rows } = await this.#client.query<{ attname: string }>(
        'SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped',
        [pgIdentifier(table.name)],
      );
      const present = rows.map((row) => row.attname);
      const added = table.columns.filter(({ field }) => !present.includes(field.name));
      await this.#prepareTypes({ ...table, columns: added });
      for (const { field, sqlType } of added)
        await this.#client.query(
          `ALTER TABLE ${pgIdentifier(table.name)} ADD COLUMN ${pgIdentifier(field.name)} ${ownType(table, field.name, sqlType)}`,
        );
      for (const column of present)
        if (!table.columns.some(({ field }) => field.name === column))
          await this.#client.query(`ALTER TABLE ${pgIdentifier(table.name)} DROP COLUMN ${pgIdentifier(column)}`);
    });
  }

  async export(engine: Engine, table: SourceTable, options: ExportOptions): Promise<Relation> {
    const file = join(engine.scratch, `postgres-${process.pid}-${this.#exports++}.parquet`);
    const target = `file(${quoteString(file)}, Parquet)`;
    const read = await this.scan(engine, table, options, async (relation) => {
      await engine.execute(
        `INSERT INTO FUNCTION ${target} ${relation.sql} SETTINGS output_format_parquet_compression_method = 'lz4', ${readBytesSettings}`,
        { signal: options.signal },
      );
      return { rows: await countRows(engine, target) };
    });
    const columns = table.columns.map(({ field }) => field);
    const sql = `SELECT ${columns.map(({ name }) => quoteIdentifier(name)).join(', ')} FROM file(${quoteString(file)}, Parquet, ${quoteString(canonicalStructure(columns))})`;
    return { columns, sql, rows: read.rows, sizeBytes: undefined, name: `${table.name} in Postgres` };
  }

  async scan<Result extends { readonly rows: number }>(
    _engine: Engine,
    table: SourceTable,
    options: ExportOptions,
    consume: (relation: Relation) => Promise<Result>,
  ): Promise<Result> {
    const columns = table.columns.map(readColumn);
    const fields = table.columns.map(({ field }) => field);
    const copy = `COPY (SELECT ${columns.map(({ select }) => select).join(', ')} FROM ${pgIdentifier(table.name)}${since(options)}) TO STDOUT`;
    const values = table.columns.map(
      (column, index) =>
        `${castNested(column, columns[index]?.value ?? 'NULL')} AS ${quoteIdentifier(column.field.name)}`,
    );
    try {
      return await readBytes(
        {
          format: 'TabSeparated',
          structure: `${ownName('header')} String, ${positional(columns.map(({ arrives }) => arrives))}`,
          produce: (sink) => copyOut(this.#client, copy, sink),
        },
        (bytes) =>
          consume({
            columns: fields,
            sql: `SELECT ${values.join(', ')} FROM ${bytes}`,
            rows: undefined,
            sizeBytes: undefined,
            name: `${table.name} in Postgres`,
          }),
      );
    } catch (error) {
      throw this.error(error, `reading ${table.name}`, table);
    }
  }

  async listTables(): Promise<string[]> {
    try {
      const { rows } = await this.#client.query<{ name: string }>(
        'SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename COLLATE "C"',
      );
      return rows.map((row) => row.name);
    } catch (error) {
      throw this.error(error, 'listing tables');
    }
  }

  async close(): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    const end = this.#client.end().catch(() => undefined);
    const late = setTimeout(() => this.#client.connection.stream.destroy(), 5_000);
    await end;
    clearTimeout(late);
  }

  error(error: unknown, doing: string, table?: SourceTable): ParityError {
    if (this.#signal.aborted) return new ParityError('Cancelled', `Postgres, ${doing}: cancelled.`);
    const refused = table === undefined ? undefined : refusedColumn(error);
    if (table !== undefined && refused !== undefined)
      return unrepresentable('Postgres', table.name, refused.column, refused.what, error);
    return toSourceError(
      error,
      {
        engine: 'Postgres',
        doing,
        connection: this.#connection,
        ...(table === undefined ? {} : { table: table.name }),
      },
      diagnosePostgres(this.#connection),
    );
  }

  async #transaction<Result>(doing: string, table: SourceTable, action: () => Promise<Result>): Promise<Result> {
    try {
      this.#signal.throwIfAborted();
      await this.#client.query('BEGIN');
      const result = await action();
      await this.#client.query('COMMIT');
      return result;
    } catch (error) {
      // Where the connection is gone the server rolls back by itself.
      await this.#client.query('ROLLBACK').catch(() => undefined);
      throw this.error(error, doing, table);
    }
  }

  async #copy(
    engine: Engine,
    table: SourceTable,
    rows: Relation,
    target: string,
    options: LoadOptions,
  ): Promise<number> {
    const chunks = engine.stream(copyInQuery(table, rows), 'TabSeparated', { signal: options.signal });
    let copied: number;
    try {
      copied = await copyIn(this.#client, `COPY ${target}`, chunks, {
        signal: options.signal,
        onBytes: (bytes) => options.onProgress({ rows: 0, bytes }),
      });
    } catch (error) {
      if (codeOf(error) === '22021') throw await notUtf8(engine, table, rows, error);
      throw toRefusal(
        error,
        'Postgres',
        table.name,
        table.columns.map(({ field }) => field),
      );
    }
    options.onProgress({ rows: copied, bytes: 0 });
    if (rows.rows !== undefined && rows.rows !== copied)
      throw new ParityError(
        'CorruptTable',
        `Loading ${table.name} into Postgres: ${copied} rows arrived where ${rows.name} has ${rows.rows}.`,
        { subject: table.name },
      );
    return copied;
  }

  /** What a column's type needs before its table: an extension, or an enumeration of this table's own. */
  async #prepareTypes(table: SourceTable): Promise<void> {
    for (const { field, sqlType } of table.columns) {
      if (/^(citext|hstore|ltree)\b/i.test(sqlType))
        await this.#client.query(`CREATE EXTENSION IF NOT EXISTS ${sqlType.toLowerCase().replace(/\W.*$/s, '')}`);
      if (!isEnum(sqlType)) continue;
      const type = ownType(table, field.name, sqlType);
      await this.#client.query(`DROP TYPE IF EXISTS ${type} CASCADE`);
      await this.#client.query(`CREATE TYPE ${type} AS ${sqlType}`);
    }
  }
}

/** Postgres names neither column nor row for text that is not valid UTF-8, so the engine looks for it, once it is known to be there. */
async function notUtf8(engine: Engine, table: SourceTable, rows: Relation, cause: unknown): Promise<ParityError> {
  const texts = table.columns.map(({ field }) => field).filter(({ type }) => type.kind !== 'binary');
  const counts = texts.map(
    ({ name }, index) => `countIf(NOT isValidUTF8(toString(${quoteIdentifier(name)}))) AS ${ownName(index)}`,
  );
  const [found] = await engine.rows<Record<string, string>>(`SELECT ${counts.join(', ')} FROM (${rows.sql})`);
  const column = texts.find((_, index) => Number(found?.[`parity~${index}`] ?? 0) > 0)?.name ?? '(unknown)';
  return unrepresentable('Postgres', table.name, column, 'text that is not valid UTF-8', cause);
}

function columnList(table: SourceTable): string {
  return table.columns
    .map(({ field, sqlType }) => `${pgIdentifier(field.name)} ${ownType(table, field.name, sqlType)}`)
    .join(', ');
}

/** Postgres has no nameless enumerations: an `enum('a','b')` gets a type named after its table and column. */
function ownType(table: SourceTable, column: string, sqlType: string): string {
  return isEnum(sqlType) ? pgIdentifier(`${table.name}_${column}_enum`.slice(0, 60)) : sqlType;
}

function names(table: SourceTable): string {
  return table.columns.map(({ field }) => pgIdentifier(field.name)).join(', ');
}

function since({ since: from }: ExportOptions): string {
  if (from === undefined) return '';
  return ` WHERE ${pgIdentifier(from.cursor)} ${from.inclusive ? '>=' : '>'} ${pg.escapeLiteral(from.value)}`;
}
