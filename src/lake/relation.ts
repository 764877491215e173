import type { Field } from './types.ts';

/**
 * Something that the engine can read as a table: one version of a Delta table, or Parquet, Iceberg, CSV and NDJSON files.
 *
 * `sql` is a SELECT (usable as a subquery) with one column per field of `columns`, in that order and with these names, in the
 * *canonical engine type* of the field, so that two relations can be compared, hashed and exported without thinking of formats:
 *
 * | field type               | canonical engine type                                                             |
 * |--------------------------|-----------------------------------------------------------------------------------|
 * | byte, short, integer, long | Nullable(Int8 … Int64)                                                          |
 * | float, double            | Nullable(Float32), Nullable(Float64)                                              |
 * | boolean                  | Nullable(Bool)                                                                    |
 * | decimal(p,s)             | Nullable(Decimal(p,s))                                                            |
 * | string, binary           | Nullable(String), bytes as they are                                               |
 * | date                     | Nullable(Int32), days since 1970-01-01, proleptic Gregorian                       |
 * | timestamp, timestamp_ntz | Nullable(Int64), microseconds since the epoch (wall clock taken as UTC for ntz)   |
 * | struct, array, map       | Nullable(String), canonical JSON text (see src/lake/nested.ts); NULL stays NULL   |
 */
export interface Relation {
  readonly columns: readonly Field[];
  readonly sql: string;
  /** Exact number of rows where known without reading (log statistics less deletion vectors, Parquet footers). Never a guess. */
  readonly rows: number | undefined;
  /** For messages: `s3://bucket/flights@12`. */
  readonly name: string;
  /** Bytes of the live files, where known. */
  readonly sizeBytes: number | undefined;
}
