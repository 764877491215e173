import type { ResolvedSpec } from '../api/resolved.ts';
import type { RunState, Task, TaskState } from './types.ts';

/** What bounds a run, from `spec.execution` and `spec.cleanup`. */
export interface Limits {
  /** Most tasks that run at once. */
  readonly parallelism: number;
  /** How often a task that failed for a reason that may pass is started again. */
  readonly retries: number;
  readonly cleanup: ResolvedSpec['cleanup']['policy'];
}

/** The limits of a spec. */
export function limitsOf(spec: ResolvedSpec): Limits {
  return {
    parallelism: spec.execution.parallelism,
    retries: spec.execution.retries,
    cleanup: spec.cleanup.policy,
  };
}

/** The state of a task; one that is not recorded is pending. */
export function stateOf(state: RunState, task: Pick<Task, 'id'>): TaskState {
  return state.tasks[task.id] ?? { phase: 'Pending', attempts: 0 };
}

/** Whether the task has failed and will not be started again. */
export function hasFailedForGood(
  task: Pick<Task, 'id'>,
  state: RunState,
  { retries }: Pick<Limits, 'retries'>,
): boolean {
  const { phase, attempts, error } = stateOf(state, task);
  return phase === 'Failed' && !((error?.isRetryable ?? false) && attempts <= retries);
}
