import { ParityError } from '../../support/error.ts';
import type { ObjectReader } from '../store.ts';
import { joinKey } from './path.ts';

/** One object of `_delta_log/`, by what its name says (https://github.com/delta-io/delta/blob/master/PROTOCOL.md#delta-log-entries). */
export interface LogFile {
  readonly name: string;
  /** Key in the reader. */
  readonly key: string;
  readonly sizeBytes: number;
  readonly entry:
    | { readonly kind: 'commit'; readonly version: number }
    | { readonly kind: 'compacted'; readonly from: number; readonly to: number }
    | { readonly kind: 'checkpoint'; readonly version: number }
    | { readonly kind: 'checkpoint-part'; readonly version: number; readonly part: number; readonly of: number }
    | { readonly kind: 'checkpoint-v2'; readonly version: number; readonly format: 'json' | 'parquet' };
}

/** The fewest log files from which one version can be rebuilt: a complete checkpoint (or none), then what came after it. */
export interface LogSegment {
  readonly version: number;
  /** All parts of one checkpoint, in order; empty where the log is read from its first commit. */
  readonly checkpoint: readonly LogFile[];
  readonly checkpointVersion: number | undefined;
  /** Commits, and compacted ones where commits are missing, in the order of their versions. */
  readonly commits: readonly LogFile[];
}

/** The table's log files in name order. Throws `NotFound` where `path` holds no Delta table. */
export async function listLog(reader: ObjectReader, path: string): Promise<readonly LogFile[]> {
  const folder = joinKey(path, '_delta_log/');
  const files: LogFile[] = [];
  for await (const { key, sizeBytes } of reader.list(folder)) {
    const name = key.slice(folder.length);
    // Names of versions begin with a digit; what sorts behind them (_sidecars, _last_checkpoint) is not needed here.
    if (name > ':') break;
    const entry = parseName(name);
    if (entry !== undefined) files.push({ name, key, sizeBytes, entry });
  }
  if (files.length > 0) return files;
  throw new ParityError('NotFound', `${reader.url(path)} is not a Delta table: it has no log in _delta_log/`, {
    subject: reader.url(path),
    advice: "Check the location and the table's path",
  });
}

/** The versions that the log can rebuild, ascending. Data files of old ones may have been vacuumed all the same. */
export function readableVersions(files: readonly LogFile[]): readonly number[] {
  const commits = new Set(files.flatMap(({ entry }) => (entry.kind === 'commit' ? [entry.version] : [])));
  const checkpoints = new Set(completeCheckpoints(files).keys());
  const readable: number[] = [];
  let isReadable = false;
  const all = [...new Set([...commits, ...checkpoints])].sort((a, b) => a - b);
  for (const [index, version] of all.entries()) {
    const follows: boolean = index === 0 ? version === 0 : isReadable && all[index - 1] === version - 1;
    isReadable = checkpoints.has(version) || (follows && commits.has(version));
    if (isReadable) readable.push(version);
  }
  return readable;
}

/**
 * What has to be read for `version`. Throws `VersionGone`, naming the versions that are there, where the log no longer (or not
 * yet) reaches it, and `CorruptTable` where a commit between is missing.
 */
export function segmentOf(files: readonly LogFile[], version: number, url: string): LogSegment {
  const checkpoints = [...completeCheckpoints(files)].filter(([at]) => at <= version).sort(([a], [b]) => b - a);
  const [checkpointVersion, checkpoint] = checkpoints[0] ?? [undefined, []];
  const commits: LogFile[] = [];
  let next = checkpointVersion === undefined ? 0 : checkpointVersion + 1;
  while (next <= version) {
    const file = commitAt(files, next, version);
    if (file === undefined) throw missingCommit(files, next, version, url);
    commits.push(file);
    next = file.entry.kind === 'compacted' ? file.entry.to + 1 : next + 1;
  }
  return { version, checkpoint, checkpointVersion, commits };
}

/** The newest version that the log names. */
export function latestVersion(files: readonly LogFile[]): number {
  return Math.max(...files.map(({ entry }) => (entry.kind === 'compacted' ? entry.to : entry.version)));
}

