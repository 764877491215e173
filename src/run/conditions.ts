import type { ResolvedSpec, ResolvedStep } from '../api/resolved.ts';
import { isFinished, isWorkOver, wantsCleanup } from './decide.ts';
import { hasFailedForGood, type Limits, limitsOf, stateOf } from './state.ts';
import type { Condition, RunState, Task, TaskGraph, TaskKind, Verdict } from './types.ts';
import { failures, verdict } from './verdict.ts';

/**
 * The run's conditions, derived from what is recorded; once True, one stays True. What was not asked for is True with reason
 * NotRequested. `Reconciling` and `Stalled` follow kstatus and are present only while True
 * (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).
 */
export function conditions(graph: TaskGraph, state: RunState, spec: ResolvedSpec): readonly Condition[] {
  const limits = limitsOf(spec);
  const run: View = { graph, state, limits };
  const does = (is: (step: ResolvedStep) => boolean) => spec.scenario.some(is);
  return [
    work(run, 'SourcesProvisioned', 'provision', spec.sources.length > 0),
    work(run, 'SnapshotCopied', 'snapshot', spec.snapshot.tables.length > 0),
    work(run, 'Rehydrated', 'rehydrate', spec.sources.length > 0),
    work(
      run,
      'Synced',
      'sync',
      does((step) => 'sync' in step),
    ),
    compared(
      run,
      does((step) => 'compare' in step),
    ),
    queriesPassed(
      run,
      does((step) => 'query' in step),
    ),
    ...ending(run),
  ];
}

interface View {
  readonly graph: TaskGraph;
  readonly state: RunState;
  readonly limits: Limits;
}

function work(run: View, type: string, kind: TaskKind, isRequested: boolean): Condition {
  if (!isRequested) return condition(type, 'True', 'NotRequested', `The run asks for no ${kind}.`);
  const tasks = run.graph.tasks.filter((task) => task.input.kind === kind);
  const [failure] = failures(tasks, run.state, run.limits);
  if (failure !== undefined) {
    return condition(type, 'False', failure.error.code, `${failure.task.id}: ${failure.error.message}`);
  }
  const done = tasks.filter((task) => stateOf(run.state, task).phase === 'Succeeded').length;
  if (tasks.length > 0 && done === tasks.length) return condition(type, 'True', 'Completed', counted(done, tasks));
  if (isSettled(run))
    return condition(type, 'False', 'NotReached', `The run ended before this: ${counted(done, tasks)}`);
  return condition(type, 'Unknown', done > 0 ? 'InProgress' : 'Pending', counted(done, tasks));
}

/** True says that everything was compared, and the reason says with what result; `Succeeded` is the verdict. */
function compared(run: View, isRequested: boolean): Condition {
  const base = work(run, 'Compared', 'compare', isRequested);
  if (base.reason !== 'Completed') return base;
  const { differences, headline } = found(run, 'compare');
  if (differences === 0) return { ...base, reason: 'Equal' };
  return { ...base, reason: 'Different', message: headline ?? `${differences} differences` };
}

function queriesPassed(run: View, isRequested: boolean): Condition {
  const base = work(run, 'QueriesPassed', 'query', isRequested);
  if (base.reason !== 'Completed') return base;
  const { differences, headline } = found(run, 'query');
  if (differences === 0) return base;
  return { ...base, status: 'False', reason: 'Different', message: headline ?? `${differences} differences` };
}

function ending(run: View): readonly Condition[] {
  const { graph, state, limits } = run;
  if (!isFinished(graph, state, limits)) {
    const message = isWorkOver(graph, state, limits) ? 'The run is ending.' : 'The run is being carried out.';
    return [
      condition('Finished', 'False', 'InProgress', message),
      condition('Succeeded', 'Unknown', 'InProgress', message),
      condition('CleanedUp', 'Unknown', 'Pending', 'The run is cleaned up after its report.'),
      condition('Reconciling', 'True', state.isSuspended ? 'Suspended' : 'InProgress', message),
    ];
  }
  const end = verdict(graph, state, limits);
  const message = explain(run, end);
  return [
    condition('Finished', 'True', end, message),
    condition('Succeeded', end === 'Passed' ? 'True' : 'False', end, message),
    cleanedUp(run),
    ...(end === 'Failed' || end === 'Errored' ? [condition('Stalled', 'True', end, message)] : []),
  ];
}

function cleanedUp({ graph, state, limits }: View): Condition {
  const type = 'CleanedUp';
  const cleanup = graph.tasks.find((task) => task.input.kind === 'cleanup');
  if (cleanup === undefined || !wantsCleanup(graph, state, limits)) {
    return condition(type, 'False', 'Kept', `Everything is kept, as the policy ${limits.cleanup} says.`);
  }
  const { phase, error } = stateOf(state, cleanup);
  if (phase === 'Succeeded') return condition(type, 'True', 'Completed', 'Nothing of the run is left but its reports.');
  if (phase === 'Failed') {
    const reason = hasFailedForGood(cleanup, state, limits) ? 'Incomplete' : 'Retrying';
    return condition(type, 'False', reason, error?.message ?? 'Cleaning up failed.');
  }
  return condition(type, 'False', phase === 'Running' ? 'InProgress' : 'Pending', 'The run is being cleaned up.');
}

function explain(run: View, end: Verdict): string {
  switch (end) {
    case 'Passed':
      return 'Baseline and candidate are equal.';
    case 'Cancelled':
      return 'The run was cancelled.';
    case 'Failed':
      return found(run, 'compare').headline ?? found(run, 'query').headline ?? 'Baseline and candidate differ.';
    case 'Errored': {
      const [first] = failures(run.graph.tasks, run.state, run.limits);
      return first === undefined ? 'The run ended without a result.' : `${first.task.id}: ${first.error.message}`;
    }
  }
}

function found(run: View, kind: TaskKind): { differences: number; headline: string | undefined } {
  const summaries = run.graph.tasks
    .filter((task) => task.input.kind === kind)
    .flatMap((task) => stateOf(run.state, task).summary ?? []);
  return {
    differences: summaries.reduce((sum, { differences = 0 }) => sum + differences, 0),
    headline: summaries.find(({ differences = 0 }) => differences > 0)?.headline,
  };
}

function isSettled({ graph, state, limits }: View): boolean {
  if (!isWorkOver(graph, state, limits)) return false;
  return graph.tasks.every((task) => task.always || stateOf(state, task).phase !== 'Running');
}

function counted(done: number, tasks: readonly Task[]): string {
  return `${done} of ${tasks.length} tasks done`;
}

function condition(type: string, status: Condition['status'], reason: string, message: string): Condition {
  return { type, status, reason, message };
}
