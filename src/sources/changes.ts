import { join } from 'node:path';
import { ownName, rowHash } from '../compare/row-digest.ts';
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

/** Hash, count, number of copies to change, number of the copy, bucket. */
const own = { h: ownName('h'), n: ownName('n'), c: ownName('c'), i: ownName('i'), bucket: ownName('bucket') };

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
  const hashes = `file(${quoteString(join(folder, 'hashes.native'))}, Native, ${quoteString(`${own.h} UInt128, ${own.n} Int64`)})`;
  const side = (relation: Relation, sign: 1 | -1): string =>
    `SELECT ${hash} AS ${own.h}, ${sign}::Int64 AS ${own.n} FROM (${relation.sql}) WHERE ${filter}`;
  await engine.execute(
    `INSERT INTO FUNCTION ${hashes} SELECT ${own.h}, sum(${own.n}) AS ${own.n} FROM (${side(target, 1)} UNION ALL ${side(base, -1)}) GROUP BY ${own.h} HAVING ${own.n} != 0`,
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
    `SELECT ${bucketOf(hash)} AS ${own.bucket}, ${sign}1 AS ${own.n}, ${sign}reinterpretAsInt128(${hash}) AS ${own.h} FROM (${relation.sql})`;
  const found = await engine.rows<{ bucket: number }>(
    `SELECT ${own.bucket} AS bucket FROM (${side(target, '')} UNION ALL ${side(base, '-')}) GROUP BY bucket HAVING sum(${own.n}) != 0 OR sum(${own.h}) != 0 ORDER BY bucket`,
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
       SELECT ${columns}, ${own.c}, row_number() OVER (PARTITION BY ${own.h}) AS ${own.i}
       FROM (SELECT *, ${part.hash} AS ${own.h} FROM (${relation.sql}) WHERE ${part.filter}) AS r
       INNER JOIN (SELECT ${own.h}, ${sign}${own.n} AS ${own.c} FROM ${part.hashes} WHERE ${sign}${own.n} > 0) AS c USING (${own.h})
     ) WHERE ${own.i} <= ${own.c} SETTINGS output_format_parquet_compression_method = 'lz4'`,
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
