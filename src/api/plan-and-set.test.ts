import { expect } from 'chai';
import { changed, GOOD, load, problemsOf } from './manifest.fixture.ts';

const PLAN = GOOD.replace('PipelineParityRun', 'PipelineParityPlan').replace('round-trip', 'syncs');
const RUN = `apiVersion: pipelineparity.io/v1alpha1
kind: PipelineParityRun
metadata: { name: mine }
spec:
  planRef: { name: syncs }
`;
/** A run of the plan with more fields of spec, at lines 6 and up. */
const run = (yaml = ''): string => `${RUN}${yaml === '' ? '' : `${yaml.replaceAll(/^/gm, '  ')}\n`}`;
const withPlan = { planText: PLAN, planFile: 'plans/syncs.yaml' };

describe('A run of a plan', () => {
  it('has the plan in the same file or in another one', () => {
    const beside = load(run(), { planText: PLAN, planFile: 'syncs.yaml' });
    expect(load(`${run()}---\n${PLAN}`).spec).to.deep.equal(beside.spec);
    expect(beside.spec).to.deep.equal(load(GOOD).spec);
    expect(beside.name).to.equal('mine');
  });

  it('takes file locations of a plan from the folder of the plan, and its own from its own', () => {
    const { spec } = load(run('reports: { location: "file:out" }'), { ...withPlan, file: 'runs/mine.yaml' });
    expect(spec.snapshot.location).to.equal('file:///work/plans/lake');
    expect(spec.reports.location).to.equal('file:///work/runs/out');
  });

  it('merges objects by field', () => {
    const plan = `${PLAN}  execution: { threads: 4, retries: 0 }\n`;
    const { spec } = load(run('execution: { retries: 5 }'), { planText: plan });
    expect(spec.execution).to.include({ threads: 4, retries: 5, parallelism: 2 });
  });

  it('merges named lists by whole item, in the order of the plan, new items last', () => {
    const tables =
      'snapshot:\n  tables:\n    - { name: airlines, path: airlines }\n    - { name: flights, path: other }';
    const sources = 'sources: [{ name: shop, engine: MySQL, tables: [flights, planes, airlines] }]';
    const { spec } = load(run(`${tables}\n${sources}`), withPlan);
    expect(spec.snapshot.tables.map(({ name, path, version }) => [name, path, version])).to.deep.equal([
      ['flights', 'other', undefined],
      ['planes', 'planes', undefined],
      ['airlines', 'airlines', undefined],
    ]);
    expect(spec.sources.map(({ engine }) => engine)).to.deep.equal(['MySQL']);
  });

  it('replaces the scenario as a whole', () => {
    const plan = `${PLAN}  scenario: [{ name: a, sync: { mode: Full } }, { name: b, compare: {} }]\n`;
    const own = 'scenario: [{ name: c, sync: { mode: Full } }, { name: b, compare: {} }]';
    const names = (text: string) => load(text, { planText: plan }).spec.scenario.map(({ name }) => name);
    expect(names(run())).to.deep.equal(['a', 'b']);
    expect(names(run(own))).to.deep.equal(['c', 'b']);
  });

  it('may leave out what the plan offers in a scenario of its own', () => {
    const plan = `${PLAN}  queries: [{ name: q, sql: "from {{planes}}", expect: { sameAs: Baseline } }]\n`;
    const own = 'scenario: [{ name: c, sync: { mode: Full } }, { name: b, compare: {} }]';
    expect(problemsOf(run(own), { planText: plan })).to.deep.equal([]);
  });

  it("drops the plan's server where it moves to a file", () => {
    const plan = PLAN.replace(
      '{ location: s3:// }',
      '{ location: s3://, endpoint: http://minio:9000, secretRef: { name: s } }',
    );
    expect(load(run('workspace: { location: "file:ws" }'), { planText: plan }).spec.workspace).to.deep.equal({
      location: 'file:///work/ws',
    });
    expect(load(run('workspace: { location: "s3://ci" }'), { planText: plan }).spec.workspace).to.deep.equal({
      location: 's3://ci',
      endpoint: 'http://minio:9000',
      secretRef: { name: 's' },
    });
  });

  it('reports a problem where the field stands, in the run or in the plan', () => {
    const own = 'comparison: { columns: [{ table: plains, column: a, ignore: true }] }';
    const plan = PLAN.replace('[flights, planes]', '[flights, planes, airlines]');
    expect(problemsOf(run(own), { planText: plan, planFile: 'syncs.yaml' })).to.deep.equal([
      'run.yaml:6:36: spec.comparison.columns[plains.a].table: the snapshot has no table "plains"; did you mean "planes"?',
      'syncs.yaml:20:33: spec.sources[shop].tables[2]: the snapshot has no table "airlines"; known are flights, planes',
    ]);
  });

  it('is told of a plan that is not there, and of mistakes in the plan by itself', () => {
    expect(problemsOf(run(), { planText: PLAN.replace('name: syncs', 'name: sync') })).to.deep.equal([
      'run.yaml:5:20: spec.planRef.name: there is no plan "syncs" beside the run; did you mean "sync"?',
    ]);
    expect(problemsOf(run())).to.deep.equal([
      'run.yaml:5:20: spec.planRef.name: there is no plan "syncs" beside the run; there are none',
    ]);
    expect(
      problemsOf(run(), { planText: `${PLAN}  planRef: { name: other }\n`, planFile: 'syncs.yaml' }),
    ).to.deep.equal([
      'syncs.yaml:25:3: spec.planRef: unknown field; known are snapshot, workspace, sources, pipelines, scenario, comparison, queries, execution, cleanup, reports',
    ]);
  });

  it('is told where the merged lists are too long together', () => {
    const queries = (prefix: string): string =>
      `queries:\n${Array.from({ length: 60 }, (_, n) => `- { name: ${prefix}${n}, sql: "from {{planes}}", expect: { sameAs: Baseline } }`).join('\n')}`;
    const plan = `${PLAN}${queries('p').replaceAll(/^/gm, '  ')}\n`;
    expect(problemsOf(run(queries('r')), { planText: plan })).to.deep.equal([
      'run.yaml:6:3: spec.queries: has 120 items; at most 100 are allowed',
    ]);
  });

  it('refuses two runs in one file, and a plan alone', () => {
    expect(problemsOf(`${GOOD}---\n${GOOD}`)).to.deep.equal([
      'run.yaml:27:7: kind: is a second PipelineParityRun; give each run a file of its own',
    ]);
    expect(problemsOf(PLAN)).to.deep.equal(['run.yaml: has no PipelineParityRun; add one']);
  });
});

