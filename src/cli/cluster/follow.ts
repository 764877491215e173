import { DEFAULTS } from '../../api/defaults.ts';
import { isKubeError } from '../../kube/error.ts';
import { keyOf } from '../../kube/objects.ts';
import { cleanupFinalizer, plans, type RunObject, runs } from '../../kube/runs.ts';
import { Mirror, objectsOf } from '../../kube/watch.ts';
import { duration } from '../../report/words.ts';
import { ParityError } from '../../support/error.ts';
import { retry } from '../../support/retry.ts';
import type { Cluster } from './access.ts';
import { conditionOf, type Ending, endingOf } from './ending.ts';

export interface FollowOptions {
  /** Time until an operator must have picked the run up, in ms. */
  readonly pickupMs: number;
  /** Time for all of it, in ms. */
  readonly timeoutMs: number;
  /** The run that is meant; the one that has the name now where left out. */
  readonly uid?: string;
  readonly onChange?: (run: RunObject) => void;
  readonly signal?: AbortSignal;
  /** For tests: the slack of a run that is quiet, how long the API server may be out of reach, and the interval of the checks. */
  readonly timing?: Partial<Timing>;
}

interface Timing {
  readonly slackMs: number;
  readonly outageMs: number;
  readonly checkMs: number;
}

/** An operator that lives says something at the end of each task; scheduling, retries and lost nodes take their time too. */
const standardTiming: Timing = { slackMs: 15 * 60_000, outageMs: 5 * 60_000, checkMs: 1000 };

/**
 * Waits for the end of a run, through cut and silent watches, relists and absences of the API server. It always ends: throws
 * `NotFound` for a run that is not there, is being deleted or was made again under its name; `Timeout` for one that no operator picks
 * up, that is quiet for longer than a task may take, or that is not over in time; `AccessDenied` and `Unreachable` as the server says.
 */
export async function followRun(cluster: Cluster, name: string, options: FollowOptions): Promise<Ending> {
  const timing = { ...standardTiming, ...options.timing };
  const { client, namespace } = cluster;
  const first = await retry(() => readRun(cluster, name), { attempts: 3, ...ifSignal(options.signal) });
  const quietMs = (await longestTaskSeconds(cluster, first)) * 1000 + timing.slackMs;
  const watched = new Watched(first, { ...options, quietMs, outageMs: timing.outageMs });
  watched.see(first);
  const mirror = new Mirror({
    source: objectsOf(client, runs, { namespace, fieldSelector: `metadata.name=${name}` }),
    keep: (run) => run,
    onChange: (key) => watched.see(mirror.get(key)),
    hooks: { onRestart: (error) => watched.fail(error) },
    logLevel: 'debug',
  });
  // The run may be gone already, and a mirror does not tell of what it never had.
  mirror.synced.then(() => watched.see(mirror.get(keyOf({ namespace, name }))));
  const timer = setInterval(() => watched.check(mirror.silentMs), timing.checkMs);
  const onAbort = () => watched.leave();
  options.signal?.addEventListener('abort', onAbort, { once: true });
  if (options.signal?.aborted === true) onAbort();
  mirror.start();
  try {
    return await watched.ending;
  } finally {
    clearInterval(timer);
    options.signal?.removeEventListener('abort', onAbort);
    await mirror.stop();
  }
}

/** The run as it is now. Throws `NotFound` with what to do. */
export async function readRun({ client, namespace }: Cluster, name: string): Promise<RunObject> {
  const run = await client.find(runs, { namespace, name });
  if (run !== undefined) return run;
  throw new ParityError('NotFound', `there is no run ${name} in namespace ${namespace}`, {
    subject: name,
    advice: `List the runs with: kubectl get ppr -n ${namespace}`,
  });
}

/** What was seen of one run, and what follows from it. */
class Watched {
  readonly ending: Promise<Ending>;
  readonly #end: (ending: Ending) => void;
  readonly #fail: (error: unknown) => void;
  readonly #options: FollowOptions & { readonly quietMs: number; readonly outageMs: number };
  readonly #name: string;
  readonly #uid: string;
  readonly #startedAt = performance.now();
  #latest: RunObject;
  #changedAt = performance.now();
  #refusals = 0;
  #lastError: unknown;

  constructor(first: RunObject, options: FollowOptions & { readonly quietMs: number; readonly outageMs: number }) {
    const { promise, resolve, reject } = Promise.withResolvers<Ending>();
    // It may fail before anybody waits for it.
    promise.catch(() => undefined);
    this.ending = promise;
    this.#end = resolve;
    this.#fail = reject;
    this.#options = options;
    this.#latest = first;
    this.#name = first.metadata.name;
    this.#uid = options.uid ?? first.metadata.uid;
  }

