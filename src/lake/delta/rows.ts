import { mapBounded } from '../pool.ts';
import type { ObjectReader } from '../store.ts';
import { parquetRowCount } from './parquet.ts';
import { joinKey } from './path.ts';
import type { DeltaFile, DeltaSnapshot } from './types.ts';

const CONCURRENCY = 16;

/** Physical rows of a live file, deleted ones included: as the log says, or counted from the file's footer. Never a guess. */
export async function countRows(reader: ObjectReader, table: string, file: DeltaFile): Promise<number> {
  return file.numRecords ?? (await parquetRowCount(reader, joinKey(table, file.path), file.sizeBytes));
}

/** The snapshot with `numRecords` on every file and `rows` known: footers are read only where the log lacks the number. */
export async function withRowCounts(
  reader: ObjectReader,
  table: string,
  snapshot: DeltaSnapshot,
): Promise<DeltaSnapshot & { readonly rows: number }> {
  const unknown = snapshot.files.filter(({ numRecords }) => numRecords === undefined);
  const counts = await mapBounded(unknown, CONCURRENCY, (file) => countRows(reader, table, file));
  const found = new Map(unknown.map((file, index) => [file, counts[index]]));
  const files = snapshot.files.map((file) => (found.has(file) ? { ...file, numRecords: found.get(file) } : file));
  const rows = files.reduce((sum, file) => sum + (file.numRecords ?? 0) - (file.deletionVector?.cardinality ?? 0), 0);
  return { ...snapshot, files, rows };
}
