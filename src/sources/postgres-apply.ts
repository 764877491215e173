import type { Client } from 'pg';
import { ParityError } from '../support/error.ts';
import { pgIdentifier } from './postgres-types.ts';
import type { SourceTable } from './source.ts';

/**
 * Deletes and inserts rows inside the caller's transaction. Rows to delete are whole rows in a table of the transaction's own; they are found by
 * the primary key or, without one, by all their values as text, as many copies as are asked for. Throws `ProofFailed` where
 * a row to delete is not there: the table does not hold what it should.
 */
export async function applyChanges(
  client: Client,
  table: SourceTable,
  copy: { deletes: (target: string) => Promise<number>; inserts: (target: string) => Promise<number> },
): Promise<{ deleted: number; inserted: number }> {
  const name = pgIdentifier(table.name);
  const columns = table.columns.map(({ field }) => pgIdentifier(field.name)).join(', ');
  await client.query(`CREATE TEMPORARY TABLE ${gone} ON COMMIT DROP AS SELECT ${columns} FROM ${name} WITH NO DATA`);
  const wanted = await copy.deletes(`${gone} (${columns})`);
  const statement = table.primaryKey.length > 0 ? deleteByKey(table) : deleteByRow(columns, name);
  const deleted = wanted === 0 ? 0 : ((await client.query(statement)).rowCount ?? 0);
  if (deleted !== wanted)
    throw new ParityError(
      'ProofFailed',
      `Advancing ${table.name} in Postgres: ${wanted} rows were to be deleted, ${deleted} are there.`,
      { subject: table.name, advice: 'Something else has written to the source; start a new run.' },
    );
  return { deleted, inserted: await copy.inserts(name) };
}

const gone = 'pg_temp.parity_deletes';

function deleteByKey(table: SourceTable): string {
  const match = table.primaryKey.map(pgIdentifier).map((key) => `t.${key} = d.${key}`);
  return `DELETE FROM ${pgIdentifier(table.name)} t USING ${gone} d WHERE ${match.join(' AND ')}`;
}

/** The text of a row tells apart what `=` does not (-0 and 0) and knows what has no `=` (json). */
function deleteByRow(columns: string, name: string): string {
  return `
    WITH wanted AS (SELECT ROW(${columns})::text AS r, count(*) AS n FROM ${gone} GROUP BY 1),
    found AS (
      SELECT place, r, row_number() OVER (PARTITION BY r) AS i
      FROM (SELECT ctid AS place, ROW(${columns})::text AS r FROM ${name}) rows WHERE r IN (SELECT r FROM wanted)
    )
    DELETE FROM ${name} t USING found JOIN wanted USING (r) WHERE found.i <= wanted.n AND t.ctid = found.place`;
}
