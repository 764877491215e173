import { log } from '../support/log.ts';
import { backoffMs, delay } from '../support/retry.ts';
import type { KubeClient, ListOptions, Page, WatchEvent, WatchOptions } from './client.ts';
import { isKubeError, KubeError } from './error.ts';
import { type KubeObject, keyOf, type MetadataOnly, type Resource } from './objects.ts';

/** What is mirrored: made by `objectsOf` or `metadataOf`. */
export interface Source<T extends KubeObject> {
  /** For logs, e.g. `jobs in shop`. */
  readonly name: string;
  readonly pages: (signal: AbortSignal) => AsyncIterable<Page<T>>;
  readonly watch: (options: WatchOptions) => AsyncIterable<WatchEvent<T>>;
}

type Selection = Pick<ListOptions, 'namespace' | 'labelSelector' | 'fieldSelector' | 'pageSize'>;

/** The whole objects of a kind. */
export function objectsOf<T extends KubeObject>(
  client: KubeClient,
  resource: Resource<T>,
  of: Selection = {},
): Source<T> {
  return {
    name: nameOfSource(resource, of),
    pages: (signal) => client.with({ signal }).pages(resource, of),
    watch: (options) => client.watch(resource, { ...of, ...options }),
  };
}

/** The metadata of the objects of a kind. */
export function metadataOf(client: KubeClient, resource: Resource, of: Selection = {}): Source<MetadataOnly> {
  return {
    name: `metadata of ${nameOfSource(resource, of)}`,
    pages: (signal) => client.with({ signal }).metadataPages(resource, of),
    watch: (options) => client.watchMetadata(resource, { ...of, ...options }),
  };
}

export interface MirrorOptions<T extends KubeObject, Kept> {
  readonly source: Source<T>;
  /** What is kept of each object: the less, the smaller the process. */
  readonly keep: (object: T) => Kept;
  /** Told the key of whatever was added, changed or deleted; not told how often. Meant for `queue.add`. */
  readonly onChange: (key: string) => void;
  readonly timing?: Partial<MirrorTiming>;
  readonly hooks?: MirrorHooks;
  /** How loudly the log says that it begins again. Default `warn`. */
  readonly logLevel?: 'warn' | 'debug';
}

export interface MirrorTiming {
  /** All is listed again after about so long, in ms, whatever the watch said. Default 600,000. */
  readonly relistMs: number;
  /** The server ends a watch after about so long, in seconds. Default 300. */
  readonly watchSeconds: number;
  /** A watch is given up when silent for so long, in ms. Bookmarks of an idle kind came every 120 s. Default 180,000. */
  readonly idleMs: number;
  /** First and longest wait after a failure, in ms. Default 500 and 30,000. */
  readonly baseMs: number;
  readonly maxMs: number;
}

export interface MirrorHooks {
  /** All was listed, in so many ms. */
  readonly onList?: (objects: number, durationMs: number) => void;
  /** A watch or a list failed and begins again. */
  readonly onRestart?: (error: unknown) => void;
}

/** How a mirror does. */
export type MirrorState =
  | { readonly kind: 'Starting' }
  | { readonly kind: 'Synced' }
  /** The last attempt failed; what was mirrored before is still there. */
  | { readonly kind: 'Failing'; readonly error: unknown };

const standardTiming: MirrorTiming = {
  relistMs: 600_000,
  watchSeconds: 300,
  idleMs: 180_000,
  baseMs: 500,
  maxMs: 30_000,
};

/** Lists older than what was seen, one after the other, until the server's history is believed to have been set back. */
const staleListsToBelieve = 6;

/**
 * A mirror of the objects of a kind, kept up by a list and a watch, and by another list now and then: a watch that was silent, cut,
 * or has lost an event is made good by it. It never ends by itself. What comes twice or late is told by its resource version and left out.
 */
export class Mirror<T extends KubeObject, Kept = T> {
  readonly #options: MirrorOptions<T, Kept>;
  readonly #timing: MirrorTiming;
  readonly #stop = new AbortController();
  readonly #held = new Map<string, { readonly version: string; readonly kept: Kept }>();
  /** The versions at which objects were deleted, until the next list. */
  readonly #deleted = new Map<string, string>();
  readonly #firstList = Promise.withResolvers<void>();
  #ended: Promise<void> | undefined;
  #seen = '0';
  #staleLists = 0;
  #failures = 0;
  #hasSynced = false;
  #failure: { readonly error: unknown } | undefined;
  #heardAt = performance.now();

