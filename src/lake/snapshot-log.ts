import { type DeltaAction, encodePath, formatCommit } from './delta/commit.ts';
import type { LogVersion } from './delta/log.ts';
import { parquetRowCount } from './delta/parquet.ts';
import { joinKey } from './delta/path.ts';
import type { DeltaFile } from './delta/types.ts';
import type { TablePlan } from './snapshot-plan.ts';
import type { ObjectStore } from './store.ts';

/** The versions that a log of our own has. */
export interface OwnVersions {
  readonly version: number;
  readonly baseVersion: number | null;
}

/** What one version of a log of our own says. */
export interface OwnVersion {
  readonly protocol: LogVersion['snapshot']['protocol'];
  readonly metaData: LogVersion['metaData'];
  readonly files: readonly DeltaFile[];
}

/**
 * Writes a log with nothing in it but the versions asked for: the base as version 0 where there is one, then the target.
 * No statistics but row counts, no change data, no history: they would tell what was masked or left out.
 */
export async function writeOwnLog(
  store: ObjectStore,
  destination: string,
  base: OwnVersion | undefined,
  target: OwnVersion,
): Promise<OwnVersions> {
  const first = base ?? target;
  await putCommit(store, destination, 0, [
    ...described(first),
    ...first.files.map((file) => addOf(file, store, destination)),
  ]);
  if (base === undefined) return { version: 0, baseVersion: null };
  const [before, after] = [idsOf(base.files), idsOf(target.files)];
  await putCommit(store, destination, 1, [
    ...described(target),
    ...base.files.filter((file) => !after.has(idOf(file))).map((file) => removeOf(file, store, destination)),
    ...target.files.filter((file) => !before.has(idOf(file))).map((file) => addOf(file, store, destination)),
  ]);
  return { version: 1, baseVersion: 0 };
}

/**
 * Rebuilds `_last_checkpoint` for a copied log: production's own may point behind the version asked for. A v2 checkpoint is
 * found by its name and gets none.
 */
export async function writeLastCheckpoint(store: ObjectStore, destination: string, plan: TablePlan): Promise<void> {
  const { checkpoint, checkpointVersion } = plan.target.segment;
  if (checkpointVersion === undefined || checkpoint.some(({ entry }) => entry.kind === 'checkpoint-v2')) return;
  let size = 0;
  for (const part of checkpoint) {
    size += await parquetRowCount(store, joinKey(destination, `_delta_log/${part.name}`), part.sizeBytes);
  }
  const parts = checkpoint.length > 1 ? { parts: checkpoint.length } : {};
  await store.put(
    joinKey(destination, '_delta_log/_last_checkpoint'),
    JSON.stringify({ version: checkpointVersion, size, ...parts }),
  );
}

/** Overwrites: an attempt that was cut short may have left its own. */
async function putCommit(store: ObjectStore, destination: string, version: number, actions: readonly DeltaAction[]) {
  const key = joinKey(destination, `_delta_log/${String(version).padStart(20, '0')}.json`);
  await store.put(key, formatCommit(actions, 'WRITE', 0));
}

function described({ protocol, metaData }: OwnVersion): readonly DeltaAction[] {
  const hasFeatures = protocol.minReaderVersion >= 3 || protocol.minWriterVersion >= 7;
  return [
    {
      protocol: {
        minReaderVersion: protocol.minReaderVersion,
        minWriterVersion: protocol.minWriterVersion,
        ...(protocol.minReaderVersion >= 3 ? { readerFeatures: protocol.readerFeatures } : {}),
        ...(hasFeatures ? { writerFeatures: protocol.writerFeatures } : {}),
      },
    },
    { metaData: { ...metaData, format: { provider: 'parquet', options: {} } } },
  ];
}

function addOf(file: DeltaFile, store: ObjectStore, destination: string): DeltaAction {
  return {
    add: {
      path: encodePath(file.path),
      partitionValues: file.partitionValues,
      size: file.sizeBytes,
      modificationTime: 0,
      dataChange: true,
      stats: JSON.stringify({ numRecords: file.numRecords }),
      ...vectorOf(file, store, destination),
    },
  };
}

function removeOf(file: DeltaFile, store: ObjectStore, destination: string): DeltaAction {
  const vector = vectorOf(file, store, destination);
  return { remove: { path: encodePath(file.path), deletionTimestamp: 0, dataChange: true, ...vector } };
}

/** A vector that production names by an absolute path is named by the copy's. */
function vectorOf(file: DeltaFile, store: ObjectStore, destination: string): Readonly<Record<string, unknown>> {
  const vector = file.deletionVector;
  if (vector === undefined) return {};
  const { storageType, offset, sizeInBytes, cardinality } = vector;
  const pathOrInlineDv =
    storageType === 'p' && vector.path !== undefined
      ? encodeURI(store.url(joinKey(destination, vector.path)))
      : vector.pathOrInlineDv;
  const place = offset === undefined ? {} : { offset };
  return { deletionVector: { storageType, pathOrInlineDv, ...place, sizeInBytes, cardinality } };
}

function idOf(file: DeltaFile): string {
  return `${file.path}\n${file.deletionVector?.uniqueId ?? ''}`;
}

function idsOf(files: readonly DeltaFile[]): ReadonlySet<string> {
  return new Set(files.map(idOf));
}
