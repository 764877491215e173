import { expect } from 'chai';
import fc from 'fast-check';
import { resolution, scenario, spec, table } from '../../test/support/spec.ts';
import type { ResolvedSpec } from '../api/resolved.ts';
import { buildGraph } from './graph.ts';
import { packTables } from './pack.ts';
import { taskId } from './task-id.ts';
import type { Task, TaskInput } from './types.ts';

describe('the task graph', () => {
  it('knows only resolve, report and cleanup before the lake was read', () => {
    const graph = buildGraph(spec());
    expect(graph.isPartial).to.equal(true);
    expect(ids(graph.tasks)).to.deep.equal(['resolve', 'report', 'cleanup']);
  });

  it('follows the scenario, with the snapshot point of each step', () => {
    const of = advancing();
    const tasks = full(of);
    expect(ids(tasks)).to.deep.equal([
      'resolve',
      'snapshot-0',
      'provision-shop',
      'rehydrate-shop-0',
      'rehydrate-shop-1',
      'first-sync-candidate-shop-0',
      'first-sync-candidate-shop-1',
      'parity-at-base-compare-shop-0',
      'parity-at-base-compare-shop-1',
      'to-version-advance-shop-0',
      'second-sync-candidate-shop-0',
      'second-sync-candidate-shop-1',
      'parity-compare-shop-0',
      'parity-compare-shop-1',
      'queries-query-0',
      'report',
      'cleanup',
    ]);
    const points = inputs(tasks, 'sync').map(({ step, tables, at }) => `${step} ${tables} ${at}`);
    expect(points).to.deep.equal([
      'first flights Base',
      'first planes Target',
      'second flights Target',
      'second planes Target',
    ]);
    const compared = inputs(tasks, 'compare').map(({ step, tables, baseline, afterIncremental }) => [
      `${step} ${tables}`,
      baseline,
      afterIncremental,
    ]);
    expect(compared).to.deep.equal([
      ['parity-at-base flights', { kind: 'snapshot', at: 'Base' }, false],
      ['parity-at-base planes', { kind: 'snapshot', at: 'Target' }, false],
      ['parity flights', { kind: 'snapshot', at: 'Target' }, true],
      ['parity planes', { kind: 'snapshot', at: 'Target' }, false],
    ]);
    expect(inputs(tasks, 'query')).to.deep.equal([
      {
        kind: 'query',
        step: 'queries',
        queries: ['delays'],
        baseline: { kind: 'snapshot', at: 'Target' },
        candidate: { kind: 'pipeline', pipeline: 'candidate' },
        afterIncremental: true,
      },
    ]);
  });

  it('loads a table into a source only when its copy is complete and the server is there', () => {
    const rehydrate = full(spec()).find((task) => task.input.kind === 'rehydrate');
    expect(rehydrate?.dependsOn).to.have.members(['snapshot-0', 'provision-shop']);
  });

  it('gives a large table a task of its own and packs small ones by bytes and by count', () => {
    const names = Array.from({ length: 200 }, (_, index) => `t${index}`);
    const of = spec({
      snapshot: { ...spec().snapshot, tables: names.map((name) => table(name)) },
      sources: shop(names),
    });
    const copies = inputs(full(of, { t7: 2 ** 30 }), 'snapshot');
    expect(copies.map(({ tables }) => tables.length).sort((a, b) => b - a)).to.deep.equal([
      packTables,
      packTables,
      packTables,
      7,
      1,
    ]);
    expect(copies.find(({ tables }) => tables.length === 1)?.tables).to.deep.equal(['t7']);
    const heavy = inputs(full(of, Object.fromEntries(names.map((name) => [name, 2 ** 27]))), 'snapshot');
    expect(heavy.map(({ tables }) => tables.length)).to.deep.equal(Array(100).fill(2));
  });

  const idle: readonly { what: string; of: ResolvedSpec; says: RegExp }[] = [
    { what: 'compares without a source', of: spec({ sources: [] }), says: /"first" .* would do nothing/ },
    {
      what: 'advances without a base',
      of: spec({ scenario: [{ name: 'on', advance: {} }] }),
      says: /"on" .* no table of a source has a baseVersion/,
    },
    {
      what: 'queries nothing',
      of: spec({ scenario: [{ name: 'q', query: { names: [] } }] }),
      says: /there is no query/,
    },
    {
      what: 'loads an unknown table',
      of: spec({ sources: shop(['ghosts']) }),
      says: /"ghosts", which the snapshot does not have/,
    },
  ];
  for (const { what, of, says } of idle) {
    it(`refuses a spec that ${what}, for it would pass without having tested anything`, () => {
      expect(() => full(of)).to.throw(says);
    });
  }

  it('has one sync for all tables of a source where the pipeline is started once, and compares them as before', () => {
    const of = spec({
      snapshot: { ...spec().snapshot, tables: [table('flights', { baseVersion: '0' }), table('planes')] },
      scenario: scenario.incremental.slice(0, -1),
    });
    const once: ResolvedSpec['pipelines'][number] = {
      ...{ name: 'candidate', cursorBound: 'Inclusive', executions: 'PerSource', timeoutSeconds: 60 },
      outputs: { kind: 'files', format: 'Delta', location: '{{landing}}/{{table}}' },
      command: { argv: ['sync'], folder: 'file:///', env: [] },
    };
    const syncs = (pipeline: typeof once) =>
      full({ ...of, pipelines: [pipeline] }).flatMap(({ input }) =>
        input.kind === 'sync' ? [[input.tables, input.at]] : [],
      );
    expect(syncs(once)).to.deep.equal([
      [['flights', 'planes'], 'Base'],
      [['flights', 'planes'], 'Target'],
    ]);
    expect(syncs({ ...once, executions: 'PerTable' })).to.have.length(4);
    const compares = full({ ...of, pipelines: [once] }).filter(({ input }) => input.kind === 'compare');
    expect(compares).to.have.length(4);
  });

  it('compares tables elsewhere with the snapshot without any source', () => {
    const sides = { baseline: { snapshot: {} }, candidate: { location: 's3://b/v2' } };
    const tasks = full(spec({ sources: [], pipelines: [], scenario: [{ name: 'blue-green', compare: sides }] }));
    expect(ids(tasks)).to.deep.equal(['resolve', 'snapshot-0', 'blue-green-compare-0', 'report', 'cleanup']);
    expect(tasks[2]?.dependsOn).to.deep.equal(['snapshot-0']);
  });

  it('is topological, acyclic and uniquely named, and every step waits for the one before, whatever the names', () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,29}$/);
    const names = fc.uniqueArray(name, { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(names, names, names, (tables, sources, pipelines) => {
        const of = spec({
          snapshot: { ...spec().snapshot, tables: tables.map((name) => table(name, { baseVersion: '0' })) },
          sources: sources.flatMap((source) => shop(tables, source)),
          pipelines: pipelines.map((name) => ({ name, cursorBound: 'Inclusive', reference: { bug: 'None' } })),
          scenario: scenario.incremental.slice(0, -1).map((step) => rename(step, pipelines[0] ?? '')),
        });
        const tasks = full(of);
        const position = new Map(tasks.map((task, index) => [task.id, index]));
        expect(position.size).to.equal(tasks.length);
        tasks.forEach((task, index) => {
          expect(task.id).to.match(/^[a-z0-9][a-z0-9-]{0,59}$/);
          for (const before of task.dependsOn) expect(position.get(before)).to.be.lessThan(index);
        });
        expect(full(of)).to.deep.equal(tasks);
      }),
      { numRuns: 50 },
    );
  });
});

