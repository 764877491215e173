import { expect } from 'chai';
import { openStore } from '../../src/lake/open.ts';
import {
  type Bench,
  contextFor,
  type FakeTable,
  fakeSource,
  openBench,
  untilEnd,
} from '../../src/pipelines/reference.fixture.ts';
import { referencePipeline } from '../../src/pipelines/reference.ts';
import { type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';

describe('the reference pipeline with a workspace in S3', function () {
  this.timeout(120_000);
  let server: SeaweedFs;
  let bench: Bench;
  let s3: Bench;

  before(async () => {
    server = await startSeaweedFs({ writerBuckets: ['landing'] });
    await server.createBucket('landing');
    bench = await openBench();
    const store = await openStore({ location: 's3://landing/run', endpoint: server.endpoint }, { ...server.admin });
    s3 = { ...bench, store };
  });
  after(async () => {
    s3.store.close();
    await bench.close();
    await server.stop();
  });

  it('lands and merges a table as it does in a folder', async () => {
    const fields = (['id', 'moved'] as const).map((name) => ({
      name,
      type: { kind: 'long' as const },
      nullable: true,
      physicalName: name,
    }));
    const numbers = (from: number, rows: number): FakeTable => ({
      fields,
      cursor: 'moved',
      sql: `SELECT toNullable(toInt64(number)) AS id, toNullable(toInt64(number + ${from})) AS moved FROM numbers(${rows})`,
    });
    const pipeline = { name: 'candidate', cursorBound: 'Inclusive', reference: { bug: 'None' } } as const;
    const tables = new Map<string, FakeTable>();
    const candidate = referencePipeline(pipeline, fakeSource(tables));
    const sync = async (step: string, mode: 'Full' | 'Incremental'): Promise<void> => {
      const request = { pipeline: 'candidate', step, source: 'shop', mode, tables: ['t'], at: 'Base' } as const;
      const context = contextFor(s3, request, { pipeline, keys: { t: ['id'] } });
      expect(await untilEnd(candidate, request, context)).to.deep.include({ state: 'Succeeded' });
      const { sql, rows } = await candidate.output('t', bench.engine, context);
      const [found] = await bench.engine.rows(
        `SELECT count() AS rows, uniqExact(id) AS ids, min(moved) AS least, max(moved) AS most FROM (${sql})`,
      );
      results.push({ step, known: rows, ...found });
    };
    const results: unknown[] = [];
    tables.set('t', numbers(0, 1000));
    await sync('first', 'Full');
    tables.set('t', numbers(900, 1500));
    await sync('second', 'Incremental');
    expect(results).to.deep.equal([
      { step: 'first', known: 1000, rows: '1000', ids: '1000', least: '0', most: '999' },
      // Rows 0 to 98 moved to 900 to 998, which is before the mark: they are not seen.
      { step: 'second', known: 1500, rows: '1500', ids: '1500', least: '0', most: '2399' },
    ]);
  });
});
