import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { EventsV1Event } from '@kubernetes/client-node';
import type { KubeClient } from '../../src/kube/client.ts';
import { type Clock, systemClock } from '../../src/kube/clock.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type KubeObject, resource, type Stored } from '../../src/kube/objects.ts';
import { log, redact } from '../../src/support/log.ts';
import { retry } from '../../src/support/retry.ts';

/** An Event of Kubernetes. */
export type KubeEvent = Stored<EventsV1Event>;

export const kubeEvents = resource<KubeEvent>('events.k8s.io', 'v1', 'events', 'Event');

/** What is told of an object. */
export interface Told {
  readonly type: 'Normal' | 'Warning';
  /** One word in CamelCase, e.g. `SnapshotCopied`. */
  readonly reason: string;
  /** For people; secrets are taken out, and what is over 1,024 bytes. */
  readonly message: string;
  /** What was being done, in one word. Default `Reconcile`. */
  readonly action?: string;
}

export interface RecorderOptions {
  /** By a client without `mayWrite`; the recorder has a rate of its own. */
  readonly client: KubeClient;
  /** Who tells, e.g. `pipelineparity.io/operator`. */
  readonly component: string;
  readonly clock?: Clock;
  /** Told of each event that was not recorded. */
  readonly onDropped?: () => void;
}

/** The same is told once in this time; after that as another Event. */
const seriesMs = 10 * 60_000;
/** Different events of one object at once, and how often another is allowed after that. */
const burstOfObject = 25;
const refillMs = 60_000;
/** Events that are remembered, to count the same ones together. */
const remembered = 4096;
const noteBytes = 1024;

/**
 * Records Events without anyone waiting for them. What is told again within ten minutes is counted on the Event that is there; one object
 * is told of no more than 25 times at once and once a minute then. An Event that can't be stored is left out: it never fails what told it.
 */
export class Recorder {
  readonly #client: KubeClient;
  readonly #options: RecorderOptions;
  readonly #clock: Clock;
  readonly #series = new Map<string, Series>();
  readonly #allowances = new Map<string, { tokens: number; at: number }>();
  readonly #unsent = new Set<Series>();
  #sending: Promise<void> | undefined;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#client = options.client.with({ requestsPerSecond: 10, burst: 50, deadlineMs: 5000 });
  }

  /** Tells of the object. Returns at once, never throws. */
  record(about: KubeObject, told: Told): void {
    const key = JSON.stringify([about.metadata.uid, told.type, told.reason, told.message]);
    const now = this.#clock.now();
    const known = this.#series.get(key);
    if (known !== undefined && now - known.startedAt < seriesMs) {
      known.count += 1;
      this.#send(known);
      return;
    }
    if (!this.#isAllowed(about.metadata.uid, now)) {
      this.#options.onDropped?.();
      return;
    }
    const series = { about, told, name: nameFor(about), startedAt: now, count: 1, stored: 0, time: microTime() };
    this.#series.delete(key);
    this.#series.set(key, series);
    forgetOldest(this.#series, remembered);
    this.#send(series);
  }

  /** Resolves once everything that was told is stored or given up; for the end of the process. */
  async flush(): Promise<void> {
    while (this.#sending !== undefined) await this.#sending;
  }

  #send(series: Series): void {
    this.#unsent.add(series);
    this.#sending ??= this.#sendAll();
  }

  async #sendAll(): Promise<void> {
    for (const series of this.#unsent) {
      this.#unsent.delete(series);
      await this.#store(series).catch((error: unknown) => {
        log.debug('an event was not recorded', { reason: series.told.reason, error });
        this.#options.onDropped?.();
      });
    }
    this.#sending = undefined;
  }

  async #store(series: Series): Promise<void> {
    const { count } = series;
    await retry(() => (series.stored === 0 ? this.#create(series) : this.#count(series)), { attempts: 3 });
    series.stored = count;
  }

  async #create(series: Series): Promise<void> {
    const { about, told } = series;
    const { namespace, name, uid, resourceVersion } = about.metadata;
    const { apiVersion, kind } = about;
    await this.#client
      .create(kubeEvents, {
        metadata: { namespace: namespace ?? 'default', name: series.name },
        type: told.type,
        reason: told.reason,
        note: cut(redact(told.message), noteBytes),
        action: told.action ?? 'Reconcile',
        regarding: { apiVersion, kind, name, uid, resourceVersion, ...(namespace === undefined ? {} : { namespace }) },
        reportingController: this.#options.component,
        reportingInstance: cut(hostname(), 128),
        eventTime: series.time,
        ...(series.count > 1 ? { series: countOf(series) } : {}),
      })
      .catch((error: unknown) => {
        // The first attempt was carried out, and its reply was lost.
        if (!isKubeError(error, 'AlreadyExists')) throw error;
      });
  }

  async #count(series: Series): Promise<void> {
    const { namespace = 'default' } = series.about.metadata;
    try {
      await this.#client.mergePatch(kubeEvents, { namespace, name: series.name }, { series: countOf(series) });
    } catch (error) {
      if (!isKubeError(error, 'NotFound')) throw error;
      // The cluster forgets events after an hour.
      series.name = nameFor(series.about);
      await this.#create(series);
    }
  }

  /** Whether one more event of the object is not too much. */
  #isAllowed(uid: string, now: number): boolean {
    const last = this.#allowances.get(uid) ?? { tokens: burstOfObject, at: now };
    const tokens = Math.min(burstOfObject, last.tokens + (now - last.at) / refillMs);
    this.#allowances.delete(uid);
    this.#allowances.set(uid, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
    forgetOldest(this.#allowances, remembered);
    return tokens >= 1;
  }
}

/** The same, told one or more times. */
interface Series {
  readonly about: KubeObject;
  readonly told: Told;
  readonly startedAt: number;
  readonly time: string;
  name: string;
  count: number;
  /** The count that the cluster has; 0: no Event yet. */
  stored: number;
}

function countOf({ count }: Series) {
  return { count: Math.max(2, count), lastObservedTime: microTime() };
}

function nameFor({ metadata }: KubeObject): string {
  return `${metadata.name.slice(0, 200)}.${randomBytes(8).toString('hex')}`;
}

function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z');
}

function forgetOldest(map: Map<string, unknown>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}

/** The text in so many bytes, with an ellipsis where it was longer; no character is cut in two. */
function cut(text: string, bytes: number): string {
  const all = Buffer.from(text);
  if (all.length <= bytes) return text;
  const ellipsis = '…';
  // A character that was cut in two reads as the replacement character, at the end only.
  return `${all
    .subarray(0, bytes - Buffer.byteLength(ellipsis))
    .toString()
    .replace(/\uFFFD+$/u, '')}${ellipsis}`;
}
