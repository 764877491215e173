import { assert } from 'chai';
import type { ResolvedComparison } from '../api/resolved.ts';
import { type Bench, openBench } from '../pipelines/reference.fixture.ts';
import { runCompare } from './compare.ts';
import { contextOf, sideOf, writeTable } from './sides.fixture.ts';

describe('the compare task', () => {
  let bench: Bench;
  before(async () => {
    bench = await openBench();
    await writeTable(
      bench,
      'one',
      'flights',
      'SELECT toInt64(number) AS id, toInt64(number * 2) AS v FROM numbers(100)',
    );
    await writeTable(
      bench,
      'two',
      'flights',
      'SELECT toInt64(number) AS id, toInt64(number * 2) AS v FROM numbers(100) UNION ALL SELECT toInt64(number), toInt64(number * 2) FROM numbers(30, 5)',
    );
    for (const side of ['one', 'two'])
      await writeTable(bench, side, 'planes', "SELECT 'N1' AS tailnum, toInt32(2) AS seats");
  });
  after(() => bench.close());

  const run = (tables: string[], comparison: Partial<ResolvedComparison> = {}, key = ['id']) =>
    runCompare(
      contextOf(
        bench,
        {
          kind: 'compare',
          step: 'parity',
          baseline: sideOf(bench, 'one'),
          candidate: sideOf(bench, 'two'),
          tables,
          afterIncremental: false,
        },
        {
          tables: [
            { name: 'flights', key },
            { name: 'planes', key: ['tailnum'] },
            { name: 'empty', key: ['id'] },
          ],
          comparison,
        },
      ),
    );

  it('compares its tables and heads its summary with what was found', async () => {
    const { summary, detail } = await run(['planes', 'flights']);
    assert.deepEqual(summary, {
      tables: 2,
      rows: 101,
      differences: 5,
      differing: 1,
      matched: 1,
      headline: 'flights: 5 duplicated rows (DuplicatedBatch)',
    });
    assert.deepEqual(
      detail.tables.map(({ table, verdict, differences }) => ({ table, verdict, differences })),
      [
        { table: 'planes', verdict: 'Equal', differences: 0 },
        { table: 'flights', verdict: 'Different', differences: 5 },
      ],
    );
  });

  it('lets as many differences pass as may be, and keeps their number', async () => {
    const { summary, detail } = await run(['flights'], { maxDifferences: 5 });
    assert.equal(summary.differences, 0);
    assert.equal(summary.headline, undefined);
    assert.equal(detail.tables[0]?.differences, 5);
    assert.equal((await run(['flights'], { maxDifferences: 4 })).summary.differences, 5);
  });

  it('never lets a column pass that could not be compared', async () => {
    const columns = [{ table: 'planes', column: 'seats', rename: 'places' }];
    const { summary } = await run(['planes'], { maxDifferences: 1_000, columns });
    assert.equal(summary.differing, 1);
  });

  it('says of tables without a row that there was nothing to compare', async () => {
    for (const side of ['one', 'two']) await writeTable(bench, side, 'empty', 'SELECT toInt64(1) AS id WHERE 0');
    const { summary, detail } = await run(['empty', 'planes']);
    assert.equal(summary.differences, 0);
    assert.deepEqual(
      detail.tables.map(({ notes }) => notes),
      [['no side has a row: only the columns were compared'], []],
    );
  });

  it('names the table of an error', async () => {
    const error = await run(['planes', 'flights'], {}, ['nope']).catch((e: unknown) => e);
    assert.deepInclude(error, { code: 'InvalidSpec', subject: 'flights' });
  });
});
