import { createHash } from 'node:crypto';
import type { ResolvedTable } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import { type LogVersion, readLogVersion } from './delta/log.ts';
import { listLog } from './delta/log-files.ts';
import { joinKey } from './delta/path.ts';
import { withRowCounts } from './delta/rows.ts';
import { formatSchema } from './delta/schema.ts';
import type { DeltaFile, DeltaSnapshot } from './delta/types.ts';
import { checkTableSpec } from './snapshot-columns.ts';
import type { ObjectReader } from './store.ts';

/** What copying one table takes, known from its log before anything is copied. */
export interface TablePlan {
  readonly table: ResolvedTable;
  readonly target: LogVersion & { readonly snapshot: CountedSnapshot };
  readonly base: (LogVersion & { readonly snapshot: CountedSnapshot }) | undefined;
  /** Objects that both versions need, each once; keys relative to the table. Data files first, then vectors, then the log. */
  readonly objects: readonly PlannedObject[];
  readonly copyBytes: number;
  readonly digest: string;
  /** Sampled or masked: the engine writes new files. */
  readonly isRewritten: boolean;
  /** The copy gets a log of its own: it is rewritten, or its log names files by absolute paths. */
  readonly hasOwnLog: boolean;
}

export type CountedSnapshot = DeltaSnapshot & { readonly rows: number };

export interface PlannedObject {
  readonly key: string;
  readonly kind: 'data' | 'deletion-vector' | 'log';
  /** As the log or a listing says; undefined for files of deletion vectors and sidecars, whose log entries do not tell. */
  readonly sizeBytes: number | undefined;
}

/**
 * Reads the table's log: versions, live files, rows. Throws the log's own errors, `InvalidSpec` where the table's fields do not
 * fit its columns or versions.
 */
export async function planTable(reader: ObjectReader, table: ResolvedTable): Promise<TablePlan> {
  const log = await listLog(reader, table.path);
  const version = table.version === undefined ? undefined : Number(table.version);
  const target = await counted(reader, table, await readLogVersion(reader, table.path, log, version));
  const baseVersion = table.baseVersion === undefined ? undefined : Number(table.baseVersion);
  checkOrder(table, baseVersion, target.snapshot.version);
  const base =
    baseVersion === undefined
      ? undefined
      : await counted(reader, table, await readLogVersion(reader, table.path, log, baseVersion), target.snapshot);
  checkTableSpec(table, target.snapshot, base?.snapshot);

  const isRewritten = table.sample !== undefined || table.mask.length > 0;
  const hasOwnLog = isRewritten || target.hasAbsolutePaths || base?.hasAbsolutePaths === true;
  const versions = base === undefined ? [target] : [base, target];
  const between = log.filter(
    ({ entry }) =>
      entry.kind === 'commit' &&
      entry.version > (base?.snapshot.version ?? target.snapshot.version) &&
      entry.version < target.snapshot.version,
  );
  const logFiles = [...versions.flatMap(({ segment }) => [...segment.checkpoint, ...segment.commits]), ...between];
  const objects = unique([
    ...versions.flatMap(({ snapshot }) => snapshot.files.map(dataObject)),
    ...versions.flatMap(({ snapshot }) => snapshot.files.flatMap(vectorObjects)),
    ...(hasOwnLog
      ? []
      : [
          ...versions.flatMap(({ sidecars }) => sidecars.map((key) => logObject(table.path, key, undefined))),
          ...logFiles.map(({ key, sizeBytes }) => logObject(table.path, key, sizeBytes)),
        ]),
  ]);
  return {
    table,
    target,
    base,
    objects,
    copyBytes: objects.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0),
    digest: snapshotDigest(table, base?.snapshot, target.snapshot),
    isRewritten,
    hasOwnLog,
  };
}

/**
 * SHA-256, hex, over the schema and the live files of both versions (names, sizes, row counts, deletion vectors) and over what is
 * sampled and masked. The same wherever the table is copied: no tags, times or locations.
 */
export function snapshotDigest(
  table: Pick<ResolvedTable, 'sample' | 'mask'>,
  base: CountedSnapshot | undefined,
  target: CountedSnapshot,
): string {
  const content = {
    versions: (base === undefined ? [target] : [base, target]).map((snapshot) => ({
      schema: formatSchema(snapshot.schema),
      partitionColumns: snapshot.partitionColumns,
      files: snapshot.files.map((file) => [
        file.path,
        file.sizeBytes,
        file.numRecords,
        vectorId(file),
        file.deletionVector?.cardinality ?? 0,
      ]),
    })),
    sample: table.sample ?? null,
    mask: table.mask,
  };
  return createHash('sha256').update(JSON.stringify(content)).digest('hex');
}

/** By its place below the table's root: an absolute path would differ from copy to copy. */
function vectorId({ deletionVector }: DeltaFile): string | null {
  if (deletionVector === undefined) return null;
  return deletionVector.path === undefined
    ? deletionVector.uniqueId
    : `${deletionVector.path}@${deletionVector.offset ?? 1}`;
}

async function counted<Version extends LogVersion>(
  reader: ObjectReader,
  table: ResolvedTable,
  version: Version,
  known?: CountedSnapshot,
): Promise<Version & { readonly snapshot: CountedSnapshot }> {
  const counts = new Map(known?.files.map((file) => [file.path, file.numRecords]));
  const files = version.snapshot.files.map((file) => ({
    ...file,
    numRecords: file.numRecords ?? counts.get(file.path),
  }));
  return { ...version, snapshot: await withRowCounts(reader, table.path, { ...version.snapshot, files }) };
}

function checkOrder(table: ResolvedTable, baseVersion: number | undefined, version: number): void {
  if (baseVersion === undefined || baseVersion < version) return;
  throw new ParityError(
    'InvalidSpec',
    `The table ${table.name} has baseVersion ${baseVersion}, which is not before its version ${version}`,
    {
      subject: `spec.snapshot.tables[${table.name}].baseVersion`,
      advice: 'Name a baseVersion before version, or leave it out for a full sync only',
    },
  );
}

function dataObject(file: DeltaFile): PlannedObject {
  return { key: file.path, kind: 'data', sizeBytes: file.sizeBytes };
}

function vectorObjects(file: DeltaFile): PlannedObject[] {
  const path = file.deletionVector?.path;
  return path === undefined ? [] : [{ key: path, kind: 'deletion-vector', sizeBytes: undefined }];
}

function logObject(path: string, key: string, sizeBytes: number | undefined): PlannedObject {
  return { key: key.slice(joinKey(path, '').length), kind: 'log', sizeBytes };
}

function unique(objects: readonly PlannedObject[]): readonly PlannedObject[] {
  return [...new Map(objects.map((object) => [object.key, object])).values()];
}
