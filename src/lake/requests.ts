/**
 * Counts the requests made of an object store and keeps them under a rate. One object per store; the store calls `take` before
 * each request, retries included.
 */
export class Requests {
  #count = 0;
  #nextMs = 0;
  readonly #intervalMs: number;

  /** `maxPerSecond` undefined: counted, not held back. */
  constructor(maxPerSecond?: number) {
    this.#intervalMs = maxPerSecond === undefined ? 0 : 1000 / maxPerSecond;
  }

  /** Requests made so far. */
  get count(): number {
    return this.#count;
  }

  /** Resolves when the next request may be sent. Requests are spaced evenly: no bursts that production would feel. */
  async take(): Promise<void> {
    this.#count += 1;
    if (this.#intervalMs === 0) return;
    const now = performance.now();
    const at = Math.max(now, this.#nextMs);
    this.#nextMs = at + this.#intervalMs;
    if (at > now) await new Promise((resolve) => setTimeout(resolve, at - now));
  }
}
