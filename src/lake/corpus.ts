import { createHash } from 'node:crypto';
import type { ResolvedSnapshot, ResolvedTable } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import { readDeletionVector } from './delta/deletion-vector.ts';
import { isRecord, toInteger } from './delta/json.ts';
import { parquetRowCount } from './delta/parquet.ts';
import { joinKey } from './delta/path.ts';
import type { DeltaFile } from './delta/types.ts';
import { formatLocation } from './location.ts';
import { forEachBounded } from './pool.ts';
import { type Lake, planTables } from './snapshot-lake.ts';
import { planTable, type TablePlan } from './snapshot-plan.ts';
import { maskKey, type RewriteOptions, rewrittenDigest } from './snapshot-rewrite.ts';
import { copyTable } from './snapshot-table.ts';
import type { ObjectReader, ObjectStore } from './store.ts';

const CONCURRENCY = 16;

/**
 * A snapshot that is kept for good. Its tables lie at `<digest>/<table>` in the corpus, so that a manifest reads it as it would
 * read production: `location: <corpus>/<digest>`, `path: <table>`, and the versions that are named here.
 */
export interface KeptSnapshot {
  readonly digest: string;
  readonly createdAt: string;
  /** Where it was kept from. */
  readonly from: string;
  readonly tables: readonly KeptTable[];
}

export interface KeptTable {
  readonly name: string;
  /** The versions to name in a manifest. */
  readonly version: number;
  readonly baseVersion: number | null;
  /** Of the snapshot in production. */
  readonly digest: string;
  /** Of what lies in the corpus: what `verifyKept` computes again. */
  readonly contentDigest: string;
  readonly rows: number;
  readonly sizeBytes: number;
  readonly files: number;
}

export interface KeepOptions {
  readonly lake: Lake;
  readonly snapshot: ResolvedSnapshot;
  readonly corpus: ObjectStore;
  readonly rewrite: RewriteOptions;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: { table: string; bytes: number; totalBytes: number }) => void;
  readonly now: Date;
}

/**
 * Stores the manifest's tables in the corpus under their digest, and returns what is kept. The same content is kept once; cut
 * short and called again, it goes on where it was. Throws what planning and copying throw.
 */
export async function keepSnapshot(options: KeepOptions): Promise<KeptSnapshot> {
  const { lake, snapshot, corpus, rewrite, signal } = options;
  const plans = await planTables(lake, snapshot, signal);
  const key = plans.some(({ table }) => table.mask.length > 0) ? await maskKey(rewrite) : undefined;
  const digest = corpusDigest(plans, key);
  const earlier = await findKept(corpus, digest);
  if (earlier !== undefined) return earlier;
  const tables: KeptTable[] = [];
  for (const plan of plans) tables.push(await keepTable(plan, digest, options));
  const kept = {
    digest,
    createdAt: options.now.toISOString(),
    from: formatLocation(lake.reader.location),
    tables,
  };
  await corpus.putIfAbsent(manifestKey(digest), `${JSON.stringify(kept, null, 2)}\n`);
  return kept;
}

/** What the corpus keeps, oldest first. */
export async function listKept(corpus: ObjectReader): Promise<readonly KeptSnapshot[]> {
  const kept: KeptSnapshot[] = [];
  for await (const { key } of corpus.list('manifests/')) kept.push(await readManifest(corpus, key));
  return kept.sort((a, b) => a.createdAt.localeCompare(b.createdAt) || a.digest.localeCompare(b.digest));
}

/**
 * Checks a kept snapshot against what was recorded when it was kept: every object's size, the rows of every data file by its
 * footer, every deletion vector by its checksum, and the digest. `digest` may be the beginning of one, as long as it is one's
 * alone. Returns it; throws `NotFound`, or `CorruptTable` naming what is wrong.
 */
export async function verifyKept(corpus: ObjectReader, digest: string, signal?: AbortSignal): Promise<KeptSnapshot> {
  const kept = await requireKept(corpus, digest);
  for (const table of kept.tables) {
    const path = `${kept.digest}/${table.name}`;
    const plan = await planTable(corpus, keptSpec(table, path));
    await checkObjects(corpus, path, plan, signal);
    if (plan.digest === table.contentDigest && plan.target.snapshot.rows === table.rows) continue;
    throw new ParityError(
      'CorruptTable',
      `The kept table ${corpus.url(path)} is not what was kept: its digest differs`,
      {
        subject: corpus.url(path),
        advice: 'Keep the snapshot anew in another location, while production still has its versions',
      },
    );
  }
  return kept;
}

async function keepTable(plan: TablePlan, digest: string, options: KeepOptions): Promise<KeptTable> {
  const { lake, corpus, rewrite, signal } = options;
  const { name } = plan.table;
  const destination = `${digest}/${name}`;
  let arrived = 0;
  const { copied } = await copyTable(plan, {
    ...lake,
    store: corpus,
    destination,
    signal,
    rewrite,
    onBytes: (bytes) => {
      arrived += bytes;
      options.onProgress({ table: name, bytes: arrived, totalBytes: plan.copyBytes });
    },
  });
  const { rows, sizeBytes, files, versions } = copied;
  const version = versions[copied.version] ?? copied.version;
  const baseVersion = copied.baseVersion === null ? null : (versions[copied.baseVersion] ?? copied.baseVersion);
  const kept = { name, version, baseVersion, digest: copied.digest, rows, sizeBytes, files };
  const { digest: contentDigest } = await planTable(corpus, keptSpec(kept, destination));
  return { ...kept, contentDigest };
}

