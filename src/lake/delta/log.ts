import { ParityError } from '../../support/error.ts';
import type { ObjectReader } from '../store.ts';
import { actionsOf, deletionVectorId, type LogAction, type RawFile, type RawMetaData } from './actions.ts';
import { deletionVectorKey } from './deletion-vector.ts';
import { type LogFile, type LogSegment, latestVersion, listLog, readableVersions, segmentOf } from './log-files.ts';
import { parquetRows } from './parquet.ts';
import { canonicalPath, isAbsolute, joinKey, keyOfLogPath } from './path.ts';
import { checkProtocol } from './protocol.ts';
import { parseSchema } from './schema.ts';
import type { DeletionVector, DeltaFile, DeltaProtocol, DeltaSnapshot } from './types.ts';

/**
 * One version of the Delta table at `path` (undefined: the newest), from its log alone. Throws `NotFound` where there is no
 * table, `VersionGone` naming the versions that are there, `UnsupportedFeature` naming the feature or column, `CorruptTable`
 * naming the log entry.
 */
export async function readDeltaSnapshot(
  reader: ObjectReader,
  path: string,
  version: number | undefined,
): Promise<DeltaSnapshot> {
  const { snapshot } = await readLogVersion(reader, path, await listLog(reader, path), version);
  return snapshot;
}

/** The versions that the table's log can rebuild, ascending. */
export async function listVersions(reader: ObjectReader, path: string): Promise<readonly number[]> {
  return readableVersions(await listLog(reader, path));
}

/** A version with the log files it came from: what a copy of the table needs. */
export interface LogVersion {
  readonly snapshot: DeltaSnapshot;
  readonly segment: LogSegment;
  /** Keys of a v2 checkpoint's sidecars. */
  readonly sidecars: readonly string[];
  readonly metaData: RawMetaData;
  /** Whether a live file is named by an absolute path: such a log is true only where it lies. */
  readonly hasAbsolutePaths: boolean;
}

/** Like `readDeltaSnapshot`, from a listing that was made before: several versions cost one listing. */
export async function readLogVersion(
  reader: ObjectReader,
  path: string,
  files: readonly LogFile[],
  version: number | undefined,
): Promise<LogVersion> {
  const url = reader.url(path);
  const segment = segmentOf(files, version ?? latestVersion(files), url);
  const state = new Replay((name) => canonicalPath(reader, path, name));
  for (const file of segment.checkpoint) await applyCheckpoint(reader, path, file, state);
  for (const file of segment.commits) await applyJson(reader, file, state);
  if (state.protocol === undefined || state.metaData === undefined) {
    const missing = state.protocol === undefined ? 'protocol' : 'metaData';
    throw new ParityError(
      'CorruptTable',
      `The log of ${url} up to version ${segment.version} has no ${missing} action`,
      {
        subject: url,
      },
    );
  }
  checkProtocol(state.protocol, url);
  const live = [...state.files.values()];
  return {
    snapshot: toSnapshot(reader, path, segment.version, state.protocol, state.metaData, live),
    segment,
    sidecars: state.sidecars,
    metaData: state.metaData,
    hasAbsolutePaths:
      state.hasAbsoluteSidecars ||
      live.some(({ path, deletionVector }) => isAbsolute(path) || deletionVector?.storageType === 'p'),
  };
}

/** The state of a table while its log is replayed: the newest word counts. */
class Replay {
  protocol: DeltaProtocol | undefined;
  metaData: RawMetaData | undefined;
  /** By path and deletion vector, the identity of a logical file. */
  readonly files = new Map<string, RawFile>();
  readonly sidecars: string[] = [];
  hasAbsoluteSidecars = false;
  readonly #canonical: (path: string) => string;

  constructor(canonical: (path: string) => string) {
    this.#canonical = canonical;
  }

