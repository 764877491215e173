import { join } from 'node:path';
import { rowHash } from '../compare/row-digest.ts';
import type { Engine, QueryOptions } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { engineType } from '../lake/relation-types.ts';
import type { Field } from '../lake/types.ts';
import { canonicalStructure, countRows } from './byte-server.ts';

export interface Changes {
  readonly deletes: Relation & { readonly rows: number };
  readonly inserts: Relation & { readonly rows: number };
}

const bucketCount = 4096;

/**
 * The rows to delete from `base` and to insert into it so that it becomes `target`, as multisets of whole rows (an update is one of each). Both have
 * the same columns. Only buckets whose sums differ are looked into, by hashes alone, in groupings that spill; the rows themselves
 * are read once, into files under the engine's scratch folder.
 */
export async function computeChanges(
  engine: Engine,
  base: Relation,
  target: Relation,
  options: QueryOptions = {},
): Promise<Changes> {
  const folder = join(engine.scratch, `changes-${process.pid}-${sequence++}`);
  const hash = rowHash(target.columns);
  const filter = await differingBuckets(engine, hash, base, target, options);
  const hashes = `file(${quoteString(join(folder, 'hashes.native'))}, Native, 'parity_h UInt128, parity_n Int64')`;
  const side = (relation: Relation, sign: 1 | -1): string =>
    `SELECT ${hash} AS parity_h, ${sign}::Int64 AS parity_n FROM (${relation.sql}) WHERE ${filter}`;
  await engine.execute(
    `INSERT INTO FUNCTION ${hashes} SELECT parity_h, sum(parity_n) AS parity_n FROM (${side(target, 1)} UNION ALL ${side(base, -1)}) GROUP BY parity_h HAVING parity_n != 0`,
    options,
  );
  const rowsOf = (relation: Relation, sign: 1 | -1, name: string): Promise<Relation & { readonly rows: number }> =>
    writeRows(engine, relation, { hash, filter, hashes, sign, file: join(folder, `${name}.parquet`) }, options);
  return { deletes: await rowsOf(base, -1, 'deletes'), inserts: await rowsOf(target, 1, 'inserts') };
}

/** A relation seen with other columns: those it lacks are NULL, those not asked for are left out. */
export function withColumns(relation: Relation, columns: readonly Field[]): Relation {
  const has = new Set(relation.columns.map(({ name }) => name));
  const values = columns.map(({ name, type }) =>
    has.has(name) ? quoteIdentifier(name) : `CAST(NULL AS ${engineType(type)}) AS ${quoteIdentifier(name)}`,
  );
  return { ...relation, columns, sql: `SELECT ${values.join(', ')} FROM (${relation.sql})` };
}

let sequence = 0;

async function differingBuckets(
  engine: Engine,
  hash: string,
  base: Relation,
  target: Relation,
  options: QueryOptions,
): Promise<string> {
  const side = (relation: Relation, sign: string): string =>
    `SELECT ${bucketOf(hash)} AS bucket, ${sign}1 AS n, ${sign}reinterpretAsInt128(${hash}) AS h FROM (${relation.sql})`;
  const found = await engine.rows<{ bucket: number }>(
    `SELECT bucket FROM (${side(target, '')} UNION ALL ${side(base, '-')}) GROUP BY bucket HAVING sum(n) != 0 OR sum(h) != 0 ORDER BY bucket`,
    options,
  );
  if (found.length === 0) return 'false';
  return found.length > bucketCount / 2
    ? 'true'
    : `${bucketOf(hash)} IN (${found.map(({ bucket }) => bucket).join(', ')})`;
}

function bucketOf(hash: string): string {
  return `toUInt16(bitAnd(${hash}, ${bucketCount - 1}))`;
}

/** Of rows that are there several times, as many as the count says. */
async function writeRows(
  engine: Engine,
  relation: Relation,
  part: { hash: string; filter: string; hashes: string; sign: 1 | -1; file: string },
  options: QueryOptions,
): Promise<Relation & { readonly rows: number }> {
  const columns = relation.columns.map(({ name }) => quoteIdentifier(name)).join(', ');
  const sign = part.sign === 1 ? '' : '-';
  const file = quoteString(part.file);
  await engine.execute(
    `INSERT INTO FUNCTION file(${file}, Parquet) SELECT ${columns} FROM (
       SELECT ${columns}, parity_c, row_number() OVER (PARTITION BY parity_h) AS parity_i
       FROM (SELECT *, ${part.hash} AS parity_h FROM (${relation.sql}) WHERE ${part.filter}) AS r
       INNER JOIN (SELECT parity_h, ${sign}parity_n AS parity_c FROM ${part.hashes} WHERE ${sign}parity_n > 0) AS c USING (parity_h)
     ) WHERE parity_i <= parity_c SETTINGS output_format_parquet_compression_method = 'lz4'`,
    options,
  );
  const table = `file(${file}, Parquet, ${quoteString(canonicalStructure(relation.columns))})`;
  return {
    columns: relation.columns,
    sql: `SELECT ${columns} FROM ${table}`,
    rows: await countRows(engine, table),
    sizeBytes: undefined,
    name: `changes of ${relation.name}`,
  };
}
