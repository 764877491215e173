import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Engine } from '../engine/engine.ts';
import { quoteString } from '../engine/sql.ts';
import { ParityError, toParityError } from '../support/error.ts';
import type { S3Location } from './location.ts';
import type { ObjectReader } from './store.ts';

/** How the engine reaches the objects of one reader: `file()` for local folders, `s3()` with a named collection for buckets. */
export interface EngineSource {
  /** Makes the objects reachable. Must be called with all keys before they are named in the other two calls. */
  place(keys: readonly string[]): Promise<void>;
  /** The table function that reads the objects; without `structure` the engine takes the format's own. */
  table(keys: readonly string[], format: string, structure?: string): string;
  /** What the virtual column `_path` says for the object's rows. */
  pathOf(key: string): string;
}

/**
 * Opens the way from the engine to a reader's objects. Keys of a bucket go into a named collection of the engine's memory, never into a
 * query, because queries are logged and quoted in errors. Without credentials the bucket is read unsigned.
 */
export async function openEngineSource(engine: Engine, reader: ObjectReader): Promise<EngineSource> {
  await prepare(engine);
  const { location } = reader;
  switch (location.scheme) {
    case 'file':
      return new FileSource(engine, location.root);
    case 's3':
      return new S3Source(engine, reader, location, await namedCollection(engine, reader));
  }
}

/**
 * Settings that our own SQL relies on: a folder named `x=5` says nothing about a column `x` (the Delta log does), and lists of files and
 * statements over them may be long; text becomes the nearest double, not one beside it.
 */
async function prepare(engine: Engine): Promise<void> {
  if (prepared.has(engine)) return;
  await engine.execute(
    'SET use_hive_partitioning=0, precise_float_parsing=1, max_query_size=1073741824, glob_expansion_max_elements=10000000',
  );
  prepared.add(engine);
}

const prepared = new WeakSet<Engine>();

/** Characters that the engine takes as a pattern (or an archive's member), so that no such name can be written as it is. */
const PATTERN = /[{}*?,\\\n]|::/;

class FileSource implements EngineSource {
  readonly #engine: Engine;
  readonly #root: string;
  readonly #links = new Map<string, string>();

  constructor(engine: Engine, root: string) {
    this.#engine = engine;
    this.#root = root;
  }

  async place(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const path = join(this.#root, key);
      if (!PATTERN.test(path) || this.#links.has(key)) continue;
      const link = await standIn(this.#engine, path);
      await symlink(path, link).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      });
      this.#links.set(key, link);
    }
  }

  table(keys: readonly string[], format: string, structure?: string): string {
    return fileTable(
      keys.map((key) => this.pathOf(key)),
      format,
      structure,
    );
  }

  pathOf(key: string): string {
    return this.#links.get(key) ?? join(this.#root, key);
  }
}

class S3Source implements EngineSource {
  readonly #engine: Engine;
  readonly #reader: ObjectReader;
  readonly #location: S3Location;
  readonly #collection: string | undefined;
  readonly #copies = new Map<string, string>();

  constructor(engine: Engine, reader: ObjectReader, location: S3Location, collection: string | undefined) {
    this.#engine = engine;
    this.#reader = reader;
    this.#location = location;
    this.#collection = collection;
  }

