import type { SnapshotPoint } from '../run/types.ts';
import { ParityError } from '../support/error.ts';
import { isRecord, toInteger } from './delta/json.ts';
import type { ObjectReader } from './store.ts';

/** What lies beside a copied table's log, written last: its presence says that the copy is complete. */
export interface CopiedTable {
  readonly name: string;
  /** The versions in production. */
  readonly version: number;
  readonly baseVersion: number | null;
  /** The versions that hold the same rows in the copy. They differ where the copy has a log of its own. */
  readonly copy: { readonly version: number; readonly baseVersion: number | null };
  /** SHA-256 over schema and live files, hex: see snapshotDigest. */
  readonly digest: string;
  /** Live rows, bytes and files at `version`, in the copy. */
  readonly rows: number;
  readonly sizeBytes: number;
  readonly files: number;
  /** Whether rows were sampled or columns masked on the way. */
  readonly isRewritten: boolean;
}

/** Key of a table in the workspace. */
export function snapshotPath(table: string): string {
  return `snapshot/${table}`;
}

/** The version of the copied table at `snapshotPath(table)` that holds the point. `NotFound` where the copy is not complete. */
export async function snapshotVersion(workspace: ObjectReader, table: string, at: SnapshotPoint): Promise<number> {
  const copied = await readCopiedTable(workspace, snapshotPath(table));
  if (copied === undefined) {
    throw new ParityError('NotFound', `The snapshot of ${table} is not complete in ${workspace.url('snapshot')}`, {
      subject: table,
    });
  }
  return at === 'Base' ? (copied.copy.baseVersion ?? copied.copy.version) : copied.copy.version;
}

/** What `writeCopiedTable` recorded for the table at `path`; undefined where no copy was completed there. */
export async function readCopiedTable(reader: ObjectReader, path: string): Promise<CopiedTable | undefined> {
  const key = markKey(path);
  if ((await reader.head(key)) === undefined) return undefined;
  const copied = parseCopiedTable(await reader.get(key));
  if (copied !== undefined) return copied;
  throw new ParityError('CorruptTable', `${reader.url(key)} is no record of a copied table`, {
    subject: reader.url(key),
    advice: 'Remove the folder, so that the table is copied anew',
  });
}

/** Key of the record of the table at `path`. */
export function markKey(path: string): string {
  return `${path}/parity.json`;
}

function parseCopiedTable(bytes: Buffer): CopiedTable | undefined {
  const raw = parsed(bytes.toString());
  if (!isRecord(raw) || !isRecord(raw.copy)) return undefined;
  const { name, digest, isRewritten } = raw;
  const version = toInteger(raw.version);
  const copyVersion = toInteger(raw.copy.version);
  const rows = toInteger(raw.rows);
  const sizeBytes = toInteger(raw.sizeBytes);
  const files = toInteger(raw.files);
  if (typeof name !== 'string' || typeof digest !== 'string' || typeof isRewritten !== 'boolean') return undefined;
  if (version === undefined || copyVersion === undefined) return undefined;
  if (rows === undefined || sizeBytes === undefined || files === undefined) return undefined;
  const copy = { version: copyVersion, baseVersion: toInteger(raw.copy.baseVersion) ?? null };
  const baseVersion = toInteger(raw.baseVersion) ?? null;
  return { name, version, baseVersion, copy, digest, rows, sizeBytes, files, isRewritten };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
