import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createConnection } from 'mysql2';
import type { Connection as Client, RowDataPacket } from 'mysql2/promise';
import { ownName } from '../compare/row-digest.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { ParityError } from '../support/error.ts';
import { positional, ReaderGone, readBytes } from './byte-server.ts';
import { isSocket } from './connection.ts';
import { clientOptions } from './mysql-client.ts';
import { mysqlIdentifier, readMysqlColumn } from './mysql-types.ts';
import { castNested } from './nested-read.ts';
import type { Connection, ExportOptions, SourceTable } from './source.ts';

/**
 * Streams a table from MySQL into the engine. The engine fetches the rows by itself, as text that it casts; only where TLS is asked for, which its
 * client does not enforce, or a socket, which it does not know, rows come through this process. Throws `Internal` where the engine saw another number of rows than there are.
 */
export async function scanMysql<Result extends { readonly rows: number }>(
  client: Client,
  connection: Connection,
  engine: Engine,
  table: SourceTable,
  options: ExportOptions,
  consume: (relation: Relation) => Promise<Result>,
): Promise<Result> {
  const columns = table.columns.map(readMysqlColumn);
  const from = `FROM ${mysqlIdentifier(table.name)}${since(options)}`;
  const query = `SELECT ${columns.map(({ select }, index) => `${select} AS ${ownName(index)}`).join(', ')} ${from}`;
  const values = table.columns.map(
    (column, index) =>
      `${castNested(column, columns[index]?.value ?? 'NULL')} AS ${quoteIdentifier(column.field.name)}`,
  );
  const relation = (source: string): Relation => ({
    columns: table.columns.map(({ field }) => field),
    sql: `SELECT ${values.join(', ')} FROM ${source}`,
    rows: undefined,
    sizeBytes: undefined,
    name: `${table.name} in MySQL`,
  });
  if (connection.ca !== undefined || isSocket(connection.host))
    return await readBytes(
      {
        format: 'RowBinary',
        structure: positional(columns.map(({ arrives }) => arrives)),
        produce: (sink) => sendRows(connection, query, sink),
      },
      (bytes) => consume(relation(bytes)),
    );
  const result = await withCollection(engine, connection, (collection) =>
    consume(relation(`mysql(${collection}, query = ${quoteString(query)})`)).catch(async (error: unknown) => {
      // Of a connection that broke the engine says no more than that something did; our own one says whether the server is there.
      await client.query('SELECT 1');
      throw error;
    }),
  );
  await checkCount(client, from, table, result.rows);
  return result;
}

let collections = 0;

/** The password lies in a named collection of this process's engine, so that it is in no query's text. */
async function withCollection<Result>(
  engine: Engine,
  { host, port, user, password, database }: Connection,
  action: (name: string) => Promise<Result>,
): Promise<Result> {
  const name = `parity_mysql_${collections++}`;
  const keys = { host, port, user, password, database, connect_timeout: 15, read_write_timeout: 3600 };
  const pairs = Object.entries(keys).map(([key, value]) => `${key} = ${quoteString(String(value))}`);
  try {
    await engine.execute(`CREATE NAMED COLLECTION ${name} AS ${pairs.join(', ')}`);
  } catch {
    throw new ParityError('Internal', 'Reading MySQL: the engine did not take the connection.');
  }
  try {
    return await action(name);
  } finally {
    await engine.execute(`DROP NAMED COLLECTION IF EXISTS ${name}`).catch(() => undefined);
  }
}

async function checkCount(client: Client, from: string, table: SourceTable, seen: number): Promise<void> {
  const [[row]] = await client.query<RowDataPacket[]>(`SELECT COUNT(*) AS n ${from}`);
  if (Number(row?.n) === seen) return;
  throw new ParityError(
    'Internal',
    `Reading ${table.name} from MySQL: it has ${row?.n} rows and the engine saw ${seen}.`,
    {
      subject: table.name,
    },
  );
}

function since({ since: from }: ExportOptions): string {
  if (from === undefined) return '';
  return ` WHERE ${mysqlIdentifier(from.cursor)} ${from.inclusive ? '>=' : '>'} ${literal(from.value)}`;
}

/** Numbers stay bare, because MySQL compares a number with text as doubles; a backslash means two things in two modes of the server. */
function literal(value: string): string {
  if (/^-?\d+(\.\d+)?$/.test(value)) return value;
  if (value.includes('\\')) return `_utf8mb4 0x${Buffer.from(value).toString('hex')}`;
  return `'${value.replaceAll("'", "''")}'`;
}

/** Rows as the engine's RowBinary, every column `Nullable(String)`: a flag, a length, the bytes. */
async function sendRows(connection: Connection, query: string, sink: ServerResponse): Promise<number> {
  const client = createConnection(clientOptions(connection));
  client.on('error', () => undefined);
  const abandoned = new AbortController();
  sink.once('close', () => abandoned.abort(new ReaderGone()));
  const rows = client.query({ sql: query, rowsAsArray: true, typeCast: (field) => field.buffer() }).stream();
  let count = 0;
  let parts: Buffer[] = [];
  let size = 0;
  const flush = async (): Promise<void> => {
    const isTaken = sink.write(Buffer.concat(parts, size));
    parts = [];
    size = 0;
    abandoned.signal.throwIfAborted();
    if (!isTaken)
      await once(sink, 'drain', { signal: abandoned.signal }).catch(() => abandoned.signal.throwIfAborted());
  };
  try {
    for await (const row of rows) {
      if (!Array.isArray(row)) continue;
      count++;
      for (const value of row) {
        const encoded = Buffer.isBuffer(value) ? [notNull, varint(value.length), value] : [isNull];
        for (const part of encoded) size += part.length;
        parts.push(...encoded);
      }
      if (size > 256 * 1024) await flush();
    }
    await flush();
    return count;
  } finally {
    client.destroy();
  }
}

const isNull = Buffer.from([1]);
const notNull = Buffer.from([0]);

function varint(length: number): Buffer {
  const bytes: number[] = [];
  for (let rest = length; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}
