import type { Connection, ResultSetHeader } from 'mysql2/promise';
import { ParityError } from '../support/error.ts';
import { mysqlIdentifier } from './mysql-types.ts';
import type { SourceTable, SourceTableColumn } from './source.ts';

/**
 * Deletes the rows of `staged` inside the caller's transaction, by the primary key or, without one, by all their values, as many copies as are asked for.
 * Returns how many. Throws `ProofFailed` where a row to delete is not there: the table does not hold what it should.
 */
export async function deleteRows(
  client: Connection,
  table: SourceTable,
  staged: string,
  wanted: number,
): Promise<number> {
  if (wanted === 0) return 0;
  const deleted =
    table.primaryKey.length > 0 ? await deleteByKey(client, table, staged) : await deleteByRow(client, table, staged);
  if (deleted === wanted) return deleted;
  throw new ParityError(
    'ProofFailed',
    `Advancing ${table.name} in MySQL: ${wanted} rows were to be deleted, ${deleted} are there.`,
    { subject: table.name, advice: 'Something else has written to the source; start a new run.' },
  );
}

/** Inserts the rows of `staged`; returns how many. */
export async function insertRows(
  client: Connection,
  table: SourceTable,
  staged: string,
  wanted: number,
): Promise<number> {
  if (wanted === 0) return 0;
  const columns = columnNames(table);
  return await run(client, `INSERT INTO ${mysqlIdentifier(table.name)} (${columns}) SELECT ${columns} FROM ${staged}`);
}

/** Names beside the table's own columns: the text of a row, that of a row that goes, how many copies go, which copy this is. */
const own = { r: '`parity~r`', w: '`parity~w`', n: '`parity~n`', i: '`parity~i`' };

async function deleteByKey(client: Connection, table: SourceTable, staged: string): Promise<number> {
  const match = table.primaryKey.map(mysqlIdentifier).map((key) => `t.${key} = d.${key}`);
  return await run(client, `DELETE t FROM ${mysqlIdentifier(table.name)} t JOIN ${staged} d ON ${match.join(' AND ')}`);
}

/**
 * Rows of a table without a key have no name in MySQL. All copies of the rows in question go, and those that were to stay come back: how many that
 * is was counted before.
 */
async function deleteByRow(client: Connection, table: SourceTable, staged: string): Promise<number> {
  const name = mysqlIdentifier(table.name);
  const columns = columnNames(table);
  const stay = mysqlIdentifier('parity~stay');
  await client.query(`DROP TEMPORARY TABLE IF EXISTS ${stay}`);
  await client.query(
    `CREATE TEMPORARY TABLE ${stay} AS
     SELECT ${columns} FROM (
       SELECT t.*, w.${own.n}, ROW_NUMBER() OVER (PARTITION BY w.${own.w}) AS ${own.i}
       FROM (SELECT ${columns}, ${rowText(table)} AS ${own.r} FROM ${name}) t
       JOIN (SELECT s.${own.w}, COUNT(*) AS ${own.n} FROM (SELECT ${rowText(table)} AS ${own.w} FROM ${staged}) s GROUP BY s.${own.w}) w
         ON t.${own.r} = w.${own.w}
     ) matched WHERE ${own.i} > ${own.n}`,
  );
  const match = table.columns
    .map(({ field }) => mysqlIdentifier(field.name))
    .map((column) => `t.${column} <=> d.${column}`);
  const gone = await run(
    client,
    `DELETE t FROM ${name} t JOIN (SELECT DISTINCT ${columns} FROM ${staged}) d ON ${match.join(' AND ')}`,
  );
  const back = await run(client, `INSERT INTO ${name} (${columns}) SELECT ${columns} FROM ${stay}`);
  await client.query(`DROP TEMPORARY TABLE ${stay}`);
  return gone - back;
}

/** A digest of a row's exact text; NULL is told from ''. */
function rowText({ columns }: SourceTable): string {
  return `SHA2(CONCAT_WS(',', ${columns.map((column) => `IFNULL(${valueText(column)}, '~')`).join(', ')}), 256)`;
}

function valueText({ field: { name, type } }: SourceTableColumn): string {
  const column = mysqlIdentifier(name);
  switch (type.kind) {
    case 'float':
      return `CAST(${column} + 0.0e0 AS CHAR)`;
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
    case 'double':
    case 'boolean':
    case 'decimal':
    case 'date':
    case 'timestamp':
    case 'timestamp_ntz':
      return `CAST(${column} AS CHAR)`;
    default:
      return `HEX(${column})`;
  }
}

function columnNames(table: SourceTable): string {
  return table.columns.map(({ field }) => mysqlIdentifier(field.name)).join(', ');
}

async function run(client: Connection, sql: string): Promise<number> {
  const [result] = await client.query<ResultSetHeader>(sql);
  return result.affectedRows;
}
