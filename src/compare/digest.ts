import type { Engine, QueryOptions } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import { ParityError } from '../support/error.ts';
import type { ComparisonPlan, PlannedColumn } from './schema.ts';

/** Rows are spread over this many buckets by a hash of their key, so that only buckets that differ are read again. */
export const bucketCount = 4096;

/**
 * Settings of statements that read whole sides. Files are read, not mapped: mapped pages count as the process's memory. And the Parquet reader
 * keeps at most 64 MB ahead; by default it would be 4 GB, which it takes where the reader is faster than what comes after it.
 */
export const frugalReading =
  "storage_file_read_method = 'pread', input_format_parquet_memory_high_watermark = 67108864, input_format_parquet_memory_low_watermark = 2097152";

/** Count and sum of row hashes of each bucket of one side. */
export interface Digest {
  readonly rows: number;
  /** Count and sum over all buckets, hex: equal if and only if the rows are, up to a collision of 64-bit hashes (1 in 2^64 a bucket). */
  readonly text: string;
  /** By bucket number: how many rows, and the sum of their hashes modulo 2^64. */
  readonly counts: Float64Array;
  readonly sums: BigUint64Array;
}

/**
 * Reads one side once. The sum of hashes, not their xor: a pair of duplicates would cancel out.
 * Throws `CorruptTable` where the relation says how many rows it has and another number came: a reader that skips rows must never pass.
 */
export async function digestSide(
  engine: Engine,
  relation: Relation,
  side: SideSql,
  options: QueryOptions,
): Promise<Digest> {
  const found = await engine.rows<{ bucket: number; n: string; h: string }>(
    `SELECT ${side.bucket} AS bucket, count() AS n, sum(${side.rowHash}) AS h FROM (${side.sql}) GROUP BY bucket SETTINGS ${frugalReading}`,
    options,
  );
  const counts = new Float64Array(bucketCount);
  const sums = new BigUint64Array(bucketCount);
  let rows = 0;
  let sum = 0n;
  for (const { bucket, n, h } of found) {
    counts[bucket] = Number(n);
    sums[bucket] = BigInt(h);
    rows += Number(n);
    sum += BigInt(h);
  }
  if (relation.rows !== undefined && relation.rows !== rows)
    throw new ParityError(
      'CorruptTable',
      `Reading ${relation.name} gave ${rows} rows where its own metadata counts ${relation.rows}.`,
      {
        subject: relation.name,
        advice: 'Check the data files of the table: one may be truncated, or its statistics wrong.',
      },
    );
  return { rows, counts, sums, text: `${rows.toString(16)}-${BigInt.asUintN(64, sum).toString(16).padStart(16, '0')}` };
}

/** Numbers of the buckets whose counts or sums differ, ascending. */
export function differingBuckets(a: Digest, b: Digest): number[] {
  const differing: number[] = [];
  for (let bucket = 0; bucket < bucketCount; bucket++)
    if (a.counts[bucket] !== b.counts[bucket] || a.sums[bucket] !== b.sums[bucket]) differing.push(bucket);
  return differing;
}

/** One side as the engine reads it: a subquery with the planned columns, and expressions over its rows. */
export interface SideSql {
  /** Columns `c0`, `c1`, … of the plan, each in the type common to both sides, and `extra` as `x`. */
  readonly sql: string;
  /** UInt16, 0 to 4095. */
  readonly bucket: string;
  /** UInt64 over all columns. */
  readonly rowHash: string;
  /** UInt128 that stands for the key (for the whole row where there is none). */
  readonly keyHash: string;
}

/**
 * The SQL of one side. `expressions` is the side's expression for each planned column; `extra` is one more expression to carry along.
 * Hashes are taken over tuples: `xxh3(a, NULL)` is NULL, `xxh3(tuple(a, NULL))` is not.
 */
export function sideSql(
  relation: Relation,
  plan: ComparisonPlan,
  expressions: (column: PlannedColumn) => string,
  extra = 'NULL',
): SideSql {
  const selected = plan.columns.map((column) => `${expressions(column)} AS ${column.alias}`);
  const all = `tuple(${plan.columns.map((column) => column.alias).join(', ')})`;
  const key = plan.key.length === 0 ? all : `tuple(${plan.key.map((column) => column.alias).join(', ')})`;
  return {
    sql: `SELECT ${selected.join(', ')}, ${extra} AS x FROM (${relation.sql}) AS side`,
    bucket: `toUInt16(bitAnd(xxh3(${key}), ${bucketCount - 1}))`,
    rowHash: `xxh3(${all})`,
    keyHash: `reinterpretAsUInt128(xxh3_128(${key}))`,
  };
}
