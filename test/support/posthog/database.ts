import { createWriteStream } from 'node:fs';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import mysql from 'mysql2';
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';

export interface SourceConfig {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly schema: string;
}

export interface SourceColumn {
  readonly name: string;
  /** As the database spells it: `numeric(10,2)`, `timestamp with time zone`, `tinyint(1)`. */
  readonly type: string;
  readonly isNullable: boolean;
}

export interface SourceTable {
  readonly name: string;
  readonly columns: readonly SourceColumn[];
  readonly primaryKey: readonly string[];
}

/** A row filter: `cursor OPERATOR since`, in the order of the cursor. */
export interface Range {
  readonly cursor: string;
  readonly operator: '>' | '>=';
  readonly since: string;
}

export interface SourceDatabase {
  tables(): Promise<readonly SourceTable[]>;
  /** Writes rows as CSV, every value quoted, NULL as nothing; binary as hexadecimal digits. Returns nothing: the file says how many. */
  copy(file: string, table: SourceTable, range: Range | undefined): Promise<void>;
  close(): Promise<void>;
}

/** Connects; throws what the driver throws. */
export async function openSource(engine: 'Postgres' | 'MySQL', config: SourceConfig): Promise<SourceDatabase> {
  return engine === 'Postgres' ? await openPostgres(config) : await openMysql(config);
}

async function openPostgres({ schema, ...config }: SourceConfig): Promise<SourceDatabase> {
  const client = new pg.Client({
    ...config,
    connectionTimeoutMillis: 10_000,
    options: '-c timezone=UTC -c datestyle=ISO,YMD',
  });
  client.on('error', () => undefined);
  await client.connect();
  const quote = pg.escapeIdentifier;
  return {
    async tables() {
      const { rows } = await client.query<{
        table: string;
        name: string;
        type: string;
        nullable: boolean;
        key: number | null;
      }>(
        `SELECT c.relname AS table, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable,
           array_position(k.conkey, a.attnum) AS key
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
         WHERE c.relkind IN ('r', 'p') AND c.relnamespace = to_regnamespace($1) AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY c.relname, a.attnum`,
        [quote(schema)],
      );
      return grouped(rows.map((row) => ({ ...row, keyPosition: row.key })));
    },
    async copy(file, table, range) {
      const values = table.columns.map(({ name, type }) => {
        if (type === 'bytea') return `encode(${quote(name)}, 'hex')`;
        return type.endsWith('[]') ? `array_to_json(${quote(name)})` : quote(name);
      });
      const where =
        range === undefined
          ? ''
          : ` WHERE ${quote(range.cursor)} ${range.operator} ${pg.escapeLiteral(range.since)} ORDER BY ${quote(range.cursor)}`;
      const select = `SELECT ${values.join(', ')} FROM ${quote(schema)}.${quote(table.name)}${where}`;
      await pipeline(
        client.query(copyTo(`COPY (${select}) TO STDOUT WITH (FORMAT csv, FORCE_QUOTE *)`)),
        createWriteStream(file),
      );
    },
    close: () => client.end(),
  };
}

async function openMysql({ schema, ...config }: SourceConfig): Promise<SourceDatabase> {
  const client = mysql.createConnection({ ...config, timezone: 'Z', connectTimeout: 10_000 });
  client.on('error', () => undefined);
  const session = client.promise();
  await session.connect();
  const quote = mysql.escapeId;
  return {
    async tables() {
      const [rows] = await session.query<mysql.RowDataPacket[]>(
        `SELECT c.table_name AS 'table', c.column_name AS name, c.column_type AS type, c.is_nullable = 'YES' AS nullable, k.ordinal_position AS keyPosition
         FROM information_schema.columns c LEFT JOIN information_schema.key_column_usage k
           ON k.table_schema = c.table_schema AND k.table_name = c.table_name AND k.column_name = c.column_name AND k.constraint_name = 'PRIMARY'
         WHERE c.table_schema = ? ORDER BY c.table_name, c.ordinal_position`,
        [schema],
      );
      return grouped(
        rows.map((row) => ({
          table: String(row.table),
          name: String(row.name),
          type: String(row.type),
          nullable: Boolean(row.nullable),
          keyPosition: row.keyPosition === null ? null : Number(row.keyPosition),
        })),
      );
    },
    async copy(file, table, range) {
      const values = table.columns.map(({ name, type }) =>
        /binary|blob/.test(type) ? `hex(${quote(name)})` : `CAST(${quote(name)} AS CHAR)`,
      );
      const where =
        range === undefined ? '' : ` WHERE ${quote(range.cursor)} ${range.operator} ? ORDER BY ${quote(range.cursor)}`;
      const sql = `SELECT ${values.join(', ')} FROM ${quote(schema)}.${quote(table.name)}${where}`;
      const toCsv = new Transform({
        writableObjectMode: true,
        transform: (row: readonly (string | null)[], _, done) => {
          const cells = row.map((value) => (value === null ? '' : `"${value.replaceAll('"', '""')}"`));
          done(null, `${cells.join(',')}\n`);
        },
      });
      const rows = client.query({ sql, values: range === undefined ? [] : [range.since], rowsAsArray: true }).stream();
      await pipeline(rows, toCsv, createWriteStream(file));
    },
    close: () => session.end(),
  };
}

interface ColumnRow {
  readonly table: string;
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
  readonly keyPosition: number | null;
}

function grouped(rows: readonly ColumnRow[]): readonly SourceTable[] {
  return [...Map.groupBy(rows, ({ table }) => table)].map(([name, columns]) => ({
    name,
    columns: columns.map((column) => ({ name: column.name, type: column.type, isNullable: column.nullable })),
    primaryKey: columns
      .filter(({ keyPosition }) => keyPosition !== null)
      .sort((a, b) => (a.keyPosition ?? 0) - (b.keyPosition ?? 0))
      .map((column) => column.name),
  }));
}