  /** Returns the path of a sidecar that has to be read as well. */
  apply(action: LogAction): string | undefined {
    switch (action.kind) {
      case 'protocol':
        this.protocol = action.protocol;
        return undefined;
      case 'metaData':
        this.metaData = action.metaData;
        return undefined;
      case 'add':
        this.files.set(this.#fileId(action.file), action.file);
        return undefined;
      case 'remove':
        this.files.delete(this.#fileId(action));
        return undefined;
      case 'sidecar':
        return action.path;
    }
  }

  #fileId({ path, deletionVector }: Pick<RawFile, 'path' | 'deletionVector'>): string {
    const canonical = this.#canonical(path);
    return deletionVector === undefined ? canonical : `${canonical}\n${deletionVectorId(deletionVector)}`;
  }
}

const CHECKPOINT_COLUMNS = ['protocol', 'metaData', 'add', 'sidecar'];

async function applyCheckpoint(reader: ObjectReader, path: string, file: LogFile, state: Replay): Promise<void> {
  const isJson = file.entry.kind === 'checkpoint-v2' && file.entry.format === 'json';
  const actions = isJson ? jsonActions(reader, file) : parquetActions(reader, file.key, file.sizeBytes);
  const sidecars: string[] = [];
  for await (const action of actions) {
    // A checkpoint's `remove`s are tombstones for VACUUM: what they name is not among its `add`s.
    if (action.kind === 'remove') continue;
    const sidecar = state.apply(action);
    if (sidecar !== undefined) sidecars.push(sidecar);
  }
  for (const name of sidecars) await applySidecar(reader, path, name, state);
}

async function applySidecar(reader: ObjectReader, path: string, name: string, state: Replay): Promise<void> {
  const key = isAbsolute(name)
    ? joinKey(path, keyOfLogPath(reader, path, name))
    : joinKey(path, `_delta_log/_sidecars/${keyOfLogPath(reader, path, name)}`);
  const found = await reader.head(key);
  if (found === undefined) {
    throw new ParityError(
      'CorruptTable',
      `The log of ${reader.url(path)} lacks ${reader.url(key)}, which its checkpoint names`,
      {
        subject: reader.url(key),
      },
    );
  }
  for await (const action of parquetActions(reader, key, found.sizeBytes)) {
    if (action.kind === 'add') state.apply(action);
  }
  state.sidecars.push(key);
  if (isAbsolute(name)) state.hasAbsoluteSidecars = true;
}

async function* parquetActions(reader: ObjectReader, key: string, sizeBytes: number): AsyncIterable<LogAction> {
  let row = 0;
  for await (const values of parquetRows(reader, key, sizeBytes, CHECKPOINT_COLUMNS)) {
    row += 1;
    yield* actionsOf(values, `${reader.url(key)} row ${row}`);
  }
}

async function applyJson(reader: ObjectReader, file: LogFile, state: Replay): Promise<void> {
  for await (const action of jsonActions(reader, file)) state.apply(action);
}

/** The actions of a commit, a compacted one or a JSON checkpoint, line by line: some commits are larger than memory should be. */
async function* jsonActions(reader: ObjectReader, file: LogFile): AsyncIterable<LogAction> {
  const url = reader.url(file.key);
  let line = 0;
  for await (const text of linesOf(await reader.stream(file.key))) {
    line += 1;
    if (text.trim() === '') continue;
    yield* actionsOf(parseLine(text, `${url} line ${line}`), `${url} line ${line}`);
  }
  if (line === 0) {
    throw new ParityError('CorruptTable', `The log entry ${url} cannot be read: it is empty`, { subject: url });
  }
}

function parseLine(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ParityError('CorruptTable', `The log entry ${where} cannot be read: it is not JSON`, {
      cause,
      subject: where,
      advice: 'Restore the log entry, or name a version before it',
    });
  }
}

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  rest += decoder.decode();
  if (rest !== '') yield rest;
}

function toSnapshot(
  reader: ObjectReader,
  path: string,
  version: number,
  protocol: DeltaProtocol,
  metaData: RawMetaData,
  live: readonly RawFile[],
): DeltaSnapshot {
  const files = live
    .map((file) => toDeltaFile(reader, path, file))
    .map((file) => ({ file, bytes: Buffer.from(file.path) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ file }) => file);
  const rows = files.map((file) =>
    file.numRecords === undefined ? undefined : file.numRecords - (file.deletionVector?.cardinality ?? 0),
  );
  return {
    version,
    schema: parseSchema(metaData.schemaString, reader.url(path)),
    partitionColumns: metaData.partitionColumns,
    columnMapping: columnMapping(metaData, reader.url(path)),
    protocol,
    configuration: metaData.configuration,
    tableId: metaData.id,
    files,
    rows: rows.reduce<number | undefined>(
      (sum, count) => (sum === undefined || count === undefined ? undefined : sum + count),
      0,
    ),
  };
}

function columnMapping(metaData: RawMetaData, url: string): DeltaSnapshot['columnMapping'] {
  const mode = metaData.configuration['delta.columnMapping.mode'] ?? 'none';
  if (mode === 'none' || mode === 'name' || mode === 'id') return mode;
  throw new ParityError('UnsupportedFeature', `${url} has the column mapping mode '${mode}', which is not known`, {
    subject: url,
  });
}

function toDeltaFile(reader: ObjectReader, table: string, file: RawFile): DeltaFile {
  const { deletionVector, ...rest } = file;
  return {
    ...rest,
    path: keyOfLogPath(reader, table, file.path),
    deletionVector: deletionVector === undefined ? undefined : toDeletionVector(reader, table, deletionVector),
  };
}

function toDeletionVector(
  reader: ObjectReader,
  table: string,
  raw: NonNullable<RawFile['deletionVector']>,
): DeletionVector {
  return { ...raw, path: deletionVectorKey(reader, table, raw), uniqueId: deletionVectorId(raw) };
}
