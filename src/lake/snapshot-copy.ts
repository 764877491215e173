import { createHash, type Hash } from 'node:crypto';
import { Readable } from 'node:stream';
import { ParityError } from '../support/error.ts';
import { retry, throwIfAborted } from '../support/retry.ts';
import { commitKey } from './delta/commit.ts';
import { joinKey } from './delta/path.ts';
import { TEMPORARY_MARK } from './file-reader.ts';
import { formatLocation, isSameEndpoint } from './location.ts';
import { forEachBounded } from './pool.ts';
import type { Requests } from './requests.ts';
import type { PlannedObject, TablePlan } from './snapshot-plan.ts';
import { findDamaged, sourceTags, type WantedObject } from './snapshot-verify.ts';
import type { ObjectInfo, ObjectReader, ObjectStore } from './store.ts';

const CONCURRENCY = 16;
/** Copies on the server's side hold no bytes here: more of them hide more latency. */
const SERVER_SIDE_CONCURRENCY = 256;
const ATTEMPTS = 4;
const STALE_MS = 3_600_000;
/** Bytes of objects in flight, by what an upload holds of each (ObjectStore.putStream): bounds memory whatever the sizes. */
const IN_FLIGHT_BYTES = 96 * 1024 * 1024;
const HELD_BYTES = 16 * 1024 * 1024;

export interface CopyOptions {
  readonly reader: ObjectReader;
  /** The source's requests: copies made with the store's identity are asked of the source as well. */
  readonly requests: Requests;
  readonly store: ObjectStore;
  /** Key prefix of the copy in the store. */
  readonly destination: string;
  readonly signal: AbortSignal;
  /** Called with the bytes of each object that has arrived, those of an earlier attempt included. */
  readonly onBytes: (bytes: number) => void;
}

export interface Copied {
  readonly files: number;
  readonly bytes: number;
  readonly serverSide: boolean;
}

/**
 * Copies the plan's objects that are not there yet: on the server's side where one endpoint holds both and lets the store's
 * identity read, by streaming otherwise. Data first, the log last, so that a copy cut short never looks like a table. Then
 * compares sizes and checksums of everything that lies there. Throws `VersionGone` where a live file was vacuumed, `CorruptTable`
 * where an object's size or content is not what it should be.
 */
export async function copyObjects(plan: TablePlan, options: CopyOptions): Promise<Copied> {
  const objects = await withSizes(plan, plan.objects, options);
  const there = await listed(options.store, options.destination);
  await removeStalePartials(there.values(), options.store);
  await removeOtherLog(plan, there.keys(), options);
  const missing: WantedObject[] = [];
  for (const object of objects) {
    if (there.get(object.key)?.sizeBytes === object.sizeBytes) options.onBytes(object.sizeBytes);
    else missing.push(object);
  }
  const copy = new TableCopy(plan, options);
  const [tags] = await both(sourceTags(objects, plan.table.path, options), copy.all(missing));
  const damaged = await findDamaged(objects, [tags, copy.md5s], plan.table.path, options);
  const [first] = damaged;
  if (first !== undefined) {
    await options.store.delete(damaged.map(({ key }) => joinKey(options.destination, key)));
    throw new ParityError('CorruptTable', `Copying ${sourceUrl(plan, options, first.key)} failed: ${first.found}`, {
      subject: sourceUrl(plan, options, first.key),
      advice: 'Check the object in the lake, or name a version without it',
    });
  }
  const bytes = missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return { files: missing.length, bytes, serverSide: copy.isServerSide };
}

/** Copies objects of one table, with one way of copying that the first object finds out. */
class TableCopy {
  readonly md5s = new Map<string, string>();
  readonly #plan: TablePlan;
  readonly #options: CopyOptions;
  readonly #budget = new ByteBudget(IN_FLIGHT_BYTES);
  #serverSide: boolean;

  constructor(plan: TablePlan, options: CopyOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#serverSide = canCopyServerSide(options.reader, options.store);
  }

  get isServerSide(): boolean {
    return this.#serverSide;
  }

