import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import { engineType } from './relation-types.ts';
import type { Field } from './types.ts';

export interface ParquetFile {
  /** Absolute. */
  readonly path: string;
  readonly rows: number;
  readonly sizeBytes: number;
}

export interface ParquetRequest {
  readonly columns: readonly Field[];
  /** A SELECT of `columns` in canonical types. */
  readonly sql: string;
  /** A folder inside the engine's reach, made anew: what an earlier try has left there is no part of the result. */
  readonly folder: string;
  /** About how large the result will be; more than `fileBytes` of it are spread over several files. */
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
  readonly onProgress: (rows: number) => void;
}

/**
 * Writes rows as Parquet files and returns those that hold any. Dates and instants are written as DATE and TIMESTAMP(MICROS, UTC) by their raw values,
 * so that years 1 to 9999 arrive as they are. Memory is bounded by row groups, not by rows.
 */
export async function writeParquet(engine: Engine, request: ParquetRequest): Promise<ParquetFile[]> {
  const { columns, sql, folder, signal, onProgress } = request;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const parts = Math.min(maxParts, Math.ceil(request.sizeBytes / fileBytes));
  const isSplit = parts > 1;
  const target = quoteString(join(folder, isSplit ? 'part-{_partition_id}.parquet' : 'part-0.parquet'));
  const structure = quoteString(
    columns.map((column) => `${quoteIdentifier(column.name)} ${written(column).type}`).join(', '),
  );
  const all = columns.map(({ name }) => quoteIdentifier(name)).join(', ');
  const split = isSplit ? `PARTITION BY toString(xxh3(tuple(0, ${all})) % ${parts})` : '';
  const values = columns.map((column) => `${written(column).value} AS ${quoteIdentifier(column.name)}`).join(', ');
  await engine.execute(
    `INSERT INTO FUNCTION file(${target}, Parquet, ${structure}) ${split}
     SELECT ${values} FROM (${sql}) AS r SETTINGS ${parquetSettings(columns, parts)}`,
    { signal, onProgress: ({ readRows }) => onProgress(readRows) },
  );
  return await filesIn(engine, folder, signal);
}

const fileBytes = 256 * 1024 ** 2;
/** Each part has an open writer with a row group in memory. */
const maxParts = 16;

function parquetSettings(columns: readonly Field[], parts: number): string {
  return Object.entries({
    // With it, the Parquet reader does not find its own columns under a merge's conditions.
    optimize_move_to_prewhere: 0,
    output_format_parquet_row_group_size: 100_000,
    output_format_parquet_row_group_size_bytes: Math.floor((64 * 1024 ** 2) / Math.max(1, parts / 4)),
    // The setting is for all columns of a file: where one is binary, none is marked as text, and the table's schema says which is what.
    output_format_parquet_string_as_string: columns.some(({ type }) => type.kind === 'binary') ? 0 : 1,
  })
    .map(([name, value]) => `${name} = ${value}`)
    .join(', ');
}

/** How a canonical column is written: the engine type that Parquet's logical type follows from, and the value as such. */
function written({ name, type }: Field): { type: string; value: string } {
  const column = `r.${quoteIdentifier(name)}`;
  switch (type.kind) {
    case 'date':
      // Adding days does not clamp as conversions to Date32 do, and the writer takes the number as it is.
      return { type: 'Nullable(Date32)', value: `addDays(toDate32(0), ${column})` };
    case 'timestamp':
    case 'timestamp_ntz':
      return { type: "Nullable(DateTime64(6, 'UTC'))", value: `fromUnixTimestamp64Micro(${column}, 'UTC')` };
    default:
      return { type: engineType(type), value: column };
  }
}

async function filesIn(engine: Engine, folder: string, signal: AbortSignal): Promise<ParquetFile[]> {
  const files: ParquetFile[] = [];
  for (const name of (await readdir(folder)).sort()) {
    const path = join(folder, name);
    const [footer] = await engine.rows<{ rows: string }>(
      `SELECT num_rows AS rows FROM file(${quoteString(path)}, ParquetMetadata)`,
      { signal },
    );
    const rows = Number(footer?.rows ?? 0);
    if (rows > 0) files.push({ path, rows, sizeBytes: (await stat(path)).size });
  }
  return files;
}
