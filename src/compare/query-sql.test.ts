import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import { friendlySql, referencesOf, unrepresentableColumn, withViews } from './query-sql.ts';
import { relationOf, type TableSpec } from './testing.ts';

describe('tables as queries see them', () => {
  let engine: Engine;
  let scratch: string;
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'parity-queries-'));
    engine = await openEngine({ scratch, memoryBytes: 512 * 1024 * 1024, threads: 2 });
  });
  after(async () => {
    await engine.close();
    await rm(scratch, { recursive: true });
  });

  it('finds the tables of a query, and puts views in their place', () => {
    const sql =
      'SELECT * FROM {{flights}} JOIN {{ shop.planes }} USING (tailnum) WHERE x = (SELECT max(x) FROM {{flights}})';
    assert.deepEqual(referencesOf(sql), [
      { source: undefined, table: 'flights' },
      { source: 'shop', table: 'planes' },
    ]);
    assert.include(withViews(sql, 'db'), 'FROM `db`.`flights` JOIN `db`.`shop.planes` USING');
  });

  const spec: TableSpec = { id: { kind: 'long' }, d: { kind: 'date' }, t: { kind: 'timestamp' } };

  it('gives dates and times their own types, up to the ends of their range', async () => {
    const relation = relationOf(spec, [
      [1, -25567, '-2208988800000000'],
      [2, 120529, '10413791999999999'],
      [3, null, null],
    ]);
    assert.deepEqual(await engine.rows(`SELECT d, t FROM (${friendlySql(relation)}) ORDER BY id`), [
      { d: '1900-01-01', t: '1900-01-01 00:00:00.000000' },
      { d: '2299-12-31', t: '2299-12-31 23:59:59.999999' },
      { d: null, t: null },
    ]);
  });

  for (const [column, row] of [
    ['d', [1, -25568, 0]],
    ['d', [1, 120530, 0]],
    ['t', [1, 0, '-2208988800000001']],
    ['t', [1, 0, '10413792000000000']],
  ] as const)
    it(`refuses ${String(row)} in ${column}, unless the query leaves the column out`, async () => {
      const sql = friendlySql(relationOf(spec, [row]));
      const error = await engine.rows(`SELECT ${column} FROM (${sql})`).catch((e: unknown) => e);
      assert.equal(unrepresentableColumn(String(error)), column);
      assert.deepEqual(await engine.rows(`SELECT id FROM (${sql})`), [{ id: '1' }]);
    });
});
