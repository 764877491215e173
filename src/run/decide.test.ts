import { expect } from 'chai';
import fc from 'fast-check';
import { resolution, scenario, spec, table } from '../../test/support/spec.ts';
import type { ResolvedSpec } from '../api/resolved.ts';
import type { ErrorCode, ErrorRecord } from '../support/error.ts';
import { conditions } from './conditions.ts';
import { decide } from './decide.ts';
import { buildGraph } from './graph.ts';
import { phaseOf } from './phase.ts';
import { limitsOf } from './state.ts';
import type { RunState, Task, TaskGraph, TaskState, Verdict } from './types.ts';
import { failures } from './verdict.ts';

/** How a task behaves: how often it fails before its end, and its end. */
interface Fate {
  readonly flakes: number;
  readonly end: 'Succeeded' | ErrorCode;
  readonly differences: number;
}

const good: Fate = { flakes: 0, end: 'Succeeded', differences: 0 };

describe('a run, decided step by step', () => {
  const cases: readonly { what: string; fates: Record<string, Fate>; verdict: Verdict }[] = [
    { what: 'everything is equal', fates: {}, verdict: 'Passed' },
    {
      what: 'a comparison differs',
      fates: { 'parity-at-base-compare-shop-0': { ...good, differences: 2 } },
      verdict: 'Failed',
    },
    { what: 'a query differs', fates: { 'queries-query-0': { ...good, differences: 1 } }, verdict: 'Failed' },
    { what: 'a task fails for good', fates: { 'snapshot-0': { ...good, end: 'CorruptTable' } }, verdict: 'Errored' },
    { what: 'a task fails once and then succeeds', fates: { 'snapshot-0': { ...good, flakes: 1 } }, verdict: 'Passed' },
    { what: 'a task uses its retries up', fates: { 'snapshot-0': { ...good, flakes: 9 } }, verdict: 'Errored' },
    {
      what: 'the data differ and then a task fails',
      fates: {
        'parity-at-base-compare-shop-0': { ...good, differences: 2 },
        'second-sync-candidate-shop-0': { ...good, end: 'PipelineFailed' },
      },
      verdict: 'Errored',
    },
    { what: 'only the report fails', fates: { report: { ...good, end: 'DiskFull' } }, verdict: 'Errored' },
    {
      what: 'the data differ and the report fails',
      fates: { 'parity-compare-shop-0': { ...good, differences: 2 }, report: { ...good, end: 'DiskFull' } },
      verdict: 'Failed',
    },
    { what: 'only the cleanup fails', fates: { cleanup: { ...good, end: 'CleanupIncomplete' } }, verdict: 'Passed' },
    {
      what: 'a comparison does not say what it found',
      fates: { 'parity-compare-shop-0': { ...good, differences: Number.NaN } },
      verdict: 'Errored',
    },
  ];
  it('is explained by what failed, not by what was stopped because of it', () => {
    const { graph } = example();
    const error = (code: ErrorCode): TaskState => ({
      phase: 'Failed',
      attempts: 1,
      error: { code, message: code, isRetryable: false },
    });
    const failed = { 'snapshot-0': error('Cancelled'), 'provision-shop': error('AccessDenied') };
    const causes = failures(graph.tasks, running(failed), { retries: 0 });
    expect(causes.map(({ task }) => task.id)).to.deep.equal(['provision-shop']);
  });

  it('is not finished between the end of resolve and the rest of its graph', () => {
    const of = spec();
    const state = running({ resolve: { phase: 'Succeeded', attempts: 1 } });
    expect(phaseOf(buildGraph(of), state, of)).to.equal('Resolving');
  });

  for (const { what, fates, verdict } of cases) {
    it(`ends ${verdict} when ${what}`, () => {
      const { graph, of } = example();
      expect(simulate(graph, of, fates, first).verdict).to.equal(verdict);
    });
  }

  it('goes on after a difference, so that the report is complete', () => {
    const { graph, of } = example();
    const { state } = simulate(graph, of, { 'parity-at-base-compare-shop-0': { ...good, differences: 2 } }, first);
    expect(graph.tasks.every((task) => state.tasks[task.id]?.phase === 'Succeeded')).to.equal(true);
  });

  it('starts nothing but the report and the cleanup after a failure', () => {
    const { graph, of } = example();
    const { state } = simulate(graph, of, { 'snapshot-0': { ...good, end: 'CorruptTable' } }, first);
    const started = graph.tasks.filter((task) => (state.tasks[task.id]?.attempts ?? 0) > 0).map((task) => task.id);
    expect(started).to.have.members(['resolve', 'snapshot-0', 'provision-shop', 'report', 'cleanup']);
  });

  it('never passes a graph that is not whole', () => {
    const { of } = example();
    const partial = buildGraph(of);
    const state = running({ resolve: done(0), report: done(0), cleanup: done(0) });
    expect(decide(partial, state, limitsOf(of))).to.deep.equal({ kind: 'wait' });
    expect(decide(partial, { ...state, isCancelled: true }, limitsOf(of))).to.include({ verdict: 'Cancelled' });
  });

  it('starts nothing while it is suspended', () => {
    const { graph, of } = example();
    expect(decide(graph, { ...running({}), isSuspended: true }, limitsOf(of))).to.deep.equal({ kind: 'wait' });
  });

  const policies = [
    { policy: 'Always', fails: true, isCleanedUp: true },
    { policy: 'Never', fails: false, isCleanedUp: false },
    { policy: 'OnSuccess', fails: false, isCleanedUp: true },
    { policy: 'OnSuccess', fails: true, isCleanedUp: false },
  ] as const;
  for (const { policy, fails, isCleanedUp } of policies) {
    it(`${isCleanedUp ? 'cleans up' : 'keeps'} a run that ${fails ? 'failed' : 'passed'} with the policy ${policy}`, () => {
      const { graph, of } = example();
      const kept = { ...of, cleanup: { policy } };
      const fates = fails ? { 'parity-compare-shop-0': { ...good, differences: 1 } } : {};
      expect(simulate(graph, kept, fates, first)).to.include({ isCleanedUp });
    });
  }

  it('comes to the same end in any order, with any failures, and from any restart', () => {
    const { graph, of } = example();
    fc.assert(
      fc.property(fatesOf(graph), fc.infiniteStream(fc.nat()), fc.infiniteStream(fc.nat()), (fates, one, other) => {
        const orderly = simulate(graph, of, fates, (options) => pick(options, one), 0);
        const restarted = simulate(graph, of, fates, (options) => pick(options, other), 0.2, other);
        expect(restarted.isCleanedUp).to.equal(orderly.isCleanedUp);
        expect(restarted.verdict).to.equal(orderly.verdict);
      }),
      { numRuns: 150 },
    );
  });

  it('ends when it is cancelled at any moment: cancelled, or with the verdict that it had come to', () => {
    const { graph, of } = example();
    fc.assert(
      fc.property(fatesOf(graph), fc.infiniteStream(fc.nat()), fc.nat(40), (fates, order, moment) => {
        const undisturbed = simulate(graph, of, fates, first).verdict;
        const { verdict } = simulate(graph, of, fates, (options) => pick(options, order), 0, order, moment);
        expect(['Cancelled', undisturbed]).to.include(verdict);
      }),
      { numRuns: 150 },
    );
  });
});

