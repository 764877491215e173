import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { link, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import type { SyncRequest } from './request.ts';

/** Where the files of a table lie, by names such as `_delta_log/….json`. */
export interface Folder {
  /** Names of the files right below a folder of it. */
  names(below: string): Promise<readonly string[]>;
  text(name: string): Promise<string>;
  /** Path of the file, or of a copy of it, on this machine. */
  local(name: string): Promise<string>;
  /** Has `write` make the file at a path of this machine. Returns its bytes. */
  add(name: string, write: (path: string) => Promise<void>): Promise<number>;
  /** Makes the file at once and whole. Fails where it is there already. */
  create(name: string, text: string): Promise<void>;
  remove(name: string): Promise<void>;
  close(): void;
}

/** `file:///…`, or `s3://bucket/…` with the keys of the worker's own environment; `scratch` takes what is on its way. */
export function openFolder(location: string, storage: SyncRequest['storage'], scratch: string): Folder {
  return location.startsWith('s3:') ? inBucket(location, storage, scratch) : onDisk(fileURLToPath(location));
}

function onDisk(folder: string): Folder {
  return {
    names: (below) => readdir(join(folder, below)).catch(() => []),
    text: (name) => readFile(join(folder, name), 'utf8'),
    local: async (name) => join(folder, name),
    async add(name, write) {
      await mkdir(folder, { recursive: true });
      await write(join(folder, name));
      return (await stat(join(folder, name))).size;
    },
    async create(name, text) {
      const aside = join(folder, dirname(name), `.${randomUUID()}.tmp`);
      await mkdir(dirname(aside), { recursive: true });
      await writeFile(aside, text);
      try {
        await link(aside, join(folder, name));
      } finally {
        await rm(aside);
      }
    },
    remove: (name) => rm(join(folder, name)),
    close: () => undefined,
  };
}

function inBucket(location: string, { endpoint, region }: SyncRequest['storage'], scratch: string): Folder {
  const { host, pathname } = new URL(location);
  const prefix = decodeURIComponent(pathname).replace(/^\/|\/$/g, '');
  const client = new S3Client({
    ...(endpoint === null ? {} : { endpoint, forcePathStyle: true }),
    region: region ?? process.env.AWS_REGION ?? 'us-east-1',
  });
  const at = (name: string): { Bucket: string; Key: string } => ({ Bucket: host, Key: `${prefix}/${name}` });
  const read = async (name: string): Promise<Readable> => {
    const { Body } = await client.send(new GetObjectCommand(at(name)));
    if (!(Body instanceof Readable)) throw new Error(`${location}/${name} has no content`);
    return Body;
  };
  return {
    async names(below) {
      const names: string[] = [];
      for (let token: string | undefined, more = true; more; more = token !== undefined) {
        const { Bucket, Key } = at(`${below}/`);
        const page = await client.send(new ListObjectsV2Command({ Bucket, Prefix: Key, ContinuationToken: token }));
        names.push(...(page.Contents ?? []).map((one) => basename(one.Key ?? '')));
        token = page.NextContinuationToken;
      }
      return names;
    },
    text: async (name) => Buffer.concat(await (await read(name)).toArray()).toString('utf8'),
    async local(name) {
      const path = join(scratch, name);
      await pipeline(await read(name), createWriteStream(path));
      return path;
    },
    async add(name, write) {
      const path = join(scratch, name);
      await write(path);
      const { size } = await stat(path);
      await client.send(new PutObjectCommand({ ...at(name), Body: createReadStream(path), ContentLength: size }));
      return size;
    },
    async create(name, text) {
      await client.send(new PutObjectCommand({ ...at(name), Body: text, IfNoneMatch: '*' }));
    },
    async remove(name) {
      await client.send(new DeleteObjectCommand(at(name)));
    },
    close: () => client.destroy(),
  };
}
