import type { ResolvedSpec } from '../../src/api/resolved.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { conditions } from '../../src/run/conditions.ts';
import { isWorkOver } from '../../src/run/decide.ts';
import { type Limits, limitsOf, stateOf } from '../../src/run/state.ts';
import type { RunState, Task, TaskGraph, TaskId } from '../../src/run/types.ts';
import { verdict } from '../../src/run/verdict.ts';
import { writeInput, writeRunRecord } from '../../src/tasks/records.ts';
import type { RunMemory } from './memory.ts';
import type { Hands } from './removals.ts';
import { latestAttempts, timingsOf } from './state.ts';
import type { Attempt, Scope, TaskExecutor } from './types.ts';

/** Wait before the second attempt of a task in ms, doubling with each. */
const retryBaseMs = 500;
const retryMaxMs = 15_000;
/** The report of a cancelled run has less time: somebody waits for its end. */
const cancelledReportSeconds = 300;

/** A run at one moment. */
export interface View {
  readonly graph: TaskGraph;
  readonly state: RunState;
  readonly attempts: readonly Attempt[];
  readonly spec: ResolvedSpec;
}

export interface Started {
  readonly started: readonly TaskId[];
  readonly hasProvisioned: boolean;
  /** When the next attempt of a task that failed is due, in ms. */
  readonly againAfterMs?: number;
}

/** Starts the tasks: each one's input is in the workspace before it. One that failed a moment ago waits a little. */
export async function startTasks(
  scope: Scope,
  hands: Hands,
  memory: RunMemory,
  store: ObjectStore,
  view: View,
  tasks: readonly Task[],
): Promise<Started> {
  const latest = latestAttempts(view.attempts);
  const started: TaskId[] = [];
  let hasProvisioned = false;
  let againAfterMs: number | undefined;
  for (const task of tasks) {
    const attempt = stateOf(view.state, task).attempts + 1;
    const waitMs = leftMs(attempt, latest.get(task.id), scope.now());
    if (waitMs > 0) {
      againAfterMs = Math.min(againAfterMs ?? waitMs, waitMs);
      continue;
    }
    // It may have ended without anyone having seen its process.
    await memory.refresh(store, task);
    if (memory.endOf(task.id) !== undefined) {
      againAfterMs = 0;
      continue;
    }
    await writeInput(store, { id: task.id, run: scope.hold.run, spec: scope.hold.spec, input: task.input });
    if (task.input.kind === 'provision') {
      memory.provisioning.add(task.id);
      hasProvisioned = true;
    } else {
      const bounded = task.input.kind === 'report' ? await prepareReport(scope, store, view, task) : task;
      const failure = await hands.executor.start(scope, bounded, attempt);
      if (failure !== undefined) {
        await memory.recordFailure(store, task.id, attempt, failure);
        againAfterMs = 0;
        continue;
      }
    }
    started.push(task.id);
  }
  return { started, hasProvisioned, ...(againAfterMs === undefined ? {} : { againAfterMs }) };
}

/** Brings attempts that take several steps a step further, unless nothing new is to start. */
export async function continueTasks(
  scope: Scope,
  { executor }: Hands,
  memory: RunMemory,
  store: ObjectStore,
  view: View,
): Promise<void> {
  const { graph, state, attempts, spec } = view;
  if (isWorkOver(graph, state, limitsOf(spec))) return;
  for (const { taskId, attempt } of attempts.filter(({ isInSteps }) => isInSteps === true)) {
    const task = graph.tasks.find(({ id }) => id === taskId);
    if (task === undefined) continue;
    const { phase, attempts: current } = stateOf(state, task);
    if (phase !== 'Running' || current !== attempt) continue;
    const failure = await executor.start(scope, task, attempt);
    if (failure !== undefined) await memory.recordFailure(store, task.id, attempt, failure);
  }
}

/** Once nothing new will start, what runs is of no more use. */
export async function stopTasks(
  scope: Scope,
  executor: TaskExecutor,
  graph: TaskGraph,
  state: RunState,
  limits: Limits,
): Promise<void> {
  if (!isWorkOver(graph, state, limits)) return;
  const running = graph.tasks.filter((task) => !task.always && stateOf(state, task).phase === 'Running');
  if (running.length > 0)
    await executor.stop(
      scope,
      running.map(({ id }) => id),
    );
}

/** What the run has come to, as the report will find it once it is written itself. */
async function prepareReport(scope: Scope, store: ObjectStore, view: View, task: Task): Promise<Task> {
  const { graph, state, spec } = view;
  const reported: RunState = { ...state, tasks: { ...state.tasks, [task.id]: { phase: 'Succeeded', attempts: 1 } } };
  const all = conditions(graph, reported, spec);
  await writeRunRecord(store, {
    run: scope.hold.run,
    spec: scope.hold.spec,
    specDigest: scope.hold.specDigest,
    graph,
    state,
    verdict: verdict(graph, reported, limitsOf(spec)),
    message: all.find(({ type }) => type === 'Finished')?.message ?? '',
    conditions: all,
    startedAt: scope.run.status?.startTime ?? scope.run.metadata.creationTimestamp,
    endedAt: scope.now().toISOString(),
    timings: timingsOf(view.attempts, scope.now()),
  });
  return state.isCancelled ? { ...task, timeoutSeconds: Math.min(task.timeoutSeconds, cancelledReportSeconds) } : task;
}

/** How long the attempt of a task is put off, in ms; none if not above 0. */
export function leftMs(attempt: number, latest: Attempt | undefined, now: Date): number {
  if (attempt < 2 || latest?.endedAt === undefined) return 0;
  const waitMs = Math.min(retryMaxMs, retryBaseMs * 2 ** (attempt - 2));
  const left = latest.endedAt.getTime() + waitMs - now.getTime();
  // Its end is told by another machine, whose clock may be ahead: nobody waits for this one to come there.
  return left > waitMs ? 0 : left;
}
