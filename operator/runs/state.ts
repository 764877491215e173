import type { RunState, Task, TaskGraph, TaskId, TaskState } from '../../src/run/types.ts';
import { ParityError } from '../../src/support/error.ts';
import type { FailedOutput } from '../../src/tasks/records.ts';
import type { TaskOutput } from '../../src/tasks/task.ts';
import type { Attempt } from './types.ts';

/** What is recorded of the tasks of a run. */
export interface Records {
  endOf(id: TaskId): TaskOutput<null> | undefined;
  failuresOf(id: TaskId): ReadonlyMap<number, FailedOutput>;
  stoppedAttempt(id: TaskId): number | undefined;
  readonly provisioning: ReadonlySet<TaskId>;
}

/** The switches of a run, as they are now. */
export type Switches = Pick<RunState, 'isCancelled' | 'isSuspended'>;

/** The run's state: what was recorded first, what is observed where nothing is. */
export function runState(
  graph: TaskGraph,
  records: Records,
  attempts: readonly Attempt[],
  switches: Switches,
): RunState {
  const byTask = latestAttempts(attempts);
  const tasks = graph.tasks.map(({ id }) => [id, taskState(id, records, byTask.get(id))] as const);
  return { tasks: Object.fromEntries(tasks), ...switches };
}

/** The highest attempt of each task that exists. */
export function latestAttempts(attempts: readonly Attempt[]): ReadonlyMap<TaskId, Attempt> {
  const latest = new Map<TaskId, Attempt>();
  for (const attempt of attempts) {
    const known = latest.get(attempt.taskId);
    if (known === undefined || known.attempt < attempt.attempt) latest.set(attempt.taskId, attempt);
  }
  return latest;
}

/** When each task's latest attempt began and how long all of them took, as far as it can still be seen. */
export function timingsOf(attempts: readonly Attempt[], now: Date) {
  const timings: Record<string, { startedAt: string; durationMs: number }> = {};
  for (const { taskId, startedAt, endedAt = now } of attempts) {
    if (startedAt === undefined) continue;
    const before = timings[taskId];
    const durationMs = (before?.durationMs ?? 0) + Math.max(0, endedAt.getTime() - startedAt.getTime());
    const began = startedAt.toISOString();
    timings[taskId] = {
      startedAt: before !== undefined && before.startedAt > began ? before.startedAt : began,
      durationMs,
    };
  }
  return timings;
}

function taskState(id: Task['id'], records: Records, latest: Attempt | undefined): TaskState {
  const failures = records.failuresOf(id);
  const failed = Math.max(0, ...failures.keys());
  const attempts = Math.max(failed, latest?.attempt ?? 0);
  const end = records.endOf(id);
  if (end?.outcome === 'Succeeded')
    return { phase: 'Succeeded', attempts: Math.max(1, attempts), summary: end.summary };
  // Recorded as the end, so it is one, whatever the error says of itself.
  if (end?.outcome === 'Failed')
    return { phase: 'Failed', attempts: Math.max(1, attempts), error: { ...end.error, isRetryable: false } };
  // Its steps are seen on after it has failed.
  const hasFailed = latest?.isInSteps === true && failures.has(latest.attempt);
  // Until nothing of an attempt can write any more it counts as running: another one must not begin beside it.
  if (
    latest !== undefined &&
    !hasFailed &&
    latest.attempt >= failed &&
    (latest.state.kind === 'Running' || !latest.isGone)
  )
    return { phase: 'Running', attempts };
  if (latest !== undefined && records.stoppedAttempt(id) === latest.attempt)
    return { phase: 'Failed', attempts, error: stopped.toJSON() };
  const last = failures.get(failed);
  if (last !== undefined && !records.provisioning.has(id)) return { phase: 'Failed', attempts, error: last.error };
  return records.provisioning.has(id)
    ? { phase: 'Running', attempts: attempts + 1 }
    : { phase: 'Pending', attempts: 0 };
}

const stopped = new ParityError('Cancelled', 'the task was stopped on request');
