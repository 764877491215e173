import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { KubeClient } from '../../src/kube/client.ts';
import { type Clock, systemClock } from '../../src/kube/clock.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type Lease, leases, type ObjectName } from '../../src/kube/objects.ts';
import { ParityError } from '../../src/support/error.ts';
import { log } from '../../src/support/log.ts';

export interface ElectionOptions {
  /** Keeps the one record that all candidates see: `leaseStore`. */
  readonly store: LeaseStore;
  /** Others wait for so long after they last saw the record change, in ms. Default 15,000. */
  readonly leaseMs?: number;
  /** A leader that has not renewed for so long leads no more, in ms; well below `leaseMs`. Default 10,000. */
  readonly renewWithinMs?: number;
  /** Between two attempts to lead or to renew, in ms. Default 2,000. */
  readonly retryMs?: number;
  readonly clock?: Clock;
}

/** The time in which one leads, and nobody else does. */
export interface Leadership {
  /** Aborts at the instant at which it ends, before another can lead. */
  readonly signal: AbortSignal;
  /**
   * Throws `Cancelled` if it has ended. For `mayWrite` of the client: in a process that was paused, this is known before a timer
   * could fire.
   */
  readonly check: () => void;
}

/**
 * Waits to be elected, then works as the leader. `Lost`: another may lead, what was being done was stopped by the leadership's signal.
 * `Stopped`: the signal aborted before it was elected, or the work ended by itself (which is how a leader that is asked to stop
 * ends: it leads until its work is done); the lease is free at once then. Throws what the work throws, unless leadership was lost.
 *
 * The leader counts from before it asked for the lease, the others from after they saw that it had: both by their own clocks, so
 * that it stops `leaseMs - renewWithinMs` before they begin, whatever the wall clocks say and however long replies take. A write that
 * was sent before and is still under way then is caught by its resource version.
 */
export async function leadOnce(
  options: ElectionOptions,
  signal: AbortSignal,
  work: (leadership: Leadership) => Promise<void>,
): Promise<'Lost' | 'Stopped'> {
  const candidate = new Candidate(options);
  if (!(await candidate.elected(signal))) return 'Stopped';
  const leadership = candidate.leadership();
  try {
    await work(leadership);
  } catch (error) {
    if (!leadership.signal.aborted) throw error;
  } finally {
    await candidate.resign();
  }
  return leadership.signal.aborted ? 'Lost' : 'Stopped';
}

/** The record of who leads, kept where every candidate can reach it. */
export interface LeaseStore {
  readonly identity: string;
  read(): Promise<LeaseRecord | undefined>;
  /** Throws `AlreadyExists`. */
  create(terms: LeaseTerms): Promise<LeaseRecord>;
  /** Throws `Conflict` when the record has changed since. */
  update(record: LeaseRecord, terms: LeaseTerms): Promise<LeaseRecord>;
}

export interface LeaseTerms {
  /** Empty: nobody leads. */
  readonly holder: string;
  readonly leaseMs: number;
}

export interface LeaseRecord extends LeaseTerms {
  /** Another one with each change. */
  readonly version: string;
  /** How often the holder has changed. */
  readonly transitions: number;
}

/**
 * The record as a Lease of the cluster, by a client without `mayWrite`. It has a rate of its own, or a flood of other requests would
 * cost the lease. The identity is this process's own: a restarted pod of the same name is another candidate.
 */
export function leaseStore(
  client: KubeClient,
  name: ObjectName,
  { identity = `${hostname()}_${randomUUID()}`, deadlineMs = 3000 }: { identity?: string; deadlineMs?: number } = {},
): LeaseStore {
  const kube = client.with({ requestsPerSecond: 10, burst: 10, deadlineMs });
  return {
    identity,
    read: async () => {
      const lease = await kube.find(leases, name);
      return lease === undefined ? undefined : recordOf(lease);
    },
    create: async (terms) => recordOf(await kube.create(leases, { metadata: name, spec: specOf(terms, undefined) })),
    update: async (record, terms) => {
      const patch = { metadata: { resourceVersion: record.version }, spec: specOf(terms, record) };
      return recordOf(await kube.mergePatch(leases, name, patch));
    },
  };
}

/** The times are for people only: nobody compares them with a clock. */
function specOf({ holder, leaseMs }: LeaseTerms, before: LeaseRecord | undefined) {
  const now = new Date().toISOString().replace('Z', '000Z');
  const isNew = before?.holder !== holder;
  return {
    holderIdentity: holder,
    leaseDurationSeconds: Math.max(1, Math.ceil(leaseMs / 1000)),
    renewTime: now,
    leaseTransitions: (before?.transitions ?? 0) + (before !== undefined && isNew ? 1 : 0),
    ...(isNew ? { acquireTime: now } : {}),
  };
}

function recordOf({ metadata, spec }: Lease): LeaseRecord {
  return {
    version: metadata.resourceVersion,
    holder: spec?.holderIdentity ?? '',
    leaseMs: (spec?.leaseDurationSeconds ?? 0) * 1000,
    transitions: spec?.leaseTransitions ?? 0,
  };
}

class Candidate {
  readonly #store: LeaseStore;
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #renewWithinMs: number;
  readonly #retryMs: number;
  readonly #lost = new AbortController();
  readonly #resigned = new AbortController();
  /** The record as it was last seen, and since when it has been so. */
  #seen: { readonly record: LeaseRecord; readonly at: number } | undefined;
  /** Until when this one leads, by its own clock. */
  #leadsUntil = Number.NEGATIVE_INFINITY;
  #cancelExpiry = () => {};
  #renewing: Promise<void> = Promise.resolve();

