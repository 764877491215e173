import { ParityError, toParityError } from './error.ts';

export interface RetryOptions {
  /** Times the operation is tried in all, at least 1. */
  readonly attempts: number;
  /** Longest wait before the second attempt; doubles with each. Default 200. */
  readonly baseMs?: number;
  /** Bound of each wait. Default 10,000. */
  readonly maxMs?: number;
  readonly signal?: AbortSignal;
  /** Which failures may pass by themselves. Default: the error's own `isRetryable`. */
  readonly isRetryable?: (error: ParityError) => boolean;
}

/**
 * The operation's result, tried again with full jitter while it fails for a reason that may pass. Throws its last error as it
 * was thrown, or `Cancelled` when the signal aborts between attempts.
 */
export async function retry<T>(operation: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const mayPass = options.isRetryable ?? ((error) => error.isRetryable);
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(options.signal);
    try {
      return await operation(attempt);
    } catch (error) {
      if (attempt >= options.attempts || !mayPass(toParityError(error))) throw error;
    }
    await delay(backoffMs(attempt, options), options.signal);
  }
}

/** How long to wait after the given failed attempt (1, 2, …): random between half and the whole of a bound that doubles. */
export function backoffMs(attempt: number, options: Pick<RetryOptions, 'baseMs' | 'maxMs'> = {}): number {
  const bound = Math.min(options.maxMs ?? 10_000, (options.baseMs ?? 200) * 2 ** (attempt - 1));
  return bound / 2 + (Math.random() * bound) / 2;
}

/** Resolves after the time; throws `Cancelled` as soon as the signal aborts. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(cancelled());
    const onAbort = () => {
      clearTimeout(timer);
      reject(cancelled());
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** The promise's result, or the error that `onTimeout` makes once the time is over. The promise itself goes on: abort it too. */
export async function within<T>(ms: number, promise: Promise<T>, onTimeout: () => ParityError): Promise<T> {
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(onTimeout()), ms);
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}

/** Throws `Cancelled` if the signal has aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw cancelled();
}

function cancelled(): ParityError {
  return new ParityError('Cancelled', 'stopped on request');
}
