import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import { ParityError } from '../support/error.ts';
import { retry, throwIfAborted } from '../support/retry.ts';
import { readDeletionVector } from './delta/deletion-vector.ts';
import { joinKey } from './delta/path.ts';
import type { DeltaFile } from './delta/types.ts';
import type { CopyOptions } from './snapshot-copy.ts';
import { listed } from './snapshot-copy.ts';
import { rewriteError, text, withDuckDb } from './snapshot-duckdb.ts';
import { versionMap } from './snapshot-layout.ts';
import { type OwnVersion, writeOwnLog } from './snapshot-log.ts';
import { installMask, maskFingerprint } from './snapshot-mask.ts';
import type { TablePlan } from './snapshot-plan.ts';
import {
  checkInjective,
  chosenRows,
  collectKeys,
  columnsOf,
  type FileRows,
  prepareChoice,
  recordMasks,
  selectColumns,
} from './snapshot-rows.ts';
import type { TableCopyResult } from './snapshot-table.ts';

export interface RewriteOptions {
  /** Folder of the task's own: one data file at a time lies there. */
  readonly scratch: string;
  readonly memoryBytes: number;
  readonly threads: number;
  /** The secret whose `key` masks are made with; read only where something is masked. */
  readonly maskSecret: () => Promise<Readonly<Record<string, string>>>;
}

/** A data file with the version whose columns it is read by. */
type LogicalFile = Pick<FileRows, 'file' | 'version'>;

/**
 * Writes the sampled and masked rows of both versions as new files under a log of their own. A data file travels to the scratch
 * folder, is rewritten there and removed: nothing unmasked reaches the workspace, no old statistics or change data either.
 * Partition columns become plain ones, because paths would tell their values.
 */