describe('--set', () => {
  const specWith = (...set: string[]) => load(GOOD, { set }).spec;

  it('sets a field that is there, one that is not, and a whole object', () => {
    const spec = specWith(
      'spec.pipelines[candidate].reference.bug=DroppedTail',
      'spec.execution.threads=7',
      'spec.cleanup={policy: Never}',
    );
    expect(spec.pipelines[0]).to.have.nested.property('reference.bug', 'DroppedTail');
    expect(spec.execution.threads).to.equal(7);
    expect(spec.cleanup.policy).to.equal('Never');
  });

  it('takes the value of a text field as it stands, and lets quotes go', () => {
    expect(specWith('spec.snapshot.tables[flights].version=34').snapshot.tables[0]?.version).to.equal('34');
    expect(specWith('spec.snapshot.tables[flights].version="34"').snapshot.tables[0]?.version).to.equal('34');
    expect(specWith('spec.workspace.location=s3://abc/k=v').workspace.location).to.equal('s3://abc/k=v');
  });

  it('finds items by name, by table and column, and by index', () => {
    const text = `${GOOD}  comparison: { columns: [{ table: planes, column: a, tolerance: "1" }] }\n`;
    const { spec } = load(text, {
      set: ['spec.comparison.columns[planes.a].tolerance=2', 'spec.snapshot.tables[1].path=p2'],
    });
    expect(spec.comparison.columns[0]?.tolerance).to.equal('2');
    expect(spec.snapshot.tables[1]?.path).to.equal('p2');
  });

  it('removes a field or an item where the value is empty', () => {
    expect(specWith('spec.snapshot.tables[flights].baseVersion=').snapshot.tables[0]).to.not.have.property(
      'baseVersion',
    );
    const spec = specWith('spec.snapshot.tables[planes]=', 'spec.sources[shop].tables=[flights]');
    expect(spec.snapshot.tables.map(({ name }) => name)).to.deep.equal(['flights']);
  });

  it('leaves the server behind where it moves a place to a file', () => {
    const text = changed([
      '{ location: s3:// }',
      '{ location: s3://, endpoint: http://minio:9000, region: us-east-1 }',
    ]);
    const { spec } = load(text, { set: ['spec.workspace.location=file:ws'] });
    expect(spec.workspace).to.deep.equal({ location: 'file:///work/ws' });
  });

  it('changes an item of the plan without touching its other fields', () => {
    const { spec } = load(run(), { ...withPlan, set: ['spec.snapshot.tables[flights].version=20'] });
    expect(spec.snapshot.tables.map(({ name, version, baseVersion }) => [name, version, baseVersion])).to.deep.equal([
      ['flights', '20', '9'],
      ['planes', undefined, undefined],
    ]);
  });

  it('chooses the plan', () => {
    const other = PLAN.replace('name: syncs', 'name: other').replace('path: planes', 'path: elsewhere');
    const { spec } = load(`${run()}---\n${PLAN}---\n${other}`, { set: ['spec.planRef.name=other'] });
    expect(spec.snapshot.tables[1]?.path).to.equal('elsewhere');
  });

  it('is what a problem with its value is reported at', () => {
    expect(problemsOf(GOOD, { set: ['spec.pipelines[candidate].reference.bug=Dropped'] })[0]).to.match(
      /^--set spec\.pipelines\[candidate\]\.reference\.bug=Dropped: spec\.pipelines\[candidate\]\.reference\.bug: found "Dropped"; it must be one of/,
    );
    expect(problemsOf(GOOD, { set: ['spec.workspace.location=file:lake/x'] })[0]).to.match(
      /^--set spec\.workspace\.location=file:lake\/x: spec\.workspace\.location: "file:\/\/\/work\/lake\/x" lies inside/,
    );
  });

  for (const [assignment, problem] of [
    ['spec.snapshot', 'is no assignment; write it as --set spec.path.to[name].field=value'],
    ['=1', 'is no assignment; write it as --set spec.path.to[name].field=value'],
    ['metadata.name=x', 'metadata.name: only fields of spec can be set'],
    ['spec.snapshto.location=x', 'spec.snapshto: unknown field; did you mean "snapshot"?'],
    [
      'spec.__proto__.x=1',
      'spec.__proto__: unknown field; known are planRef, snapshot, workspace, sources, pipelines, scenario, comparison, queries, execution, cleanup, reports, suspend, …',
    ],
    [
      'spec.pipelines.reference.bug=None',
      'spec.pipelines.reference: unknown field; name an item first, as in tables[flights]',
    ],
    [
      'spec.pipelines[candidat].reference.bug=None',
      'spec.pipelines[candidat]: there is no such item in the run or its plan; did you mean "candidate"?',
    ],
    ['spec.snapshot[a].location=b', 'spec.snapshot[a]: is not in a list; leave the brackets out'],
    ['spec.cleanup={policy: ', 'spec.cleanup: the value is not valid YAML: Flow map must end with a }'],
    [
      'spec.snapshot.tables[flights]..x=1',
      'spec.snapshot.tables[flights]..x: cannot be read at "..x"; write it as spec.path.to[name].field',
    ],
  ] as const) {
    it(`refuses ${assignment}`, () => {
      expect(problemsOf(GOOD, { set: [assignment] })).to.deep.equal([`--set ${assignment}: ${problem}`]);
    });
  }

  it("does not remove what is the plan's", () => {
    expect(problemsOf(run(), { ...withPlan, set: ['spec.snapshot.tables[planes]='] })).to.deep.equal([
      "--set spec.snapshot.tables[planes]=: spec.snapshot.tables[planes]: is the plan's; a run cannot remove it",
    ]);
  });

  it('leaves the manifest alone where there is nothing to set', () => {
    expect(load(GOOD, { set: [] }).specDigest).to.equal(load(changed()).specDigest);
  });
});
