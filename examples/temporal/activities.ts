import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { cancelled, heartbeat } from '@temporalio/activity';
import { type Column, openDatabase } from './database.ts';
import { type DeltaTable, openTable } from './delta.ts';
import { openFolder } from './folder.ts';
import type { SyncRequest, SyncResult } from './request.ts';

/** Replaces the landed table by all rows of the source. */
export async function syncFull(request: SyncRequest): Promise<SyncResult> {
  return await withTable(request, (table, scratch) => replaceAll(request, table, scratch));
}

/** Reads the rows from the last seen value of the cursor on, and puts them in the place of those with the same key. */
export async function syncIncremental(request: SyncRequest): Promise<SyncResult> {
  const [{ key, cursor }] = request.tables;
  return await withTable(request, async (table, scratch) => {
    const landed = await table.rows();
    if (landed === undefined || cursor === null || key.length === 0) return await replaceAll(request, table, scratch);
    const since = await firstValue(`SELECT max("${cursor}")::VARCHAR AS value FROM ${landed}`);
    return await withExtract(request, scratch, since, async ({ rows, columns, rowsRead }) => {
      const isSame = key.map((name) => `old."${name}" IS NOT DISTINCT FROM new."${name}"`).join(' AND ');
      const names = columns.map(({ name }) => `"${name}"`).join(', ');
      const kept = `SELECT * FROM ${landed} AS old WHERE NOT EXISTS (FROM (${rows}) AS new WHERE ${isSame})`;
      // By name: columns that the source has gained are NULL in the rows that stay.
      const merged = `SELECT ${names} FROM (SELECT * FROM (${rows}) UNION ALL BY NAME ${kept})`;
      return { rowsRead, rowsLanded: await table.overwrite(columns, merged) };
    });
  });
}

async function replaceAll(request: SyncRequest, table: DeltaTable, scratch: string): Promise<SyncResult> {
  return await withExtract(request, scratch, null, async ({ rows, columns, rowsRead }) => {
    return { rowsRead, rowsLanded: await table.overwrite(columns, rows) };
  });
}

/** The landed table, and a folder that is gone afterwards. */
async function withTable(
  { tables: [{ name, output }], storage }: SyncRequest,
  sync: (table: DeltaTable, scratch: string) => Promise<SyncResult>,
): Promise<SyncResult> {
  const scratch = await mkdtemp(join(tmpdir(), 'sync-'));
  const beat = setInterval(() => heartbeat({ table: name, step: 'reading and landing' }), 1_000);
  const folder = openFolder(output.location, storage, scratch);
  try {
    return await sync(await openTable(folder), scratch);
  } finally {
    clearInterval(beat);
    folder.close();
    await rm(scratch, { recursive: true, force: true });
  }
}

interface Extract {
  /** A query of DuckDB over what was read. */
  readonly rows: string;
  readonly columns: readonly Column[];
  readonly rowsRead: number;
}

/** Reads the table, or what is new in it, into a file that `land` may query. */
async function withExtract(
  { source, tables: [table] }: SyncRequest,
  scratch: string,
  since: string | null,
  land: (extract: Extract) => Promise<SyncResult>,
): Promise<SyncResult> {
  const database = await openDatabase(source);
  try {
    const columns = await database.columns(table.name);
    const range = table.cursor === null || since === null ? undefined : { cursor: table.cursor, since };
    const file = join(scratch, 'rows.csv');
    await Promise.race([database.copyTo(file, table.name, columns, range), cancelled()]);
    const texts = columns.map((_, index) => `c${index}: 'VARCHAR'`).join(', ');
    const values = columns.map((column, index) => `${column.fromText(`c${index}`)} AS "${column.name}"`).join(', ');
    const csv = `read_csv('${file}', header = false, columns = {${texts}}, quote = '"', escape = '"', delim = ',', nullstr = '', allow_quoted_nulls = false, parallel = false, auto_detect = false, max_line_size = 16000000)`;
    const rowsRead = Number(await firstValue(`SELECT count(*) AS value FROM ${csv}`));
    heartbeat({ table: table.name, rows: rowsRead, step: 'landing' });
    return await Promise.race([land({ rows: `SELECT ${values} FROM ${csv}`, columns, rowsRead }), cancelled()]);
  } finally {
    await database.close();
  }
}

async function firstValue(sql: string): Promise<string | null> {
  const duck = await DuckDBInstance.create();
  const connection = await duck.connect();
  try {
    await connection.run("SET TimeZone = 'UTC'");
    const [row] = await (await connection.runAndReadAll(sql)).getRowObjectsJson();
    return row?.value === null || row?.value === undefined ? null : String(row.value);
  } finally {
    connection.closeSync();
    duck.closeSync();
  }
}
