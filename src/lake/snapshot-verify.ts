import { createHash } from 'node:crypto';
import { throwIfAborted } from '../support/retry.ts';
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

/** Servers' tags, or MD5s, of objects by their keys. */
export type Tags = ReadonlyMap<string, string>;

interface Sides {
  readonly reader: ObjectReader;
  readonly store: ObjectReader;
  readonly destination: string;
  readonly signal: AbortSignal;
}

/** The tags of the objects at the source; none where it has none. A listing of a large folder ends behind the last that is wanted. */
export async function sourceTags(
  objects: readonly PlannedObject[],
  sourcePath: string,
  { reader, signal }: Sides,
): Promise<Tags> {
  const tags = new Map<string, string>();
  if (reader.location.scheme === 'file') return tags;
  const wanted = new Set(objects.map(({ key }) => key));
  for await (const { key, etag } of below(reader, sourcePath)) {
    throwIfAborted(signal);
    if (!wanted.delete(key)) continue;
    if (etag !== undefined) tags.set(key, etag);
    if (wanted.size === 0) break;
  }
  return tags;
}

/**
 * The copied objects that are not what they should be: each is there, has its size, and has the content of its source as far as
 * the servers' tags tell. Where tags differ, which they may (encryption, parts), the bytes of both sides are read and compared.
 * `known`: tags of the source, and of the bytes that were streamed.
 */
export async function findDamaged(
  objects: readonly WantedObject[],
  known: readonly Tags[],
  sourcePath: string,
  { reader, store, destination, signal }: Sides,
): Promise<readonly Damaged[]> {
  const awaited = new Map(objects.map((object) => [object.key, object.sizeBytes]));
  const damaged: Damaged[] = [];
  for await (const { key, sizeBytes, etag } of below(store, destination)) {
    throwIfAborted(signal);
    const wantedBytes = awaited.get(key);
    if (wantedBytes === undefined || !awaited.delete(key)) continue;
    if (sizeBytes !== wantedBytes) {
      damaged.push({ key, found: `${sizeBytes} bytes arrived where the table's log says ${wantedBytes}` });
    } else if (isContradiction([etag, ...known.map((tags) => tags.get(key))])) {
      const [theirs, ours] = await Promise.all([
        sha256(reader, joinKey(sourcePath, key)),
        sha256(store, joinKey(destination, key)),
      ]);
      if (theirs !== ours) damaged.push({ key, found: 'the copy has another content than its source' });
    }
    if (awaited.size === 0) break;
  }
  for (const key of awaited.keys()) damaged.push({ key, found: 'it did not arrive' });
  return damaged;
}

/** The objects below a path, with keys relative to it. */
async function* below(reader: ObjectReader, path: string): AsyncIterable<ObjectInfo> {
  const prefix = joinKey(path, '');
  for await (const object of reader.list(prefix)) yield { ...object, key: object.key.slice(prefix.length) };
}

/** Whether two of these simple tags contradict each other. A tag of an upload in parts says nothing. */
function isContradiction(tags: readonly (string | undefined)[]): boolean {
  const known = tags.filter((tag) => tag !== undefined && /^[0-9a-f]{32}$/.test(tag));
  return known.some((tag) => tag !== known[0]);
}

async function sha256(reader: ObjectReader, key: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of await reader.stream(key)) hash.update(chunk);
  return hash.digest('hex');
}
