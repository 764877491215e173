import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import fc from 'fast-check';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import { compareRelations } from './compare.ts';
import { defaults, type Row, relationOf, type TableSpec } from './testing.ts';

describe('comparing two relations', () => {
  let engine: Engine;
  let scratch: string;
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'parity-compare-'));
    engine = await openEngine({ scratch, memoryBytes: 512 * 1024 * 1024, threads: 2 });
  });
  after(async () => {
    await engine.close();
    await rm(scratch, { recursive: true });
  });

  const spec: TableSpec = { a: { kind: 'integer' }, s: { kind: 'string' }, v: { kind: 'double' } };
  const value = {
    a: fc.option(fc.integer({ min: 0, max: 3 }), { nil: null }),
    s: fc.option(fc.constantFrom('', 'x', 'X', ' x', 'ab'), { nil: null }),
    v: fc.option(fc.constantFrom(0, -0, 1.5, Number.NaN), { nil: null }),
  };
  const rows = fc.array(fc.tuple(value.a, value.s, value.v), { maxLength: 12 });

  for (const key of [['a'], ['s'], ['a', 's'], []])
    it(`counts as a naive comparison does, key (${key.join(', ')})`, async () => {
      await fc.assert(
        fc.asyncProperty(rows, rows, fc.boolean(), async (left, right, shareRows) => {
          const candidate = shareRows ? [...left, ...right.slice(0, 3)] : right;
          const result = await compareRelations(engine, relationOf(spec, left), relationOf(spec, candidate), {
            ...defaults,
            key,
          });
          assert.deepEqual(
            result.rows,
            naive(
              left,
              candidate,
              key.map((name) => Object.keys(spec).indexOf(name)),
            ),
          );
          const { missing, extra, changed, duplicated } = result.rows;
          assert.equal(result.differences, missing + extra + changed + duplicated);
          assert.equal(result.verdict, result.differences === 0 ? 'Equal' : 'Different');
          assert.equal(result.digest.baseline === result.digest.candidate, result.verdict === 'Equal');
          for (const column of result.columns)
            assert.isAtMost(
              column.causes.reduce((sum, cause) => sum + cause.explains, 0),
              column.changed,
            );
        }),
        { numRuns: 40 },
      );
    });

  const one: TableSpec = { id: { kind: 'long' }, v: { kind: 'string' } };
  const cases: [
    string,
    Row[],
    Row[],
    string[],
    Partial<Record<'missing' | 'extra' | 'changed' | 'duplicated', number>>,
  ][] = [
    [
      'equal rows in another order are equal',
      [
        [1, 'a'],
        [2, 'b'],
      ],
      [
        [2, 'b'],
        [1, 'a'],
      ],
      ['id'],
      {},
    ],
    [
      'a row that is gone is missing',
      [
        [1, 'a'],
        [2, 'b'],
      ],
      [[1, 'a']],
      ['id'],
      { missing: 1 },
    ],
    [
      'a row that nobody sent is extra',
      [[1, 'a']],
      [
        [1, 'a'],
        [2, 'b'],
      ],
      ['id'],
      { extra: 1 },
    ],
    [
      'two rows of an unknown key are both extra',
      [],
      [
        [2, 'b'],
        [2, 'b'],
      ],
      ['id'],
      { extra: 2 },
    ],
    ['another value under a key is changed', [[1, 'a']], [[1, 'b']], ['id'], { changed: 1 }],
    [
      'a second copy is duplicated',
      [[1, 'a']],
      [
        [1, 'a'],
        [1, 'a'],
      ],
      ['id'],
      { duplicated: 1 },
    ],
    [
      'a changed row and its duplicate are one of each',
      [[1, 'a']],
      [
        [1, 'b'],
        [1, 'b'],
      ],
      ['id'],
      { changed: 1, duplicated: 1 },
    ],
    [
      'a lost duplicate is missing',
      [
        [1, 'a'],
        [1, 'a'],
      ],
      [[1, 'a']],
      ['id'],
      { missing: 1 },
    ],
    [
      'a pair of duplicates does not cancel out',
      [[1, 'a']],
      [
        [1, 'a'],
        [2, 'b'],
        [2, 'b'],
      ],
      ['id'],
      { extra: 2 },
    ],
    ['NULL is a key like any other', [[null, 'a']], [[null, 'b']], ['id'], { changed: 1 }],
    ['NULL is not 0', [[null, 'a']], [[0, 'a']], ['id'], { missing: 1, extra: 1 }],
    ["NULL is not ''", [[1, null]], [[1, '']], ['id'], { changed: 1 }],
    ['without a key a changed row is missing and extra', [[1, 'a']], [[1, 'b']], [], { missing: 1, extra: 1 }],
    [
      'without a key a second copy is duplicated',
      [[1, 'a']],
      [
        [1, 'a'],
        [1, 'a'],
      ],
      [],
      { duplicated: 1 },
    ],
    [
      'an empty candidate misses every row',
      [
        [1, 'a'],
        [2, 'b'],
      ],
      [],
      ['id'],
      { missing: 2 },
    ],
    ['two empty tables are equal', [], [], ['id'], {}],
  ];
  for (const [title, baseline, candidate, key, expected] of cases)
    it(title, async () => {
      const { rows } = await compareRelations(engine, relationOf(one, baseline), relationOf(one, candidate), {
        ...defaults,
        key,
      });
      const { missing, extra, changed, duplicated } = rows;
      assert.deepEqual(
        { missing, extra, changed, duplicated },
        { missing: 0, extra: 0, changed: 0, duplicated: 0, ...expected },
      );
    });

  it('leaves no working table behind', async () => {
    await compareRelations(engine, relationOf(one, [[1, 'a']]), relationOf(one, [[1, 'b']]), defaults);
    assert.deepEqual(await engine.rows("SELECT name FROM system.tables WHERE name LIKE 'parity_%'"), []);
  });

  it('refuses a side that has not the rows it says it has', async () => {
    const lying = { ...relationOf(one, [[1, 'a']]), rows: 2 };
    const error = await compareRelations(engine, lying, relationOf(one, []), defaults).catch((e: unknown) => e);
    assert.include(String(error), 'gave 1 rows where its own metadata counts 2');
  });

  it('finds what differs among many differing rows without keeping their keys in memory', async () => {
    const side = (expression: string, n: number) => ({
      ...relationOf(one, []),
      rows: undefined,
      sql: `SELECT CAST(number, 'Nullable(Int64)') AS id, CAST(${expression}, 'Nullable(String)') AS v FROM numbers(${n})`,
    });
    const result = await compareRelations(
      engine,
      side("'a'", 700_000),
      side("if(number % 10 = 0, 'a', 'A')", 699_000),
      defaults,
    );
    assert.deepEqual(result.rows, {
      baseline: 700_000,
      candidate: 699_000,
      matched: 69_900,
      missing: 1_000,
      extra: 0,
      changed: 629_100,
      duplicated: 0,
    });
    assert.deepEqual(result.causes, [{ rule: 'MissingTail', detail: 'the last by id', explains: 1_000 }]);
  });

  it('counts repeated keys range by range where there are many', async () => {
    const side = (expression: string, n: number) => ({
      ...relationOf(one, []),
      rows: undefined,
      sql: `SELECT CAST(intDiv(number, 2), 'Nullable(Int64)') AS id, CAST(${expression}, 'Nullable(String)') AS v FROM numbers(${n})`,
    });
    const candidate = side("if(number % 4 = 0, 'x', toString(number))", 210_002);
    const { rows } = await compareRelations(engine, side('toString(number)', 210_000), candidate, defaults);
    assert.deepEqual(rows, {
      baseline: 210_000,
      candidate: 210_002,
      matched: 157_500,
      missing: 0,
      extra: 2,
      changed: 52_500,
      duplicated: 0,
    });
  });

  it('chooses the same samples in every run, masked by default', async () => {
    const left = relationOf(one, [
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ]);
    const right = relationOf(one, [
      [3, 'z'],
      [2, 'y'],
      [1, 'x'],
    ]);
    const [first, second] = [
      await compareRelations(engine, left, right, { ...defaults, samples: 2 }),
      await compareRelations(engine, left, right, { ...defaults, samples: 2 }),
    ];
    assert.lengthOf(first.samples, 2);
    assert.deepEqual(first, second);
    assert.deepEqual(first.samples[0]?.columns, [{ name: 'v', baseline: null, candidate: null }]);
    assert.match(first.samples[0]?.key.id ?? '', /^[0-9a-f]{12}$/);
  });

  it('shows samples as text where it may', async () => {
    const shown: TableSpec = {
      id: { kind: 'long' },
      d: { kind: 'date' },
      t: { kind: 'timestamp' },
      b: { kind: 'binary' },
    };
    const result = await compareRelations(
      engine,
      relationOf(shown, [[1, -43830, -1, 'a']]),
      relationOf(shown, [[1, -43829, 1_500_000, 'b']]),
      { ...defaults, values: 'Shown' },
    );
    assert.deepEqual(result.samples, [
      {
        class: 'changed',
        key: { id: '1' },
        columns: [
          { name: 'd', baseline: '1849-12-31', candidate: '1850-01-01' },
          { name: 't', baseline: '1969-12-31T23:59:59.999999Z', candidate: '1970-01-01T00:00:01.500000Z' },
          { name: 'b', baseline: '\\x61', candidate: '\\x62' },
        ],
      },
    ]);
  });

  it('stops when it is cancelled', async () => {
    const signal = AbortSignal.abort();
    const error = await compareRelations(engine, relationOf(one, [[1, 'a']]), relationOf(one, []), {
      ...defaults,
      signal,
    }).catch((e: unknown) => e);
    assert.propertyVal(error, 'code', 'Cancelled');
  });
});

