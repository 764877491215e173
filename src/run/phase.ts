import type { ResolvedSpec } from '../api/resolved.ts';
import { isFinished, isWorkOver } from './decide.ts';
import { limitsOf, stateOf } from './state.ts';
import type { RunState, TaskGraph, TaskKind } from './types.ts';

/** Where a run stands, in one word for people; derived, never read back. */
export type Phase =
  | 'Pending'
  | 'Resolving'
  | 'Copying'
  | 'Rehydrating'
  | 'Syncing'
  | 'Advancing'
  | 'Comparing'
  | 'Querying'
  | 'Reporting'
  | 'CleaningUp'
  | 'Finished';

/** The phase: what the first unfinished task in the graph's order is about. */
export function phaseOf(graph: TaskGraph, state: RunState, spec: ResolvedSpec): Phase {
  const limits = limitsOf(spec);
  const isOver = isWorkOver(graph, state, limits);
  const next = graph.tasks.find((task) => task.always === isOver && stateOf(state, task).phase !== 'Succeeded');
  // Between the end of resolve and the whole graph there is more to come.
  if (next === undefined) return !isOver && graph.isPartial === true ? 'Resolving' : 'Finished';
  if (isOver && isFinished(graph, state, limits)) {
    const cleanup = graph.tasks.find((task) => task.input.kind === 'cleanup');
    return cleanup !== undefined && stateOf(state, cleanup).phase === 'Running' ? 'CleaningUp' : 'Finished';
  }
  if (!isOver && next.input.kind === 'resolve' && stateOf(state, next).phase === 'Pending') return 'Pending';
  return phases[next.input.kind];
}

const phases: Readonly<Record<TaskKind, Phase>> = {
  resolve: 'Resolving',
  snapshot: 'Copying',
  provision: 'Copying',
  rehydrate: 'Rehydrating',
  advance: 'Advancing',
  sync: 'Syncing',
  compare: 'Comparing',
  query: 'Querying',
  report: 'Reporting',
  cleanup: 'CleaningUp',
};