  /** Takes in the run as it is now; undefined when it is gone. */
  see(run: RunObject | undefined): void {
    try {
      this.#refusals = 0;
      if (run === undefined) throw this.#gone('was deleted before it finished');
      if (run.metadata.uid !== this.#uid) throw this.#gone('was deleted, and another run was made under its name');
      if (run.metadata.resourceVersion !== this.#latest.metadata.resourceVersion) this.#changedAt = performance.now();
      this.#latest = run;
      this.#options.onChange?.(run);
      const ending = endingOf(run);
      if (ending !== undefined) this.#end(ending);
      else if (run.metadata.deletionTimestamp !== undefined) throw this.#gone('is being deleted before it finished');
    } catch (error) {
      this.#fail(error);
    }
  }

  /** A watch or list failed. What another try cannot change ends the wait. */
  fail(error: unknown): void {
    this.#lastError = error;
    if (isKubeError(error, 'Forbidden', 'NoSuchKind', 'Invalid')) this.#fail(error);
    // A token that has just run out is read anew.
    if (isKubeError(error, 'Unauthorized') && ++this.#refusals >= 3) this.#fail(error);
  }

  /** Looks at the time. `silentMs`: how long nothing was heard of the API server. */
  check(silentMs: number): void {
    const now = performance.now();
    const { pickupMs, timeoutMs, quietMs, outageMs } = this.#options;
    if (!isPickedUp(this.#latest) && now - this.#startedAt > pickupMs) this.#fail(this.#notPickedUp());
    else if (now - this.#startedAt > timeoutMs) this.#fail(this.#late());
    else if (silentMs > outageMs) this.#fail(this.#outOfReach(silentMs));
    else if (!isWaitingForPeople(this.#latest) && now - this.#changedAt > quietMs) this.#fail(this.#quiet());
  }

  leave(): void {
    const advice = `It goes on; wait again with: parity wait ${this.#name}`;
    this.#fail(new ParityError('Cancelled', `stopped waiting for run ${this.#name}`, { subject: this.#name, advice }));
  }

  #gone(what: string): ParityError {
    return new ParityError('NotFound', `run ${this.#name} (${this.#uid}) ${what}: it has no verdict`, {
      subject: this.#name,
    });
  }

  #notPickedUp(): ParityError {
    return this.#timeout(
      `nobody has picked up run ${this.#name} in ${duration(this.#options.pickupMs / 1000)}`,
      `Look whether an operator runs and watches namespace ${this.#latest.metadata.namespace}: kubectl get pods -A -l app.kubernetes.io/name=pipeline-parity`,
    );
  }

  #late(): ParityError {
    return this.#timeout(
      `run ${this.#name} was not over in ${duration(this.#options.timeoutMs / 1000)}: it is ${stateInWords(this.#latest)}`,
      `It goes on; wait again with: parity wait ${this.#name}, or end it with: parity cancel ${this.#name}`,
    );
  }

  #quiet(): ParityError {
    return this.#timeout(
      `nothing has changed on run ${this.#name} for ${duration(this.#options.quietMs / 1000)}, longer than any task of it may take: it is ${stateInWords(this.#latest)}`,
      'Look whether its operator still runs: kubectl get pods -A -l app.kubernetes.io/name=pipeline-parity',
    );
  }

  #outOfReach(silentMs: number): ParityError {
    const why = this.#lastError instanceof Error ? `: ${this.#lastError.message}` : '';
    return new ParityError(
      'Unreachable',
      `nothing was heard of the API server for ${duration(silentMs / 1000)}${why}`,
      {
        subject: this.#name,
        advice: `The run may go on; wait again with: parity wait ${this.#name}`,
      },
    );
  }

  #timeout(message: string, advice: string): ParityError {
    return new ParityError('Timeout', message, { subject: this.#name, advice });
  }
}

/** The phase of a run that has not ended, and what holds it up, if anything does. */
function stateInWords(run: RunObject): string {
  const held = [conditionOf(run, 'Stalled'), conditionOf(run, 'Reconciling')].find(
    (condition) => condition?.status === 'True' && condition.reason !== 'InProgress',
  );
  const phase = run.status?.phase ?? 'Pending';
  return held === undefined ? phase : `${phase} (${held.reason}: ${held.message.replace(/\.$/, '')})`;
}

/** Whether an operator has taken the run in hand: its finalizer comes before everything else. */
export function isPickedUp(run: RunObject): boolean {
  const { metadata, status } = run;
  return (
    metadata.finalizers?.includes(cleanupFinalizer) === true ||
    (status?.observedGeneration ?? -1) >= 0 ||
    (status?.conditions ?? []).length > 0
  );
}

/** A run that is suspended, or waits for its turn, says nothing for as long as that takes. */
function isWaitingForPeople(run: RunObject): boolean {
  const { phase } = run.status ?? {};
  return !isPickedUp(run) || phase === undefined || phase === 'Pending' || isSuspended(run);
}

function isSuspended(run: RunObject): boolean {
  return conditionOf(run, 'Reconciling')?.reason === 'Suspended';
}

/** How long one task of the run may take at most, in s, as far as run and plan say. */
async function longestTaskSeconds({ client, namespace }: Cluster, run: RunObject): Promise<number> {
  const own = run.spec.execution?.timeoutSeconds;
  if (own !== undefined) return own;
  const name = run.spec.planRef?.name;
  // Who may not read plans can wait all the same.
  const plan = name === undefined ? undefined : await client.find(plans, { namespace, name }).catch(() => undefined);
  return plan?.spec.execution?.timeoutSeconds ?? DEFAULTS.execution.timeoutSeconds;
}

function ifSignal(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
