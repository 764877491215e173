import { readdir, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import type { Engine } from '../engine/engine.ts';
import { ParityError } from '../support/error.ts';
import { readDeltaSnapshot } from './delta/log.ts';
import { icebergRelation } from './format-iceberg.ts';
import { parquetRelation } from './format-parquet.ts';
import { textRelation } from './format-text.ts';
import { openReader } from './open.ts';
import type { Relation } from './relation.ts';
import { deltaRelation } from './relation-delta.ts';
import type { ObjectReader } from './store.ts';

export interface OpenOptions {
  /** `http(s)://host[:port]` of an S3-compatible server. */
  readonly endpoint?: string;
  readonly region?: string;
  /** Keys `accessKeyId`, `secretAccessKey`, `sessionToken`; left out: the environment's. */
  readonly secret?: Readonly<Record<string, string>>;
  /** Folder that relative paths start from; the working directory where it is left out. */
  readonly folder?: string;
  readonly partitionTimeZone?: string;
  /** Columns that are left out of Delta, Iceberg and Parquet: not even looked at. */
  readonly omit?: readonly string[];
}

/**
 * The table that a text names: `delta:`, `parquet:`, `iceberg:`, `csv:` or `ndjson:` before a path, `file:` or `s3://` location, with
 * `@version` behind it for time travel (Delta versions, Iceberg snapshot ids). Parquet, CSV and NDJSON locations are a file, a folder or a
 * pattern with `*`. Without a format, a folder with `_delta_log` is Delta and any other is Parquet.
 *
 * CSV files start with a header; types of CSV and NDJSON columns are those that every value has. Throws `BadUsage` for a text that names no
 * table, `NotFound` where nothing is there, `UnsupportedFeature` naming a column that cannot be read exactly.
 */
export async function openRelation(engine: Engine, text: string, options: OpenOptions = {}): Promise<Relation> {
  const place = parsePlace(text, options.folder ?? process.cwd());
  const { endpoint, region } = options;
  const storage = {
    location: place.root,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
  };
  const reader = await openReader(storage, options.secret);
  try {
    return await open(engine, reader, place, options);
  } finally {
    reader.close();
  }
}

export interface Place {
  readonly format: 'delta' | 'parquet' | 'iceberg' | 'csv' | 'ndjson' | undefined;
  /** A `file://` or `s3://` location that holds the table or files. */
  readonly root: string;
  /** Below the root: the table's folder, a file, or a pattern; '' is the root itself. */
  readonly path: string;
  readonly version: string | undefined;
}

/** The parts of `delta:s3://bucket/lake/flights@12`. */
export function parsePlace(text: string, folder: string): Place {
  const [, prefix, rest = text] = /^(delta|parquet|iceberg|csv|ndjson):(.*)$/s.exec(text) ?? [];
  const format = formats.find((name) => name === prefix);
  const [, address = rest, version] =
    format === 'delta' || format === 'iceberg' ? (/^(.*?)@(\d+)$/s.exec(rest) ?? []) : [];
  if (
    address === '' ||
    (!address.startsWith('s3://') && /^[a-z][a-z0-9+.-]*:\/\//i.test(address) && !address.startsWith('file:'))
  ) {
    throw new ParityError('BadUsage', `'${text}' names no table.`, {
      advice:
        'Write FORMAT:LOCATION, for example delta:s3://bucket/lake/flights@12, parquet:out/*.parquet or csv:rows.csv.',
    });
  }
  if (address.startsWith('s3://')) {
    const [, bucket = '', key = ''] = /^s3:\/\/([^/]*)\/?(.*)$/s.exec(address) ?? [];
    return { format, root: `s3://${bucket}`, path: key.replace(/\/+$/, ''), version };
  }
  const given = address.startsWith('file:') ? decodeURIComponent(address.replace(/^file:(\/\/)?/, '')) : address;
  const parts = resolve(folder, given)
    .split('/')
    .filter((part) => part !== '');
  const pattern = format === 'delta' || format === 'iceberg' ? -1 : parts.findIndex((part) => /[*?]/.test(part));
  const path = parts.splice(pattern === -1 ? parts.length - 1 : pattern).join('/');
  return { format, root: `file:///${parts.join('/').replaceAll('%', '%25')}`, path, version };
}

const formats = ['delta', 'parquet', 'iceberg', 'csv', 'ndjson'] as const;

async function open(engine: Engine, reader: ObjectReader, place: Place, options: OpenOptions): Promise<Relation> {
  const { path, version } = place;
  const format = place.format ?? ((await isDelta(reader, path)) ? 'delta' : 'parquet');
  switch (format) {
    case 'delta': {
      const snapshot = await readDeltaSnapshot(reader, path, version === undefined ? undefined : Number(version));
      return await deltaRelation(engine, reader, path, snapshot, options);
    }
    case 'parquet':
      return await parquetRelation(engine, reader, path, options.omit);
    case 'iceberg':
      return await icebergRelation(engine, reader, path, version, options.omit);
    case 'csv':
    case 'ndjson':
      return await textRelation(engine, reader, path, format);
  }
}

async function isDelta(reader: ObjectReader, path: string): Promise<boolean> {
  for await (const _ of reader.list(`${path}/_delta_log/`)) return true;
  return false;
}

/**
 * Keys of the files that a path means, in order: itself, those below it that end in one of the suffixes, or those that a pattern matches
 * (`*` within a folder, `**` across). Names with a leading `_` or `.` are no data, but for partitions of columns so named (`_day=5`). Throws `NotFound` where there is none.
 */
export async function filesAt(reader: ObjectReader, path: string, suffixes: readonly string[]): Promise<string[]> {
  const isPattern = /[*?]/.test(path);
  if (!isPattern && (await reader.head(path)) !== undefined) return [path];
  const prefix = isPattern ? path.slice(0, path.search(/[*?]/)) : `${path}/`;
  const folder = isPattern ? prefix.slice(0, prefix.lastIndexOf('/') + 1) : prefix;
  const matches = isPattern ? patternExpression(path) : undefined;
  const keys: string[] = [];
  const unclear: string[] = [];
  const isHidden = (key: string): boolean =>
    key
      .slice(folder.length)
      .split('/')
      .some((part) => /^(\.|_[^=]*$)/.test(part));
  for await (const { key } of reader.list(isPattern ? folder : prefix)) {
    const isMeant =
      matches === undefined
        ? !isHidden(key) && suffixes.some((suffix) => key.toLowerCase().endsWith(suffix))
        : matches.test(key);
    if (isMeant) keys.push(key);
    else if (matches === undefined && !isHidden(key) && mayBeMeant(key, suffixes)) unclear.push(key);
  }
  const links = isPattern || keys.length === 0 ? [] : await brokenLinks(reader, folder);
  const [odd] = [...unclear.filter(() => keys.length > 0), ...links.filter((key) => !isHidden(key))];
  if (odd !== undefined)
    throw new ParityError(
      'UnsupportedFeature',
      `${reader.url(odd)} lies among the ${suffixes[0]} files and may be one, but does not read as such.`,
      {
        subject: reader.url(odd),
        advice: `Remove it, or name the files that are meant by a pattern such as ${reader.url(path)}/*${suffixes[0]}.`,
      },
    );
  if (keys.length > 0) return keys;
  throw new ParityError('NotFound', `No ${suffixes.join(' or ')} file was found at ${reader.url(path)}.`, {
    subject: reader.url(path),
  });
}

/** Files without an ending (`part-00001`), or with one more (`a.csv.bz2`): left out, a table without them could be equal to one without their rows. */
function mayBeMeant(key: string, suffixes: readonly string[]): boolean {
  const name = key.slice(key.lastIndexOf('/') + 1).toLowerCase();
  return !name.includes('.') || suffixes.some((suffix) => name.includes(`${suffix}.`));
}

/** Links to folders, which are not followed, and to nothing. */
async function brokenLinks({ location }: ObjectReader, folder: string): Promise<string[]> {
  if (location.scheme !== 'file') return [];
  const entries = await readdir(join(location.root, folder), { withFileTypes: true, recursive: true });
  const links = entries.filter((entry) => entry.isSymbolicLink()).map((entry) => join(entry.parentPath, entry.name));
  const found = await Promise.all(links.map(async (link) => ({ link, at: await stat(link).catch(() => undefined) })));
  return found.flatMap(({ link, at }) => (at?.isFile() === true ? [] : [relative(location.root, link)]));
}

function patternExpression(pattern: string): RegExp {
  const source = pattern.replace(/\*\*|[*?]|[.+^${}()|[\]\\]/g, (found) =>
    found === '**' ? '.*' : found === '*' ? '[^/]*' : found === '?' ? '[^/]' : `\\${found}`,
  );
  return new RegExp(`^${source}$`, 's');
}
