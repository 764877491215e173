import { hasFailedForGood, type Limits, stateOf } from './state.ts';
import type { Decision, RunState, Task, TaskGraph } from './types.ts';
import { verdict } from './verdict.ts';

/**
 * What to do next. Pure: the same graph, state and limits give the same decision, on a laptop and in a cluster.
 *
 * Work runs until it is done, or until a task has failed for good or the run is cancelled: then nothing new starts. Whatever the
 * end, once no work is running the report is written, and after it the run is cleaned up if the policy says so.
 */
export function decide(graph: TaskGraph, state: RunState, limits: Limits): Decision {
  const work = graph.tasks.filter((task) => !task.always);
  if (isWorkOver(graph, state, limits)) {
    if (work.some((task) => stateOf(state, task).phase === 'Running')) return { kind: 'wait' };
    return decideEnding(graph, state, limits);
  }
  if (state.isSuspended) return { kind: 'wait' };
  const running = work.filter((task) => stateOf(state, task).phase === 'Running').length;
  const startable = work.filter((task) => isStartable(task, state, limits));
  const tasks = startable.slice(0, Math.max(0, limits.parallelism - running));
  return tasks.length > 0 ? { kind: 'start', tasks } : { kind: 'wait' };
}

/** Whether no more work will be started: all is done, one task failed for good, or the run is cancelled. */
export function isWorkOver(graph: TaskGraph, state: RunState, limits: Pick<Limits, 'retries'>): boolean {
  if (state.isCancelled) return true;
  const work = graph.tasks.filter((task) => !task.always);
  if (work.some((task) => hasFailedForGood(task, state, limits))) return true;
  return graph.isPartial !== true && work.every((task) => stateOf(state, task).phase === 'Succeeded');
}

/** Whether the run has an end: its work is over, nothing of it runs, and the report has been written or has failed for good. */
export function isFinished(graph: TaskGraph, state: RunState, limits: Pick<Limits, 'retries'>): boolean {
  if (!isWorkOver(graph, state, limits)) return false;
  if (graph.tasks.some((task) => !task.always && stateOf(state, task).phase === 'Running')) return false;
  return graph.tasks
    .filter((task) => task.input.kind === 'report')
    .every((task) => stateOf(state, task).phase === 'Succeeded' || hasFailedForGood(task, state, limits));
}

/** Whether the cleanup policy wants the run's things removed, given how it ended. */
export function wantsCleanup(graph: TaskGraph, state: RunState, limits: Limits): boolean {
  switch (limits.cleanup) {
    case 'Always':
      return true;
    case 'Never':
      return false;
    case 'OnSuccess':
      return verdict(graph, state, limits) === 'Passed';
  }
}

/** Report, then cleanup, then the end: each of the two runs alone. */
function decideEnding(graph: TaskGraph, state: RunState, limits: Limits): Decision {
  for (const task of graph.tasks.filter((task) => task.always)) {
    if (task.input.kind === 'cleanup' && !wantsCleanup(graph, state, limits)) continue;
    const { phase } = stateOf(state, task);
    if (phase === 'Running') return { kind: 'wait' };
    if (phase === 'Succeeded' || hasFailedForGood(task, state, limits)) continue;
    return { kind: 'start', tasks: [task] };
  }
  return { kind: 'finish', verdict: verdict(graph, state, limits), isCleanedUp: isCleanedUp(graph, state) };
}

function isCleanedUp(graph: TaskGraph, state: RunState): boolean {
  return graph.tasks.some((task) => task.input.kind === 'cleanup' && stateOf(state, task).phase === 'Succeeded');
}

function isStartable(task: Task, state: RunState, limits: Limits): boolean {
  const { phase } = stateOf(state, task);
  const isWaiting = phase === 'Pending' || (phase === 'Failed' && !hasFailedForGood(task, state, limits));
  return isWaiting && task.dependsOn.every((id) => state.tasks[id]?.phase === 'Succeeded');
}