type Pick = (options: readonly Task[]) => Task | undefined;

/**
 * Carries the graph out with these fates and checks on the way what must hold at every moment: never more than `parallelism`, never one
 * task twice at once, dependencies first, conditions that latch, an end within a bounded number of steps. With `restarts`, what
 * runs is lost now and then, as when the driver is killed.
 */
function simulate(
  graph: TaskGraph,
  of: ResolvedSpec,
  fates: Readonly<Record<string, Fate>>,
  choose: Pick,
  restarts = 0,
  chance?: Iterator<number>,
  cancelAt = Number.POSITIVE_INFINITY,
): { verdict: Verdict; isCleanedUp: boolean; state: RunState } {
  const limits = limitsOf(of);
  let state = running({});
  let latched = new Set<string>();
  for (let step = 0; step < 1000; step++) {
    if (step >= cancelAt) state = { ...state, isCancelled: true };
    latched = checkConditions(graph, state, of, latched);
    const decision = decide(graph, state, limits);
    const active = graph.tasks.filter((task) => state.tasks[task.id]?.phase === 'Running');
    if (decision.kind === 'finish') {
      expect(active).to.deep.equal([]);
      expect(phaseOf(graph, state, of)).to.equal('Finished');
      return { ...decision, state };
    }
    if (decision.kind === 'start') {
      expect(active.length + decision.tasks.length).to.be.at.most(limits.parallelism);
      for (const task of decision.tasks) {
        expect(active).to.not.include(task);
        if (!task.always) for (const id of task.dependsOn) expect(state.tasks[id]?.phase).to.equal('Succeeded');
        const attempts = (state.tasks[task.id]?.attempts ?? 0) + 1;
        state = withTask(state, task, { phase: 'Running', attempts });
      }
      continue;
    }
    if (chance !== undefined && (chance.next().value ?? 0) % 100 < restarts * 100) {
      // The attempt is not on record: it never ended.
      for (const task of active) state = withTask(state, task, recorded(state.tasks[task.id]));
      continue;
    }
    const settled = choose(active);
    if (settled === undefined) throw new Error('waits, and nothing runs');
    state = withTask(state, settled, endOf(state.tasks[settled.id]?.attempts ?? 1, fates[settled.id] ?? good));
  }
  throw new Error('no end');
}

