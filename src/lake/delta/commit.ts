import { randomUUID } from 'node:crypto';
import type { ObjectStore } from '../store.ts';
import type { DataType, StructType } from '../types.ts';
import { joinKey } from './path.ts';
import { formatSchema } from './schema.ts';

/** An action of a commit, as it is written; the functions below make them. */
export type DeltaAction = Readonly<Record<string, unknown>>;

/**
 * The protocol and metadata of a new table's version 0 (files follow in the same commit, or in later ones). Readable by every
 * Delta reader: version 1/2, and features only where the schema needs them.
 */
export function initialCommit(table: {
  readonly schema: StructType;
  readonly partitionColumns?: readonly string[];
  readonly configuration?: Readonly<Record<string, string>>;
  readonly createdTimeMs?: number;
}): readonly DeltaAction[] {
  return [protocolAction(table.schema), metaDataAction(table)];
}

/** Metadata; in a later commit it replaces the schema (and `id`, the table's, has to be the first one's). */
export function metaDataAction(table: {
  readonly schema: StructType;
  readonly partitionColumns?: readonly string[];
  readonly configuration?: Readonly<Record<string, string>>;
  readonly createdTimeMs?: number;
  readonly id?: string;
}): DeltaAction {
  return {
    metaData: {
      id: table.id ?? randomUUID(),
      format: { provider: 'parquet', options: {} },
      schemaString: formatSchema(table.schema),
      partitionColumns: table.partitionColumns ?? [],
      configuration: table.configuration ?? {},
      createdTime: table.createdTimeMs ?? Date.now(),
    },
  };
}

/** The least protocol that reads the schema; in a later commit it raises the table's. */
export function protocolAction(schema: StructType): DeltaAction {
  const features = [
    ...(needs(schema, (type) => type.kind === 'timestamp_ntz') ? ['timestampNtz'] : []),
    ...(isMapped(schema) ? ['columnMapping'] : []),
  ];
  return {
    protocol:
      features.length === 0
        ? { minReaderVersion: 1, minWriterVersion: 2 }
        : { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: features, writerFeatures: features },
  };
}

/** A data file that the commit adds. `path` is its key below the table's root, not encoded. */
export function addAction(file: {
  readonly path: string;
  readonly sizeBytes: number;
  readonly numRecords: number;
  readonly partitionValues?: Readonly<Record<string, string | null>>;
  readonly modificationTimeMs?: number;
}): DeltaAction {
  return {
    add: {
      path: encodePath(file.path),
      partitionValues: file.partitionValues ?? {},
      size: file.sizeBytes,
      modificationTime: file.modificationTimeMs ?? Date.now(),
      dataChange: true,
      stats: JSON.stringify({ numRecords: file.numRecords }),
    },
  };
}

/** A data file that is live no more. */
export function removeAction(file: { readonly path: string; readonly deletionTimestampMs?: number }): DeltaAction {
  return {
    remove: {
      path: encodePath(file.path),
      deletionTimestamp: file.deletionTimestampMs ?? Date.now(),
      dataChange: true,
    },
  };
}

/** One line per action, after the `commitInfo` that readers expect first. */
export function formatCommit(actions: readonly DeltaAction[], operation = 'WRITE', timestampMs = Date.now()): string {
  const commitInfo = { timestamp: timestampMs, operation, engineInfo: 'pipeline-parity' };
  return [{ commitInfo }, ...actions].map((action) => `${JSON.stringify(action)}\n`).join('');
}

/**
 * Puts the actions as `version` of the table at `path`, unless that version is there. Atomic: readers see the whole commit or
 * none of it. Returns whether this call created it.
 */
export async function commit(
  store: ObjectStore,
  path: string,
  version: number,
  actions: readonly DeltaAction[],
): Promise<boolean> {
  return store.putIfAbsent(commitKey(path, version), formatCommit(actions));
}

/** Key of a version's commit. */
export function commitKey(path: string, version: number): string {
  return joinKey(path, `_delta_log/${String(version).padStart(20, '0')}.json`);
}

/** Paths in the log are URIs. */
export function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/').replaceAll('%3D', '=');
}

function isMapped(schema: StructType): boolean {
  return schema.fields.some((field) => field.physicalName !== field.name);
}

function needs(type: DataType, isNeeded: (type: DataType) => boolean): boolean {
  if (isNeeded(type)) return true;
  switch (type.kind) {
    case 'struct':
      return type.fields.some((field) => needs(field.type, isNeeded));
    case 'array':
      return needs(type.element, isNeeded);
    case 'map':
      return needs(type.key, isNeeded) || needs(type.value, isNeeded);
    default:
      return false;
  }
}
