import { resolve } from 'node:path';
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
