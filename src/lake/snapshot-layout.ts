import { ParityError } from '../support/error.ts';
import { isRecord, toInteger } from './delta/json.ts';
import type { ObjectReader } from './store.ts';

/** What lies beside a copied table's log, written last: its presence says that the copy is complete. */
export interface CopiedTable {
  readonly name: string;
  /** The versions in production. */
  readonly version: number;
  readonly baseVersion: number | null;
  /** The copy's version by production's. They differ where the copy has a log of its own. */
  readonly versions: Readonly<Record<string, number>>;
  /** SHA-256 over schema and live files, hex: see snapshotDigest. */
  readonly digest: string;
  /** Live rows, bytes and files at `version`, in the copy. */
  readonly rows: number;
  readonly sizeBytes: number;
  readonly files: number;
  /** Whether rows were sampled or columns masked on the way. */
  readonly isRewritten: boolean;
}

/** The copy's versions by production's. */
export function versionMap(
  production: { readonly version: number; readonly baseVersion: number | null },
  copy: { readonly version: number; readonly baseVersion: number | null },
): Readonly<Record<string, number>> {
  const base =
    production.baseVersion === null || copy.baseVersion === null ? {} : { [production.baseVersion]: copy.baseVersion };
  return { ...base, [production.version]: copy.version };
}

/** Key of a table in the workspace. */
export function snapshotPath(table: string): string {
  return `snapshot/${table}`;
}

/** The record of the copied table at `path`; undefined where no copy was completed there. */
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
  if (!isRecord(raw) || !isRecord(raw.versions)) return undefined;
  const { name, digest, isRewritten } = raw;
  const [version, rows, sizeBytes, files] = [raw.version, raw.rows, raw.sizeBytes, raw.files].map(toInteger);
  if (typeof name !== 'string' || typeof digest !== 'string' || typeof isRewritten !== 'boolean') return undefined;
  if (version === undefined || rows === undefined || sizeBytes === undefined || files === undefined) return undefined;
  const versions: Record<string, number> = {};
  for (const [from, to] of Object.entries(raw.versions)) {
    const own = toInteger(to);
    if (own === undefined) return undefined;
    versions[from] = own;
  }
  const baseVersion = toInteger(raw.baseVersion) ?? null;
  return { name, version, baseVersion, versions, digest, rows, sizeBytes, files, isRewritten };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