/** The definition of the counts, written down as plainly as possible. */
function naive(left: readonly Row[], right: readonly Row[], key: readonly number[]) {
  const text = (row: Row): string =>
    JSON.stringify(row.map((v) => (Object.is(v, -0) ? '-0' : Number.isNaN(v) ? 'nan' : v)));
  const keyOf = (row: Row): string => (key.length === 0 ? text(row) : text(key.map((i) => row[i] ?? null)));
  const counts = {
    baseline: left.length,
    candidate: right.length,
    matched: 0,
    missing: 0,
    extra: 0,
    changed: 0,
    duplicated: 0,
  };
  for (const k of new Set([...left, ...right].map(keyOf))) {
    const mine = left.filter((row) => keyOf(row) === k).map(text);
    const theirs = right.filter((row) => keyOf(row) === k).map(text);
    const isKnown = mine.length > 0;
    for (const row of [...mine]) {
      const at = theirs.indexOf(row);
      if (at < 0) continue;
      theirs.splice(at, 1);
      mine.splice(mine.indexOf(row), 1);
      counts.matched++;
    }
    const changed = Math.min(mine.length, theirs.length);
    counts.changed += changed;
    counts.missing += mine.length - changed;
    counts[isKnown ? 'duplicated' : 'extra'] += theirs.length - changed;
  }
  return counts;
}
