import type { Engine, QueryOptions } from '../engine/engine.ts';
import { isEqualCell } from './cells.ts';
import { bucketCount, type Digest, frugalReading, type SideSql } from './digest.ts';
import type { ComparisonPlan } from './schema.ts';
import { engineType } from './types.ts';

/**
 * Rows that differ, paired by key, in a table of the engine (on disk: memory does not grow with it). One row a difference:
 *
 * | column         |                                                                                                  |
 * |----------------|--------------------------------------------------------------------------------------------------|
 * | kh, pos        | hash of the key, number of the pair within it                                                    |
 * | class          | `missing`, `extra`, `changed`, `duplicate`                                                       |
 * | is_copy        | the candidate's row equals another row of its key                                                |
 * | in_base        | the key is in the base                                                                           |
 * | is_base        | the candidate's rows of the key are the base's (both may have none)                              |
 * | b0…, d0…, a0…  | values of the baseline, the candidate and the base; NULL where there is no row (a: only with a base) |
 * | x, ax          | cursor of the baseline's and of the base's row                                                   |
 */
export interface Drilled {
  readonly pairs: string;
  /** Keys that the baseline holds more than once, among those that differ. */
  readonly duplicatedKeys: number;
}

export interface DrillInput {
  readonly plan: ComparisonPlan;
  /** Numbers of the buckets to read again. */
  readonly buckets: readonly number[];
  readonly digests: { readonly baseline: Digest; readonly candidate: Digest };
  readonly sides: { readonly baseline: SideSql; readonly candidate: SideSql; readonly base?: SideSql };
  /** Engine type of the cursor carried as `x`. */
  readonly cursorType: string;
}

/**
 * Finds the rows that differ, reading only buckets that do: few buckets' rows are kept as they are; of many, first the keys that differ
 * are found (a spilling GROUP BY), then their rows. The caller drops the tables by `dropWork`.
 */
export async function drillDown(
  engine: Engine,
  work: WorkTables,
  input: DrillInput,
  options: QueryOptions,
): Promise<Drilled> {
  const { plan, sides, buckets } = input;
  const inBuckets = (side: SideSql): string =>
    buckets.length === bucketCount ? '1' : `${side.bucket} IN (${buckets.join(', ')})`;
  const isFew = rowsIn(input) <= fewRows;
  let isKey = '';
  if (!isFew) {
    const keys = await findKeys(engine, work, input, inBuckets, options);
    if (keys <= manyKeys) isKey = ` AND kh IN (SELECT kh FROM ${work.keys})`;
  }

  await engine.execute(
    `CREATE TABLE ${work.rows} (side UInt8, kh UInt128, rh UInt64, x ${input.cursorType}, ${plan.columns
      .map((c) => `${c.alias} ${engineType(c.type)}`)
      .join(', ')}) ${diskTable('kh, side, rh')}`,
    options,
  );
  const aliases = plan.columns.map((c) => c.alias).join(', ');
  for (const [number, side] of [sides.baseline, sides.candidate, sides.base].entries()) {
    if (side === undefined) continue;
    await engine.execute(
      `INSERT INTO ${work.rows} (side, kh, rh, x, ${aliases}) SELECT ${number}, ${side.keyHash} AS kh, ${side.rowHash}, x, ${aliases}
       FROM (${side.sql}) WHERE ${inBuckets(side)}${isKey} ${bounded}`,
      options,
    );
  }
  return pairRows(engine, work, input, options);
}

/** Names of the working tables; unique, so that two comparisons in one engine never meet. */
export interface WorkTables {
  readonly hashes: string;
  readonly keys: string;
  readonly rows: string;
  readonly repeated: string;
  readonly pairs: string;
}

export function workTables(): WorkTables {
  const id = ++workCount;
  return {
    hashes: `parity_hashes_${id}`,
    keys: `parity_keys_${id}`,
    rows: `parity_rows_${id}`,
    repeated: `parity_repeated_${id}`,
    pairs: `parity_pairs_${id}`,
  };
}
let workCount = 0;

