import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { ParityError } from '../support/error.ts';
import { type FileLocation, formatLocation } from './location.ts';
import { Requests } from './requests.ts';
import type { ObjectInfo, ObjectReader, S3Credentials } from './store.ts';

/** Files being written carry this in their name until they are complete; readers never see them. */
export const TEMPORARY_MARK = '.parity-partial-';

/** Objects in a folder, read only: this module imports no call that writes. */
export class FileReader implements ObjectReader {
  readonly location: FileLocation;
  protected readonly requests: Requests;

  constructor(location: FileLocation, requests: Requests = new Requests()) {
    this.location = location;
    this.requests = requests;
  }

  async *list(prefix: string, options: { startAfter?: string } = {}): AsyncIterable<ObjectInfo> {
    // The folder part of the prefix is where the walk begins; the rest filters.
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    for await (const key of this.#walk(folder)) {
      if (!key.startsWith(prefix) || (options.startAfter !== undefined && key <= options.startAfter)) continue;
      const found = await this.head(key);
      if (found !== undefined) yield found;
    }
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    await this.requests.take();
    try {
      const found = await stat(this.path(key));
      return found.isFile() ? { key, sizeBytes: found.size, modifiedMs: Math.floor(found.mtimeMs) } : undefined;
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw fileError(error, 'Looking at', this.url(key));
    }
  }

  async get(key: string): Promise<Buffer> {
    await this.requests.take();
    try {
      return await readFile(this.path(key));
    } catch (error) {
      throw fileError(error, 'Reading', this.url(key));
    }
  }

  async stream(key: string, range?: { startByte: number; endByteInclusive: number }): Promise<Readable> {
    await this.requests.take();
    const bounds = range === undefined ? {} : { start: range.startByte, end: range.endByteInclusive };
    const file = createReadStream(this.path(key), { ...bounds, highWaterMark: 256 * 1024 });
    await new Promise<void>((resolve, reject) => {
      file.once('open', () => resolve());
      file.once('error', (error) => reject(fileError(error, 'Reading', this.url(key))));
    });
    return file;
  }

  url(key: string): string {
    return `${formatLocation(this.location)}/${key}`;
  }

  async credentials(): Promise<S3Credentials | undefined> {
    return undefined;
  }

  close(): void {}

  protected path(key: string): string {
    return pathOfKey(this.location, key);
  }

  /** What is half written is no object. Its owner sees it all the same, to remove what a killed writer left. */
  protected isListed(name: string): boolean {
    return !name.includes(TEMPORARY_MARK);
  }

  /** Keys in the order of S3: by the bytes of the whole key, so a folder sorts as its name with a slash. */
  async *#walk(folder: string): AsyncIterable<string> {
    await this.requests.take();
    const entries = await this.#entries(folder);
    const names = entries.map((entry) => (entry.isFolder ? `${entry.name}/` : entry.name));
    names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const name of names) {
      if (name.endsWith('/')) yield* this.#walk(`${folder}${name}`);
      else yield `${folder}${name}`;
    }
  }

  async #entries(folder: string): Promise<{ name: string; isFolder: boolean }[]> {
    try {
      const entries = await readdir(this.path(folder), { withFileTypes: true });
      return entries
        .filter((entry) => this.isListed(entry.name))
        .map((entry) => ({ name: entry.name, isFolder: entry.isDirectory() }));
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return [];
      throw fileError(error, 'Listing', this.url(folder));
    }
  }
}

/** The path of a key. Keys come from tables' logs as well: `AccessDenied` for one that leaves the root. */
export function pathOfKey(location: FileLocation, key: string): string {
  if (key.startsWith('/') || key.split('/').some((part) => part === '..' || part === '.')) {
    throw new ParityError('AccessDenied', `The key '${key}' leaves ${formatLocation(location)}`);
  }
  return join(location.root, key);
}

/** The error people can act on for what the file system reported. */
export function fileError(error: unknown, doing: string, url: string): ParityError {
  if (error instanceof ParityError) return error;
  if (hasCode(error, 'ENOENT', 'ENOTDIR')) {
    return new ParityError('NotFound', `${doing} ${url} failed: it does not exist`, { cause: error, subject: url });
  }
  if (hasCode(error, 'EACCES', 'EPERM', 'EROFS')) {
    return new ParityError('AccessDenied', `${doing} ${url} failed: this user may not`, { cause: error, subject: url });
  }
  if (hasCode(error, 'ENOSPC', 'EDQUOT')) {
    const advice = 'Free space there, or choose another location';
    return new ParityError('DiskFull', `${doing} ${url} failed: the disk is full`, {
      cause: error,
      subject: url,
      advice,
    });
  }
  const found = error instanceof Error ? error.message : String(error);
  return new ParityError('Internal', `${doing} ${url} failed: ${found}`, { cause: error, subject: url });
}

export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code);
}
