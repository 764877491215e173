import { type Clock, systemClock } from '../../src/kube/clock.ts';
import { KubeError } from '../../src/kube/error.ts';
import { backoffMs } from '../../src/support/retry.ts';

export interface QueueOptions {
  /**
   * Brings the object of that key to where it should be. Throwing means to be called again after a back-off; the outcome may ask for
   * another call in a while. The signal aborts when the queue is stopped at once, or the time for one call is over.
   */
  readonly process: (key: string, signal: AbortSignal) => Promise<Outcome>;
  /** Keys in process at a time. */
  readonly concurrency: number;
  /** Wait after the first failure in a row, doubling with each, in ms. Default 500. */
  readonly baseMs?: number;
  /** Longest such wait, in ms. Default 300,000. */
  readonly maxMs?: number;
  /** Time for one call before its signal aborts, in ms. Default 300,000. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  readonly hooks?: QueueHooks;
}

/** `again: undefined` is done until something happens. */
export type Outcome = { readonly againAfterMs?: number | undefined } | undefined;

/** What metrics and logs want to know. Hooks must not throw. */
export interface QueueHooks {
  readonly onDepth?: (waiting: number) => void;
  readonly onStart?: (key: string, waitedMs: number) => void;
  readonly onDone?: (key: string, durationMs: number) => void;
  readonly onFailure?: (
    key: string,
    durationMs: number,
    error: unknown,
    failuresInARow: number,
    retryAfterMs: number,
  ) => void;
}

/**
 * A queue of keys to be looked at. A key waits at most once, whatever number of times it was added; is never in process twice at a
 * time; and one added while in process is processed again after. First come, first served; a key that fails waits by itself.
 */
export class WorkQueue {
  readonly #options: QueueOptions;
  readonly #clock: Clock;
  /** In order of arrival, with the time of it. */
  readonly #waiting = new Map<string, number>();
  readonly #running = new Map<string, { isDirty: boolean }>();
  readonly #later = new Map<string, { readonly dueAt: number; readonly cancel: () => void }>();
  readonly #failures = new Map<string, number>();
  readonly #stop = new AbortController();
  #isOpen = true;
  #isStarted = false;
  #whenIdle: (() => void)[] = [];

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Begins to process; what was added before waits for it. */
  start(): void {
    this.#isStarted = true;
    this.#next();
  }

  /** Has the key processed as soon as its turn comes. */
  add(key: string): void {
    if (!this.#isOpen) return;
    const running = this.#running.get(key);
    if (running !== undefined) running.isDirty = true;
    else if (!this.#waiting.has(key)) this.#waiting.set(key, this.#clock.now());
    this.#next();
  }

  /** Adds the key after the time, in ms. Of several such times for one key the earliest counts. */
  addAfter(key: string, ms: number): void {
    if (!this.#isOpen) return;
    if (ms <= 0) {
      this.add(key);
      return;
    }
    const dueAt = this.#clock.now() + ms;
    const known = this.#later.get(key);
    if (known !== undefined && known.dueAt <= dueAt) return;
    known?.cancel();
    const cancel = this.#clock.after(ms, () => {
      this.#later.delete(key);
      this.add(key);
    });
    this.#later.set(key, { dueAt, cancel });
  }

  /** Keys that wait for their turn. */
  get depth(): number {
    return this.#waiting.size;
  }

  /** Keys in process. */
  get running(): readonly string[] {
    return [...this.#running.keys()];
  }

  /**
   * Starts nothing more and waits for what runs: for `graceMs`, then aborts the signal of what is left and waits for that too, for
   * `graceMs` at most. Returns the keys that still run: empty unless somebody ignores the signal.
   */
  async drain(graceMs: number): Promise<readonly string[]> {
    this.#close();
    if (await this.#idleWithin(graceMs)) return [];
    this.#stop.abort();
    await this.#idleWithin(graceMs);
    return this.running;
  }

  /** Aborts what runs and starts nothing more, at once. */
  stop(): void {
    this.#close();
    this.#stop.abort();
  }

  #close(): void {
    this.#isOpen = false;
    for (const { cancel } of this.#later.values()) cancel();
    this.#later.clear();
    this.#waiting.clear();
    this.#options.hooks?.onDepth?.(0);
  }

  #next(): void {
    while (this.#isStarted && this.#isOpen && this.#running.size < this.#options.concurrency) {
      const [first] = this.#waiting;
      if (first === undefined) break;
      const [key, addedAt] = first;
      this.#waiting.delete(key);
      this.#running.set(key, { isDirty: false });
      void this.#run(key, this.#clock.now() - addedAt);
    }
    if (this.#isOpen) this.#options.hooks?.onDepth?.(this.#waiting.size);
  }

  async #run(key: string, waitedMs: number): Promise<void> {
    const { hooks } = this.#options;
    const startedAt = this.#clock.now();
    hooks?.onStart?.(key, waitedMs);
    try {
      const outcome = await this.#withinTime((signal) => this.#options.process(key, signal));
      this.#failures.delete(key);
      hooks?.onDone?.(key, this.#clock.now() - startedAt);
      if (outcome?.againAfterMs !== undefined) this.addAfter(key, outcome.againAfterMs);
    } catch (error) {
      const failures = (this.#failures.get(key) ?? 0) + 1;
      this.#failures.set(key, failures);
      const waitMs = this.#retryAfterMs(error, failures);
      hooks?.onFailure?.(key, this.#clock.now() - startedAt, error, failures, waitMs);
      // What changed meanwhile may have helped; but its own writes come back as changes, and must not make it spin.
      this.addAfter(key, this.#isDirty(key) ? Math.min(waitMs, this.#options.baseMs ?? 500) : waitMs);
      this.#running.set(key, { isDirty: false });
    } finally {
      this.#finish(key);
    }
  }

  #isDirty(key: string): boolean {
    return this.#running.get(key)?.isDirty === true;
  }

  #finish(key: string): void {
    const isDirty = this.#isDirty(key);
    this.#running.delete(key);
    if (isDirty) this.add(key);
    this.#next();
    if (this.#running.size === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  /** The server's own wish, if it is longer than the back-off. */
  #retryAfterMs(error: unknown, failures: number): number {
    const { baseMs = 500, maxMs = 300_000 } = this.#options;
    const asked = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0;
    return Math.max(asked, backoffMs(failures, { baseMs, maxMs }));
  }

  async #withinTime(call: (signal: AbortSignal) => Promise<Outcome>): Promise<Outcome> {
    const own = new AbortController();
    const onStop = () => own.abort(this.#stop.signal.reason);
    this.#stop.signal.addEventListener('abort', onStop, { once: true });
    const cancel = this.#clock.after(this.#options.timeoutMs ?? 300_000, () => own.abort());
    try {
      return await call(own.signal);
    } finally {
      cancel();
      this.#stop.signal.removeEventListener('abort', onStop);
    }
  }

  #idleWithin(ms: number): Promise<boolean> {
    if (this.#running.size === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const cancel = this.#clock.after(ms, () => resolve(false));
      this.#whenIdle.push(() => {
        cancel();
        resolve(true);
      });
    });
  }
}