export async function rewriteTable(
  plan: TablePlan,
  options: CopyOptions & { readonly rewrite: RewriteOptions },
): Promise<TableCopyResult> {
  const { store, destination, rewrite } = options;
  const secret = plan.table.mask.length === 0 ? undefined : await maskKey(rewrite);
  const leftovers = await listed(store, destination);
  await store.delete([...leftovers.keys()].map((key) => joinKey(destination, key)));
  const written = await withDuckDb(rewrite, async (connection) => {
    try {
      return await rewriteFiles(plan, options, connection, secret);
    } catch (error) {
      throw rewriteError(error, plan.table.name);
    }
  });
  const filesOf = (version: TablePlan['target']) =>
    version.snapshot.files.flatMap((file) => written.get(logicalId(file)) ?? []);
  const target = ownVersion(plan.target, filesOf(plan.target));
  const base = plan.base && ownVersion(plan.base, filesOf(plan.base));
  const rows = target.files.reduce((sum, { numRecords }) => sum + (numRecords ?? 0), 0);
  checkNotEmpty(plan, rows);
  const production = { version: plan.target.snapshot.version, baseVersion: plan.base?.snapshot.version ?? null };
  const copy = await writeOwnLog(store, destination, base, target);
  const bytes = [...written.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return {
    moved: { files: written.size, bytes, serverSide: false },
    copied: {
      name: plan.table.name,
      ...production,
      versions: versionMap(production, copy),
      digest: rewrittenDigest(plan, secret),
      rows,
      sizeBytes: target.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      files: target.files.length,
      isRewritten: true,
    },
  };
}

async function rewriteFiles(
  plan: TablePlan,
  options: CopyOptions & { readonly rewrite: RewriteOptions },
  connection: DuckDBConnection,
  secret: string | undefined,
): Promise<ReadonlyMap<string, DeltaFile>> {
  if (secret !== undefined) await installMask(connection, secret);
  const files = logicalFiles(plan);
  await prepareChoice(connection);
  // A row's sample column may change between the versions: a key chosen in one of them is kept in both.
  for (const logical of files.filter(({ file }) => plan.base !== undefined && !isShared(plan, file))) {
    await withLocalFile(logical, plan, options, connection, (rows) => collectKeys(connection, plan, rows));
  }
  const written = new Map<string, DeltaFile>();
  for (const logical of files) {
    await withLocalFile(logical, plan, options, connection, async (rows) => {
      await recordMasks(connection, plan, rows);
      const file = await writeFile(rows, plan, options, connection);
      if (file !== undefined) written.set(logicalId(rows.file), file);
    });
    options.onBytes(logical.file.sizeBytes);
  }
  await checkInjective(connection, plan);
  return written;
}

/** Writes the file's chosen rows, masked, and puts them in the store; undefined where none is chosen. */
async function writeFile(
  rows: FileRows,
  plan: TablePlan,
  options: CopyOptions & { readonly rewrite: RewriteOptions },
  connection: DuckDBConnection,
): Promise<DeltaFile | undefined> {
  const path = `part-${createHash('sha256').update(logicalId(rows.file)).digest('hex').slice(0, 32)}.zstd.parquet`;
  const out = `${options.rewrite.scratch}/rewritten.parquet`;
  const columns = selectColumns(plan, rows).join(', ');
  const select = `SELECT ${columns} FROM ${rows.sql} AS t WHERE ${chosenRows(plan, rows)}`;
  try {
    const copied = await connection.runAndReadAll(
      // Without dictionaries: in one, -0.0 and 0.0 become the same value.
      `COPY (${select}) TO ${text(out)} (FORMAT parquet, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT 0)`,
    );
    const numRecords = Number(copied.getRows()[0]?.[0] ?? 0);
    if (numRecords === 0) return undefined;
    const { size: sizeBytes } = await stat(out);
    await retry(() => options.store.putStream(joinKey(options.destination, path), createReadStream(out), sizeBytes), {
      attempts: 4,
      signal: options.signal,
    });
    const found = await options.store.head(joinKey(options.destination, path));
    if (found?.sizeBytes !== sizeBytes) {
      throw new ParityError(
        'CorruptTable',
        `Writing ${options.store.url(joinKey(options.destination, path))} left ${found?.sizeBytes ?? 0} of ${sizeBytes} bytes`,
      );
    }
    return {
      path,
      sizeBytes,
      partitionValues: {},
      numRecords,
      deletionVector: undefined,
      modificationTimeMs: 0,
      stats: undefined,
    };
  } finally {
    await rm(out, { force: true });
  }
}

/** Runs `work` with the live rows of a data file, as a table expression, while the file lies in the scratch folder. */
async function withLocalFile(
  { file, version }: LogicalFile,
  plan: TablePlan,
  options: CopyOptions & { readonly rewrite: RewriteOptions },
  connection: DuckDBConnection,
  work: (rows: FileRows) => Promise<void>,
): Promise<void> {
  throwIfAborted(options.signal);
  const local = `${options.rewrite.scratch}/original.parquet`;
  try {
    await download(file, plan, options, local);
    await loadDeletedRows(file, plan, options, connection);
    const all = `read_parquet(${text(local)}, file_row_number = true, hive_partitioning = false)`;
    const live =
      file.deletionVector === undefined
        ? all
        : `(SELECT * FROM ${all} ANTI JOIN parity_deleted USING (file_row_number))`;
    await checkCount(connection, live, file, options.reader.url(joinKey(plan.table.path, file.path)));
    await work({ file, version, sql: live, columns: await columnsOf(connection, live) });
  } finally {
    await rm(local, { force: true });
  }
}

async function download(file: DeltaFile, plan: TablePlan, options: CopyOptions, local: string): Promise<void> {
  const key = joinKey(plan.table.path, file.path);
  await retry(async () => pipeline(await options.reader.stream(key), createWriteStream(local)), {
    attempts: 4,
    signal: options.signal,
  });
  const { size } = await stat(local);
  if (size === file.sizeBytes) return;
  const url = options.reader.url(key);
  throw new ParityError('CorruptTable', `${url} has ${size} bytes, where the table's log says ${file.sizeBytes}`, {
    subject: url,
    advice: 'The object was truncated or overwritten: restore it, or name a version without it',
  });
}

/** Row numbers only: the rows themselves never become objects here. */
async function loadDeletedRows(
  file: DeltaFile,
  plan: TablePlan,
  options: CopyOptions,
  connection: DuckDBConnection,
): Promise<void> {
  if (file.deletionVector === undefined) return;
  await connection.run('CREATE OR REPLACE TEMP TABLE parity_deleted (file_row_number BIGINT)');
  const appender = await connection.createAppender('parity_deleted');
  try {
    for (const row of await readDeletionVector(options.reader, plan.table.path, file.deletionVector)) {
      appender.appendBigInt(BigInt(row));
      appender.endRow();
    }
  } finally {
    appender.closeSync();
  }
}

/** No row is lost on the way: what is read is what the log counts. */
async function checkCount(connection: DuckDBConnection, rows: string, file: DeltaFile, url: string): Promise<void> {
  const expected = (file.numRecords ?? 0) - (file.deletionVector?.cardinality ?? 0);
  const found = Number((await connection.runAndReadAll(`SELECT count(*) FROM ${rows}`)).getRows()[0]?.[0]);
  if (found === expected) return;
  throw new ParityError('CorruptTable', `${url} has ${found} live rows, where the table's log says ${expected}`, {
    subject: url,
  });
}

/** Each file of both versions once for each deletion vector, with the version whose columns it is read by. */
function logicalFiles(plan: TablePlan): readonly LogicalFile[] {
  const files = new Map<string, LogicalFile>();
  for (const version of plan.base === undefined ? [plan.target] : [plan.base, plan.target]) {
    for (const file of version.snapshot.files) files.set(logicalId(file), { file, version });
  }
  return [...files.values()];
}

function isShared(plan: TablePlan, file: DeltaFile): boolean {
  const id = logicalId(file);
  const has = (version: TablePlan['target'] | undefined) =>
    version?.snapshot.files.some((other) => logicalId(other) === id);
  return has(plan.base) === true && has(plan.target) === true;
}

function logicalId(file: DeltaFile): string {
  return `${file.path}\n${file.deletionVector?.uniqueId ?? ''}`;
}

/** The table's description without what is no longer true: partitions, vectors, change data, columns found by id. */
function ownVersion({ snapshot, metaData }: TablePlan['target'], files: readonly DeltaFile[]): OwnVersion {
  const features = snapshot.protocol.readerFeatures.filter((feature) => STILL_NEEDED.has(feature));
  const protocol =
    snapshot.protocol.minReaderVersion < 3
      ? snapshot.protocol
      : features.length === 0
        ? { minReaderVersion: 1, minWriterVersion: 2, readerFeatures: [], writerFeatures: [] }
        : { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: features, writerFeatures: features };
  const highest = metaData.configuration[MAPPING_HIGHEST_ID];
  const configuration: Record<string, string> =
    snapshot.columnMapping === 'none'
      ? {}
      : { [MAPPING_MODE]: 'name', ...(highest === undefined ? {} : { [MAPPING_HIGHEST_ID]: highest }) };
  return { protocol, metaData: { ...metaData, partitionColumns: [], configuration }, files };
}

const STILL_NEEDED: ReadonlySet<string> = new Set(['columnMapping', 'timestampNtz']);
const MAPPING_MODE = 'delta.columnMapping.mode';
const MAPPING_HIGHEST_ID = 'delta.columnMapping.maxColumnId';

/** A run over nothing would pass whatever the pipeline does. */
function checkNotEmpty(plan: TablePlan, rows: number): void {
  const { sample } = plan.table;
  if (sample === undefined || rows > 0 || plan.target.snapshot.rows === 0) return;
  throw new ParityError(
    'InvalidSpec',
    `The sample of ${plan.table.name}, ${sample.percent} percent by ${sample.by}, holds none of its ${plan.target.snapshot.rows} rows`,
    {
      subject: `spec.snapshot.tables[${plan.table.name}].sample`,
      advice: 'Raise the percentage, or sample by a column with more different values',
    },
  );
}

/** Another key makes another content. */
export function rewrittenDigest(plan: TablePlan, secret: string | undefined): string {
  if (secret === undefined) return plan.digest;
  return createHash('sha256')
    .update(`${plan.digest} ${maskFingerprint(secret)}`)
    .digest('hex');
}

/** The key of the secret `mask`. Throws `NotFound` where there is none. */
export async function maskKey(rewrite: RewriteOptions): Promise<string> {
  const { key } = await rewrite.maskSecret();
  if (key !== undefined && key !== '') return key;
  throw new ParityError('NotFound', "The secret for masks has no key 'key'", {
    subject: 'spec.snapshot.maskSecretRef',
    advice: 'Give it one: the same key gives the same masks in every run',
  });
}
