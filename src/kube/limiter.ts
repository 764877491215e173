import { ParityError } from '../support/error.ts';
import { type Clock, systemClock } from './clock.ts';

/**
 * A token bucket: `burst` requests at once, `perSecond` after that, in the order they came. `pauseMs` holds all of them, as a
 * server asks for with `Retry-After`.
 */
export class RateLimiter {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #clock: Clock;
  readonly #waiting: { readonly go: () => void; readonly signal: AbortSignal | undefined }[] = [];
  #tokens: number;
  #filledAt: number;
  #pausedUntil = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(options: { readonly perSecond: number; readonly burst: number; readonly clock?: Clock }) {
    this.#perMs = options.perSecond / 1000;
    this.#burst = options.burst;
    this.#tokens = options.burst;
    this.#clock = options.clock ?? systemClock;
    this.#filledAt = this.#clock.now();
  }

  /** Resolves when the request may be sent. Throws `Cancelled` when the signal aborts before that. */
  take(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancelled = () => {
        const place = this.#waiting.indexOf(waiter);
        if (place >= 0) this.#waiting.splice(place, 1);
        reject(new ParityError('Cancelled', 'stopped while waiting to send a request', { cause: signal?.reason }));
      };
      const go = () => {
        signal?.removeEventListener('abort', cancelled);
        resolve();
      };
      const waiter = { go, signal };
      if (signal?.aborted === true) return cancelled();
      signal?.addEventListener('abort', cancelled, { once: true });
      this.#waiting.push(waiter);
      this.#serve();
    });
  }

  /** Sends nothing for so long. */
  pauseMs(ms: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#clock.now() + ms);
  }

  #serve(): void {
    this.#refill();
    const isPaused = () => this.#clock.now() < this.#pausedUntil;
    while (this.#tokens >= 1 && !isPaused()) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#tokens -= 1;
      next.go();
    }
    if (this.#waiting.length === 0) return;
    const untilToken = Math.max(0, 1 - this.#tokens) / this.#perMs;
    const untilResume = this.#pausedUntil - this.#clock.now();
    this.#cancelTimer?.();
    // Rounded up: a timer that ends just before the token is there would spin.
    this.#cancelTimer = this.#clock.after(Math.ceil(Math.max(untilToken, untilResume, 1)), () => this.#serve());
  }

  #refill(): void {
    const now = this.#clock.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#filledAt) * this.#perMs);
    this.#filledAt = now;
  }
}
