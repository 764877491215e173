import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { type PostHog, startPostHog } from '../support/posthog/start.ts';
import type { Defect } from '../support/posthog/state.ts';
import { type ExampleTable, Place, smallSpec } from '../support/runs.ts';
import { startSeaweedFs } from '../support/seaweedfs.ts';

describe('a run of PostHog (a server written from its routes)', function () {
  this.timeout(600_000);
  let place: Place;
  let bucket: string;
  let posthog: PostHog;

  beforeEach(async () => {
    place = await Place.open();
    // Outside of the place: PostHog's process names it, and is not the run's.
    bucket = await mkdtemp(join(tmpdir(), 'posthog-bucket-'));
  });

  afterEach(async () => {
    await posthog.stop();
    await place.close();
    await rm(bucket, { recursive: true, force: true });
  });

  async function manifestOf(
    tables: readonly ExampleTable[],
    defects: readonly Defect[] = [],
    queries: readonly object[] = [],
    more: object = {},
    keys: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    posthog = await startPostHog({ bucket: { location: pathToFileURL(bucket).href }, defects, ...production });
    await place.secret('posthog', { ...posthog.secret, ...keys });
    return await place.manifest({
      ...smallSpec(tables),
      pipelines: [
        {
          name: 'candidate',
          // What is read anew each time is held against all of the target, in queries too.
          posthog: { secretRef: { name: 'posthog' }, ...(tables.includes('airports') ? refreshed : {}) },
          outputs: { location: pathToFileURL(bucket).href },
        },
      ],
      comparison: { profile: 'PostHog' },
      queries,
      ...more,
    });
  }

  async function expectNothingLeft(): Promise<void> {
    await place.expectNothingLeft();
    const { sources, linked } = await posthog.seen();
    expect({ sources, linked }, 'left in PostHog').to.deep.equal({ sources: [], linked: [] });
    expect(await readdir(bucket), 'folders in its bucket').to.deep.equal([]);
  }

  const sameAsBaseline = { expect: { sameAs: 'Baseline' } };
  const views = {
    name: 'views',
    hogql: {
      query:
        'SELECT a.name, count() AS n FROM {{airlines}} AS a JOIN events AS e ON e.carrier = a.carrier WHERE e.timestamp >= {{from}} AND e.timestamp < {{to}} GROUP BY a.name ORDER BY a.name',
      from: '2026-01-02T00:00:00Z',
      to: '2026-01-06T00:00:00Z',
    },
    expect: { rows: ['["American Airlines Inc.", 2]', '["United Air Lines Inc.", 2]'] },
  };

  it('passes full and incremental with queries of its own and inherited ones, and leaves nothing there', async () => {
    await writeFile(
      join(place.root, 'counts.sql'),
      'SELECT count() FROM airports;\nSELECT 1 FROM airports JOIN elsewhere USING id',
    );
    const queries = [
      { name: 'names', hogql: { query: 'SELECT name FROM {{airlines}} ORDER BY name' }, ...sameAsBaseline },
      views,
      { name: 'files', inherited: { files: { location: 'file:counts.sql' } }, ...sameAsBaseline },
      {
        name: 'production',
        inherited: { posthog: {}, tables: [{ name: 'airlines', as: ['prod.airlines'] }] },
        ...sameAsBaseline,
      },
    ];
    const s3 = await startSeaweedFs();
    try {
      await place.secret('workspace', { ...s3.admin });
      const workspace = { location: 's3://', endpoint: s3.endpoint, secretRef: { name: 'workspace' } };
      const manifest = await manifestOf(['airlines', 'airports'], [], queries, { workspace }, { ...s3.reader });
      await passes(manifest);
      expect(await s3.buckets(), 'buckets').to.deep.equal([]);
    } finally {
      await s3.stop();
    }
  });

  it('passes full and incremental from a MySQL source', async () => {
    const tables = ['planes', 'weather', 'types'] as const;
    const { sources } = smallSpec(tables, { engine: 'MySQL' });
    const manifest = await manifestOf(tables, [], [], { sources });
    // MySQL writes a FLOAT with six digits in the texts that PostHog's driver reads: a loss, and not of those that the profile allows.
    const found = await place.parity(['run', manifest]);
    expect(found.exitCode, found.stdout + found.stderr).to.equal(1);
    expect(found.stdout).to.match(/^types \(shop\) in parity: 19 differences/m);
    expect(found.stdout.match(/^ {2}\w+: \d+ rows changed/gm)).to.deep.equal([
      '  float_plain: 15 rows changed',
      '  float_plain: 19 rows changed',
    ]);
    await expectNothingLeft();
    const rest = await place.parity(['run', manifest, '--set', 'spec.snapshot.tables[types].exclude=[float_plain]']);
    expect(rest.exitCode, rest.stdout + rest.stderr).to.equal(0);
    await expectNothingLeft();
  });

  async function passes(manifest: string): Promise<void> {
    const result = await place.parity(['run', manifest]);
    expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
    expect(result.stdout).to.match(/^Passed {2}run: .* and 5 queries without a difference$/m);
    const lines = result.stdout.split('\n').map((line) => line.replace(/127\.0\.0\.1:\d+/, 'HOST').trim());
    expect(lines).to.include.members([
      '✓ query names: equal, 16 rows (ran in PostHog at HOST)',
      '✓ query views: equal, 2 rows (ran in the manifest (baseline), PostHog at HOST (candidate))',
      '✓ query files/counts-1: equal, 1 row',
      '✓ query production/carriers: equal, 1 row (ran in PostHog at HOST)',
      '✓ query production/letters: equal, 1 row (ran in PostHog at HOST)',
      '4 inherited queries could not run:',
      '– files/counts-2: reads elsewhere, which is no table of the run',
      '– production/of-today: calls today(), which gives another result each time',
      '– production/trend: is a TrendsQuery, which has no SQL of its own',
    ]);
    expect(result.stdout).to.match(
      /– production\/unknown: Query production\/unknown on the baseline: PostHog says: .*hogqlOnly/,
    );
    await expectNothingLeft();
  }

  it('fails where the first chunk lands twice, and shows the rows of a query that differ', async () => {
    const queries = [{ name: 'count', hogql: { query: 'SELECT count() FROM {{airlines}}' }, ...sameAsBaseline }];
    const result = await place.parity([
      ...['run', await manifestOf(['airlines'], ['DuplicatedChunk'], queries)],
      ...['--set', 'spec.comparison.values=Shown'],
    ]);
    expect(result.exitCode, result.stdout + result.stderr).to.equal(1);
    expect(result.stdout).to.match(/airlines: 16 duplicated rows/);
    expect(result.stdout).to.match(
      /✗ query count: 1 of 1 row differs \(ran in the embedded engine \(baseline\), PostHog at/,
    );
    await expectNothingLeft();
  });

  it('is Errored before anything is copied where the key of a query is wrong, and leaves nothing there', async () => {
    const hogql = { query: 'SELECT 1 FROM {{airlines}}', secretRef: { name: 'other' } };
    const manifest = await manifestOf(['airlines'], [], [{ name: 'count', hogql, ...sameAsBaseline }]);
    await place.secret('other', { ...posthog.secret, key: 'phx_wrong' });
    const result = await place.parity(['run', manifest]);
    expect(result.exitCode, result.stdout + result.stderr).to.equal(2);
    expect(result.stdout).to.match(
      /Trying the PostHog that queries run in: .*does not know the key of secret other \(401\)/,
    );
    expect(result.stdout).to.not.match(/copy airlines/);
    await expectNothingLeft();
  });

  it('that was killed is removed by gc, in PostHog too', async () => {
    const manifest = await manifestOf(['airlines'], ['HangingJob']);
    const { ended, process } = place.start(['run', manifest, '--json'], () => undefined);
    while ((await posthog.seen()).jobs.length === 0) {
      expect(process.exitCode, 'the run has ended by itself').to.equal(null);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    process.kill('SIGKILL');
    await ended;
    expect((await posthog.seen()).sources).to.have.length(1);
    const result = await place.parity(['gc']);
    expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
    await expectNothingLeft();
  });
});

const refreshed = { tables: [{ name: 'airlines', syncType: 'FullRefresh' }] };

/** What the project has of its own. */
const production = {
  ownTables: {
    events:
      "SELECT ['AA', 'UA'][1 + number % 2] AS carrier, toDateTime('2026-01-01 00:00:00', 'UTC') + number * 86400 AS timestamp FROM numbers(60)",
  },
  savedQueries: {
    carriers: 'SELECT count(DISTINCT airlines.carrier) AS n FROM prod.airlines',
    'of today': 'SELECT count() FROM prod.airlines WHERE today() > 0',
    unknown: 'SELECT hogqlOnly(carrier) FROM prod.airlines',
    elsewhere: 'SELECT 1 FROM prod.airports',
  },
  insights: {
    Letters: {
      kind: 'DataVisualizationNode',
      source: { kind: 'HogQLQuery', query: 'SELECT sum(length(a.name)) FROM prod.airlines AS a' },
    },
    Trend: {
      kind: 'InsightVizNode',
      source: { kind: 'TrendsQuery', series: [{ kind: 'DataWarehouseNode', table_name: 'prod.airlines' }] },
    },
    Visits: {
      kind: 'InsightVizNode',
      source: { kind: 'TrendsQuery', series: [{ kind: 'EventsNode', event: 'visit' }] },
    },
  },
};
