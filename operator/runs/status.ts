import type { RunStatus } from '../../src/api/generated/types.ts';
import type { ResolvedSpec } from '../../src/api/resolved.ts';
import { conditions } from '../../src/run/conditions.ts';
import { isFinished, wantsCleanup } from '../../src/run/decide.ts';
import { phaseOf } from '../../src/run/phase.ts';
import { limitsOf, stateOf } from '../../src/run/state.ts';
import type { Condition, RunState, TaskGraph, TaskSummary } from '../../src/run/types.ts';
import { failures, verdict } from '../../src/run/verdict.ts';
import { redact } from '../../src/support/log.ts';
import type { ReportDetail } from '../../src/tasks/report.ts';
import type { EventRecorder, Hold, RunObject } from './types.ts';

/** All that a status is made of. */
export interface Picture {
  readonly run: RunObject;
  readonly hold: Hold;
  /** The frozen spec, with what may change as it is now. */
  readonly spec: ResolvedSpec;
  readonly graph: TaskGraph;
  readonly state: RunState;
  /** What the report task left, once it has succeeded. */
  readonly report?: ReportDetail | undefined;
  /** What keeps the run from going on. */
  readonly stalled?: { readonly reason: string; readonly message: string } | undefined;
}

type StatusCondition = NonNullable<RunStatus['conditions']>[number];

const longestMessage = 1024;
const shownActive = 64;
const shownFailures = 10;

/** The run's status, of bounded size whatever the number of tables. Conditions latch: one that was True stays so, but for those that are the verdict. */
export function statusOf(picture: Picture, now: Date): RunStatus {
  const { run, hold, spec, graph, state, stalled } = picture;
  // A result that is there before the end is nobody's here.
  const { result: _, ...before } = run.status ?? {};
  const limits = limitsOf(spec);
  const isEnd = isFinished(graph, state, limits);
  const found = conditions(graph, state, spec);
  const kept = stalled === undefined ? found : [...found, { type: 'Stalled', status: 'True', ...stalled } as const];
  return {
    ...before,
    observedGeneration: run.metadata.generation ?? 0,
    phase: isEnd && wantsCleanup(graph, state, limits) ? 'CleaningUp' : phaseOf(graph, state, spec),
    startTime: before.startTime ?? timeOf(now),
    ...(isEnd ? { completionTime: before.completionTime ?? timeOf(now) } : {}),
    specDigest: hold.specDigest,
    workspace: hold.workspace.storage.location,
    conditions: mergeConditions(run, kept, now),
    ...snapshotOf(picture),
    tasks: tasksOf(picture),
    ...(isEnd ? { result: resultOf(picture), ...ttlOf(spec) } : {}),
  };
}

/** The status of a run that ends before anything was made of it. */
export function endedStatus(
  run: RunObject,
  end: 'Errored' | 'Cancelled',
  reason: string,
  message: string,
  now: Date,
): RunStatus {
  const before = run.status ?? {};
  const finished = (type: string, status: Condition['status']): Condition => ({ type, status, reason, message });
  const all: readonly Condition[] = [
    finished('Finished', 'True'),
    finished('Succeeded', 'False'),
    { type: 'CleanedUp', status: 'True', reason: 'NothingMade', message: 'Nothing was made for the run.' },
    ...(end === 'Errored' ? [finished('Stalled', 'True')] : []),
  ];
  return {
    ...before,
    observedGeneration: run.metadata.generation ?? 0,
    phase: 'Finished',
    startTime: before.startTime ?? timeOf(now),
    completionTime: before.completionTime ?? timeOf(now),
    conditions: mergeConditions(run, all, now),
    result: { verdict: end },
  };
}

/** The status of a run that waits to begin. */
export function waitingStatus(run: RunObject, reason: string, message: string, now: Date): RunStatus {
  return {
    ...run.status,
    observedGeneration: run.metadata.generation ?? 0,
    phase: 'Pending',
    conditions: mergeConditions(
      run,
      [
        { type: 'Finished', status: 'False', reason, message },
        { type: 'Reconciling', status: 'True', reason, message },
      ],
      now,
    ),
  };
}

/** The status with other conditions of the given types; the rest of it stays. A condition given as undefined goes. */
export function withConditions(
  run: RunObject,
  changed: Readonly<Record<string, Omit<Condition, 'type'> | undefined>>,
  now: Date,
): RunStatus {
  const others = (run.status?.conditions ?? []).filter(({ type }) => !Object.hasOwn(changed, type));
  const given = Object.entries(changed).flatMap(([type, condition]) =>
    condition === undefined ? [] : [dated(run, { type, ...condition }, now)],
  );
  const order = (run.status?.conditions ?? []).map(({ type }) => type);
  const place = ({ type }: StatusCondition) => (order.includes(type) ? order.indexOf(type) : order.length);
  return { ...run.status, conditions: [...others, ...given].sort((a, b) => place(a) - place(b)) };
}

/** A condition of the run's stored status. */
export function conditionOf(run: RunObject, type: string): StatusCondition | undefined {
  return run.status?.conditions?.find((condition) => condition.type === type);
}

/** Whether the run has its verdict: then it is never carried on again. */
export function hasEnded(run: RunObject): boolean {
  return conditionOf(run, 'Finished')?.status === 'True';
}

