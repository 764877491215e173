import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import { compareRelations } from './compare.ts';
import type { UnseenCounts } from './result.ts';
import { defaults, type Row, relationOf, type TableSpec } from './testing.ts';

describe('what a cursor cannot see', () => {
  let engine: Engine;
  let scratch: string;
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'parity-unseen-'));
    engine = await openEngine({ scratch, memoryBytes: 512 * 1024 * 1024, threads: 2 });
  });
  after(async () => {
    await engine.close();
    await rm(scratch, { recursive: true });
  });

  const spec: TableSpec = { id: { kind: 'long' }, v: { kind: 'string' }, at: { kind: 'timestamp' } };
  /** In every base: row 0, whose cursor 100 is the last that the pipeline saw. */
  const last: Row = [0, 'last', 100];
  type Bound = 'Inclusive' | 'Exclusive';
  /** The key's row in the base, in the baseline and in the candidate; the reason, or '' for a difference. */
  const cases: [string, Row | null, Row | null, Row | null, Bound, keyof UnseenCounts | ''][] = [
    ['a deleted row that stays is unseen', [1, 'a', 5], null, [1, 'a', 5], 'Inclusive', 'deleted'],
    ['a deleted row that stays with another content is not', [1, 'a', 5], null, [1, 'b', 5], 'Inclusive', ''],
    ['an extra row that the base never had is not', null, null, [1, 'a', 5], 'Inclusive', ''],
    ['a new row with NULL as its cursor is unseen', null, [1, 'a', null], null, 'Inclusive', 'nullCursor'],
    [
      'an update with NULL as its cursor is unseen',
      [1, 'a', 5],
      [1, 'b', null],
      [1, 'a', 5],
      'Inclusive',
      'nullCursor',
    ],
    ['a new row before the last cursor is late', null, [1, 'a', 99], null, 'Inclusive', 'lateRow'],
    ['a new row after the last cursor must be there', null, [1, 'a', 101], null, 'Exclusive', ''],
    ['a new row tied with the last cursor is unseen by >', null, [1, 'a', 100], null, 'Exclusive', 'tiedCursor'],
    ['a new row tied with the last cursor must be there for >=', null, [1, 'a', 100], null, 'Inclusive', ''],
    ['an update that leaves its cursor is unseen', [1, 'a', 5], [1, 'b', 5], [1, 'a', 5], 'Inclusive', 'unmovedCursor'],
    [
      'an update that moves its cursor too little is unseen',
      [1, 'a', 5],
      [1, 'b', 9],
      [1, 'a', 5],
      'Inclusive',
      'unmovedCursor',
    ],
    [
      'an update of the last row that leaves its cursor is unseen by >',
      [1, 'a', 100],
      [1, 'b', 100],
      [1, 'a', 100],
      'Exclusive',
      'unmovedCursor',
    ],
    ['an update of the last row must be there for >=', [1, 'a', 100], [1, 'b', 100], [1, 'a', 100], 'Inclusive', ''],
    [
      'an update that moves its cursor to the last one is tied for >',
      [1, 'a', 5],
      [1, 'b', 100],
      [1, 'a', 5],
      'Exclusive',
      'tiedCursor',
    ],
    ['an update past the last cursor must be there', [1, 'a', 5], [1, 'b', 101], [1, 'a', 5], 'Exclusive', ''],
    ['an unseen update that arrived changed is a difference', [1, 'a', 5], [1, 'b', 5], [1, 'c', 5], 'Inclusive', ''],
    ['a row of the base that the candidate lost is a difference', [1, 'a', 5], [1, 'b', 5], null, 'Inclusive', ''],
  ];
  for (const [title, base, baseline, candidate, bound, reason] of cases)
    it(title, async () => {
      const result = await compare([base], [baseline], [candidate], bound, 'Expected');
      assert.equal(result.differences, reason === '' ? 1 : 0, 'differences');
      assert.equal(result.verdict, reason === '' ? 'Different' : 'Equal');
      assert.equal(result.unseen?.total, reason === '' ? 0 : 1);
      if (reason !== '') assert.equal(result.unseen?.[reason], 1);
      assert.equal(result.samples[0]?.unseen ?? '', reason);
      const counted = await compare([base], [baseline], [candidate], bound, 'Fail');
      assert.equal(counted.differences, 1, 'differences where unseen rows fail');
    });

  it('is no difference where the candidate has it all the same', async () => {
    const result = await compare([[1, 'a', 5]], [[1, 'b', 5]], [[1, 'b', 5]], 'Inclusive', 'Expected');
    assert.equal(result.verdict, 'Equal');
    assert.equal(result.unseen?.total, 0);
  });

  it('leaves unseen rows out of column counts and causes, and names what is stale although the cursor saw it', async () => {
    const base: Row[] = [
      [1, 'a', 5],
      [2, 'a', 5],
    ];
    const result = await compare(
      base,
      [
        [1, 'b', 5],
        [2, 'b', 200],
      ],
      base,
      'Inclusive',
      'Expected',
    );
    assert.equal(result.rows.changed, 2);
    assert.equal(result.differences, 1);
    assert.deepEqual(result.columns[1]?.changed, 1);
    assert.equal(result.columns[1]?.causes[0]?.rule, 'StaleValue');
  });

  it('takes what landed within the tolerance for the row of the base', async () => {
    const rounded: TableSpec = { id: { kind: 'long' }, v: { kind: 'double' }, at: { kind: 'timestamp' } };
    const table = (rows: Row[]) => relationOf(rounded, [[0, 0, 100], ...rows]);
    const base = table([
      [1, 0.1, 5],
      [2, 0.1, 5],
      [3, 0.1, 5],
    ]);
    const baseline = table([
      [2, 0.5, 5],
      [3, 0.5, 5],
    ]);
    // A deleted row and an update that its cursor does not show, both rounded; and a value that neither version has.
    const candidate = table([
      [1, 0.101, 5],
      [2, 0.101, 5],
      [3, 0.3, 5],
    ]);
    const result = await compareRelations(engine, baseline, candidate, {
      ...defaults,
      columns: [{ table: 't', column: 'v', tolerance: '0.01' }],
      unseen: { base, cursor: 'at', bound: 'Inclusive', policy: 'Expected' },
    });
    assert.equal(result.differences, 1);
    assert.include(result.unseen, { deleted: 1, unmovedCursor: 1, total: 2 });
  });

  it('compares with the base although it does not have a new column yet', async () => {
    const { at, id, v } = { id: { kind: 'long' }, v: { kind: 'string' }, at: { kind: 'timestamp' } } as const;
    const wide: TableSpec = { id, v, at, added: { kind: 'integer' } };
    const base = relationOf({ id, v, at }, [last, [1, 'a', 5]]);
    const baseline = relationOf(wide, [
      [...last, null],
      [1, 'a', 5, 7],
    ]);
    const candidate = relationOf(wide, [
      [...last, null],
      [1, 'a', 5, null],
    ]);
    const unseen = { base, cursor: 'at', bound: 'Inclusive', policy: 'Expected' } as const;
    const result = await compareRelations(engine, baseline, candidate, { ...defaults, unseen });
    assert.deepEqual(result.unseen, {
      deleted: 0,
      nullCursor: 0,
      tiedCursor: 0,
      lateRow: 0,
      unmovedCursor: 1,
      total: 1,
      counted: false,
    });
  });

  function compare(
    base: (Row | null)[],
    baseline: (Row | null)[],
    candidate: (Row | null)[],
    bound: Bound,
    policy: 'Expected' | 'Fail',
  ) {
    const table = (rows: (Row | null)[]) => relationOf(spec, [last, ...rows.filter((row) => row !== null)]);
    const unseen = { base: table(base), cursor: 'at', bound, policy };
    return compareRelations(engine, table(baseline), table(candidate), { ...defaults, unseen });
  }
});
