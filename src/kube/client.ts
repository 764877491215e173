import { ParityError } from '../support/error.ts';
import { delay } from '../support/retry.ts';
import { KubeError, refused, watchRefused } from './error.ts';
import { type Answer, type Call, exchange, lines } from './http.ts';
import { type AccessOptions, type ClusterAccess, clusterAccess } from './kubeconfig.ts';
import { RateLimiter } from './limiter.ts';
import {
  apiVersionOf,
  type Draft,
  type KubeObject,
  keyOf,
  type MetadataOnly,
  type ObjectName,
  type Resource,
} from './objects.ts';

export interface ClientOptions {
  /** Time for one request with its answer, in ms, once its turn has come. Default 30,000. */
  readonly deadlineMs?: number;
  /** Requests a second once the burst is used up. Default 50. */
  readonly requestsPerSecond?: number;
  /** Default 100. */
  readonly burst?: number;
  /** Ends what runs and refuses what comes. */
  readonly signal?: AbortSignal;
  /** Throws if nothing may be written any more; called in the instant before each write is sent (a paused leader's timers fire too late). */
  readonly mayWrite?: () => void;
  /** Who writes, as `managedFields` will say. Default `pipeline-parity`. */
  readonly fieldManager?: string;
  /** Hears of every answer. */
  readonly onRequest?: (request: FinishedRequest) => void;
}

/** One request that has ended, for metrics. */
export interface FinishedRequest {
  readonly verb: Verb;
  readonly resource: string;
  /** The HTTP status, or why there was none. */
  readonly code: number | 'Unreachable' | 'Timeout' | 'Cancelled';
  readonly durationMs: number;
}

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'patch' | 'delete';

export interface ListOptions {
  /** Default: every namespace. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Objects of one page. Default 250. */
  readonly pageSize?: number;
}

export interface Page<T> {
  readonly resourceVersion: string;
  readonly items: readonly T[];
}

export interface WatchOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Events after this one come. */
  readonly resourceVersion: string;
  /** After so long the server ends the watch. */
  readonly timeoutSeconds: number;
  /** A watch that is silent for longer is given up, in ms; the server's bookmarks come every two minutes at least. */
  readonly idleMs: number;
  readonly signal?: AbortSignal;
}

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

export interface DeleteOptions {
  /** What becomes of owned objects. Default `Background`. */
  readonly propagation?: 'Foreground' | 'Background' | 'Orphan';
  /** The object of that name is deleted only if it is this one; else `Conflict`. */
  readonly uid?: string;
  /** And only if it has not changed since; else `Conflict`. */
  readonly resourceVersion?: string;
  readonly gracePeriodSeconds?: number;
}

/** A JSON merge patch (RFC 7396): null removes, a list replaces the whole list. */
export type MergePatch = Readonly<Record<string, unknown>>;

/** An operation of a JSON patch (RFC 6902). */
export type JsonPatchOperation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

/** The client for the cluster of a kubeconfig or of this pod. Throws `BadUsage` where none is known. */
export async function connect(options: ClientOptions & AccessOptions = {}): Promise<KubeClient> {
  return new KubeClient(await clusterAccess(options), options);
}

/**
 * Requests to an API server. Every one of them ends: by its answer, its deadline or the signal. All errors of the server and the
 * way to it are `KubeError`s; a 429 is waited for as the server asks, while the deadline allows.
 */
export class KubeClient {
  readonly #access: ClusterAccess;
  readonly #options: ClientOptions;
  readonly #limiter: RateLimiter;
  readonly #deadlineMs: number;

  constructor(access: ClusterAccess, options: ClientOptions = {}, limiter?: RateLimiter) {
    this.#access = access;
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? 30_000;
    this.#limiter =
      limiter ?? new RateLimiter({ perSecond: options.requestsPerSecond ?? 50, burst: options.burst ?? 100 });
  }

  /** The namespace of the kubeconfig's context, or this pod's. */
  get namespace(): string {
    return this.#access.namespace;
  }

  /** The API server's address. */
  get server(): string {
    return this.#access.server.href;
  }