/** Drops the working tables, whatever happened before. */
export async function dropWork(engine: Engine, work: WorkTables): Promise<void> {
  for (const table of Object.values(work)) await engine.execute(`DROP TABLE IF EXISTS ${table} SYNC`);
}

/** Up to this many rows in differing buckets are kept without looking for their keys first: one pass less. */
const fewRows = 500_000;
/** Up to this many keys fit a set in memory (about 50 bytes each); of more, all rows of the buckets are kept. */
const manyKeys = 500_000;

/** Spills early and writes small blocks: what makes memory independent of how much differs. */
const bounded =
  'SETTINGS max_bytes_before_external_group_by = 67108864, max_bytes_before_external_sort = 67108864, max_block_size = 8192, ' +
  'min_insert_block_size_rows = 0, min_insert_block_size_bytes = 33554432, optimize_aggregation_in_order = 1, ' +
  // A block for each part that is merged while reading; 50 MB each by default.
  "aggregation_in_order_max_block_bytes = 1048576, max_read_buffer_size_local_fs = 65536, join_algorithm = 'full_sorting_merge', " +
  frugalReading;

function diskTable(order: string): string {
  return `ENGINE = MergeTree ORDER BY (${order}) SETTINGS parts_to_delay_insert = 100000, parts_to_throw_insert = 100000, min_bytes_for_wide_part = 1099511627776`;
}

function rowsIn({ buckets, digests }: DrillInput): number {
  let rows = 0;
  for (const bucket of buckets)
    rows += (digests.baseline.counts[bucket] ?? 0) + (digests.candidate.counts[bucket] ?? 0);
  return rows;
}

async function findKeys(
  engine: Engine,
  work: WorkTables,
  { sides }: DrillInput,
  inBuckets: (side: SideSql) => string,
  options: QueryOptions,
): Promise<number> {
  await engine.execute(`CREATE TABLE ${work.hashes} (kh UInt128, h UInt64, n Int8) ${diskTable('kh')}`, options);
  // The candidate's hashes and counts are negated (two's complement), so that equal rows sum up to 0. One side after the other: two
  // readers at once would need twice the memory.
  for (const [side, h, n] of [
    [sides.baseline, 'h', 1],
    [sides.candidate, 'toUInt64(bitNot(h) + 1)', -1],
  ] as const)
    await engine.execute(
      `INSERT INTO ${work.hashes} SELECT kh, ${h} AS h, ${n} AS n
       FROM (SELECT ${side.keyHash} AS kh, ${side.rowHash} AS h FROM (${side.sql}) WHERE ${inBuckets(side)}) ${bounded}`,
      options,
    );
  await engine.execute(`CREATE TABLE ${work.keys} (kh UInt128) ${diskTable('kh')}`, options);
  await engine.execute(
    `INSERT INTO ${work.keys} SELECT kh FROM ${work.hashes} GROUP BY kh HAVING sum(h) != 0 OR sum(n) != 0 ${bounded}`,
    options,
  );
  await engine.execute(`DROP TABLE ${work.hashes} SYNC`, options);
  const [found] = await engine.rows<{ n: string }>(`SELECT count() AS n FROM ${work.keys}`, options);
  return Number(found?.n ?? 0);
}

