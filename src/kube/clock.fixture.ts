import type { Clock } from './clock.ts';

/** A clock that stands still until it is moved: timers fire in their order, and what they set off is done before the next one fires. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ readonly dueAt: number; readonly call: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { dueAt: this.#now + Math.max(0, ms), call };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Moves time on by so many ms. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settled();
    for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
      this.#timers.delete(next);
      this.#now = next.dueAt;
      next.call();
      await settled();
    }
    this.#now = until;
  }

  /** Timers that have not fired. */
  get pending(): number {
    return this.#timers.size;
  }

  #next(until: number) {
    const due = [...this.#timers].filter((timer) => timer.dueAt <= until);
    return due.sort((a, b) => a.dueAt - b.dueAt)[0];
  }
}

/** Resolves once every promise that can go on has done so. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