  /** An object whose key reads as a pattern is fetched: no spelling of its address would be taken literally. */
  async place(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      if (!PATTERN.test(key) || this.#copies.has(key)) continue;
      const copy = await standIn(this.#engine, this.#reader.url(key));
      await pipeline(await this.#reader.stream(key), createWriteStream(copy));
      this.#copies.set(key, copy);
    }
  }

  table(keys: readonly string[], format: string, structure?: string): string {
    const remote = keys.filter((key) => !this.#copies.has(key));
    const local = keys.flatMap((key) => this.#copies.get(key) ?? []);
    if (local.length === 0) return this.#remoteTable(remote, format, structure);
    if (remote.length === 0) return fileTable(local, format, structure);
    const columns = format === 'Parquet' ? '*, _path, _row_number' : '*, _path';
    const parts = [this.#remoteTable(remote, format, structure), fileTable(local, format, structure)];
    return `(${parts.map((part) => `SELECT ${columns} FROM ${part}`).join(' UNION ALL ')})`;
  }

  pathOf(key: string): string {
    return this.#copies.get(key) ?? `${this.#location.bucket}/${this.#full(key)}`;
  }

  #remoteTable(keys: readonly string[], format: string, structure: string | undefined): string {
    const url = quoteString(choice(keys.map((key) => s3Url(this.#location, key))));
    const named = structure === undefined ? '' : `, structure=${quoteString(structure)}`;
    if (this.#collection !== undefined)
      return `s3(${this.#collection}, url=${url}, format=${quoteString(format)}${named})`;
    const positional = structure === undefined ? '' : `, ${quoteString(structure)}`;
    return `s3(${url}, NOSIGN, ${quoteString(format)}${positional})`;
  }

  #full(key: string): string {
    return this.#location.root === '' ? key : `${this.#location.root}/${key}`;
  }
}

/** `file()` over absolute paths without pattern characters. Such a list skips a missing file without an error: callers count rows. */
export function fileTable(paths: readonly string[], format: string, structure?: string): string {
  return `file(${quoteString(choice(paths))}, ${quoteString(format)}${structure === undefined ? '' : `, ${quoteString(structure)}`})`;
}

/** The engine's table function for an Iceberg table in a folder; keys reach it as they do for files. */
export async function icebergTable(engine: Engine, reader: ObjectReader, path: string): Promise<string> {
  await prepare(engine);
  const { location } = reader;
  switch (location.scheme) {
    case 'file':
      return `icebergLocal(${quoteString(join(location.root, path))})`;
    case 's3': {
      const collection = await namedCollection(engine, reader);
      const url = quoteString(`${s3Url(location, path)}/`);
      return collection === undefined ? `icebergS3(${url}, NOSIGN)` : `icebergS3(${collection}, url=${url})`;
    }
  }
}

/** Address of an object with every part of its key escaped, as the engine's S3 client wants it. */
function s3Url(location: S3Location, key: string): string {
  const base = location.endpoint ?? `https://s3.${location.region}.amazonaws.com`;
  const full = location.root === '' ? key : `${location.root}/${key}`;
  return `${base}/${location.bucket}/${full.split('/').map(encodeURIComponent).join('/')}`;
}

/** `a/{b,c}` for the names `a/b` and `a/c`: what they share is written once. */
function choice(names: readonly string[]): string {
  const [first = '', ...others] = names;
  if (others.length === 0) return first;
  let shared = first.slice(0, first.lastIndexOf('/') + 1);
  for (const name of others) {
    while (!name.startsWith(shared)) shared = shared.slice(0, shared.lastIndexOf('/', shared.length - 2) + 1);
  }
  return `${shared}{${names.map((name) => name.slice(shared.length)).join(',')}}`;
}

/** A plain path in the engine's scratch folder that stands for an object with an awkward name. */
async function standIn(engine: Engine, url: string): Promise<string> {
  const folder = join(engine.scratch, 'stand-ins');
  await mkdir(folder, { recursive: true });
  return join(folder, createHash('sha256').update(url).digest('hex').slice(0, 32));
}

/** Name of the collection that holds the reader's keys, made anew because temporary keys change; undefined for unsigned access. */
async function namedCollection(engine: Engine, reader: ObjectReader): Promise<string | undefined> {
  const credentials = await reader.credentials();
  if (credentials === undefined) return undefined;
  const name = `parity_${createHash('sha256').update(reader.url('')).digest('hex').slice(0, 24)}`;
  const values = {
    access_key_id: credentials.accessKeyId,
    secret_access_key: credentials.secretAccessKey,
    ...(credentials.sessionToken === undefined ? {} : { session_token: credentials.sessionToken }),
  };
  const list = Object.entries(values).map(([key, value]) => `${key}=${quoteString(value)}`);
  try {
    await engine.execute(`DROP NAMED COLLECTION IF EXISTS ${name}`);
    await engine.execute(`CREATE NAMED COLLECTION ${name} AS ${list.join(', ')}`);
  } catch (error) {
    // The engine may quote the statement, which holds the keys: nothing of it goes further.
    throw new ParityError(toParityError(error).code, `Handing the engine the access keys of ${reader.url('')} failed.`);
  }
  return name;
}