function recorded(state: TaskState | undefined): TaskState {
  const attempts = (state?.attempts ?? 1) - 1;
  return attempts === 0
    ? { phase: 'Pending', attempts }
    : { phase: 'Failed', attempts, error: error('Unreachable', true) };
}

function endOf(attempts: number, fate: Fate): TaskState {
  if (attempts <= fate.flakes) return { phase: 'Failed', attempts, error: error('Unreachable', true) };
  if (fate.end === 'Succeeded') return { ...done(fate.differences), attempts };
  return { phase: 'Failed', attempts, error: error(fate.end, false) };
}

function checkConditions(
  graph: TaskGraph,
  state: RunState,
  of: ResolvedSpec,
  before: ReadonlySet<string>,
): Set<string> {
  const all = conditions(graph, state, of);
  const isTrue = new Set(all.filter(({ status }) => status === 'True').map(({ type, reason }) => `${type}=${reason}`));
  for (const one of before) if (!one.startsWith('Reconciling')) expect([...isTrue]).to.include(one);
  return isTrue;
}

function fatesOf(graph: TaskGraph): fc.Arbitrary<Record<string, Fate>> {
  const fate = fc.record<Fate>({
    flakes: fc.constantFrom(0, 0, 0, 1, 3),
    end: fc.constantFrom<Fate['end'][]>(
      'Succeeded',
      'Succeeded',
      'Succeeded',
      'Succeeded',
      'Succeeded',
      'CorruptTable',
    ),
    differences: fc.constantFrom(0, 0, 0, 4),
  });
  return fc.record(
    Object.fromEntries(
      graph.tasks.map((task) => [task.id, fc.oneof({ weight: 6, arbitrary: fc.constant(good) }, fate)]),
    ),
  );
}

function example(): { graph: TaskGraph; of: ResolvedSpec } {
  const of = spec({
    snapshot: { ...spec().snapshot, tables: [table('flights', { baseVersion: '0' }), table('planes')] },
    scenario: scenario.incremental,
    queries: [{ name: 'q', sql: 'select 1', expect: { sameAs: 'Baseline' }, timeoutSeconds: 60 }],
  });
  return { of, graph: buildGraph(of, resolution(of)) };
}

function first(options: readonly Task[]): Task | undefined {
  return options[0];
}

function pick(options: readonly Task[], chance: Iterator<number>): Task | undefined {
  return options[(chance.next().value ?? 0) % Math.max(1, options.length)];
}

function running(tasks: RunState['tasks']): RunState {
  return { tasks, isCancelled: false, isSuspended: false };
}

function withTask(state: RunState, task: Task, to: TaskState): RunState {
  return { ...state, tasks: { ...state.tasks, [task.id]: to } };
}

function done(differences: number): TaskState {
  return { phase: 'Succeeded', attempts: 1, summary: { differences } };
}

function error(code: ErrorCode, isRetryable: boolean): ErrorRecord {
  return { code, message: code, isRetryable };
}
