import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadManifest } from '../api/manifest.ts';
import type { ResolvedSpec } from '../api/resolved.ts';
import { type Bench, openBench } from '../pipelines/reference.fixture.ts';
import { toParityError } from '../support/error.ts';
import { contextOf } from '../tasks/sides.fixture.ts';
import { type InheritedCases, readInherited } from './inherited.ts';

const file = join(import.meta.dirname, '../../examples/posthog/run.yaml');

describe('inherited queries in files', () => {
  let bench: Bench;
  let spec: ResolvedSpec;
  before(async () => {
    const options = { file, defaultWorkspace: 'file:/tmp/unused' };
    spec = loadManifest(await readFile(file, 'utf8'), options).spec;
    bench = await openBench();
  });
  after(() => bench.close());

  async function read(change: (query: ResolvedSpec['queries'][number]) => ResolvedSpec['queries'][number] = (q) => q) {
    const queries = spec.queries.filter(({ name }) => name === 'analysts').map(change);
    const context = contextOf(bench, { kind: 'resolve' }, { tables: spec.snapshot.tables });
    return await readInherited({ ...context, file: { ...context.file, spec: { ...spec, queries } } });
  }

  it('of the example become cases, and what cannot repeat is left out with why', async () => {
    const { cases, leftOut, untouched }: InheritedCases = await read();
    expect(
      cases.map((one) => [one.name, 'sql' in one ? one.sql : 'hogql' in one ? one.hogql.query : '']),
    ).to.deep.equal([
      [
        'analysts/airports-1',
        '-- Airports by time zone.\nSELECT tzone, count() AS airports FROM {{airports}} AS `postgres_airports` GROUP BY tzone ORDER BY tzone',
      ],
      ['analysts/airports-2', 'SELECT count() FROM {{airports}} AS `postgres_airports` WHERE alt > 1000'],
      [
        'analysts/dashboards-makers',
        'SELECT manufacturer, min(year), max(year) FROM {{planes}} AS `planes` GROUP BY manufacturer',
      ],
      [
        'analysts/planes',
        'SELECT engines, round(avg(seats), 1) AS seats FROM {{planes}} AS `mysql_planes` GROUP BY engines ORDER BY engines',
      ],
    ]);
    expect(leftOut).to.deep.equal([
      { name: 'analysts/dashboards-this-year', why: 'calls now(), which gives another result each time' },
    ]);
    expect(untouched).to.deep.equal({ analysts: 0 });
  });

  it('of HogQL need a PostHog to run in', async () => {
    const { pipelines } = spec;
    spec = { ...spec, pipelines: [] };
    const error = await read().catch(toParityError);
    spec = { ...spec, pipelines };
    expect(error).to.have.property(
      'message',
      'Query analysts inherits HogQL, and the run names no secret of a PostHog.',
    );
  });

  for (const [what, location, tables, message] of [
    [
      'touch nothing',
      'queries',
      [{ name: 'airlines', as: ['other'] }],
      /none of the 5 that there are touches a table of the run$/,
    ],
    ['cannot run', 'queries/dashboards.yaml', undefined, undefined],
    ['are not there', 'nowhere', undefined, /there is none where it looks$|nowhere/],
    ['are no list', 'run.yaml', undefined, /holds no queries: it is no list$/],
  ] as const)
    it(`that ${what} ${message === undefined ? 'leave one' : 'are an error'}`, async () => {
      const place = { location: `file://${join(file, '..', location)}` };
      const change = (query: ResolvedSpec['queries'][number]): ResolvedSpec['queries'][number] =>
        'inherited' in query
          ? { ...query, inherited: { from: { files: place }, ...(tables === undefined ? {} : { tables }) } }
          : query;
      const result = await read(change).catch(toParityError);
      if (message === undefined) expect(result).to.have.property('cases').with.length(1);
      else expect(result).to.have.property('message').that.matches(message);
    });
});