describe('a task id', () => {
  it('stays apart from others when it is cut', () => {
    const long = 'x'.repeat(80);
    expect(taskId(long, 'a')).to.have.length.at.most(60);
    expect(taskId(long, 'a')).to.not.equal(taskId(long, 'b'));
    expect(taskId('A b')).to.not.equal(taskId('a-b'));
  });
});

function rename(step: (typeof scenario.incremental)[number], pipeline: string): ResolvedSpec['scenario'][number] {
  if ('sync' in step) return { ...step, sync: { ...step.sync, pipelines: [pipeline] } };
  if ('compare' in step) return { ...step, compare: { ...step.compare, candidate: { pipeline } } };
  return step;
}

function advancing(): ResolvedSpec {
  return spec({
    snapshot: { ...spec().snapshot, tables: [table('flights', { baseVersion: '0' }), table('planes')] },
    scenario: scenario.incremental,
    queries: [{ name: 'delays', sql: 'select 1', expect: { sameAs: 'Baseline' }, timeoutSeconds: 60 }],
  });
}

function shop(tables: readonly string[], name = 'shop'): ResolvedSpec['sources'] {
  return [{ name, engine: 'Postgres', tables, columns: [], provider: { kind: 'embedded' } }];
}

function full(of: ResolvedSpec, sizes?: Readonly<Record<string, number>>): readonly Task[] {
  return buildGraph(of, resolution(of, sizes)).tasks;
}

function ids(tasks: readonly Task[]): readonly string[] {
  return tasks.map((task) => task.id);
}

function inputs<Kind extends TaskInput['kind']>(
  tasks: readonly Task[],
  kind: Kind,
): readonly Extract<TaskInput, { kind: Kind }>[] {
  const isOfKind = (input: TaskInput): input is Extract<TaskInput, { kind: Kind }> => input.kind === kind;
  return tasks.map(({ input }) => input).filter(isOfKind);
}