function parseName(name: string): LogFile['entry'] | undefined {
  const match = LOG_NAME.exec(name);
  if (match?.groups === undefined) return undefined;
  const { version, to, part, of, format, uuid } = match.groups;
  const at = Number(version);
  if (to !== undefined) return { kind: 'compacted', from: at, to: Number(to) };
  if (part !== undefined) return { kind: 'checkpoint-part', version: at, part: Number(part), of: Number(of) };
  if (uuid !== undefined) return { kind: 'checkpoint-v2', version: at, format: format === 'json' ? 'json' : 'parquet' };
  return name.endsWith('.json') ? { kind: 'commit', version: at } : { kind: 'checkpoint', version: at };
}

const LOG_NAME = new RegExp(
  '^(?<version>\\d{20})\\.(?:' +
    [
      'json',
      '(?<to>\\d{20})\\.compacted\\.json',
      'checkpoint\\.parquet',
      'checkpoint\\.(?<part>\\d{10})\\.(?<of>\\d{10})\\.parquet',
      'checkpoint\\.(?<uuid>[0-9a-fA-F-]{36})\\.(?<format>json|parquet)',
    ].join('|') +
    ')$',
);

/** Checkpoints by version; a multi-part one only with all its parts. Where a version has several, any of them says the same. */
function completeCheckpoints(files: readonly LogFile[]): Map<number, readonly LogFile[]> {
  const complete = new Map<number, readonly LogFile[]>();
  const parts = new Map<string, LogFile[]>();
  for (const file of files) {
    const { entry } = file;
    if (entry.kind === 'checkpoint' || entry.kind === 'checkpoint-v2') complete.set(entry.version, [file]);
    if (entry.kind !== 'checkpoint-part') continue;
    const found = [...(parts.get(`${entry.version}/${entry.of}`) ?? []), file];
    parts.set(`${entry.version}/${entry.of}`, found);
    if (found.length === entry.of && !complete.has(entry.version)) complete.set(entry.version, found);
  }
  return complete;
}

/** The commit itself; where it is missing, the longest compacted one that begins there and does not pass `last`. */
function commitAt(files: readonly LogFile[], version: number, last: number): LogFile | undefined {
  const commit = files.find(({ entry }) => entry.kind === 'commit' && entry.version === version);
  if (commit !== undefined) return commit;
  return files
    .filter(({ entry }) => entry.kind === 'compacted' && entry.from === version && entry.to <= last)
    .sort((a, b) => a.name.localeCompare(b.name))
    .at(-1);
}

function missingCommit(files: readonly LogFile[], missing: number, version: number, url: string): ParityError {
  const there = readableVersions(files);
  const latest = latestVersion(files);
  if (version <= latest && there.some((at) => at < missing) && there.some((at) => at > version)) {
    return corrupt(missing, version, url);
  }
  if (version > latest || there.includes(latest)) {
    const newer = version > latest;
    return new ParityError(
      'VersionGone',
      `Version ${version} of ${url} ${newer ? 'does not exist' : 'is gone from the log'}: ${ranges(there)} can be read`,
      {
        subject: url,
        advice: newer
          ? 'Name one of these versions'
          : 'Name one of these versions, and keep what tests need with `parity snapshot keep`, out of reach of VACUUM and log retention',
      },
    );
  }
  return corrupt(missing, version, url);
}

function corrupt(missing: number, version: number, url: string): ParityError {
  const name = `${String(missing).padStart(20, '0')}.json`;
  return new ParityError('CorruptTable', `The log of ${url} cannot rebuild version ${version}: ${name} is missing`, {
    subject: url,
    advice: 'Restore the commit, or name a version that the log can rebuild',
  });
}

/** `versions 3, 8 to 12`, shortened where there are many ranges. */
function ranges(versions: readonly number[]): string {
  const found: [number, number][] = [];
  for (const version of versions) {
    const last = found.at(-1);
    if (last !== undefined && last[1] === version - 1) last[1] = version;
    else found.push([version, version]);
  }
  if (found.length === 0) return 'no version';
  const shown = found.slice(-5).map(([from, to]) => (from === to ? `${from}` : `${from} to ${to}`));
  return `${versions.length === 1 ? 'version' : 'versions'} ${found.length > 5 ? '…, ' : ''}${shown.join(', ')}`;
}
