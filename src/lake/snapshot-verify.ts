import { createHash } from 'node:crypto';
import { joinKey } from './delta/path.ts';
import type { PlannedObject } from './snapshot-plan.ts';
import type { ObjectInfo, ObjectReader } from './store.ts';

export interface WantedObject extends PlannedObject {
  readonly sizeBytes: number;
}

export interface Damaged {
  readonly key: string;
  /** In words: what is wrong with it. */
  readonly found: string;
}

/**
 * The copied objects that are not what they should be: each is there, has its size, and has the content of its source as far as
 * the servers' tags tell. Where tags differ, which they may (encryption, parts), the bytes of both sides are read and compared.
 * `md5s`: of the bytes that were streamed, by key.
 */
export async function findDamaged(
  objects: readonly WantedObject[],
  md5s: ReadonlyMap<string, string>,
  sourcePath: string,
  options: { readonly reader: ObjectReader; readonly store: ObjectReader; readonly destination: string },
): Promise<readonly Damaged[]> {
  const { reader, store, destination } = options;
  const copies = await tagged(store, destination, objects);
  const sources = reader.location.scheme === 's3' ? await tagged(reader, sourcePath, objects) : undefined;
  const damaged: Damaged[] = [];
  for (const { key, sizeBytes } of objects) {
    const copy = copies.get(key);
    if (copy === undefined) damaged.push({ key, found: 'it did not arrive' });
    else if (copy.sizeBytes !== sizeBytes) {
      damaged.push({ key, found: `${copy.sizeBytes} bytes arrived where the table's log says ${sizeBytes}` });
    } else if (isSuspect(sources?.get(key)?.etag, copy.etag, md5s.get(key))) {
      const [theirs, ours] = await Promise.all([
        sha256(reader, joinKey(sourcePath, key)),
        sha256(store, joinKey(destination, key)),
      ]);
      if (theirs !== ours) damaged.push({ key, found: 'the copy has another content than its source' });
    }
  }
  return damaged;
}

/** Whether two simple tags contradict each other. A tag of an upload in parts says nothing. */
function isSuspect(source: string | undefined, copy: string | undefined, streamed: string | undefined): boolean {
  const known = [source, copy, streamed].filter((tag) => tag !== undefined && /^[0-9a-f]{32}$/.test(tag));
  return known.some((tag) => tag !== known[0]);
}

/** Objects below a path by their keys, those that are wanted; a listing of a large folder ends behind the last of them. */
async function tagged(
  reader: ObjectReader,
  path: string,
  objects: readonly PlannedObject[],
): Promise<ReadonlyMap<string, ObjectInfo>> {
  const prefix = joinKey(path, '');
  const wanted = new Set(objects.map(({ key }) => key));
  const found = new Map<string, ObjectInfo>();
  for await (const object of reader.list(prefix)) {
    const key = object.key.slice(prefix.length);
    if (wanted.has(key)) found.set(key, object);
    if (found.size === wanted.size) break;
  }
  return found;
}

async function sha256(reader: ObjectReader, key: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of await reader.stream(key)) hash.update(chunk);
  return hash.digest('hex');
}
