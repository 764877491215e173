import { randomUUID } from 'node:crypto';
import { constants, createWriteStream } from 'node:fs';
import { copyFile, link, open, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ParityError } from '../support/error.ts';
import { makeFolder } from '../support/folder.ts';
import { FileReader, fileError, hasCode, pathOfKey, TEMPORARY_MARK } from './file-reader.ts';
import { formatLocation } from './location.ts';
import type { Requests } from './requests.ts';
import type { Location, ObjectStore } from './store.ts';

/** Objects in a folder that a run owns. Every write is complete or absent: written aside, flushed, then given its name. */
export class FileStore extends FileReader implements ObjectStore {
  async put(key: string, body: Uint8Array | string): Promise<void> {
    await this.#write(key, (path) => writeFlushed(path, body), rename);
  }

  async putIfAbsent(key: string, body: Uint8Array | string): Promise<boolean> {
    try {
      // A link, unlike a rename, fails where the name is taken.
      await this.#write(key, (path) => writeFlushed(path, body), link);
      return true;
    } catch (error) {
      if (error instanceof ParityError && hasCode(error.cause, 'EEXIST')) return false;
      throw error;
    }
  }

  async putStream(key: string, body: Readable, sizeBytes: number): Promise<void> {
    try {
      await this.#write(key, (path) => streamFlushed(path, body, sizeBytes, this.url(key)), rename);
    } finally {
      body.destroy();
    }
  }

  async copyFrom(
    source: Location,
    sourceKey: string,
    key: string,
    sizeBytes: number,
    requests: Requests,
  ): Promise<void> {
    if (source.scheme !== 'file') {
      throw new ParityError('Internal', `A file store cannot copy from ${formatLocation(source)} by itself`);
    }
    const from = pathOfKey(source, sourceKey);
    const sourceUrl = `${formatLocation(source)}/${sourceKey}`;
    await requests.take();
    // A clone shares blocks where the file system can, and is still a copy of its own: never a hard link.
    const found = await stat(from).catch((error) => {
      throw fileError(error, 'Reading', sourceUrl);
    });
    if (found.size !== sizeBytes) throw otherSize(sourceUrl, found.size, sizeBytes);
    await this.#write(key, (path) => cloneFlushed(from, path, sizeBytes, this.url(key)), rename);
  }

  async delete(keys: readonly string[]): Promise<void> {
    const folders = new Set<string>();
    for (const key of keys) {
      await this.requests.take();
      try {
        await rm(this.path(key), { force: true });
      } catch (error) {
        throw fileError(error, 'Deleting', this.url(key));
      }
      folders.add(dirname(key));
    }
    for (const folder of folders) await this.#removeEmpty(folder);
  }

  protected override isListed(): boolean {
    return true;
  }

  /** Object stores have no folders: one that became empty goes, and its parents up to the root. */
  async #removeEmpty(folder: string): Promise<void> {
    for (let at = folder; at !== '.' && at !== ''; at = dirname(at)) {
      try {
        await rmdir(this.path(at));
      } catch {
        return;
      }
    }
  }

  async #write(
    key: string,
    write: (path: string) => Promise<void>,
    give: (from: string, to: string) => Promise<void>,
  ): Promise<void> {
    await this.requests.take();
    const path = this.path(key);
    const partial = join(dirname(path), `${TEMPORARY_MARK}${randomUUID()}`);
    try {
      await makeFolder(dirname(path), 0o777);
      await write(partial);
      await give(partial, path);
    } catch (error) {
      throw fileError(error, 'Writing', this.url(key));
    } finally {
      // The error that matters is the one above, if there was one.
      await rm(partial, { force: true }).catch(() => undefined);
    }
  }
}

async function writeFlushed(path: string, body: Uint8Array | string): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(body);
    await file.datasync();
  } finally {
    await file.close();
  }
}

async function streamFlushed(path: string, body: Readable, sizeBytes: number, url: string): Promise<void> {
  const out = createWriteStream(path, { flags: 'wx', flush: true, highWaterMark: 1024 * 1024 });
  await pipeline(body, out);
  if (out.bytesWritten !== sizeBytes) throw wrongSize(url, out.bytesWritten, sizeBytes);
}

async function cloneFlushed(from: string, to: string, sizeBytes: number, url: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
  const file = await open(to, 'r+');
  try {
    const { size } = await file.stat();
    if (size !== sizeBytes) throw wrongSize(url, size, sizeBytes);
    await file.datasync();
  } finally {
    await file.close();
  }
}

function otherSize(url: string, found: number, expected: number): ParityError {
  return new ParityError('CorruptTable', `${url} has ${found} bytes, where ${expected} were expected`, {
    subject: url,
    advice: 'The file was truncated or overwritten: restore it, or name a version without it',
  });
}

function wrongSize(url: string, found: number, expected: number): ParityError {
  return new ParityError('CorruptTable', `Writing ${url} got ${found} bytes where ${expected} were expected`, {
    subject: url,
  });
}