  constructor(options: MirrorOptions<T, Kept>) {
    this.#options = options;
    this.#timing = { ...standardTiming, ...options.timing };
  }

  /** Begins to list and watch. */
  start(): void {
    this.#ended ??= this.#run();
  }

  /** Ends the watch; resolves once nothing more is told. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  /** Resolves once everything was listed for the first time; never, if that never succeeds. */
  get synced(): Promise<void> {
    return this.#firstList.promise;
  }

  /** Whether everything was listed at least once. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  get state(): MirrorState {
    if (this.#failure !== undefined) return { kind: 'Failing', error: this.#failure.error };
    return { kind: this.#hasSynced ? 'Synced' : 'Starting' };
  }

  /** How long nothing was heard of the server, in ms. More than a few times `idleMs` means trouble. */
  get silentMs(): number {
    return performance.now() - this.#heardAt;
  }

  /** What is kept of the object with that key. */
  get(key: string): Kept | undefined {
    return this.#held.get(key)?.kept;
  }

  has(key: string): boolean {
    return this.#held.has(key);
  }

  get size(): number {
    return this.#held.size;
  }

  keys(): IterableIterator<string> {
    return this.#held.keys();
  }

  *values(): Generator<Kept, void, undefined> {
    for (const { kept } of this.#held.values()) yield kept;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const version = await this.#list();
        await this.#watchUntilRelist(version);
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  /** Waits after a failure: longer each time, until something is heard of the server again. */
  async #recover(error: unknown): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#failures += 1;
    this.#failure = { error };
    this.#options.hooks?.onRestart?.(error);
    const asked = isKubeError(error) ? (error.retryAfterMs ?? 0) : 0;
    const waitMs = Math.max(asked, backoffMs(this.#failures, this.#timing));
    log[this.#options.logLevel ?? 'warn'](
      `the mirror of ${this.#options.source.name} begins again in ${Math.round(waitMs)} ms`,
      { error },
    );
    // Only the signal ends the wait early.
    await delay(waitMs, this.#stop.signal).catch(() => {});
  }

  /** Takes in the list page by page, then drops what is not in it. Returns its resource version. */
  async #list(): Promise<string> {
    const startedAt = performance.now();
    const listed = new Set<string>();
    let version: string | undefined;
    for await (const page of this.#options.source.pages(this.#stop.signal)) {
      if (version === undefined) this.#checkIsNotStale(page.resourceVersion);
      version = page.resourceVersion;
      for (const object of page.items) {
        listed.add(keyOf(object.metadata));
        this.#upsert(object);
      }
    }
    if (version === undefined) throw new KubeError('Server', `listing ${this.#options.source.name}: no answer`);
    for (const key of [...this.#held.keys()]) if (!listed.has(key)) this.#remove(key, version);
    this.#deleted.clear();
    this.#hasSynced = true;
    this.#firstList.resolve();
    this.#heard(version);
    this.#options.hooks?.onList?.(listed.size, performance.now() - startedAt);
    return version;
  }

  /**
   * Throws `Gone` for a list that is older than what was seen, as of a server that lags behind. Where lists stay old, the server's
   * history was set back (a restored backup): then they are believed, and every version that was seen is forgotten.
   */
  #checkIsNotStale(version: string): void {
    if (!isOlder(version, this.#seen)) {
      this.#staleLists = 0;
      return;
    }
    this.#staleLists += 1;
    const { name } = this.#options.source;
    if (this.#staleLists < staleListsToBelieve)
      throw new KubeError('Gone', `listing ${name}: version ${version} is older than ${this.#seen}, which was seen`);
    log.warn(`the history of ${name} was set back from version ${this.#seen} to ${version}`);
    this.#staleLists = 0;
    this.#seen = '0';
    this.#deleted.clear();
    for (const [key, { kept }] of this.#held) this.#held.set(key, { version: '0', kept });
  }

  /** Watches from the version on, again and again, until it is time to list again. */
  async #watchUntilRelist(from: string): Promise<void> {
    const { relistMs, watchSeconds, maxMs } = this.#timing;
    const relistAt = performance.now() + jittered(relistMs);
    let version = from;
    for (;;) {
      const leftMs = relistAt - performance.now();
      if (leftMs <= 0 || this.#stop.signal.aborted) return;
      const timeoutSeconds = Math.ceil(Math.min(jittered(watchSeconds), leftMs / 1000));
      const startedAt = performance.now();
      try {
        version = await this.#watchOnce(version, timeoutSeconds);
      } catch (error) {
        // What broke the connection has lost nothing: the watch goes on where it was. After anything else all is listed again.
        if (!isKubeError(error, 'Unreachable', 'Timeout', 'Server', 'TooManyRequests')) throw error;
        version = later(version, this.#seen);
        // One that broke after a good while is no failure in a row.
        if (performance.now() - startedAt > maxMs) this.#failures = 0;
        await this.#recover(error);
      }
    }
  }

  /** Takes in events until the server ends the watch. Returns the last version. */
  async #watchOnce(from: string, timeoutSeconds: number): Promise<string> {
    const startedAt = performance.now();
    const { idleMs } = this.#timing;
    let version = from;
    const events = this.#options.source.watch({
      resourceVersion: from,
      timeoutSeconds,
      idleMs,
      signal: this.#stop.signal,
    });
    for await (const event of events) {
      if (event.type !== 'BOOKMARK') this.#apply(event.type, event.object);
      version = later(version, event.type === 'BOOKMARK' ? event.resourceVersion : versionOf(event.object));
      this.#heard(version);
      this.#failures = 0;
    }
    // A server or proxy that ends every watch at once would be asked without a pause.
    if (version === from && performance.now() - startedAt < Math.min(1000, timeoutSeconds * 500))
      throw new KubeError('Unreachable', `watching ${this.#options.source.name}: it ended at once`);
    this.#heard(version);
    this.#failures = 0;
    return version;
  }

  #apply(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: T): void {
    if (type !== 'DELETED') this.#upsert(object);
    else this.#remove(keyOf(object.metadata), versionOf(object));
  }

  #upsert(object: T): void {
    const key = keyOf(object.metadata);
    const version = versionOf(object);
    const known = this.#held.get(key)?.version ?? this.#deleted.get(key);
    if (known !== undefined && (version === known || isOlder(version, known))) return;
    this.#deleted.delete(key);
    this.#held.set(key, { version, kept: this.#options.keep(object) });
    this.#tell(key);
  }

  #remove(key: string, version: string): void {
    const held = this.#held.get(key);
    // A deletion that comes late: the object has been made again since.
    if (held !== undefined && isOlder(version, held.version)) return;
    this.#deleted.set(key, later(this.#deleted.get(key) ?? '0', version));
    if (this.#held.delete(key)) this.#tell(key);
  }

  #tell(key: string): void {
    try {
      this.#options.onChange(key);
    } catch (error) {
      log.error(`a change of ${key} could not be told`, { error });
    }
  }

  #heard(version: string): void {
    this.#seen = later(this.#seen, version);
    this.#heardAt = performance.now();
    this.#failure = undefined;
  }
}

/** Whether one resource version of a kind is older than another: they are whole numbers that grow. Of any other the order is not known. */
export function isOlder(version: string, other: string): boolean {
  if (!/^\d+$/.test(version) || !/^\d+$/.test(other)) return false;
  return version.length === other.length ? version < other : version.length < other.length;
}

/** The second version, unless the first is the newer one. */
function later(first: string, second: string): string {
  return isOlder(second, first) ? first : second;
}

function versionOf(object: KubeObject): string {
  return object.metadata.resourceVersion;
}

/** Between 80 and 120 %, so that many mirrors don't list at the same moment. */
function jittered(time: number): number {
  return time * (0.8 + Math.random() * 0.4);
}

function nameOfSource(resource: Resource, of: Selection): string {
  return `${resource.plural}${of.namespace === undefined ? '' : ` in ${of.namespace}`}`;
}
