import type { ResolvedSpec } from '../../src/api/resolved.ts';
import { isKubeError } from '../../src/kube/error.ts';
import type { ObjectName } from '../../src/kube/objects.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { decide } from '../../src/run/decide.ts';
import { graphVersion } from '../../src/run/graph.ts';
import { limitsOf } from '../../src/run/state.ts';
import type { RunState, TaskGraph } from '../../src/run/types.ts';
import { ParityError, toParityError } from '../../src/support/error.ts';
import { redactError } from '../../src/support/log.ts';
import { isReportDetail } from '../../src/tasks/report-detail.ts';
import { addFinalizer } from '../kube/patch.ts';
import type { Outcome } from '../kube/queue.ts';
import { afterEnd } from './after-end.ts';
import { logOf, type RunContext, saveStatus, scopeOf } from './context.ts';
import { finalize } from './finalize.ts';
import { freeze } from './freeze.ts';
import { createHold, noteRefusal, readHold } from './hold.ts';
import type { RunMemory } from './memory.ts';
import { cleanupFinalizer } from './names.ts';
import { keepOwnAccess, releaseOwnAccess } from './own-access.ts';
import { refusedJobs } from './pipeline-job-check.ts';
import { provision, publishWorkspaceSecret, type Stalled } from './provision.ts';
import { runState, type Switches } from './state.ts';
import { conditionOf, endedStatus, hasEnded, statusOf, waitingStatus } from './status.ts';
import { type Attempt, type Hold, type RunObject, runs, type Scope } from './types.ts';
import { continueTasks, startTasks, stopTasks } from './work.ts';

/** Things that nobody tells of (a server that starts, a pod that can't be placed) are looked at again after about so long, in ms. */
const lookAgainMs = 5_000;

/** Spread, so that runs that began together don't ask the API server together ever after. */
function lookAgain({ options }: RunContext): Outcome {
  return { againAfterMs: options.lookAgainMs ?? lookAgainMs * (0.8 + 0.4 * Math.random()) };
}

/**
 * Brings one run a step further, from whatever point it has come to: killed between any two of its calls, the next one ends in the same place.
 * Reads the run itself, decides by what is recorded and observed, and writes its status once at the end. Throws `Conflict` where somebody has changed the run meanwhile:
 * what was decided then is never written.
 */
export async function reconcile(context: RunContext, name: ObjectName): Promise<Outcome> {
  const run = await context.kube.find(runs, name);
  // The last step of its finalization may have been cut off.
  if (run === undefined) return await releaseOwnAccess(context, name.namespace ?? '').then(() => undefined);
  if (run.metadata.deletionTimestamp !== undefined) return await finalize(context, run);
  if (hasEnded(run)) return await afterEnd(context, run);
  const begun = await begin(context, run);
  if ('outcome' in begun) return begun.outcome;
  return await carryOn(context, begun.run, begun.hold);
}

type Begun = { readonly run: RunObject; readonly hold: Hold } | { readonly outcome: Outcome };

/** The run with its finalizer and its hold: made now, or found. */
async function begin(context: RunContext, run: RunObject): Promise<Begun> {
  const { kube, options, now } = context;
  const { uid, namespace = '', finalizers = [] } = run.metadata;
  const identity = { installation: options.installation, uid };
  const isMarked = finalizers.includes(cleanupFinalizer);
  const hold = isMarked ? await readHold(kube, namespace, identity) : undefined;
  if (hold !== undefined) return { run, hold };
  if (run.spec.cancel === true)
    return await end(context, run, 'Cancelled', 'Cancelled', 'It was cancelled before it began.');
  if (run.spec.suspend === true) return await wait(context, run, 'Suspended', 'It is suspended.');
  if (!context.admits(run)) return await wait(context, run, 'Queued', 'As many runs as may are being carried out.');
  const frozen = await freeze(kube, options, run, now());
  switch (frozen.kind) {
    case 'Invalid':
      return await end(context, run, 'Errored', 'InvalidSpec', frozen.message);
    case 'Waiting':
      return await wait(context, run, 'Waiting', frozen.message);
    case 'Frozen': {
      const { specDigest = frozen.hold.specDigest } = run.status ?? {};
      // Its hold was removed by force, and it can't be told again what this run was.
      if (specDigest !== frozen.hold.specDigest)
        return await end(
          context,
          run,
          'Errored',
          'InvalidSpec',
          'Its hold Secret is gone, and its plan has changed since.',
        );
      const refused = await refusedJobs(kube, { hold: frozen.hold, options, run });
      if (refused !== undefined) return await end(context, run, 'Errored', 'InvalidSpec', refused);
      // A write of its own, before anything is made that it would have to remove.
      const marked = await addFinalizer(kube, runs, run, cleanupFinalizer);
      await keepOwnAccess(context, namespace, uid);
      const { hold, isNew } = await createHold(kube, frozen.hold);
      if (isNew && !isMarked) context.remember(hold).beginAfresh();
      return { run: marked, hold };
    }
  }
}

