import type { Field, StructType } from '../types.ts';

/** One version of a Delta table as its log says it. Made by `readDeltaSnapshot` (log.ts). */
export interface DeltaSnapshot {
  readonly version: number;
  readonly schema: StructType;
  /** Logical names, in the order of the metadata. */
  readonly partitionColumns: readonly string[];
  readonly columnMapping: 'none' | 'name' | 'id';
  readonly protocol: DeltaProtocol;
  readonly configuration: Readonly<Record<string, string>>;
  readonly tableId: string;
  /** Live files, in path order. */
  readonly files: readonly DeltaFile[];
  /** Live rows: sum over files of numRecords less deletion-vector cardinality; undefined if any file lacks statistics. */
  readonly rows: number | undefined;
}

export interface DeltaProtocol {
  readonly minReaderVersion: number;
  readonly minWriterVersion: number;
  readonly readerFeatures: readonly string[];
  readonly writerFeatures: readonly string[];
}

export interface DeltaFile {
  /** Key relative to the table's root, URL-decoded as the protocol says. */
  readonly path: string;
  readonly sizeBytes: number;
  /** By physical column name; null is NULL ('' is NULL too). */
  readonly partitionValues: Readonly<Record<string, string | null>>;
  readonly numRecords: number | undefined;
  readonly deletionVector: DeletionVector | undefined;
  readonly modificationTimeMs: number;
  readonly stats: string | undefined;
}

export interface DeletionVector {
  readonly storageType: 'u' | 'i' | 'p';
  readonly pathOrInlineDv: string;
  readonly offset: number | undefined;
  readonly sizeInBytes: number;
  readonly cardinality: number;
  /** Key of the file that holds it, relative to the table's root; undefined for inline ones. */
  readonly path: string | undefined;
  /** `storageType + pathOrInlineDv [+ '@' + offset]`, as the protocol defines it. */
  readonly uniqueId: string;
}

export type { Field };
