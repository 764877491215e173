import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import {
  addAction,
  commit,
  commitKey,
  type DeltaAction,
  metaDataAction,
  protocolAction,
  removeAction,
} from '../lake/delta/commit.ts';
import { readDeltaSnapshot } from '../lake/delta/log.ts';
import type { DeltaSnapshot } from '../lake/delta/types.ts';
import type { ObjectReader, ObjectStore } from '../lake/store.ts';
import type { Field, StructType } from '../lake/types.ts';
import type { ParquetFile } from '../lake/write-parquet.ts';
import { ParityError } from '../support/error.ts';
import { throwIfAborted } from '../support/retry.ts';
import type { SyncedTable } from './pipeline.ts';

/** A Delta table that the reference pipeline lands, with what its syncs left. */
export interface Landed {
  /** Undefined before the first sync. */
  readonly snapshot: DeltaSnapshot | undefined;
  /** One for each step that has synced the table, the latest first. */
  readonly records: readonly SyncRecord[];
}

/**
 * What a sync leaves for the next one, and for itself should it be started again. It is a property of the table (`parity.sync.<step>`), so that data and
 * mark come with one commit: there is no moment at which one is there without the other.
 */
export interface SyncRecord extends SyncedTable {
  readonly step: string;
  /** The Delta version that the sync made. */
  readonly version: number;
}

export interface LandedCommit {
  /** What was read before: its next version is written, and its files are replaced. */
  readonly landed: Landed;
  readonly columns: readonly Field[];
  /** Local files with all rows of the table, or that it keeps the rows that it has. */
  readonly files: readonly ParquetFile[] | 'Unchanged';
  readonly record: Omit<SyncRecord, 'version' | 'rows'>;
  readonly signal: AbortSignal;
}

/** Reads the landed table at the key prefix `path`. */
export async function readLanded(store: ObjectReader, path: string): Promise<Landed> {
  if (!(await hasLanded(store, path))) return { snapshot: undefined, records: [] };
  const snapshot = await readDeltaSnapshot(store, path, undefined);
  const records: SyncRecord[] = Object.entries(snapshot.configuration)
    .filter(([name]) => name.startsWith(recordPrefix))
    .map(([, text]): SyncRecord => JSON.parse(text))
    .sort((a, b) => b.version - a.version);
  return { snapshot, records };
}

/** Whether any sync has landed the table. */
export async function hasLanded(store: ObjectReader, path: string): Promise<boolean> {
  return (await store.head(commitKey(path, 0))) !== undefined;
}

/** Whether the landed table has exactly these columns, in this order. */
export function hasColumns(snapshot: DeltaSnapshot, columns: readonly Field[]): boolean {
  const shape = (fields: readonly Field[]): string =>
    JSON.stringify(fields.map(({ name, type, nullable }) => [name, type, nullable]));
  return shape(snapshot.schema.fields) === shape(columns);
}

/**
 * Makes the files the table's content, in one atomic commit. Returns the record that stands: the caller's, or that of another attempt at the same step
 * which was faster; then nothing of the caller's is left.
 */
export async function commitSync(store: ObjectStore, path: string, request: LandedCommit): Promise<SyncRecord> {
  const { landed, record, signal } = request;
  const version = (landed.snapshot?.version ?? -1) + 1;
  const isUnchanged = request.files === 'Unchanged';
  const files = request.files === 'Unchanged' ? [] : request.files;
  const rows = isUnchanged ? (landed.records[0]?.rows ?? 0) : files.reduce((sum, file) => sum + file.rows, 0);
  const mine: SyncRecord = { ...record, rows, version };
  const uploaded: { path: string; file: ParquetFile }[] = [];
  // Attempts write apart: what a killed one has left is no part of any version.
  for (const file of files) {
    throwIfAborted(signal);
    const name = `${record.step}-${randomUUID()}.parquet`;
    await store.putStream(`${path}/${name}`, createReadStream(file.path), file.sizeBytes);
    uploaded.push({ path: name, file });
  }
  const actions = [
    ...tableActions(request, mine),
    ...(isUnchanged ? [] : (landed.snapshot?.files ?? []).map((file) => removeAction(file))),
    ...uploaded.map(({ path, file }) => addAction({ path, sizeBytes: file.sizeBytes, numRecords: file.rows })),
  ];
  throwIfAborted(signal);
  if (await commit(store, path, version, actions)) return mine;

  const { snapshot, records } = await readLanded(store, path);
  const theirs = records.find((other) => other.step === record.step);
  // A request that was sent twice may have found its own first sending: then the files are live.
  const live = new Set(snapshot?.files.map((file) => file.path));
  await store.delete(uploaded.filter((file) => !live.has(file.path)).map((file) => `${path}/${file.path}`));
  if (theirs !== undefined) return theirs;
  throw new ParityError('PipelineFailed', `Another sync of ${record.table} landed while this one was writing.`, {
    subject: record.table,
    isRetryable: true,
  });
}

const recordPrefix = 'parity.sync.';

/** Schema, properties and, where the schema needs more than readers know of so far, the protocol. */
function tableActions({ landed, columns }: LandedCommit, record: SyncRecord): DeltaAction[] {
  const { snapshot } = landed;
  const schema: StructType = { kind: 'struct', fields: columns };
  const metaData = metaDataAction({
    schema,
    configuration: { ...snapshot?.configuration, [recordPrefix + record.step]: JSON.stringify(record) },
    ...(snapshot === undefined ? {} : { id: snapshot.tableId }),
  });
  const needsFeature =
    columns.some(({ type }) => type.kind === 'timestamp_ntz') &&
    snapshot?.protocol.readerFeatures.includes('timestampNtz') !== true;
  return [...(snapshot === undefined || needsFeature ? [protocolAction(schema)] : []), metaData];
}