  constructor(options: ElectionOptions) {
    this.#store = options.store;
    this.#clock = options.clock ?? systemClock;
    this.#leaseMs = options.leaseMs ?? 15_000;
    this.#renewWithinMs = options.renewWithinMs ?? 10_000;
    this.#retryMs = options.retryMs ?? 2_000;
    if (this.#renewWithinMs >= this.#leaseMs)
      throw new ParityError(
        'BadUsage',
        'a leader must stop before others may lead: renewWithinMs is not below leaseMs',
      );
  }

  /** Tries until it leads (true) or the signal aborts (false). */
  async elected(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      if (await this.#attempt()) return true;
      await this.#wait(this.#retryMs * (1 + Math.random() * 0.2), signal);
    }
    return false;
  }

  leadership(): Leadership {
    this.#renewing = this.#renew();
    return {
      signal: this.#lost.signal,
      check: () => {
        if (this.#clock.now() >= this.#leadsUntil) this.#lose('it was not renewed in time');
        if (this.#lost.signal.aborted) throw new ParityError('Cancelled', 'this process does not lead any more');
      },
    };
  }

  /** Leads no more; the lease is free for others, if it was still ours. */
  async resign(): Promise<void> {
    this.#resigned.abort();
    await this.#renewing;
    this.#cancelExpiry();
    const isOurs = this.#clock.now() < this.#leadsUntil && !this.#lost.signal.aborted;
    this.#leadsUntil = Number.NEGATIVE_INFINITY;
    if (!isOurs || this.#seen === undefined) return;
    // Where this fails the others wait for as long as they would after a crash.
    await this.#store.update(this.#seen.record, { holder: '', leaseMs: 1000 }).catch((error: unknown) => {
      log.warn('the lease was not given back', { error });
    });
  }

  /** Takes the lease if nobody holds it. False: another does, or nothing is known. */
  async #attempt(): Promise<boolean> {
    try {
      const record = await this.#store.read();
      if (record !== undefined) this.#observe(record);
      if (this.#mayAnotherLead(record)) return false;
      const askedAt = this.#clock.now();
      const terms = { holder: this.#store.identity, leaseMs: this.#leaseMs };
      this.#won(
        record === undefined ? await this.#store.create(terms) : await this.#store.update(record, terms),
        askedAt,
      );
      return this.#clock.now() < this.#leadsUntil;
    } catch (error) {
      if (!isKubeError(error, 'Conflict', 'AlreadyExists')) log.warn('the lease could not be taken', { error });
      return false;
    }
  }

  /** Somebody whose lease was seen leads until it has not changed for all its time; also where the record itself was deleted. */
  #mayAnotherLead(record: LeaseRecord | undefined): boolean {
    const seen = this.#seen;
    if (seen === undefined) return false;
    const { holder, leaseMs } = record ?? seen.record;
    if (holder === '' || holder === this.#store.identity) return false;
    return this.#clock.now() < seen.at + Math.max(leaseMs, this.#leaseMs);
  }

  #observe(record: LeaseRecord): void {
    if (this.#seen?.record.version !== record.version) this.#seen = { record, at: this.#clock.now() };
  }

  #won(record: LeaseRecord, askedAt: number): void {
    this.#observe(record);
    const leftMs = askedAt + this.#renewWithinMs - this.#clock.now();
    // The reply took too long: others may be about to lead.
    if (leftMs <= 0) return;
    this.#leadsUntil = askedAt + this.#renewWithinMs;
    this.#cancelExpiry();
    this.#cancelExpiry = this.#clock.after(leftMs, () => this.#lose('it was not renewed in time'));
  }

  /** Renews until the leadership is lost or given up. */
  async #renew(): Promise<void> {
    const isOver = () => this.#lost.signal.aborted || this.#resigned.signal.aborted;
    while (!isOver()) {
      await this.#wait(this.#retryMs, this.#lost.signal, this.#resigned.signal);
      if (isOver()) return;
      await this.#renewOnce().catch((error: unknown) => {
        if (!isOver()) log.warn('the lease could not be renewed', { error });
      });
    }
  }

  async #renewOnce(): Promise<void> {
    try {
      await this.#extend();
    } catch (error) {
      if (isKubeError(error, 'NotFound')) return this.#lose('the lease was deleted');
      if (!isKubeError(error, 'Conflict')) throw error;
      // Either another has it, or our own renewal was carried out and its reply was lost.
      const record = await this.#store.read();
      if (record === undefined) return this.#lose('the lease was deleted');
      this.#observe(record);
      if (record.holder !== this.#store.identity) return this.#lose(`${record.holder || 'nobody'} holds it`);
      await this.#extend();
    }
  }

  async #extend(): Promise<void> {
    if (this.#seen === undefined) return;
    const askedAt = this.#clock.now();
    const terms = { holder: this.#store.identity, leaseMs: this.#leaseMs };
    const renewed = await this.#store.update(this.#seen.record, terms);
    // A reply that comes when it is over changes nothing: work has been stopped.
    if (!this.#lost.signal.aborted) this.#won(renewed, askedAt);
  }

  #lose(why: string): void {
    if (this.#lost.signal.aborted) return;
    this.#leadsUntil = Number.NEGATIVE_INFINITY;
    this.#cancelExpiry();
    log.warn(`the lease was lost: ${why}`);
    this.#lost.abort(new ParityError('Cancelled', `this process does not lead any more: ${why}`));
  }

  #wait(ms: number, ...signals: readonly AbortSignal[]): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        for (const signal of signals) signal.removeEventListener('abort', end);
        resolve();
      };
      const cancel = this.#clock.after(ms, end);
      for (const signal of signals) signal.addEventListener('abort', end, { once: true });
      if (signals.some((signal) => signal.aborted)) end();
    });
  }
}