async function pairRows(engine: Engine, work: WorkTables, input: DrillInput, options: QueryOptions): Promise<Drilled> {
  const { plan, sides } = input;
  const letters = sides.base === undefined ? ['b', 'd'] : ['b', 'd', 'a'];
  const cells = letters.flatMap((letter) =>
    plan.columns.map((column, i) => ({ name: `${letter}${i}`, type: engineType(column.type) })),
  );
  await engine.execute(
    `CREATE TABLE ${work.pairs} (kh UInt128, pos UInt64, class LowCardinality(String), is_copy UInt8, in_base UInt8, is_base UInt8,
       x ${input.cursorType}, ax ${input.cursorType}, ${cells.map((cell) => `${cell.name} ${cell.type}`).join(', ')})
     ${diskTable('kh, pos')}`,
    options,
  );
  const repeated = await findRepeatedKeys(engine, work, options);
  const parts = slices(repeated.rows).flatMap((range) => {
    const isRepeated = `kh IN (SELECT kh FROM ${work.repeated} WHERE ${range})`;
    return [
      pairsOfUniqueKeys(work, plan, repeated.keys === 0 ? range : `${range} AND NOT ${isRepeated}`),
      ...(repeated.keys === 0 ? [] : [pairsOfRepeatedKeys(work, plan, `${range} AND ${isRepeated}`)]),
    ];
  });
  for (const paired of parts)
    await engine.execute(
      `INSERT INTO ${work.pairs} (kh, pos, class, is_copy, in_base, is_base, x, ax, ${cells.map((cell) => cell.name).join(', ')})
       SELECT * FROM (${withBase(work, input, paired)}) ${withoutTolerated(plan)} ${bounded}`,
      options,
    );
  await engine.execute(`DROP TABLE ${work.rows} SYNC`);
  return { pairs: work.pairs, duplicatedKeys: repeated.inBaseline };
}

/**
 * Conditions that cut the keys into ranges with about as many rows of repeated keys as can be sorted in little memory. Key hashes are
 * spread evenly, so equal ranges hold about equally much; only the copies of a single key cannot be told apart.
 */
function slices(repeatedRows: number): string[] {
  const count = Math.max(1, Math.ceil(repeatedRows / 200_000));
  if (count === 1) return ['1'];
  const edge = (n: number): string =>
    `toUInt128('${(2n ** 128n * BigInt(n)) / BigInt(count) - (n === count ? 1n : 0n)}')`;
  return Array.from(
    { length: count },
    (_, i) => `kh >= ${edge(i)} AND kh ${i === count - 1 ? '<=' : '<'} ${edge(i + 1)}`,
  );
}

/** Keys that a side holds more than once go to a table of their own: only their rows need sorting. */
async function findRepeatedKeys(
  engine: Engine,
  { rows, repeated }: WorkTables,
  options: QueryOptions,
): Promise<{ keys: number; rows: number; inBaseline: number }> {
  await engine.execute(`CREATE TABLE ${repeated} (kh UInt128, nb UInt64, n UInt64) ${diskTable('kh')}`, options);
  await engine.execute(
    `INSERT INTO ${repeated} SELECT kh, countIf(side = 0) AS nb, count() AS n FROM ${rows} WHERE side < 2
     GROUP BY kh HAVING nb > 1 OR n - nb > 1 ${bounded}`,
    options,
  );
  const [found] = await engine.rows<{ keys: string; r: string; b: string }>(
    `SELECT count() AS keys, sum(n) AS r, countIf(nb > 1) AS b FROM ${repeated}`,
    options,
  );
  return { keys: Number(found?.keys ?? 0), rows: Number(found?.r ?? 0), inBaseline: Number(found?.b ?? 0) };
}

/** Pairs with what the base has of their key: whether it has it, whether the candidate holds exactly its rows, and its values. */
function withBase({ rows }: WorkTables, { plan, sides }: DrillInput, paired: string): string {
  const columns = (letter: string): string => plan.columns.map((_, i) => `${letter}${i}`).join(', ');
  const pair = `kh, pos, multiIf(ib AND ic, 'changed', ib, 'missing', nb > 0, 'duplicate', 'extra') AS class, is_copy`;
  if (sides.base === undefined)
    return `SELECT ${pair}, 0 AS in_base, nc = 0 AS is_base, x, NULL AS ax, ${columns('b')}, ${columns('d')} FROM (${paired})`;
  const base = `
    SELECT kh AS akh, count() AS na, sum(rh) AS ha, any(x) AS ax, ${plan.columns.map((c, i) => `any(${c.alias}) AS a${i}`).join(', ')}
    FROM ${rows} WHERE side = 2 GROUP BY kh`;
  const isSame = 'ifNull(na, 0) = nc AND ifNull(ha, 0) = ifNull(hc, 0)';
  return `
    SELECT ${pair}, isNotNull(akh) AS in_base, (${isSame})${withinTolerance(plan)} AS is_base, x, ax,
      ${columns('b')}, ${columns('d')}, ${columns('a')}
    FROM (${paired}) AS p LEFT JOIN (${base}) AS base ON p.kh = base.akh`;
}