async function end(
  context: RunContext,
  run: RunObject,
  verdict: 'Errored' | 'Cancelled',
  reason: string,
  message: string,
): Promise<Begun> {
  await saveStatus(context, run, endedStatus(run, verdict, reason, message, context.now()));
  return { outcome: { againAfterMs: 0 } };
}

async function wait(context: RunContext, run: RunObject, reason: string, message: string): Promise<Begun> {
  await saveStatus(context, run, waitingStatus(run, reason, message, context.now()));
  return { outcome: lookAgain(context) };
}

/** One step of a run that has begun. What keeps it from going on is said in its status, and bounded in time. */
async function carryOn(context: RunContext, run: RunObject, hold: Hold): Promise<Outcome> {
  const scope = scopeOf(context, run, hold);
  const memory = context.remember(hold);
  if (hold.graphVersion !== graphVersion) return await giveUp(scope, context, memory, otherVersion());
  try {
    await publishWorkspaceSecret(scope);
    return await step(context, scope, memory, await memory.workspace(context.now()));
  } catch (thrown) {
    // What an administrator of the cluster refuses (a quota, a policy, a missing right) is said; other answers of the API server pass by themselves.
    const isRefused = isKubeError(thrown, 'Forbidden', 'Invalid', 'NoSuchKind');
    if (context.signal.aborted || (isKubeError(thrown) && !isRefused)) throw thrown;
    const error = toParityError(thrown);
    return await stall(scope, context, memory, error, isRefused || error.isRetryable);
  }
}

async function step(context: RunContext, scope: Scope, memory: RunMemory, store: ObjectStore): Promise<Outcome> {
  const { executor } = context.hands;
  const spec = specNow(scope);
  await memory.load(store);
  const attempts = await executor.observe(scope);
  await memory.settle(store, attempts);
  await executor.end(scope, attempts.filter(isStuck));
  const view = () => ({ graph: memory.graph, state: runState(memory.graph, memory, attempts, switchesOf(scope.run)) });
  const stalled = await provision(scope, context.hands, memory, store, view());
  const { graph, state } = view();
  const decision = decide(graph, state, limitsOf(spec));
  if (decision.kind === 'finish' || isCleanup(decision))
    return await conclude(context, scope, memory, store, graph, state);
  await continueTasks(scope, context.hands, memory, store, { graph, state, attempts, spec });
  if (decision.kind === 'wait') await stopTasks(scope, executor, graph, state, limitsOf(spec));
  const started =
    decision.kind === 'start'
      ? await startTasks(scope, context.hands, memory, store, { graph, state, attempts, spec }, decision.tasks)
      : undefined;
  memory.lookFor(store, attempts);
  const now = started === undefined ? state : withRunning(state, started.started);
  const waiting = attempts.flatMap(({ state }) =>
    state.kind === 'Running' && state.waiting !== undefined ? [state.waiting] : [],
  );
  await saveStatus(
    context,
    scope.run,
    statusOf({ ...scope, spec, graph, state: now, stalled: stalled ?? waitingOn(waiting) }, context.now()),
  );
  if (started?.againAfterMs !== undefined) return { againAfterMs: started.againAfterMs };
  return started?.hasProvisioned === true ? { againAfterMs: 0 } : lookAgain(context);
}

