import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import type { ResolvedSpec } from '../api/resolved.ts';
import type { TableComparison } from '../compare/result.ts';
import { openStore } from '../lake/open.ts';
import type { ObjectStore } from '../lake/store.ts';
import { differentComparison, equalComparison } from '../report/fixture.ts';
import { buildGraph } from '../run/graph.ts';
import type { TaskState, Verdict } from '../run/types.ts';
import { ParityError } from '../support/error.ts';
import { recordSuccess, writeRunRecord } from './records.ts';
import { runReport } from './report.ts';
import type { Resolution, TaskContext } from './task.ts';

const run = { name: 'r', uid: '12345678-0000-4000-8000-000000000000', installation: 'i' };

const resolution: Resolution = {
  tables: [{ name: 'a', version: 1, baseVersion: null, rows: 1, sizeBytes: 1, copyBytes: 1, files: 1 }],
};

describe('the report task', () => {
  let folder: string;
  let workspace: ObjectStore;
  let spec: ResolvedSpec;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-report-'));
    workspace = await openStore({ location: `file://${folder}/work` });
    spec = specOf(`file://${folder}/reports`);
  });

  afterEach(async () => {
    workspace.close();
    await rm(folder, { recursive: true });
  });

  /** Records a run whose tasks all succeeded, except those that `states` says otherwise of, and reports it. */
  async function reportOf(
    verdict: Verdict,
    options: { tables?: readonly TableComparison[]; states?: Record<string, TaskState>; isEarly?: boolean },
  ) {
    const graph = options.isEarly === true ? buildGraph(spec) : buildGraph(spec, resolution);
    const tasks: Record<string, TaskState> = {};
    for (const { id, input } of graph.tasks) {
      tasks[id] = options.states?.[id] ?? { phase: 'Succeeded', attempts: 1, summary: {} };
      if (tasks[id].phase !== 'Succeeded') continue;
      if (input.kind === 'resolve') await recordSuccess(workspace, id, { summary: {}, detail: resolution });
      if (input.kind === 'compare' && options.tables !== undefined)
        await recordSuccess(workspace, id, { summary: {}, detail: { tables: options.tables } });
      if (input.kind === 'snapshot') await recordSuccess(workspace, id, { summary: {}, detail: { tables: [] } });
    }
    await writeRunRecord(workspace, {
      run,
      spec,
      specDigest: 'd'.repeat(64),
      graph,
      state: { tasks, isCancelled: verdict === 'Cancelled', isSuspended: false },
      verdict,
      message: '',
      conditions: [],
      startedAt: '2026-01-01T00:00:00.000Z',
      endedAt: '2026-01-01T00:01:00.000Z',
      timings: {},
    });
    const { detail } = await runReport(contextOf(workspace, spec));
    return detail.report;
  }

  it('writes every format beside each other, and gives back the report', async () => {
    const report = await reportOf('Passed', { tables: [equalComparison({ table: 'a' })] });
    const written = join(folder, 'reports', 'r-12345678');
    assert.deepEqual((await readdir(written)).sort(), ['report.html', 'report.json', 'report.md', 'report.xml']);
    assert.deepEqual(
      JSON.parse(await readFile(join(written, 'report.json'), 'utf8')),
      JSON.parse(JSON.stringify(report)),
    );
    assert.match(report.fingerprint ?? '', /^[0-9a-f]{64}$/);
  });

  it('gives the same fingerprint to the same findings at another time and place', async () => {
    const first = await reportOf('Passed', { tables: [equalComparison({ table: 'a' })] });
    spec = { ...spec, reports: { ...spec.reports, location: `file://${folder}/elsewhere` } };
    const second = await reportOf('Passed', { tables: [equalComparison({ table: 'a' })] });
    assert.equal(first.fingerprint, second.fingerprint);
  });

  it('reports a run whose only task failed without leaving anything', async () => {
    const error = { code: 'Crashed' as const, message: 'task resolve was ended by SIGSEGV', isRetryable: false };
    const states: Record<string, TaskState> = { resolve: { phase: 'Failed', attempts: 1, error } };
    const report = await reportOf('Errored', { states, isEarly: true });
    assert.deepEqual(
      report.errors.map(({ code }) => code),
      ['Crashed'],
    );
    assert.lengthOf(report.notCompared, 1);
    assert.isNull(report.fingerprint);
  });

  const contradictions: [string, Verdict, readonly TableComparison[]][] = [
    ['Passed above a difference', 'Passed', [differentComparison({ table: 'a' })]],
    ['Passed above a table that nobody compared', 'Passed', []],
    ['Failed above no difference', 'Failed', [equalComparison({ table: 'a' })]],
  ];
  for (const [what, verdict, tables] of contradictions) {
    it(`refuses to say ${what}`, async () => {
      const error = await reportOf(verdict, { tables }).catch((thrown: unknown) => thrown);
      assert.instanceOf(error, ParityError);
      assert.match(String(error), /contradicts the findings/);
      assert.notInclude(await readdir(folder), 'reports');
    });
  }

  it('refuses to go on without the result of a comparison that succeeded', async () => {
    const error = await reportOf('Passed', {}).catch((thrown: unknown) => thrown);
    assert.match(String(error), /succeeded, but its result is not in the workspace/);
  });
});

function contextOf(workspace: ObjectStore, spec: ResolvedSpec): TaskContext {
  const unused = () => Promise.reject(new Error('a report needs no engine and no secret here'));
  return {
    file: { id: 'report', run, spec, input: { kind: 'report' } },
    attempt: 1,
    workspace,
    engine: unused,
    scratch: '/nowhere',
    secret: unused,
    progress: () => undefined,
    signal: new AbortController().signal,
    detailOf: unused,
  };
}

function specOf(reports: string): ResolvedSpec {
  return {
    snapshot: {
      location: 'file:///lake',
      limits: {},
      tables: [{ name: 'a', path: 'a', key: ['id'], exclude: [], mask: [] }],
    },
    workspace: { location: 'file:///work' },
    sources: [],
    pipelines: [],
    scenario: [{ name: 'parity', compare: { baseline: { snapshot: {} }, candidate: { location: 'file:///other' } } }],
    comparison: { profile: 'Exact', columns: [], unseen: 'Expected', maxDifferences: 0, samples: 20, values: 'Masked' },
    queries: [],
    execution: { parallelism: 2, retries: 0, timeoutSeconds: 60, memoryBytes: 2 ** 30, threads: 1 },
    cleanup: { policy: 'Always' },
    reports: { location: reports, formats: ['JSON', 'HTML', 'JUnit', 'Markdown'] },
  };
}