/** A value that lands within its tolerance is the base's too, where one row can be held against one. */
function withinTolerance({ columns }: ComparisonPlan): string {
  if (columns.every((column) => column.tolerance === undefined)) return '';
  const isWithin = columns.map((column, i) => isEqualCell(column, `a${i}`, `d${i}`)).join(' AND ');
  return ` OR (ifNull(na, 0) = 1 AND nc = 1 AND ic AND ${isWithin})`;
}

/** Pairs whose cells are all within their tolerances are equal rows. */
function withoutTolerated(plan: ComparisonPlan): string {
  if (plan.columns.every((column) => column.tolerance === undefined)) return '';
  return `WHERE NOT (class = 'changed' AND ${plan.columns.map((c, i) => isEqualCell(c, `b${i}`, `d${i}`)).join(' AND ')})`;
}

/** Keys that no side repeats: a merge join of the two sides in the table's own order. */
function pairsOfUniqueKeys({ rows }: WorkTables, plan: ComparisonPlan, keys: string): string {
  const side = (number: 0 | 1, letter: 'b' | 'd'): string =>
    `SELECT kh AS ${letter}kh, rh AS ${letter}rh, x AS ${letter}x, ${plan.columns.map((c, i) => `${c.alias} AS ${letter}${i}`).join(', ')}
     FROM ${rows} WHERE side = ${number} AND ${keys}`;
  return `
    SELECT assumeNotNull(ifNull(bkh, dkh)) AS kh, 1 AS pos, isNotNull(bkh) AS ib, isNotNull(dkh) AS ic, ib AS nb, ic AS nc, drh AS hc,
      0 AS is_copy, bx AS x, * EXCEPT (bkh, dkh, brh, drh, bx, dx)
    FROM (${side(0, 'b')}) AS b FULL JOIN (${side(1, 'd')}) AS d ON bkh = dkh
    WHERE NOT (brh <=> drh)`;
}

/**
 * Rows that are on both sides go out first, copy by copy; what is left of a key is paired in the order of its values, and the surplus of
 * one side stays alone.
 */
function pairsOfRepeatedKeys({ rows }: WorkTables, plan: ComparisonPlan, keys: string): string {
  const counted = `
    SELECT *, countIf(side = 0) OVER k AS nb, countIf(side = 1) OVER k AS nc, sumIf(rh, side = 1) OVER k AS hc
    FROM ${rows} WHERE side < 2 AND ${keys} WINDOW k AS (PARTITION BY kh)`;
  const copies = `
    SELECT *, row_number() OVER (PARTITION BY kh, rh, side) AS copy, countIf(side = 0) OVER r AS same_b, countIf(side = 1) OVER r AS same_c
    FROM (${counted}) WINDOW r AS (PARTITION BY kh, rh)`;
  // Tolerated columns last, so that rows which are equal but for them stand at the same place.
  const order = [...plan.columns].sort((a, b) => Number(a.tolerance !== undefined) - Number(b.tolerance !== undefined));
  const left = `
    SELECT *, row_number() OVER (PARTITION BY kh, side ORDER BY ${order.map((c) => c.alias).join(', ')}, copy) AS pos
    FROM (${copies}) WHERE copy > least(same_b, same_c)`;
  // One row a side and place: `any` has one value to take, or none and says NULL.
  const values = (letter: 'b' | 'd', side: 0 | 1): string =>
    plan.columns.map((c, i) => `anyIf(${c.alias}, side = ${side}) AS ${letter}${i}`).join(', ');
  return `
    SELECT kh, pos, countIf(side = 0) > 0 AS ib, countIf(side = 1) > 0 AS ic, any(nb) AS nb, any(nc) AS nc, any(hc) AS hc,
      countIf(side = 1 AND (copy > 1 OR same_b > 0)) > 0 AS is_copy, anyIf(x, side = 0) AS x, ${values('b', 0)}, ${values('d', 1)}
    FROM (${left}) GROUP BY kh, pos`;
}