  /**
   * The same access with other options; with a rate of its own if one is given, else sharing this client's. A signal is added to
   * this client's own.
   */
  with(options: ClientOptions): KubeClient {
    const hasRate = options.requestsPerSecond !== undefined || options.burst !== undefined;
    const signals = [this.#options.signal, options.signal].filter((signal) => signal !== undefined);
    const signal = signals.length === 2 ? { signal: AbortSignal.any(signals) } : {};
    const all = { ...this.#options, ...options, ...signal };
    return new KubeClient(this.#access, all, hasRate ? undefined : this.#limiter);
  }

  /** Closes idle connections; requests that run go on. */
  close(): void {
    this.#access.close();
  }

  /** The object as it is now. Throws `NotFound`. */
  get<T extends KubeObject>(resource: Resource<T>, name: ObjectName): Promise<T> {
    const target = objectTarget(resource, name);
    return this.#json('get', resource, { method: 'GET', path: target.path, ...target.words('reading') });
  }

  /** The object as it is now, or undefined if there is none. */
  async find<T extends KubeObject>(resource: Resource<T>, name: ObjectName): Promise<T | undefined> {
    return this.get(resource, name).catch((error: unknown) => {
      if (error instanceof KubeError && error.reason === 'NotFound') return undefined;
      throw error;
    });
  }

  /** All objects of the kind that match, as of one moment. Throws `Gone` if the pages took too long: list again. */
  async list<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}): Promise<Page<T>> {
    return collect(this.pages(resource, options));
  }

  /** The metadata of all objects of the kind that match. */
  async listMetadata(resource: Resource, options: ListOptions = {}): Promise<Page<MetadataOnly>> {
    return collect(this.metadataPages(resource, options));
  }

  /** As `list`, page by page, so that no more than one is in memory. */
  pages<T extends KubeObject>(
    resource: Resource<T>,
    options: ListOptions = {},
  ): AsyncGenerator<Page<T>, void, undefined> {
    const own = { apiVersion: apiVersionOf(resource), kind: resource.kind };
    return this.#pages(resource, options, 'application/json', (item: T) => ({ ...own, ...item }));
  }

  /** As `listMetadata`, page by page. */
  metadataPages(resource: Resource, options: ListOptions = {}): AsyncGenerator<Page<MetadataOnly>, void, undefined> {
    return this.#pages(resource, { pageSize: 500, ...options }, metadataOf('List'), (item: MetadataOnly) => item);
  }

  /** The events after a resource version, until the server ends the watch. Throws `Gone`, and `Timeout` when it is silent. */
  watch<T extends KubeObject>(
    resource: Resource<T>,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    return this.#watch<T>(resource, options, 'application/json');
  }

  /** As `watch`, of the objects' metadata only. */
  watchMetadata(resource: Resource, options: WatchOptions): AsyncGenerator<WatchEvent<MetadataOnly>, void, undefined> {
    return this.#watch<MetadataOnly>(resource, options, metadataOf(''));
  }

  /**
   * The object as it was created. Throws `AlreadyExists`, `Invalid`, `NamespaceTerminating`. `isStrict`: a field that the server does
   * not know is `Invalid` too; otherwise it is dropped. `isDryRun`: all is checked, and nothing stored.
   */
  create<T extends KubeObject>(
    resource: Resource<T>,
    draft: Draft<T>,
    options: { readonly isStrict?: boolean; readonly isDryRun?: boolean } = {},
  ): Promise<T> {
    const { name, namespace } = draft.metadata;
    const more = `${options.isStrict === true ? '&fieldValidation=Strict' : ''}${options.isDryRun === true ? '&dryRun=All' : ''}`;
    const target = objectTarget(resource, { name, ...(namespace === undefined ? {} : { namespace }) });
    return this.#json('create', resource, {
      method: 'POST',
      path: `${pathOf(resource, namespace)}?${this.#manager()}${more}`,
      body: JSON.stringify({ ...draft, apiVersion: apiVersionOf(resource), kind: resource.kind }),
      ...target.words('creating'),
    });
  }

  /**
   * The object after a merge patch. With `metadata.resourceVersion` in the patch it throws `Conflict` if the object has changed
   * since. `operator/kube/patch.ts` makes such patches.
   */
  mergePatch<T extends KubeObject>(
    resource: Resource<T>,
    name: ObjectName,
    patch: MergePatch,
    options: { readonly subresource?: 'status' } = {},
  ): Promise<T> {
    return this.#patch(resource, name, 'application/merge-patch+json', patch, options.subresource);
  }

  /** The object after a JSON patch. Throws `Invalid` when a `test` in it does not hold. */
  jsonPatch<T extends KubeObject>(
    resource: Resource<T>,
    name: ObjectName,
    operations: readonly JsonPatchOperation[],
    options: { readonly subresource?: 'status' } = {},
  ): Promise<T> {
    return this.#patch(resource, name, 'application/json-patch+json', operations, options.subresource);
  }

  /**
   * Asks for the object's deletion. `gone`: it was not there, or is not any more as far as the server says; `deleting`: its
   * finalizers, its dependents or its grace period keep it. Throws `Conflict` when a precondition does not hold.
   */
  async delete(resource: Resource, name: ObjectName, options: DeleteOptions = {}): Promise<'gone' | 'deleting'> {
    const target = objectTarget(resource, name);
    const { uid, resourceVersion } = options;
    const body = {
      kind: 'DeleteOptions',
      apiVersion: 'v1',
      propagationPolicy: options.propagation ?? 'Background',
      ...(options.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: options.gracePeriodSeconds }),
      ...(uid === undefined && resourceVersion === undefined ? {} : { preconditions: { uid, resourceVersion } }),
    };
    const call = {
      method: 'DELETE',
      path: target.path,
      body: JSON.stringify(body),
      ...target.words('deleting'),
    } as const;
    try {
      // The answer is the object while something keeps it, and a Status once it is gone.
      const answer: { readonly kind?: string } = await this.#json('delete', resource, call);
      return answer.kind === 'Status' ? 'gone' : 'deleting';
    } catch (error) {
      if (error instanceof KubeError && error.reason === 'NotFound') return 'gone';
      throw error;
    }
  }

  /** The text at a path of the API, e.g. a container's log. */
  async text(path: string, doing: string): Promise<string> {
    return (await this.#send('get', 'text', { method: 'GET', path, headers: { accept: '*/*' }, doing, subject: path }))
      .body;
  }

  /** The lines at a path of the API as they come, e.g. a log that is followed; given up when silent for `idleMs`. */
  async *follow(path: string, doing: string, options: { readonly idleMs: number; readonly signal?: AbortSignal }) {
    await this.#limiter.take(options.signal);
    yield* this.#lines(
      'get',
      'text',
      { method: 'GET', path, headers: { accept: '*/*' }, doing, subject: path },
      options,
    );
  }

  #patch<T extends KubeObject>(
    resource: Resource<T>,
    name: ObjectName,
    type: string,
    patch: unknown,
    subresource: 'status' | undefined,
  ): Promise<T> {
    const target = objectTarget(resource, name);
    return this.#json('patch', resource, {
      method: 'PATCH',
      path: `${target.path}${subresource === undefined ? '' : `/${subresource}`}?${this.#manager()}`,
      headers: { 'content-type': type },
      body: JSON.stringify(patch),
      ...target.words(subresource === undefined ? 'changing' : `changing the ${subresource} of`),
    });
  }

  async *#pages<T extends KubeObject>(
    resource: Resource,
    options: ListOptions,
    accept: string,
    complete: (item: T) => T,
  ): AsyncGenerator<Page<T>, void, undefined> {
    const path = pathOf(resource, options.namespace);
    const where = options.namespace === undefined ? '' : ` in ${options.namespace}`;
    const words = { doing: `listing ${resource.plural}${where}`, subject: resource.plural };
    for (let next: string | undefined = ''; next !== undefined; ) {
      const query = new URLSearchParams({ ...selectors(options), limit: String(options.pageSize ?? 250) });
      if (next !== '') query.set('continue', next);
      const list: List<T> = await this.#json('list', resource, {
        method: 'GET',
        path: `${path}?${query}`,
        headers: { accept },
        ...words,
      });
      yield { resourceVersion: list.metadata.resourceVersion, items: (list.items ?? []).map(complete) };
      next = list.metadata.continue || undefined;
    }
  }

  async *#watch<T extends KubeObject>(
    resource: Resource,
    options: WatchOptions,
    accept: string,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const query = new URLSearchParams({
      ...selectors(options),
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: options.resourceVersion,
      timeoutSeconds: String(options.timeoutSeconds),
    });
    const words = { doing: `watching ${resource.plural}`, subject: resource.plural };
    const call: Call = {
      method: 'GET',
      path: `${pathOf(resource, options.namespace)}?${query}`,
      headers: { accept },
      ...words,
    };
    await this.#limiter.take(options.signal ?? this.#options.signal);
    for await (const line of this.#lines('watch', resource.plural, call, options)) {
      const event = parsed<RawEvent<T>>(line, call);
      if (event.type === 'ERROR') throw watchRefused(words.doing, words.subject, event.object);
      if (event.type === 'BOOKMARK') yield { type: 'BOOKMARK', resourceVersion: event.object.metadata.resourceVersion };
      else yield event;
    }
  }

  async *#lines(
    verb: Verb,
    resource: string,
    call: Call,
    options: { readonly idleMs: number; readonly signal?: AbortSignal },
  ): AsyncGenerator<string, void, undefined> {
    const startedAt = performance.now();
    const report = (code: FinishedRequest['code']) =>
      this.#options.onRequest?.({ verb, resource, code, durationMs: performance.now() - startedAt });
    const refuse = (answer: Answer) => this.#refused(call, answer);
    const signal = bothSignals(options.signal, this.#options.signal);
    try {
      yield* lines(this.#access, call, { idleMs: options.idleMs, signal: signal.signal, refuse });
      report(200);
    } catch (error) {
      report(codeOf(error));
      throw error;
    } finally {
      signal.release();
    }
  }

  async #json<T>(
    verb: Verb,
    resource: Resource,
    call: Omit<Call, 'headers'> & Partial<Pick<Call, 'headers'>>,
  ): Promise<T> {
    const type: Readonly<Record<string, string>> =
      call.body === undefined ? {} : { 'content-type': 'application/json' };
    const answer = await this.#send(verb, resource.plural, { ...call, headers: { ...type, ...call.headers } });
    return parsed<T>(answer.body, call);
  }

  /** Sends within the rate limit, again after a 429 (which was not carried out) for as long as the deadline allows. */
  async #send(verb: Verb, resource: string, call: Call): Promise<Answer> {
    const { signal } = this.#options;
    const until = performance.now() + this.#deadlineMs;
    for (;;) {
      await this.#limiter.take(signal);
      const error = await this.#once(verb, resource, call);
      if (!(error instanceof KubeError)) return error;
      const waitMs = error.retryAfterMs ?? 1000;
      if (error.reason !== 'TooManyRequests' || performance.now() + waitMs > until) throw error;
      this.#limiter.pauseMs(waitMs);
      await delay(waitMs, signal);
    }
  }

  /** The answer, or the error of an answer that refuses. */
  async #once(verb: Verb, resource: string, call: Call): Promise<Answer | KubeError> {
    if (call.method !== 'GET') this.#options.mayWrite?.();
    const startedAt = performance.now();
    const report = (code: FinishedRequest['code']) =>
      this.#options.onRequest?.({ verb, resource, code, durationMs: performance.now() - startedAt });
    try {
      const answer = await exchange(this.#access, call, this.#deadlineMs, this.#options.signal);
      report(answer.status);
      return answer.status < 300 ? answer : this.#refused(call, answer);
    } catch (error) {
      report(codeOf(error));
      throw error;
    }
  }

  #refused(call: Call, answer: Answer): KubeError {
    if (answer.status === 401) this.#access.forgetToken();
    return refused(call.doing, call.subject, answer);
  }

  #manager(): string {
    return `fieldManager=${encodeURIComponent(this.#options.fieldManager ?? 'pipeline-parity')}`;
  }
}

