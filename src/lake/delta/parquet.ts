import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { AsyncBuffer, Compressors, FileMetaData } from 'hyparquet';
import { ParityError } from '../../support/error.ts';
import type { ObjectReader } from '../store.ts';

/** Objects up to this size are fetched whole: one request instead of several. */
const WHOLE_BYTES = 8 * 1024 * 1024;

/** Number of rows that a Parquet file's footer declares. Throws `CorruptTable` for a file without a readable footer. */
export async function parquetRowCount(reader: ObjectReader, key: string, sizeBytes: number): Promise<number> {
  const metadata = await metadataOf(reader, key, remoteFile(reader, key, sizeBytes), 64 * 1024);
  return Number(metadata.num_rows);
}

/**
 * Rows of some top-level columns of a small Parquet file (a checkpoint, a sidecar), row group by row group.
 * Columns that the file lacks are left out. Never for a table's data: those rows belong to the engine.
 */
export async function* parquetRows(
  reader: ObjectReader,
  key: string,
  sizeBytes: number,
  columns: readonly string[],
): AsyncIterable<Readonly<Record<string, unknown>>> {
  const file = sizeBytes <= WHOLE_BYTES ? inMemory(await reader.get(key)) : remoteFile(reader, key, sizeBytes);
  const metadata = await metadataOf(reader, key, file);
  const there = new Set(metadata.row_groups.flatMap((group) => group.columns.map(topLevelName)));
  const wanted = columns.filter((column) => there.has(column));
  const { parquetReadObjects } = await parquetReader();
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    try {
      yield* await parquetReadObjects({ file, metadata, compressors, columns: wanted, rowStart, rowEnd });
    } catch (error) {
      throw unreadable(error, reader.url(key));
    }
    rowStart = rowEnd;
  }
}

async function metadataOf(
  reader: ObjectReader,
  key: string,
  file: AsyncBuffer,
  tailBytes?: number,
): Promise<FileMetaData> {
  const { parquetMetadataAsync } = await parquetReader();
  try {
    return await parquetMetadataAsync(file, tailBytes === undefined ? {} : { initialFetchSize: tailBytes });
  } catch (error) {
    throw unreadable(error, reader.url(key));
  }
}

/** Loaded with the first checkpoint or footer: most logs have neither. */
function parquetReader(): Promise<typeof import('hyparquet')> {
  return import('hyparquet');
}

function unreadable(error: unknown, url: string): ParityError {
  if (error instanceof ParityError) return error;
  const found = error instanceof Error ? error.message : String(error);
  return new ParityError('CorruptTable', `${url} is not a readable Parquet file: ${found}`, {
    cause: error,
    subject: url,
  });
}

function inMemory(bytes: Buffer): AsyncBuffer {
  return { byteLength: bytes.length, slice: (start, end) => arrayBuffer(bytes.subarray(start, end)) };
}

function remoteFile(reader: ObjectReader, key: string, sizeBytes: number): AsyncBuffer {
  return {
    byteLength: sizeBytes,
    async slice(start, end = sizeBytes) {
      const chunks: Uint8Array[] = [];
      const body = await reader.stream(key, { startByte: start, endByteInclusive: Math.min(end, sizeBytes) - 1 });
      for await (const chunk of body) chunks.push(chunk);
      return arrayBuffer(Buffer.concat(chunks));
    },
  };
}

function arrayBuffer(bytes: Uint8Array): ArrayBuffer {
  const copy = new ArrayBuffer(bytes.length);
  new Uint8Array(copy).set(bytes);
  return copy;
}

function topLevelName(column: FileMetaData['row_groups'][number]['columns'][number]): string {
  return column.meta_data?.path_in_schema[0] ?? '';
}

const compressors: Compressors = {
  GZIP: (input) => gunzipSync(input),
  ZSTD: (input) => zstdDecompressSync(input),
  BROTLI: (input) => brotliDecompressSync(input),
};