  get #concurrency(): number {
    return this.#serverSide && this.#options.reader.location.scheme === 's3' ? SERVER_SIDE_CONCURRENCY : CONCURRENCY;
  }

  async all(objects: readonly WantedObject[]): Promise<void> {
    for (const part of [objects.filter(isContent), objects.filter((object) => !isContent(object))]) {
      await forEachBounded(part, this.#concurrency, (object) => this.#one(object), this.#options.signal);
    }
  }

  async #one(object: WantedObject): Promise<void> {
    if (this.#serverSide) {
      if (await this.#copyOnServer(object)) return;
      this.#serverSide = false;
    }
    await this.#stream(object);
  }

  /** Returns false where the store's identity cannot read the source: then the source's own credentials stream it. */
  async #copyOnServer(object: WantedObject): Promise<boolean> {
    const { reader, store, requests, destination, signal, onBytes } = this.#options;
    try {
      await retry(
        () => {
          const key = joinKey(this.#plan.table.path, object.key);
          return store.copyFrom(reader.location, key, joinKey(destination, object.key), object.sizeBytes, requests);
        },
        { attempts: ATTEMPTS, signal },
      );
    } catch (error) {
      if (error instanceof ParityError && WORTH_STREAMING.has(error.code)) return false;
      throw error;
    }
    onBytes(object.sizeBytes);
    return true;
  }

  async #stream(object: WantedObject): Promise<void> {
    const { reader, store, destination, signal, onBytes } = this.#options;
    const release = await this.#budget.take(Math.min(object.sizeBytes, HELD_BYTES));
    try {
      await retry(
        async () => {
          const md5 = createHash('md5');
          const body = await reader.stream(joinKey(this.#plan.table.path, object.key));
          const checked = this.#checked(body, object, md5);
          const readable = Readable.from(checked, { objectMode: false, highWaterMark: 256 * 1024 });
          try {
            await store.putStream(joinKey(destination, object.key), readable, object.sizeBytes);
          } finally {
            body.destroy();
          }
          this.md5s.set(object.key, md5.digest('hex'));
        },
        { attempts: ATTEMPTS, signal },
      );
    } catch (error) {
      throw vacuumed(error, object, this.#plan, this.#options);
    } finally {
      release();
    }
    onBytes(object.sizeBytes);
  }

  async *#checked(body: AsyncIterable<Uint8Array>, object: WantedObject, md5: Hash): AsyncIterable<Uint8Array> {
    let received = 0;
    for await (const chunk of body) {
      throwIfAborted(this.#options.signal);
      received += chunk.length;
      if (received > object.sizeBytes) break;
      md5.update(chunk);
      yield chunk;
    }
    if (received === object.sizeBytes) return;
    const url = sourceUrl(this.#plan, this.#options, object.key);
    const found = received > object.sizeBytes ? 'is larger' : `ends after ${received} bytes`;
    throw new ParityError('CorruptTable', `${url} ${found}, where the table's log says ${object.sizeBytes} bytes`, {
      subject: url,
      advice: 'The object was truncated or overwritten: restore it, or name a version without it',
    });
  }
}

/** Lets callers in while the bytes they hold together stay under a bound; one alone is always let in. */
class ByteBudget {
  #free: number;
  readonly #total: number;
  readonly #waiting: (() => void)[] = [];

  constructor(total: number) {
    this.#free = total;
    this.#total = total;
  }

  /** Resolves to a function that gives the bytes back. */
  async take(bytes: number): Promise<() => void> {
    while (this.#free < bytes && this.#free < this.#total) await new Promise<void>((next) => this.#waiting.push(next));
    this.#free -= bytes;
    return () => {
      this.#free += bytes;
      for (const next of this.#waiting.splice(0)) next();
    };
  }
}

/** Both results; waits for both, whichever fails: nothing goes on behind the caller's back. */
async function both<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([a, b]);
  return Promise.all([a, b]);
}

/** What a copy on the server's side may fail with although streaming works: no grant on the source, no such call. */
const WORTH_STREAMING: ReadonlySet<string> = new Set(['AccessDenied', 'NotFound', 'Internal', 'Timeout']);

function canCopyServerSide(reader: ObjectReader, store: ObjectStore): boolean {
  const [from, to] = [reader.location, store.location];
  if (from.scheme === 's3' && to.scheme === 's3') return isSameEndpoint(from, to);
  return from.scheme === 'file' && to.scheme === 'file';
}

function isContent(object: PlannedObject): boolean {
  return object.kind !== 'log';
}

/** The sizes that the log does not tell are asked of the source. */
async function withSizes(
  plan: TablePlan,
  objects: readonly PlannedObject[],
  options: CopyOptions,
): Promise<readonly WantedObject[]> {
  const sizes = new Map<string, number>();
  const unknown = objects.filter(({ sizeBytes }) => sizeBytes === undefined);
  await forEachBounded(
    unknown,
    CONCURRENCY,
    async (object) => {
      const found = await options.reader.head(joinKey(plan.table.path, object.key));
      if (found === undefined) throw vacuumed(missingObject(plan, options, object.key), object, plan, options);
      sizes.set(object.key, found.sizeBytes);
    },
    options.signal,
  );
  return objects.map((object) => ({ ...object, sizeBytes: object.sizeBytes ?? sizes.get(object.key) ?? 0 }));
}

/** What a killed attempt left half written; what is young may be another attempt's, at work. */
async function removeStalePartials(there: Iterable<ObjectInfo>, store: ObjectStore): Promise<void> {
  const before = Date.now() - STALE_MS;
  const stale = [...there].filter(({ key, modifiedMs }) => key.includes(TEMPORARY_MARK) && modifiedMs < before);
  await store.delete(stale.map(({ key }) => key));
}

/** Log entries of some other copy that lay here: the copied log ends at the version asked for. */
async function removeOtherLog(plan: TablePlan, there: Iterable<string>, options: CopyOptions): Promise<void> {
  const own = plan.hasOwnLog ? [0, 1].map((version) => commitKey('', version)) : [];
  const kept = new Set([...plan.objects.map(({ key }) => key), ...own]);
  const other = [...there].filter((key) => key.startsWith('_delta_log/') && !kept.has(key));
  await options.store.delete(other.map((key) => joinKey(options.destination, key)));
}

/** What lies at the destination, by key below it. */
export async function listed(store: ObjectReader, destination: string): Promise<ReadonlyMap<string, ObjectInfo>> {
  const prefix = joinKey(destination, '');
  const found = new Map<string, ObjectInfo>();
  for await (const object of store.list(prefix)) found.set(object.key.slice(prefix.length), object);
  return found;
}

/** A live file that is not there any more was removed by VACUUM, or by hand: the version cannot be tested. */
function vacuumed(error: unknown, object: PlannedObject, plan: TablePlan, options: CopyOptions): unknown {
  if (!(error instanceof ParityError) || error.code !== 'NotFound') return error;
  if (error.subject !== sourceUrl(plan, options, object.key)) return error;
  const isInTarget = plan.target.snapshot.files.some(
    ({ path, deletionVector }) => path === object.key || deletionVector?.path === object.key,
  );
  const version = isInTarget ? plan.target.snapshot.version : (plan.base?.snapshot.version ?? 0);
  return new ParityError(
    'VersionGone',
    `Version ${version} of ${formatLocation(options.reader.location)}/${plan.table.path} is gone: its file ${object.key} is not there any more`,
    {
      cause: error,
      subject: sourceUrl(plan, options, object.key),
      advice: 'Name a newer version, and keep what tests need with `parity snapshot keep`, out of reach of VACUUM',
    },
  );
}

function missingObject(plan: TablePlan, options: CopyOptions, key: string): ParityError {
  const url = sourceUrl(plan, options, key);
  return new ParityError('NotFound', `${url} does not exist`, { subject: url });
}

function sourceUrl(plan: TablePlan, options: CopyOptions, key: string): string {
  return options.reader.url(joinKey(plan.table.path, key));
}