/** Tells what has changed between two statuses that people want to hear of. */
export function tellTransitions(events: EventRecorder, run: RunObject, before: RunStatus | undefined): void {
  const known = new Map((before?.conditions ?? []).map((condition) => [condition.type, condition]));
  for (const { type, status, reason, message } of run.status?.conditions ?? []) {
    const old = known.get(type);
    const isNew = old?.status !== status || (type === 'CleanedUp' && old.reason !== reason);
    if (!isNew || reason === 'NotRequested') continue;
    if (type === 'Finished' && status === 'True')
      events.record(run, { type: reason === 'Passed' ? 'Normal' : 'Warning', reason, message });
    else if (type === 'Stalled' && status === 'True' && known.get('Finished')?.status === 'True') continue;
    else if (type === 'Stalled' && status === 'True' && run.status?.phase !== 'Finished')
      events.record(run, { type: 'Warning', reason, message });
    else if (type === 'CleanedUp' && reason === 'Incomplete')
      events.record(run, { type: 'Warning', reason: 'CleanupIncomplete', message });
    else if (status === 'True' && type !== 'Reconciling' && type !== 'Succeeded' && type !== 'Stalled')
      events.record(run, { type: 'Normal', reason: type, message });
  }
  const told = new Set((before?.tasks?.failures ?? []).map(({ task }) => task));
  for (const { task, message } of run.status?.tasks?.failures ?? [])
    if (!told.has(task)) events.record(run, { type: 'Warning', reason: 'TaskFailed', message: `${task}: ${message}` });
}

function mergeConditions(run: RunObject, found: readonly Condition[], now: Date): StatusCondition[] {
  const byType = new Map(found.map((condition) => [condition.type, condition]));
  return [...byType.values()].map((condition) => {
    const before = conditionOf(run, condition.type);
    const mayLatch = !passing.has(condition.type) && !deciding.has(condition.type);
    const isLatched = before?.status === 'True' && mayLatch && condition.status !== 'True';
    return isLatched ? before : dated(run, condition, now);
  });
}

/** Present only while they are True. */
const passing: ReadonlySet<string> = new Set(['Reconciling', 'Stalled']);

/** A run whose conditions are still being made has no verdict yet: one that stands there was written by somebody else. */
const deciding: ReadonlySet<string> = new Set(['Finished', 'Succeeded']);

function dated(run: RunObject, { type, status, reason, message }: Condition, now: Date): StatusCondition {
  const before = conditionOf(run, type);
  const isSame = before?.status === status;
  return {
    type,
    status,
    reason,
    message: cut(redact(message), longestMessage),
    observedGeneration: run.metadata.generation ?? 0,
    lastTransitionTime: isSame ? before.lastTransitionTime : timeOf(now),
  };
}

function snapshotOf({ graph, state, report }: Picture): Pick<RunStatus, 'snapshot'> {
  const done = graph.tasks
    .filter(({ input }) => input.kind === 'snapshot')
    .flatMap((task) => stateOf(state, task).summary ?? []);
  if (done.length === 0) return {};
  const digest = report?.report.snapshot.digest ?? undefined;
  const tables = { count: sum(done, 'tables'), rows: sum(done, 'rows'), bytes: sum(done, 'bytes') };
  return { snapshot: { ...(digest === undefined ? {} : { digest }), tables } };
}

function tasksOf({ graph, state, spec }: Picture): NonNullable<RunStatus['tasks']> {
  const tasks = graph.tasks.filter(({ input }) => input.kind !== 'cleanup');
  const inPhase = (phase: string) => tasks.filter((task) => stateOf(state, task).phase === phase);
  const active = inPhase('Running').map(({ id }) => id);
  const failed = failures(tasks, state, limitsOf(spec));
  return {
    pending: inPhase('Pending').length,
    running: active.length,
    succeeded: inPhase('Succeeded').length,
    failed: inPhase('Failed').length,
    active: active.slice(0, shownActive),
    failures: failed.slice(0, shownFailures).map(({ task, error }) => ({
      task: task.id,
      code: error.code,
      message: cut(redact(error.message), 512),
      ...(error.advice === undefined ? {} : { advice: cut(redact(error.advice), 512) }),
    })),
  };
}

function resultOf({ graph, state, spec, report }: Picture): NonNullable<RunStatus['result']> {
  const end = verdict(graph, state, limitsOf(spec));
  const summaries = (kind: 'compare' | 'query') =>
    graph.tasks.filter(({ input }) => input.kind === kind).flatMap((task) => stateOf(state, task).summary ?? []);
  const [compared, queried] = [summaries('compare'), summaries('query')];
  const differences = sum([...compared, ...queried], 'differences');
  const fingerprint = report?.report.fingerprint ?? undefined;
  const written = report?.written[0]?.url;
  return {
    verdict: end,
    ...(compared.length === 0
      ? {}
      : {
          tables: {
            matched: sum(compared, 'matched'),
            differing: sum(compared, 'differing'),
            rows: sum(compared, 'rows'),
          },
        }),
    ...(compared.length + queried.length === 0 ? {} : { differences }),
    ...(queried.length === 0
      ? {}
      : { queries: { passed: sum(queried, 'matched'), failed: sum(queried, 'differing') } }),
    ...(fingerprint === undefined ? {} : { fingerprint }),
    ...(written === undefined ? {} : { report: cut(written, 2048) }),
  };
}

/** A plan's word, which nobody else knows once the hold is gone. */
function ttlOf({ cleanup }: ResolvedSpec): Pick<RunStatus, 'ttlSecondsAfterFinished'> {
  const { ttlSecondsAfterFinished: ttl } = cleanup;
  return ttl === undefined ? {} : { ttlSecondsAfterFinished: ttl };
}

type Counted = 'tables' | 'rows' | 'bytes' | 'differences' | 'differing' | 'matched';

function sum(summaries: readonly TaskSummary[], field: Counted): number {
  return summaries.reduce((total, summary) => total + (summary[field] ?? 0), 0);
}

function timeOf(now: Date): string {
  return now.toISOString().replace(/\.\d+Z$/, 'Z');
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