interface List<T> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items?: readonly T[] | null;
}

type RawEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly object: KubeObject }
  | { readonly type: 'ERROR'; readonly object: unknown };

/** The path of a kind's collection. */
export function pathOf(resource: Resource, namespace?: string): string {
  const root = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const within = resource.isNamespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${root}${within}/${resource.plural}`;
}

function objectTarget(resource: Resource, name: ObjectName) {
  if (resource.isNamespaced && name.namespace === undefined)
    throw new ParityError('Internal', `${resource.kind} ${name.name} was named without its namespace`);
  const subject = `${resource.kind} ${keyOf(name)}`;
  return {
    path: `${pathOf(resource, name.namespace)}/${encodeURIComponent(name.name)}`,
    words: (verb: string) => ({ doing: `${verb} ${subject}`, subject }),
  };
}

function metadataOf(list: 'List' | ''): string {
  return `application/json;as=PartialObjectMetadata${list};g=meta.k8s.io;v=v1`;
}

function selectors(options: Pick<ListOptions, 'labelSelector' | 'fieldSelector'>): Record<string, string> {
  return {
    ...(options.labelSelector === undefined ? {} : { labelSelector: options.labelSelector }),
    ...(options.fieldSelector === undefined ? {} : { fieldSelector: options.fieldSelector }),
  };
}

async function collect<T>(pages: AsyncIterable<Page<T>>): Promise<Page<T>> {
  const items: T[] = [];
  let resourceVersion = '';
  for await (const page of pages) {
    resourceVersion = page.resourceVersion;
    items.push(...page.items);
  }
  return { resourceVersion, items };
}

/** The JSON of an answer: the server keeps to its own API, so that its shape is taken as given. */
function parsed<T>(text: string, call: Pick<Call, 'doing' | 'subject'>): T {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new KubeError('Unreachable', `${call.doing}: the answer is no JSON: ${String(error)}`, {
      subject: call.subject,
      cause: error,
    });
  }
}

function codeOf(error: unknown): FinishedRequest['code'] {
  if (!(error instanceof KubeError)) return 'Cancelled';
  return error.status ?? (error.reason === 'Timeout' ? 'Timeout' : 'Unreachable');
}

/** A signal that aborts with either, and what takes it off both (AbortSignal.any would pile up on a signal that lives as long as the process). */
function bothSignals(...signals: readonly (AbortSignal | undefined)[]) {
  const given = signals.filter((signal) => signal !== undefined);
  if (given.length < 2) return { signal: given[0], release: () => {} };
  const both = new AbortController();
  const onAbort = (event: Event) => both.abort(event.target instanceof AbortSignal ? event.target.reason : undefined);
  for (const signal of given) {
    if (signal.aborted) both.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  }
  return {
    signal: both.signal,
    release: () => {
      for (const signal of given) signal.removeEventListener('abort', onAbort);
    },
  };
}