/** The verdict is written before anything is cleaned up: who waits for it does not wait for that. */
async function conclude(
  context: RunContext,
  scope: Scope,
  memory: RunMemory,
  store: ObjectStore,
  graph: TaskGraph,
  state: RunState,
): Promise<Outcome> {
  const detail =
    state.tasks.report?.phase === 'Succeeded' ? await memory.detailOf<unknown>(store, 'report') : undefined;
  const report = isReportDetail(detail) ? detail : undefined;
  const status = statusOf({ ...scope, spec: specNow(scope), graph, state, report }, context.now());
  const ended = await saveStatus(context, scope.run, status);
  logOf(ended).info('the run has ended', { verdict: status.result?.verdict });
  return { againAfterMs: 0 };
}

/** Something other than the API server keeps the run from going on: said at once, and the run's end when it has lasted as long as a task may. */
async function stall(
  scope: Scope,
  context: RunContext,
  memory: RunMemory,
  error: ParityError,
  mayPass: boolean,
): Promise<Outcome> {
  const { run, hold } = scope;
  const { graph } = memory;
  const record = redactError(error.toJSON());
  const since = conditionOf(run, 'Stalled')?.lastTransitionTime;
  const lastedMs = since === undefined ? 0 : context.now().getTime() - Date.parse(since);
  if (!mayPass || lastedMs > hold.spec.execution.timeoutSeconds * 1000)
    return await giveUp(scope, context, memory, error);
  const state = runState(graph, memory, [], switchesOf(run));
  const stalled: Stalled = { reason: record.code, message: record.message };
  await saveStatus(context, run, statusOf({ ...scope, spec: specNow(scope), graph, state, stalled }, context.now()));
  throw error;
}

/** The run's end without a report: there is no place from which one could be written. */
async function giveUp(scope: Scope, context: RunContext, memory: RunMemory, error: ParityError): Promise<Outcome> {
  const left = new ParityError('Cancelled', 'there is no workspace to report from').toJSON();
  const record = { ...redactError(error.toJSON()), isRetryable: false };
  const { isGone } = await context.hands.executor.stop(scope, 'all');
  if (!isGone) return { againAfterMs: 1_000 };
  const { graph } = memory;
  const tasks: RunState['tasks'] = {
    ...runState(graph, memory, [], switchesOf(scope.run)).tasks,
    resolve: { phase: 'Failed', attempts: 1, error: record },
    report: { phase: 'Failed', attempts: 0, error: left },
  };
  const state = { tasks, ...switchesOf(scope.run) };
  await saveStatus(context, scope.run, statusOf({ ...scope, spec: specNow(scope), graph, state }, context.now()));
  // Not before its end is written: until then the store may be asked again.
  if (!memory.mayHaveWorkspace) await noteRefusal(context.kube, scope.hold);
  return { againAfterMs: 0 };
}

/** The frozen spec with what may change of it as it is now. */
function specNow({ run, hold }: Scope): ResolvedSpec {
  const { policy, ttlSecondsAfterFinished: ttl } = run.spec.cleanup ?? {};
  const cleanup = {
    ...hold.spec.cleanup,
    ...(policy === undefined ? {} : { policy }),
    ...(ttl === undefined ? {} : { ttlSecondsAfterFinished: ttl }),
  };
  return { ...hold.spec, cleanup };
}

function switchesOf({ spec }: RunObject): Switches {
  return { isCancelled: spec.cancel === true, isSuspended: spec.suspend === true };
}

/** It has failed as far as can be seen, but will not end by itself. */
function isStuck({ state, isGone }: Attempt): boolean {
  return state.kind === 'Exited' && !isGone;
}

function isCleanup(decision: ReturnType<typeof decide>): boolean {
  return decision.kind === 'start' && decision.tasks.some(({ input }) => input.kind === 'cleanup');
}

function withRunning(state: RunState, started: readonly string[]): RunState {
  const running = started.map(
    (id) => [id, { phase: 'Running', attempts: (state.tasks[id]?.attempts ?? 0) + 1 }] as const,
  );
  return { ...state, tasks: { ...state.tasks, ...Object.fromEntries(running) } };
}

function waitingOn(waiting: readonly string[]): Stalled | undefined {
  const [first] = waiting;
  return first === undefined ? undefined : { reason: 'PodWaiting', message: first };
}

function otherVersion(): ParityError {
  return new ParityError(
    'UnsupportedFeature',
    'the run was begun by another version of the operator, and cannot be continued',
    {
      advice: 'Start another run.',
    },
  );
}
