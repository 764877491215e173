import { ParityError } from '../../support/error.ts';
import { isRecord, toInteger, toStrings } from './json.ts';
import type { DeltaProtocol } from './types.ts';

/**
 * What a log entry or checkpoint row says, as far as reading a table goes
 * (https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions). Everything else (commitInfo, txn, cdc, …) is passed over.
 */
export type LogAction =
  | { readonly kind: 'add'; readonly file: RawFile }
  | { readonly kind: 'remove'; readonly path: string; readonly deletionVector: RawDeletionVector | undefined }
  | { readonly kind: 'metaData'; readonly metaData: RawMetaData }
  | { readonly kind: 'protocol'; readonly protocol: DeltaProtocol }
  | { readonly kind: 'sidecar'; readonly path: string; readonly sizeBytes: number | undefined };

export interface RawFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly partitionValues: Readonly<Record<string, string | null>>;
  readonly modificationTimeMs: number;
  readonly numRecords: number | undefined;
  readonly stats: string | undefined;
  readonly deletionVector: RawDeletionVector | undefined;
}

export interface RawDeletionVector {
  readonly storageType: 'u' | 'i' | 'p';
  readonly pathOrInlineDv: string;
  readonly offset: number | undefined;
  readonly sizeInBytes: number;
  readonly cardinality: number;
}

export interface RawMetaData {
  readonly id: string;
  readonly schemaString: string;
  readonly partitionColumns: readonly string[];
  readonly configuration: Readonly<Record<string, string>>;
}

/**
 * The actions of one JSON line or checkpoint row. Throws `CorruptTable` naming `where` (object and line) for an action that
 * lacks what the protocol requires.
 */
export function actionsOf(row: unknown, where: string): readonly LogAction[] {
  if (!isRecord(row)) throw corrupt(where, 'it is not an object');
  const actions: LogAction[] = [];
  if (isPresent(row.protocol)) actions.push({ kind: 'protocol', protocol: toProtocol(row.protocol, where) });
  if (isPresent(row.metaData)) actions.push({ kind: 'metaData', metaData: toMetaData(row.metaData, where) });
  if (isPresent(row.add)) actions.push({ kind: 'add', file: toFile(row.add, where) });
  if (isPresent(row.remove)) actions.push(toRemove(row.remove, where));
  if (isPresent(row.sidecar)) actions.push(toSidecar(row.sidecar, where));
  return actions;
}

/** Identifies a deletion vector, as the protocol defines it. */
export function deletionVectorId(dv: RawDeletionVector): string {
  return `${dv.storageType}${dv.pathOrInlineDv}${dv.offset === undefined ? '' : `@${dv.offset}`}`;
}

/** Checkpoints have a column for each action, and write an absent one as NULL or as a struct of NULLs. */
function isPresent(value: unknown): value is Readonly<Record<string, unknown>> {
  return isRecord(value) && Object.values(value).some((field) => field !== null && field !== undefined);
}

function toProtocol(raw: Readonly<Record<string, unknown>>, where: string): DeltaProtocol {
  return {
    minReaderVersion: integer(raw, 'minReaderVersion', 'protocol', where),
    minWriterVersion: integer(raw, 'minWriterVersion', 'protocol', where),
    readerFeatures: toStrings(raw.readerFeatures) ?? [],
    writerFeatures: toStrings(raw.writerFeatures) ?? [],
  };
}

function toMetaData(raw: Readonly<Record<string, unknown>>, where: string): RawMetaData {
  return {
    id: text(raw, 'id', 'metaData', where),
    schemaString: text(raw, 'schemaString', 'metaData', where),
    partitionColumns: toStrings(raw.partitionColumns) ?? [],
    configuration: Object.fromEntries(
      entries(raw.configuration).flatMap(([key, value]) => (typeof value === 'string' ? [[key, value]] : [])),
    ),
  };
}

function toFile(raw: Readonly<Record<string, unknown>>, where: string): RawFile {
  const stats = typeof raw.stats === 'string' ? raw.stats : undefined;
  return {
    path: text(raw, 'path', 'add', where),
    sizeBytes: integer(raw, 'size', 'add', where),
    partitionValues: Object.fromEntries(
      entries(raw.partitionValues).map(([key, value]) => [
        key,
        typeof value === 'string' && value !== '' ? value : null,
      ]),
    ),
    modificationTimeMs: toInteger(raw.modificationTime) ?? 0,
    numRecords: numRecords(stats) ?? (isRecord(raw.stats_parsed) ? toInteger(raw.stats_parsed.numRecords) : undefined),
    stats,
    deletionVector: toDeletionVector(raw.deletionVector, where),
  };
}

function toRemove(raw: Readonly<Record<string, unknown>>, where: string): LogAction {
  const deletionVector = toDeletionVector(raw.deletionVector, where);
  return { kind: 'remove', path: text(raw, 'path', 'remove', where), deletionVector };
}

function toSidecar(raw: Readonly<Record<string, unknown>>, where: string): LogAction {
  return { kind: 'sidecar', path: text(raw, 'path', 'sidecar', where), sizeBytes: toInteger(raw.sizeInBytes) };
}

function toDeletionVector(raw: unknown, where: string): RawDeletionVector | undefined {
  if (!isPresent(raw)) return undefined;
  const storageType = raw.storageType;
  if (storageType !== 'u' && storageType !== 'i' && storageType !== 'p') {
    throw corrupt(where, `a deletion vector has the unknown storage type '${String(storageType)}'`);
  }
  return {
    storageType,
    pathOrInlineDv: text(raw, 'pathOrInlineDv', 'deletionVector', where),
    offset: toInteger(raw.offset),
    sizeInBytes: integer(raw, 'sizeInBytes', 'deletionVector', where),
    cardinality: integer(raw, 'cardinality', 'deletionVector', where),
  };
}

/** Statistics are optional and some writers' are malformed: then the rows are counted from the file's footer. */
function numRecords(stats: string | undefined): number | undefined {
  if (stats === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(stats);
    return isRecord(parsed) ? toInteger(parsed.numRecords) : undefined;
  } catch {
    return undefined;
  }
}

function entries(value: unknown): [string, unknown][] {
  if (value instanceof Map) return [...value.entries()].map(([key, item]) => [String(key), item]);
  return isRecord(value) ? Object.entries(value) : [];
}

function text(raw: Readonly<Record<string, unknown>>, field: string, action: string, where: string): string {
  const value = raw[field];
  if (typeof value === 'string') return value;
  throw corrupt(where, `its action '${action}' has no ${field}`);
}

function integer(raw: Readonly<Record<string, unknown>>, field: string, action: string, where: string): number {
  const value = toInteger(raw[field]);
  if (value !== undefined) return value;
  throw corrupt(where, `its action '${action}' has no whole number ${field}`);
}

function corrupt(where: string, found: string): ParityError {
  return new ParityError('CorruptTable', `The log entry ${where} cannot be read: ${found}`, { subject: where });
}
