import { assert } from 'chai';
import type { ResolvedSpec } from '../api/resolved.ts';
import type { TableComparison } from '../compare/result.ts';
import { buildGraph } from '../run/graph.ts';
import type { RunState, TaskState, Verdict } from '../run/types.ts';
import type { Resolution } from '../tasks/task.ts';
import { buildReport, type Findings } from './build.ts';
import { differentComparison, equalComparison } from './fixture.ts';

const spec: ResolvedSpec = {
  snapshot: {
    location: 'file:///lake',
    limits: {},
    tables: ['a', 'b'].map((name) => ({ name, path: name, key: ['id'], exclude: [], mask: [] })),
  },
  workspace: { location: 'file:///work' },
  sources: [{ name: 'shop', engine: 'Postgres', tables: ['a', 'b'], columns: [], provider: { kind: 'embedded' } }],
  pipelines: [{ name: 'p', cursorBound: 'Inclusive', reference: { bug: 'None' } }],
  scenario: [
    { name: 'first', sync: { mode: 'Full', pipelines: ['p'] } },
    { name: 'parity', compare: { baseline: { snapshot: {} }, candidate: { pipeline: 'p' } } },
    { name: 'queries', query: { names: ['q'] } },
  ],
  comparison: { profile: 'Exact', columns: [], unseen: 'Expected', maxDifferences: 0, samples: 20, values: 'Masked' },
  queries: [{ name: 'q', sql: 'SELECT 1', expect: { sameAs: 'Baseline' }, timeoutSeconds: 60 }],
  execution: { parallelism: 2, retries: 0, timeoutSeconds: 60, memoryBytes: 2 ** 30, threads: 1 },
  cleanup: { policy: 'Always' },
  reports: { location: 'file:///reports', formats: ['JSON'] },
};

const resolution: Resolution = {
  tables: ['a', 'b'].map((name, index) => ({
    name,
    version: 7 + index,
    baseVersion: null,
    rows: 10,
    sizeBytes: 100,
    copyBytes: 100,
    files: 1,
  })),
};

const graph = buildGraph(spec, resolution);
const compare = graph.tasks.find(({ input }) => input.kind === 'compare');
const query = graph.tasks.find(({ input }) => input.kind === 'query');
const equal = (table: string) => equalComparison({ table });

function findings(overrides: Partial<Findings> = {}): Findings {
  if (compare === undefined || query === undefined) throw new Error('the graph has no compare or query task');
  const ranIn = { baseline: 'the embedded engine', candidate: 'the embedded engine' };
  const same = { outcome: 'Equal' as const, message: '', baselineRows: 1, candidateRows: 1, samples: [] };
  return {
    run: { name: 'r', uid: 'u', installation: 'i' },
    spec,
    parityVersion: '0.0.0',
    graph,
    state: { tasks: {}, isCancelled: false, isSuspended: false },
    verdict: 'Passed',
    resolution,
    snapshots: [],
    compared: [{ input: compare.input, items: [equal('a'), equal('b')] }],
    queried: [
      { input: query.input, items: [{ name: 'q', baselineDigest: 'x', candidateDigest: 'x', ranIn, ...same }] },
    ],
    leftOut: [],
    failedTables: {},
    notes: [],
    timings: { startedAt: null, reportedAt: '2026-01-01T00:00:00Z', tasks: [] },
    fingerprintOf: () => 'f'.repeat(64),
    ...overrides,
  };
}

const state = (tasks: Readonly<Record<string, TaskState>>): RunState => ({
  tasks,
  isCancelled: false,
  isSuspended: false,
});

describe('the report that is built from findings', () => {
  it('puts every comparison with its step, source and sides', () => {
    const [first] = buildReport(findings()).comparisons;
    assert.deepInclude(first, {
      table: 'a',
      step: 'parity',
      source: 'shop',
      baseline: 'snapshot at version 7',
      candidate: 'pipeline p',
      outcome: 'Equal',
    });
  });

  it('names a table that a comparison passed over', () => {
    const compared = [{ input: compare?.input ?? { kind: 'report' as const }, items: [equal('a')] }];
    assert.deepEqual(buildReport(findings({ compared })).notCompared, [
      { step: 'parity', source: 'shop', name: 'b', kind: 'Table' },
    ]);
  });

  it('names all that was asked for where the run ended before its tasks were known', () => {
    const early = { graph: buildGraph(spec), compared: [], queried: [], verdict: 'Errored' as const };
    const { notCompared, fingerprint } = buildReport(findings({ ...early, resolution: undefined }));
    assert.deepEqual(
      notCompared.map(({ name, kind }) => `${kind} ${name}`),
      ['Table a', 'Table b', 'Query q'],
    );
    assert.isNull(fingerprint);
  });

  for (const verdict of ['Errored', 'Cancelled'] satisfies Verdict[]) {
    it(`has no fingerprint when the run was ${verdict}: what was not compared cannot repeat`, () => {
      assert.isNull(buildReport(findings({ verdict })).fingerprint);
    });
  }

  it('tells what the manifest lets pass from what it does not', () => {
    const compared = (maxDifferences: number, schema: TableComparison['schema'] = []) => {
      const input = compare?.input ?? { kind: 'report' as const };
      const lenient = { ...spec, comparison: { ...spec.comparison, maxDifferences } };
      return buildReport(
        findings({ spec: lenient, compared: [{ input, items: [{ ...differentComparison(), schema }] }] }),
      );
    };
    const missing = { column: 'a', difference: 'Missing', baseline: 'long', candidate: null, counts: true } as const;
    assert.equal(compared(23_467).comparisons[0]?.outcome, 'Different');
    assert.equal(compared(23_468).comparisons[0]?.outcome, 'Tolerated');
    assert.equal(compared(23_468).counts.differing, 0);
    assert.equal(compared(23_468, [{ ...missing, counts: false }]).comparisons[0]?.outcome, 'Tolerated');
    assert.equal(compared(1_000_000, [missing]).comparisons[0]?.outcome, 'Different', 'a column was not compared');
  });

  it('names each failed task with its table, and none that was only stopped', () => {
    const error = { code: 'DiskFull' as const, message: 'no space', isRetryable: false };
    const stopped = { code: 'Cancelled' as const, message: 'stopped', isRetryable: false };
    const report = buildReport(
      findings({
        verdict: 'Errored',
        state: state({
          'snapshot-0': { phase: 'Failed', attempts: 2, error },
          'provision-shop': { phase: 'Failed', attempts: 1, error: stopped },
        }),
        failedTables: { 'snapshot-0': 'b' },
      }),
    );
    assert.deepEqual(report.errors, [{ ...error, task: 'snapshot-0', kind: 'snapshot', table: 'b', attempts: 2 }]);
  });

  it('has one digest of the snapshot, the same in any order of copying, and none while a table is missing', () => {
    const copied = { files: 1, bytes: 1, requests: 1, serverSide: false };
    const table = (name: string) => ({
      ...copied,
      name,
      version: 7,
      baseVersion: null,
      digest: name.repeat(64),
      rows: 1,
      sizeBytes: 1,
      copied,
    });
    const digest = (...names: string[]) =>
      buildReport(findings({ snapshots: names.map((name) => ({ tables: [table(name)] })) })).snapshot.digest;
    assert.match(digest('a', 'b') ?? '', /^[0-9a-f]{64}$/);
    assert.equal(digest('a', 'b'), digest('b', 'a'));
    assert.isNull(digest('a'));
  });
});
