import type { ErrorRecord } from '../support/error.ts';
import { hasFailedForGood, type Limits, stateOf } from './state.ts';
import type { RunState, Task, TaskGraph, Verdict } from './types.ts';

/**
 * The verdict that the state stands for. Failed: the data differ. Errored: the test could not be carried out. Passed needs every
 * task to have succeeded and every comparison and query to have said that it found no difference: silence is not equality.
 * Cleanup has no say. A report that could not be written turns Passed into Errored, for nobody could read it.
 */
export function verdict(graph: TaskGraph, state: RunState, limits: Pick<Limits, 'retries'>): Verdict {
  const work = graph.tasks.filter((task) => !task.always);
  if (failures(work, state, limits).some(({ error }) => error.code !== 'Cancelled')) return 'Errored';
  if (work.some((task) => stateOf(state, task).phase !== 'Succeeded'))
    return state.isCancelled ? 'Cancelled' : 'Errored';
  if (graph.isPartial === true) return state.isCancelled ? 'Cancelled' : 'Errored';
  const counts = work.filter(findsDifferences).map((task) => stateOf(state, task).summary?.differences);
  // Read from a record, so it is looked at closely: only a whole number is a count.
  if (!counts.every((count) => Number.isSafeInteger(count))) return 'Errored';
  if (counts.some((count) => count !== 0)) return 'Failed';
  const reports = graph.tasks.filter((task) => task.input.kind === 'report');
  const [unreported] = failures(reports, state, limits);
  if (unreported !== undefined) return unreported.error.code === 'Cancelled' ? 'Cancelled' : 'Errored';
  return 'Passed';
}

/**
 * The tasks that failed for good, in the graph's order, with their errors: what an Errored run is explained by. A task that was stopped because
 * another had failed explains nothing.
 */
export function failures(
  tasks: readonly Task[],
  state: RunState,
  limits: Pick<Limits, 'retries'>,
): readonly { readonly task: Task; readonly error: ErrorRecord }[] {
  const failed = tasks
    .filter((task) => hasFailedForGood(task, state, limits))
    .map((task) => ({ task, error: stateOf(state, task).error ?? unexplained(task) }));
  const causes = failed.filter(({ error }) => error.code !== 'Cancelled');
  return causes.length === 0 ? failed : causes;
}

/** Whether the task's summary must say how many differences it found. */
export function findsDifferences(task: Task): boolean {
  return task.input.kind === 'compare' || task.input.kind === 'query';
}

function unexplained(task: Task): ErrorRecord {
  return { code: 'Internal', message: `task ${task.id} failed without saying why`, isRetryable: false };
}