function corpusDigest(plans: readonly TablePlan[], key: string | undefined): string {
  const tables = plans.map((plan) => [
    plan.table.name,
    plan.target.snapshot.version,
    plan.base?.snapshot.version ?? null,
    rewrittenDigest(plan, plan.table.mask.length === 0 ? undefined : key),
  ]);
  tables.sort(([a], [b]) => String(a).localeCompare(String(b)));
  return createHash('sha256').update(JSON.stringify(tables)).digest('hex');
}

function keptSpec(table: Pick<KeptTable, 'name' | 'version' | 'baseVersion'>, path: string): ResolvedTable {
  const base = table.baseVersion === null ? {} : { baseVersion: String(table.baseVersion) };
  // The zone only matters to who reads the values.
  const any = { key: [], exclude: [], mask: [], partitionTimeZone: 'UTC' };
  return { name: table.name, path, version: String(table.version), ...base, ...any };
}

async function checkObjects(corpus: ObjectReader, path: string, plan: TablePlan, signal?: AbortSignal): Promise<void> {
  const versions = plan.base === undefined ? [plan.target] : [plan.base, plan.target];
  const files = new Map<string, DeltaFile>();
  for (const { snapshot } of versions) {
    for (const file of snapshot.files) files.set(`${file.path}\n${file.deletionVector?.uniqueId ?? ''}`, file);
  }
  await forEachBounded(files.values(), CONCURRENCY, (file) => checkFile(corpus, path, file), signal);
}

async function checkFile(corpus: ObjectReader, path: string, file: DeltaFile): Promise<void> {
  const key = joinKey(path, file.path);
  const found = await corpus.head(key);
  const damaged = (what: string) =>
    new ParityError('CorruptTable', `The kept file ${corpus.url(key)} ${what}`, { subject: corpus.url(key) });
  if (found === undefined) throw damaged('is missing');
  if (found.sizeBytes !== file.sizeBytes) throw damaged(`has ${found.sizeBytes} bytes instead of ${file.sizeBytes}`);
  const rows = await parquetRowCount(corpus, key, file.sizeBytes);
  if (rows !== file.numRecords) throw damaged(`has ${rows} rows instead of ${file.numRecords}`);
  if (file.deletionVector !== undefined) await readDeletionVector(corpus, path, file.deletionVector);
}

async function requireKept(corpus: ObjectReader, digest: string): Promise<KeptSnapshot> {
  const matching = (await listKept(corpus)).filter((kept) => kept.digest.startsWith(digest));
  const [only, other] = matching;
  if (only !== undefined && other === undefined) return only;
  const where = formatLocation(corpus.location);
  throw new ParityError(
    'NotFound',
    other === undefined
      ? `The corpus ${where} keeps no snapshot ${digest}`
      : `The corpus ${where} keeps ${matching.length} snapshots whose digests begin with ${digest}`,
    { subject: digest, advice: 'List what it keeps with `parity snapshot list`' },
  );
}

async function findKept(corpus: ObjectReader, digest: string): Promise<KeptSnapshot | undefined> {
  const key = manifestKey(digest);
  return (await corpus.head(key)) === undefined ? undefined : readManifest(corpus, key);
}

function manifestKey(digest: string): string {
  return `manifests/${digest}.json`;
}

async function readManifest(corpus: ObjectReader, key: string): Promise<KeptSnapshot> {
  const raw = parsed((await corpus.get(key)).toString());
  const tables = isRecord(raw) && Array.isArray(raw.tables) ? raw.tables.map(toKeptTable) : [];
  const known = tables.filter((table) => table !== undefined);
  if (
    !isRecord(raw) ||
    typeof raw.digest !== 'string' ||
    typeof raw.createdAt !== 'string' ||
    typeof raw.from !== 'string' ||
    known.length !== tables.length
  ) {
    throw new ParityError('CorruptTable', `${corpus.url(key)} is no manifest of a kept snapshot`, {
      subject: corpus.url(key),
    });
  }
  return { digest: raw.digest, createdAt: raw.createdAt, from: raw.from, tables: known };
}

function toKeptTable(raw: unknown): KeptTable | undefined {
  if (!isRecord(raw)) return undefined;
  const { name, digest, contentDigest } = raw;
  const [version, rows, sizeBytes, files] = [raw.version, raw.rows, raw.sizeBytes, raw.files].map(toInteger);
  if (typeof name !== 'string' || typeof digest !== 'string' || typeof contentDigest !== 'string') return undefined;
  if (version === undefined || rows === undefined || sizeBytes === undefined || files === undefined) return undefined;
  const baseVersion = toInteger(raw.baseVersion) ?? null;
  return { name, version, baseVersion, digest, contentDigest, rows, sizeBytes, files };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
