import type { RunStatus } from '../../src/api/generated/types.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { log, redact } from '../../src/support/log.ts';
import { patchStatus } from '../kube/patch.ts';
import type { FreezeOptions } from './freeze.ts';
import type { RunMemory } from './memory.ts';
import type { Hands } from './removals.ts';
import { tellTransitions } from './status.ts';
import { type EventRecorder, type Hold, type RunLog, type RunObject, runs, type Scope } from './types.ts';

/** What a reconcile works with. */
export interface RunContext {
  readonly kube: KubeClient;
  readonly options: FreezeOptions;
  readonly hands: Hands;
  readonly events: EventRecorder;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  /** What is remembered of the run, made anew where nothing is. */
  readonly remember: (hold: Hold) => RunMemory;
  /** The same, and undefined where nothing is. */
  readonly recall: (uid: string) => RunMemory | undefined;
  /** Nothing of the run is going on any more. */
  readonly forget: (uid: string) => void;
  /** Whether there is room for one more run; asked before anything is made for it. */
  readonly admits: (run: RunObject) => boolean;
  /** Hears of each status that was written. */
  readonly onStatus?: (before: RunObject, after: RunObject) => void;
}

/** The context narrowed to one run. */
export function scopeOf({ kube, options, events, signal, now }: RunContext, run: RunObject, hold: Hold): Scope {
  return { kube, options, run, hold, events, log: logOf(run), signal, now };
}

/** Writes what changed of the status, if anything did, and tells of it. The run as it is then. Throws `Conflict`, which ends the reconcile. */
export async function saveStatus(context: RunContext, run: RunObject, status: RunStatus): Promise<RunObject> {
  const saved = await patchStatus(context.kube, runs, run, status);
  if (saved === run) return run;
  tellTransitions(context.events, saved, run.status);
  context.onStatus?.(run, saved);
  return saved;
}

/** Log lines that name the run. */
export function logOf({ metadata }: RunObject): RunLog {
  const about = { run: `${metadata.namespace}/${metadata.name}`, uid: metadata.uid };
  return {
    debug: (message, details) => log.debug(redact(message), { ...about, ...details }),
    info: (message, details) => log.info(redact(message), { ...about, ...details }),
    warn: (message, details) => log.warn(redact(message), { ...about, ...details }),
  };
}
