import { ParityError } from '../support/error.ts';
import { type SnowflakeClient, sfIdentifier } from './snowflake-client.ts';
import type { SourceTable, SourceTableColumn } from './source.ts';

interface Staged {
  readonly deletes: { readonly name: string; readonly rows: number };
  readonly inserts: { readonly name: string; readonly rows: number };
}

/**
 * Deletes and inserts, in one transaction, the rows of two tables that have the table's columns. Rows to delete are found by the primary key or, without one, by all
 * their values, as many copies as are asked for. Throws `ProofFailed` where a row to delete is not there: the table does not hold what it should.
 */
export async function applyStaged(
  client: SnowflakeClient,
  table: SourceTable,
  { deletes, inserts }: Staged,
): Promise<{ deleted: number; inserted: number }> {
  const staying =
    deletes.rows > 0 && table.primaryKey.length === 0 ? await stagedCopies(client, table, deletes.name) : undefined;
  await client.run('BEGIN');
  try {
    const deleted = deletes.rows === 0 ? 0 : await deleteRows(client, table, deletes.name, staying);
    if (deleted !== deletes.rows) throw notThere(table, deletes.rows, deleted);
    const inserted = inserts.rows === 0 ? 0 : await insertRows(client, table, inserts.name);
    await client.run('COMMIT');
    return { deleted, inserted };
  } catch (error) {
    // Where the session is gone the account rolls back by itself.
    await client.run('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    if (staying !== undefined) await client.run(`DROP TABLE IF EXISTS ${staying}`).catch(() => undefined);
  }
}

async function deleteRows(
  client: SnowflakeClient,
  table: SourceTable,
  staged: string,
  staying?: string,
): Promise<number> {
  const target = sfIdentifier(table.name);
  if (staying === undefined) {
    const match = table.primaryKey.map(sfIdentifier).map((key) => `t.${key} = d.${key}`);
    return await changed(
      client,
      `DELETE FROM ${target} t USING ${sfIdentifier(staged)} d WHERE ${match.join(' AND ')}`,
    );
  }
  const gone = await changed(
    client,
    `DELETE FROM ${target} t USING (SELECT DISTINCT ${comparable(table)} FROM ${sfIdentifier(staged)}) d
     WHERE HASH(${table.columns.map((column) => comparableValue(column, 't.')).join(', ')}) = d.${own.h}
       AND ${isSame(table, (column) => comparableValue(column, 't.'))}`,
  );
  const back = await changed(
    client,
    `INSERT INTO ${target} (${columns(table)}) SELECT ${columns(table)} FROM ${staying}`,
  );
  return gone - back;
}

/** Names beside the table's own columns: which copy of a row this is, how many go, the hash that rows are joined by. */
const own = { i: sfIdentifier('parity~i'), n: sfIdentifier('parity~n'), h: sfIdentifier('parity~h') };

/**
 * Rows of a table without a key have no name in Snowflake. All copies of the rows in question go, and those that were to stay come back: they are set
 * aside here. What equals in Snowflake but not by its bits (0 and -0) goes in any order; the proof that follows tells.
 */
async function stagedCopies(client: SnowflakeClient, table: SourceTable, staged: string): Promise<string> {
  const staying = sfIdentifier('PARITY_STAY');
  const values = comparable(table);
  const names = [own.h, ...table.columns.map((_, index) => compared(index))].join(', ');
  const copies = table.columns.map((column) => comparableValue(column)).join(', ');
  await client.run(
    `CREATE OR REPLACE TEMPORARY TABLE ${staying} AS SELECT ${columns(table, 't.')} FROM (
       SELECT ${columns(table)}, ${values}, ROW_NUMBER() OVER (PARTITION BY ${copies} ORDER BY 1) AS ${own.i} FROM ${sfIdentifier(table.name)}
     ) t JOIN (
       SELECT ${names}, COUNT(*) AS ${own.n} FROM (SELECT ${values} FROM ${sfIdentifier(staged)}) s GROUP BY ${names}
     ) d ON t.${own.h} = d.${own.h} AND ${isSame(table, (_, index) => `t.${compared(index)}`)} WHERE t.${own.i} > d.${own.n}`,
  );
  return staying;
}

async function insertRows(client: SnowflakeClient, table: SourceTable, staged: string): Promise<number> {
  return await changed(
    client,
    `INSERT INTO ${sfIdentifier(table.name)} (${columns(table)}) SELECT ${columns(table)} FROM ${sfIdentifier(staged)}`,
  );
}

/** How many rows the statement changed: the first column of its answer, whatever its name. */
async function changed(client: SnowflakeClient, statement: string): Promise<number> {
  const [row] = await client.run(statement);
  return Number(Object.values(row ?? {})[0]);
}

function columns(table: SourceTable, prefix = ''): string {
  return table.columns.map(({ field }) => `${prefix}${sfIdentifier(field.name)}`).join(', ');
}

function isSame(table: SourceTable, value: (column: SourceTableColumn, index: number) => string): string {
  return table.columns
    .map((column, index) => `EQUAL_NULL(${value(column, index)}, d.${compared(index)})`)
    .join(' AND ');
}

function comparable(table: SourceTable): string {
  const values = table.columns.map((column) => comparableValue(column));
  return [
    `HASH(${values.join(', ')}) AS ${own.h}`,
    ...values.map((value, index) => `${value} AS ${compared(index)}`),
  ].join(', ');
}

/** Semi-structured values have no `=` that could be relied on; their text has. */
function comparableValue({ field, sqlType }: SourceTableColumn, prefix = ''): string {
  const column = `${prefix}${sfIdentifier(field.name)}`;
  return /^(variant|object|array)$/i.test(sqlType) ? `TO_JSON(${column})` : column;
}

function compared(index: number): string {
  return sfIdentifier(`parity~c${index}`);
}

function notThere(table: SourceTable, wanted: number, found: number): ParityError {
  return new ParityError(
    'ProofFailed',
    `Advancing ${table.name} in Snowflake: ${wanted} rows were to be deleted, ${found} are there.`,
    { subject: table.name, advice: 'Something else has written to the source; start a new run.' },
  );
}
