import { assert } from 'chai';
import { resolution, spec } from '../../test/support/spec.ts';
import { equalComparison } from '../report/fixture.ts';
import { buildGraph } from '../run/graph.ts';
import { landedLater } from './landed-later.ts';

describe('what lands after a pipeline has said that it has ended', () => {
  const frozen = spec();
  const graph = buildGraph(frozen, resolution(frozen));
  const notesOf = (landed: number) => {
    const mode = 'Full' as const;
    const tables = [
      { table: 'flights', mode, rows: landed },
      { table: 'planes', mode, rows: 100 },
    ];
    const rows = { ...equalComparison({ table: 'flights' }).rows, baseline: 100, candidate: 100 };
    const compared = ['flights', 'planes'].map((table) => ({ ...equalComparison({ table }), rows }));
    const of = (kind: 'sync' | 'compare') => graph.tasks.filter(({ input }) => input.kind === kind);
    return landedLater(
      graph,
      of('sync').map((task) => ({ task, detail: { pipeline: 'candidate', source: 'shop', step: 'first', tables } })),
      of('compare').map((task) => ({ task, detail: { tables: compared } })),
    );
  };

  it('is in the report, with how many rows there were', () => {
    const [first, ...others] = notesOf(40);
    assert.deepEqual(others, []);
    assert.equal(first?.about, 'table flights (source shop)');
    assert.match(
      first?.note ?? '',
      /^pipeline candidate had landed 40 rows when .*, and 100 when they were compared: /,
    );
  });

  it('is nothing where it had landed all by then', () => assert.deepEqual(notesOf(100), []));
});
