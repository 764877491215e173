import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ApplicationFailure } from '@temporalio/activity';
import mysql from 'mysql2';
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { SyncRequest } from './request.ts';

/** A column as it lands. */
export interface Column {
  readonly name: string;
  /** Type of Delta. */
  readonly type: string;
  /** What the database is asked for, so that it sends the value as exact text. */
  readonly select: string;
  /** The value again, as DuckDB makes it of that text. */
  fromText(text: string): string;
}

export interface Database {
  columns(table: string): Promise<readonly Column[]>;
  /** Writes the rows as CSV: every value quoted, NULL as nothing. */
  copyTo(
    file: string,
    table: string,
    columns: readonly Column[],
    range?: { readonly cursor: string; readonly since: string },
  ): Promise<void>;
  close(): Promise<void>;
}

export async function openDatabase({ engine, secretDir }: SyncRequest['source']): Promise<Database> {
  const key = (name: string): Promise<string> => readFile(join(secretDir, name), 'utf8');
  const connection = {
    host: await key('host'),
    port: Number(await key('port')),
    user: await key('user'),
    password: await key('password'),
    database: await key('database'),
  };
  return engine === 'Postgres' ? await openPostgres(connection) : openMysql(connection);
}

interface Connection {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

async function openPostgres(connection: Connection): Promise<Database> {
  const client = new pg.Client({ ...connection, options: '-c timezone=UTC -c datestyle=ISO,YMD' });
  client.on('error', () => undefined);
  await client.connect();
  const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;
  return {
    async columns(table) {
      const { rows } = await client.query<{ name: string; type: string }>(
        `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
         WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
        [quote(table)],
      );
      if (rows.length === 0) throw noSuchTable(table);
      return rows.map(({ name, type }) => {
        const select = type === 'bytea' ? `encode(${quote(name)}, 'hex')` : quote(name);
        return { name, select, ...landedType(type) };
      });
    },
    async copyTo(file, table, columns, range) {
      const where = range === undefined ? '' : ` WHERE ${quote(range.cursor)} >= ${pg.escapeLiteral(range.since)}`;
      const select = `SELECT ${columns.map((column) => column.select).join(', ')} FROM ${quote(table)}${where}`;
      const rows = client.query(copyTo(`COPY (${select}) TO STDOUT WITH (FORMAT csv, FORCE_QUOTE *)`));
      await pipeline(rows, createWriteStream(file));
    },
    close: () => client.end(),
  };
}

function openMysql(connection: Connection): Database {
  const client = mysql.createConnection({ ...connection, timezone: 'Z' });
  client.on('error', () => undefined);
  const session = client.promise();
  const quote = (name: string): string => `\`${name.replaceAll('`', '``')}\``;
  return {
    async columns(table) {
      const [rows] = await session.query<mysql.RowDataPacket[]>(
        `SELECT column_name AS name, column_type AS type FROM information_schema.columns
         WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position`,
        [table],
      );
      if (rows.length === 0) throw noSuchTable(table);
      return rows.map((row) => {
        const [name, type] = [String(row.name), String(row.type)];
        const isBinary = /binary|blob/.test(type);
        const select = isBinary ? `hex(${quote(name)})` : `CAST(${quote(name)} AS CHAR)`;
        return { name, select, ...landedType(type) };
      });
    },
    async copyTo(file, table, columns, range) {
      // DATETIME has no zone: what is written there is UTC.
      const since = range === undefined ? [] : [range.since.replace(/\+00$/, '')];
      const where = range === undefined ? '' : ` WHERE ${quote(range.cursor)} >= ?`;
      const select = `SELECT ${columns.map((column) => column.select).join(', ')} FROM ${quote(table)}${where}`;
      const toCsv = new Transform({
        writableObjectMode: true,
        transform: (row: readonly (string | null)[], _, done) => {
          const values = row.map((value) => (value === null ? '' : `"${value.replaceAll('"', '""')}"`));
          done(null, `${values.join(',')}\n`);
        },
      });
      const rows = client.query({ sql: select, values: since, rowsAsArray: true }).stream();
      await pipeline(rows, toCsv, createWriteStream(file));
    },
    close: () => session.end(),
  };
}

/** How a type of Postgres or MySQL lands in Delta, and how DuckDB reads its text. */
function landedType(type: string): Pick<Column, 'type' | 'fromText'> {
  const name = type.toLowerCase();
  const as = (delta: string, duck: string) => ({ type: delta, fromText: (text: string) => `${text}::${duck}` });
  const [, precision, scale] = /^(?:numeric|decimal)\((\d+),(\d+)\)/.exec(name) ?? [];
  if (precision !== undefined) return as(`decimal(${precision},${scale})`, `DECIMAL(${precision},${scale})`);
  if (/^(boolean|tinyint\(1\))/.test(name)) return as('boolean', 'BOOLEAN');
  if (/^tinyint/.test(name)) return as('byte', 'TINYINT');
  if (/^smallint/.test(name)) return as('short', 'SMALLINT');
  if (/^(integer|int|mediumint)/.test(name) && !name.startsWith('interval')) return as('integer', 'INTEGER');
  if (/^bigint/.test(name)) return as('long', 'BIGINT');
  if (/^(real|float)/.test(name)) return as('float', 'FLOAT');
  if (/^double/.test(name)) return as('double', 'DOUBLE');
  if (name === 'date') return as('date', 'DATE');
  if (/^timestamp.* without time zone/.test(name)) return as('timestamp_ntz', 'TIMESTAMP');
  if (/^timestamp.* with time zone/.test(name)) return as('timestamp', 'TIMESTAMPTZ');
  if (/^(timestamp|datetime)/.test(name))
    return { type: 'timestamp', fromText: (text) => `(${text} || '+00')::TIMESTAMPTZ` };
  if (/bytea|binary|blob/.test(name)) return { type: 'binary', fromText: (text) => `unhex(${text})` };
  return as('string', 'VARCHAR');
}

function noSuchTable(table: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(`the source has no table ${table}`, 'NoSuchTable');
}
