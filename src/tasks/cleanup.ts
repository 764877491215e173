import { type ErrorRecord, ParityError, toParityError } from '../support/error.ts';
import { redactError } from '../support/log.ts';
import { retry, within } from '../support/retry.ts';

/** One thing that a run made outside itself, and how it goes. Removing what is gone already is no error. */
export interface Removal {
  /** For people: `the workspace s3://dev/parity-…`. */
  readonly what: string;
  remove(signal: AbortSignal): Promise<void>;
  /** What a person would type to remove it. */
  readonly command: string;
}

/** What could not be removed, why, and what would remove it. */
export interface Leftover {
  readonly what: string;
  readonly error: ErrorRecord;
  readonly command: string;
}

export interface CleanupOptions {
  /** Bound of each removal, all its attempts included. */
  readonly timeoutMs: number;
  /** Aborts what is under way; the rest is reported as left over. */
  readonly signal?: AbortSignal;
  readonly onRemoved?: (removal: Removal) => void;
}

/**
 * Removes the things in order (servers before the folders they write to). One that fails does not keep the others; what stayed is
 * returned, empty if nothing did. Never throws and never takes longer than its bound. Used by the driver's process and by `gc`,
 * and, as a library, by whoever finalizes a run elsewhere.
 */
export async function cleanUp(removals: readonly Removal[], options: CleanupOptions): Promise<readonly Leftover[]> {
  const leftovers: Leftover[] = [];
  for (const removal of removals) {
    try {
      await removeInTime(removal, options);
      options.onRemoved?.(removal);
    } catch (error) {
      const record = redactError(toParityError(error).toJSON());
      leftovers.push({ what: removal.what, error: record, command: removal.command });
    }
  }
  return leftovers;
}

/** The error that stands for leftovers in a task's state. */
export function incomplete(leftovers: readonly Leftover[]): ParityError {
  const [first] = leftovers;
  const others = leftovers.length > 1 ? `, and ${leftovers.length - 1} more things` : '';
  return new ParityError(
    'CleanupIncomplete',
    first === undefined ? 'nothing was left' : `${first.what} could not be removed: ${first.error.message}${others}`,
    { advice: leftovers.map(({ command }) => command).join('\n') },
  );
}

async function removeInTime(removal: Removal, options: CleanupOptions): Promise<void> {
  const bound = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal === undefined ? bound : AbortSignal.any([options.signal, bound]);
  const removing = retry(() => removal.remove(signal), { attempts: 3, signal });
  // The removal goes on in vain after its bound; nobody waits for it.
  removing.catch(() => undefined);
  await within(options.timeoutMs, Promise.race([removing, aborted(options.signal)]), () => {
    return new ParityError('Timeout', `removing ${removal.what} took longer than ${options.timeoutMs / 1000} s`);
  });
}

/** Rejects when the signal aborts; never settles otherwise. */
function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(new ParityError('Cancelled', 'removing was stopped on request'));
    if (signal?.aborted === true) stop();
    else signal?.addEventListener('abort', stop, { once: true });
  });
}
