import { assert } from 'chai';
import type { Relation } from '../lake/relation.ts';
import type { Field } from '../lake/types.ts';
import { type Bench, openBench } from '../pipelines/reference.fixture.ts';
import { asSeen } from './seen-baseline.ts';

describe('the baseline of a query after an incremental sync', () => {
  let bench: Bench;
  before(async () => {
    bench = await openBench();
  });
  after(() => bench.close());

  const field = (name: string, kind: 'long' | 'string'): Field => ({
    name,
    physicalName: name,
    nullable: true,
    type: { kind },
  });
  /** Rows of [key, cursor, text]. */
  const relation = (rows: readonly (readonly [number | null, number | null, string])[]): Relation => ({
    columns: [field('id', 'long'), field('at', 'long'), field('text', 'string')],
    rows: rows.length,
    sizeBytes: undefined,
    name: 'table',
    sql:
      rows
        .map(
          ([id, at, text]) =>
            `SELECT CAST(${id}, 'Nullable(Int64)') AS id, CAST(${at}, 'Nullable(Int64)') AS at, CAST('${text}', 'Nullable(String)') AS text`,
        )
        .join(' UNION ALL ') ||
      "SELECT CAST(NULL, 'Nullable(Int64)') AS id, CAST(NULL, 'Nullable(Int64)') AS at, CAST(NULL, 'Nullable(String)') AS text WHERE 0",
  });
  const seen = async (base: Relation, target: Relation, bound: 'Inclusive' | 'Exclusive'): Promise<string[]> => {
    const signal = new AbortController().signal;
    const { sql } = await asSeen(bench.engine, target, base, { table: 't', key: ['id'], cursor: 'at', bound, signal });
    const rows = await bench.engine.rows<{ row: string }>(
      `SELECT concat(ifNull(toString(id), 'NULL'), text) AS row FROM (${sql}) ORDER BY row`,
    );
    return rows.map(({ row }) => row);
  };

  const base = relation([
    [1, 5, 'kept'],
    [2, 10, 'old'],
    [3, 7, 'old'],
    [4, 8, 'deleted'],
    [null, 9, 'old'],
  ]);
  const cases: readonly (readonly [string, Relation, 'Inclusive' | 'Exclusive', readonly string[]])[] = [
    [
      'keeps rows that were deleted',
      relation([
        [1, 5, 'kept'],
        [2, 10, 'old'],
        [3, 7, 'old'],
        [null, 9, 'old'],
      ]),
      'Inclusive',
      ['1kept', '2old', '3old', '4deleted', 'NULLold'],
    ],
    [
      'takes updates and inserts that the cursor passes, also of a NULL key',
      relation([
        [1, 5, 'kept'],
        [2, 11, 'new'],
        [3, 7, 'old'],
        [4, 8, 'deleted'],
        [5, 12, 'new'],
        [null, 13, 'new'],
      ]),
      'Inclusive',
      ['1kept', '2new', '3old', '4deleted', '5new', 'NULLnew'],
    ],
    [
      'leaves out late rows, NULL cursors and unmoved updates',
      relation([
        [1, 5, 'unmoved'],
        [2, 10, 'old'],
        [3, 7, 'old'],
        [4, 8, 'deleted'],
        [6, 9, 'late'],
        [7, null, 'null'],
        [null, 9, 'old'],
      ]),
      'Inclusive',
      ['1kept', '2old', '3old', '4deleted', 'NULLold'],
    ],
    [
      'takes ties with the last value where the bound is inclusive',
      relation([
        [2, 10, 'tied'],
        [8, 10, 'tied'],
      ]),
      'Inclusive',
      ['1kept', '2tied', '3old', '4deleted', '8tied', 'NULLold'],
    ],
    [
      'leaves ties out where it is exclusive',
      relation([
        [2, 10, 'tied'],
        [8, 10, 'tied'],
      ]),
      'Exclusive',
      ['1kept', '2old', '3old', '4deleted', 'NULLold'],
    ],
  ];
  for (const [title, target, bound, expected] of cases)
    it(title, async () => assert.deepEqual(await seen(base, target, bound), [...expected].sort()));

  it('is the target itself where the base had no cursor value to go on from', async () => {
    const target = relation([
      [1, 1, 'new'],
      [2, null, 'new'],
    ]);
    assert.deepEqual(await seen(relation([]), target, 'Inclusive'), ['1new', '2new']);
  });
});
