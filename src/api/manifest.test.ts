import { expect } from 'chai';
import fc from 'fast-check';
import { changed, GOOD, load, problemsOf, withSpec } from './manifest.fixture.ts';
import { loadManifest } from './manifest.ts';
import { ManifestError } from './problem.ts';

describe('loadManifest', () => {
  it('applies every default', () => {
    const { name, namespace, spec } = load(GOOD);
    expect({ name, namespace }).to.deep.equal({ name: 'round-trip', namespace: 'default' });
    expect(spec).to.deep.equal({
      snapshot: {
        location: 'file:///work/lake',
        limits: {},
        tables: [
          {
            name: 'flights',
            path: 'flights',
            version: '12',
            baseVersion: '9',
            key: ['id'],
            cursor: 'updated_at',
            exclude: [],
            mask: [],
          },
          { name: 'planes', path: 'planes', key: [], exclude: [], mask: [] },
        ],
      },
      workspace: { location: 's3://' },
      sources: [
        {
          name: 'shop',
          engine: 'Postgres',
          tables: ['flights', 'planes'],
          columns: [],
          provider: { kind: 'embedded' },
        },
      ],
      pipelines: [{ name: 'candidate', cursorBound: 'Inclusive', reference: { bug: 'None' } }],
      scenario: [
        { name: 'first', sync: { mode: 'Full', pipelines: ['candidate'] } },
        { name: 'parity-at-base', compare: { baseline: { snapshot: {} }, candidate: { pipeline: 'candidate' } } },
        { name: 'to-version', advance: {} },
        { name: 'second', sync: { mode: 'Incremental', pipelines: ['candidate'] } },
        { name: 'parity', compare: { baseline: { snapshot: {} }, candidate: { pipeline: 'candidate' } } },
      ],
      comparison: {
        profile: 'Exact',
        columns: [],
        unseen: 'Expected',
        maxDifferences: 0,
        samples: 20,
        values: 'Masked',
      },
      queries: [],
      execution: { parallelism: 2, retries: 2, timeoutSeconds: 3600, memoryBytes: 1024 ** 3, threads: 2 },
      cleanup: { policy: 'Always' },
      reports: { location: 'file:///work/reports', formats: ['JSON', 'HTML', 'JUnit', 'Markdown'] },
    });
  });

  it('leaves the incremental half out of the default scenario where no table has a baseVersion', () => {
    const { spec } = load(changed(['        baseVersion: "9"\n', '']));
    expect(spec.scenario.map(({ name }) => name)).to.deep.equal(['first', 'parity']);
  });

  it('ends the default scenario with the queries, where there are any', () => {
    const { spec } = load(
      withSpec('queries: [{ name: q, sql: "select 1 from {{planes}}", expect: { sameAs: Baseline } }]'),
    );
    expect(spec.scenario.at(-1)).to.deep.equal({ name: 'queries', query: { names: ['q'] } });
    expect(spec.queries[0]?.timeoutSeconds).to.equal(300);
  });

  it('takes what switches a run on a cluster, and refuses it where nobody could turn the switch', () => {
    const text = withSpec('suspend: true\ncancel: true\ncleanup: { ttlSecondsAfterFinished: 60 }');
    expect(load(text).spec.cleanup).to.deep.equal({ policy: 'Always', ttlSecondsAfterFinished: 60 });
    expect(problemsOf(text, { isCarriedOutHere: true })).to.deep.equal([
      'run.yaml:25:12: spec.suspend: is for runs on a cluster; remove it, or apply the run to a cluster',
      'run.yaml:26:11: spec.cancel: is for runs on a cluster; remove it, or apply the run to a cluster; here Ctrl-C cancels',
    ]);
  });

  it('turns the spelling of providers, quantities and sides into the resolved one', () => {
    const text = withSpec(
      'execution: { memory: 512Mi }\ncomparison: { columns: [{ table: planes, column: speed, tolerance: "1e-9" }] }',
    ).replace('embedded: {}', 'external: { secretRef: { name: shop-db } }');
    const { spec } = load(text);
    expect(spec.sources[0]?.provider).to.deep.equal({ kind: 'external', secretRef: { name: 'shop-db' } });
    expect(spec.execution.memoryBytes).to.equal(512 * 1024 ** 2);
    expect(spec.comparison.columns).to.deep.equal([{ table: 'planes', column: 'speed', tolerance: '1e-9' }]);
  });

  it('takes for a source that says nothing what the installation has, and deploys what says how', () => {
    const provider = (yaml: string, defaultProvider?: 'argocd' | 'kubernetes'): unknown =>
      load(changed(['      embedded: {}\n', yaml]), defaultProvider === undefined ? {} : { defaultProvider }).spec
        .sources[0]?.provider;
    const server = { allowFrom: [] };
    expect(provider('')).to.deep.equal({ kind: 'embedded' });
    expect(provider('', 'argocd')).to.deep.equal({ kind: 'argocd', server });
    expect(provider('', 'kubernetes')).to.deep.equal({ kind: 'kubernetes', server });
    expect(provider('      kubernetes: {}\n', 'argocd')).to.deep.equal({ kind: 'kubernetes', server });
    expect(provider('      embedded: {}\n', 'argocd')).to.deep.equal({ kind: 'embedded' });
    expect(provider('      size: 1Gi\n')).to.deep.equal({ kind: 'kubernetes', server: { size: '1Gi', allowFrom: [] } });
    expect(
      provider(
        '      image: pg:1\n      allowFrom: [{ pods: a=b }]\n      argocd: { path: charts/pg, values: "{}" }\n',
      ),
    ).to.deep.equal({
      kind: 'argocd',
      path: 'charts/pg',
      values: '{}',
      server: { image: 'pg:1', allowFrom: [{ pods: 'a=b' }] },
    });
  });

  it('samples by the first column of the key', () => {
    const { spec } = load(changed(['key: [id]', 'key: [id, leg]\n        sample: { percent: 10 }']));
    expect(spec.snapshot.tables[0]?.sample).to.deep.equal({ percent: 10, by: 'id' });
  });

  it('takes the workspace of the installation where the manifest names none', () => {
    const text = changed(['  workspace: { location: s3:// }\n', '']);
    const ci = { location: 's3://ci', endpoint: 'http://minio:9000' };
    expect(load(text, { defaultWorkspace: ci }).spec.workspace).to.deep.equal(ci);
    expect(load(text, { defaultWorkspace: 'file:runs' }).spec.workspace).to.deep.equal({
      location: 'file:///work/runs',
    });
  });

  it('resolves file locations from the folder of the manifest', () => {
    const text = withSpec('reports: { location: "file:out" }');
    const { spec } = load(text, { file: 'examples/run.yaml' });
    expect(spec.snapshot.location).to.equal('file:///work/examples/lake');
    expect(spec.reports.location).to.equal('file:///work/examples/out');
  });

  it('compares places that exist, without source or pipeline', () => {
    const [head = ''] = GOOD.split('  sources:');
    const { spec } = load(
      `${head}  scenario:\n    - { name: v2, compare: { candidate: { location: "parquet:file:v2" } } }\n`,
    );
    expect(spec.scenario).to.deep.equal([
      { name: 'v2', compare: { baseline: { snapshot: {} }, candidate: { location: 'parquet:file:///work/v2' } } },
    ]);
  });

  it('gives the same digest to manifests that say the same, and another to others', () => {
    const reordered = changed(['metadata: { name: round-trip }', 'metadata: { labels: { a: b }, name: round-trip }'])
      .replace('name: candidate\n      reference: {}', 'reference: { bug: None }\n      name: candidate')
      .concat('# a comment\n');
    expect(load(reordered).specDigest)
      .to.equal(load(GOOD).specDigest)
      .and.to.match(/^[0-9a-f]{64}$/);
    expect(load(GOOD, { set: ['spec.execution.threads=1'] }).specDigest).to.not.equal(load(GOOD).specDigest);
  });

  it('does not look at the status, which a run read back from a cluster carries', () => {
    expect(problemsOf(`${GOOD}status: { phase: Running, whatever: 1 }\n`)).to.deep.equal([]);
  });

  it('collects all problems, in the order of the file', () => {
    const text = changed(['path: flights', 'paht: flights'], ['engine: Postgres', 'engine: Oracle'], ['[id]', '[]']);
    expect(problemsOf(text)).to.deep.equal([
      "run.yaml:8:9: spec.snapshot.tables[flights].path: missing; add it: Folder of the table below the snapshot's location.",
      'run.yaml:9:9: spec.snapshot.tables[flights].paht: unknown field; did you mean "path"?',
      'run.yaml:12:9: spec.snapshot.tables[flights].key: is an empty list; add an item or leave the field out',
      'run.yaml:19:15: spec.sources[shop].engine: found "Oracle"; it must be one of Postgres, MySQL, Snowflake',
    ]);
  });

  it('throws InvalidSpec whose message is the list and whose subject is the first field', () => {
    try {
      load(changed(['version: "12"', 'version: 12']));
      expect.fail('it was accepted');
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error;
      expect(error.code).to.equal('InvalidSpec');
      expect(error.subject).to.equal('spec.snapshot.tables[flights].version');
      expect(error.message).to.equal(
        'run.yaml:10:18: spec.snapshot.tables[flights].version: found 12, a number; it is text: write it in quotes, "12"',
      );
    }
  });

  it('throws nothing but ManifestErrors, whatever the text', () => {
    const onlyManifestErrors = (text: string, set: readonly string[] = []): boolean => {
      try {
        loadManifest(text, { cwd: '/work', set });
      } catch (error) {
        if (!(error instanceof ManifestError)) throw error;
      }
      return true;
    };
    fc.assert(
      fc.property(fc.string(), (text) => onlyManifestErrors(text)),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(fc.string(), fc.nat(GOOD.length), (noise, at) =>
        onlyManifestErrors(GOOD.slice(0, at) + noise + GOOD.slice(at)),
      ),
      { numRuns: 300 },
    );
    const head = { apiVersion: 'pipelineparity.io/v1alpha1', kind: 'PipelineParityRun', metadata: { name: 'a' } };
    const word = fc.constantFrom(
      'snapshot',
      'tables',
      'name',
      'path',
      'sources',
      'scenario',
      'sync',
      'expect',
      'planRef',
      '__proto__',
      'constructor',
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 5 },
        fc.jsonValue(),
        fc.dictionary(word, tie('tree')),
        fc.array(tie('tree'), { maxLength: 3 }),
      ),
    }));
    fc.assert(
      fc.property(tree, (spec) => onlyManifestErrors(JSON.stringify({ ...head, spec }))),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.string(), (right) => onlyManifestErrors(GOOD, [`spec.execution=${right}`])),
      { numRuns: 200 },
    );
    fc.assert(
      fc.property(fc.string(), (set) => onlyManifestErrors(GOOD, [set])),
      { numRuns: 200 },
    );
  });

  for (const [why, text] of [
    [
      'aliases that explode',
      `a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n`,
    ],
    ['an alias of itself', 'a: &a [*a]\n'],
    ['nesting without end', '['.repeat(20_000)],
    [
      'a value nested a thousand times',
      GOOD.replace('reference: {}', `reference: { bug: ${'['.repeat(1000)}${']'.repeat(1000)} }`),
    ],
    ['too much text', 'a'.repeat(1_600_000)],
    ['a __proto__', GOOD.replace('spec:', '__proto__: { x: 1 }\nspec:')],
    ['nothing', ''],
  ] as const) {
    it(`refuses ${why} in one sentence`, () => {
      expect(problemsOf(text)).to.have.lengthOf.at.least(1);
    });
  }
});
