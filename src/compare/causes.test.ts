import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import type { DataType } from '../lake/types.ts';
import { compareRelations } from './compare.ts';
import type { CauseRule } from './result.ts';
import { defaults, type Row, relationOf, type TableSpec } from './testing.ts';

describe('naming the cause of changes', () => {
  let engine: Engine;
  let scratch: string;
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'parity-causes-'));
    engine = await openEngine({ scratch, memoryBytes: 512 * 1024 * 1024, threads: 2 });
  });
  after(async () => {
    await engine.close();
    await rm(scratch, { recursive: true });
  });

  const hour = 3_600_000_000;
  const string: DataType = { kind: 'string' };
  const decimal: DataType = { kind: 'decimal', precision: 10, scale: 4 };
  type Cell = Row[number];
  /** From, to, the cause with its detail, and a near miss: a value that the rule must not explain. */
  const rules: [CauseRule, string, DataType, Cell, Cell, Cell][] = [
    ['ShiftedByHours', '+5 h', { kind: 'timestamp' }, 7, 7 + 5 * hour, 8 + 5 * hour],
    ['ShiftedByHours', '+5 h 30 min', { kind: 'timestamp' }, 7, 7 + 5.5 * hour, 8 + 5.5 * hour],
    ['ShiftedByHours', '-9 h 30 min', { kind: 'timestamp' }, 7, 7 - 9.5 * hour, 7 - 9.25 * hour],
    ['ShiftedByHours', '-1 h', { kind: 'timestamp_ntz' }, 7, 7 - hour, 7 - 15 * hour],
    ['OffByOneDay', '+1 day', { kind: 'date' }, -3, -2, -1],
    ['OffByOneDay', '-1 day', { kind: 'timestamp' }, 7, 7 - 24 * hour, 8 - 24 * hour],
    ['TruncatedPrecision', 'to milliseconds', { kind: 'timestamp' }, 1_234_567, 1_234_000, 1_230_000],
    ['TruncatedPrecision', 'to seconds', { kind: 'timestamp' }, -1_234_567, -2_000_000, -4_000_000],
    ['TruncatedPrecision', 'to 2 decimal places', decimal, '1.2399', '1.2300', '1.2200'],
    ['TruncatedPrecision', 'to 2 decimal places', decimal, '1.2399', '1.2400', '1.2502'],
    ['TruncatedPrecision', 'to 1 decimal place', { kind: 'double' }, 1.26, 1.3, 1.41],
    ['RoundedToFloat32', 'to the precision of a 32-bit float', { kind: 'double' }, 0.1, Math.fround(0.1), 0.1000000016],
    ['RoundedToFloat32', 'to the precision of a 32-bit float', { kind: 'long' }, 16_777_217, 16_777_216, 16_777_218],
    ['NullBecameEmpty', "NULL became ''", string, null, '', ' '],
    ['EmptyBecameNull', "'' became NULL", string, '', null, 'x'],
    ['BecameNull', 'a value became NULL', string, 'x', null, ''],
    ['NullBecameValue', 'NULL became a value', { kind: 'integer' }, null, 0, null],
    ['Trimmed', 'white space at the end', string, ' a \t', ' a', ' b'],
    ['Trimmed', 'white space at both ends', string, ' a \n', 'a', 'aa'],
    ['CaseChanged', 'to upper case', string, 'José é', 'JOSÉ É', 'JOSE E'],
    ['WrongEncoding', 'UTF-8 read as Latin-1', string, 'é ü 😀', latin1('é ü 😀'), 'Ã'],
    ['WrongEncoding', 'characters outside ASCII became ?', string, 'aéb', 'a?b', 'a?c'],
  ];
  for (const [rule, detail, type, from, to, nearMiss] of rules)
    it(`${rule} ${detail}: ${String(from)} to ${JSON.stringify(to)}, not to ${JSON.stringify(nearMiss)}`, async () => {
      assert.deepInclude(await causesOf(type, from, to), { rule, detail, explains: 1 });
      const missed = await causesOf(type, from, nearMiss);
      assert.isEmpty(missed.filter((cause) => cause.rule === rule && cause.detail === detail));
    });

  async function causesOf(type: DataType, from: Cell, to: Cell) {
    const spec: TableSpec = { id: { kind: 'long' }, v: type };
    const result = await compareRelations(engine, relationOf(spec, [[1, from]]), relationOf(spec, [[1, to]]), defaults);
    return result.columns.find((column) => column.name === 'v')?.causes ?? [];
  }

  const two: TableSpec = { id: { kind: 'long' }, x: { kind: 'string' }, y: { kind: 'string' } };
  it('SwappedWith names the other column, and a copied value is no swap', async () => {
    const causes = async (row: Row) =>
      (await compareRelations(engine, relationOf(two, [[1, 'a', 'b']]), relationOf(two, [row]), defaults)).columns.map(
        (column) => column.causes.map((cause) => cause.detail),
      );
    assert.deepEqual(await causes([1, 'b', 'a']), [[], ['y'], ['x']]);
    assert.deepEqual(await causes([1, 'b', 'b']), [[], [], []]);
  });

  it('lets one rule explain each cell, the one that explains most first', async () => {
    const spec: TableSpec = { id: { kind: 'long' }, v: { kind: 'timestamp' } };
    const baseline = [0, 1, 2, 3].map((i): Row => [i, 10 * hour]);
    const candidate: Row[] = [
      [0, 15 * hour],
      [1, 15 * hour],
      [2, 11 * hour],
      [3, 10 * hour + 1],
    ];
    const { columns } = await compareRelations(
      engine,
      relationOf(spec, baseline),
      relationOf(spec, candidate),
      defaults,
    );
    assert.deepEqual(columns[1], {
      name: 'v',
      changed: 4,
      baselineNull: 0,
      candidateNull: 0,
      largestDifference: String(5 * hour),
      causes: [
        { rule: 'ShiftedByHours', detail: '+5 h', explains: 2 },
        { rule: 'ShiftedByHours', detail: '+1 h', explains: 1 },
      ],
    });
  });

  const one: TableSpec = { id: { kind: 'long' }, v: { kind: 'string' } };
  const rows = (ids: readonly number[]): Row[] => ids.map((id) => [id, `v${id}`]);
  const ten = rows([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  const tables: [string, Row[], Row[], CauseRule[]][] = [
    ['the rows at the end are missing', ten, rows([1, 2, 3, 4, 5, 6, 7]), ['MissingTail']],
    ['the last row alone is a tail', ten, ten.slice(0, -1), ['MissingTail']],
    ['a range in the middle is missing', ten, rows([1, 2, 3, 8, 9, 10]), ['MissingBatch']],
    ['rows here and there are missing', ten, rows([1, 3, 5, 7, 9, 10]), []],
    ['one row in the middle is missing', ten, rows([1, 2, 3, 4, 6, 7, 8, 9, 10]), []],
    ['all rows are missing', ten, [], ['MissingBatch']],
    ['rows are there twice', ten, [...ten, ...rows([3, 4])], ['DuplicatedBatch']],
    ['one row is there twice', ten, [...ten, ...rows([3])], []],
    ['the second copies have another content', ten, [...ten, [3, 'x'], [4, 'y']], []],
  ];
  for (const [title, baseline, candidate, expected] of tables)
    it(`of the table: ${title}`, async () => {
      const { causes } = await compareRelations(
        engine,
        relationOf(one, baseline),
        relationOf(one, candidate),
        defaults,
      );
      assert.deepEqual(
        causes.map((cause) => cause.rule),
        expected,
      );
    });

  it('finds the tail by the cursor where the key says nothing', async () => {
    const spec: TableSpec = { id: { kind: 'string' }, at: { kind: 'timestamp' } };
    const baseline: Row[] = [
      ['d', 1],
      ['a', 2],
      ['c', 3],
      ['b', 4],
    ];
    const options = { ...defaults, cursor: 'at' };
    const { causes } = await compareRelations(
      engine,
      relationOf(spec, baseline),
      relationOf(spec, baseline.slice(0, 2)),
      options,
    );
    assert.deepEqual(causes, [{ rule: 'MissingTail', detail: 'the last by at', explains: 2 }]);
  });

  it('finds a tail that begins in the middle of rows that tie, and none among rows that all tie', async () => {
    const spec: TableSpec = { id: { kind: 'string' }, at: { kind: 'timestamp' } };
    const ids = ['k', 'b', 'm', 'a', 'z', 'c', 'x', 'd'];
    const options = { ...defaults, cursor: 'at' };
    const causesWith = async (at: (i: number) => number, isLost: (i: number) => boolean) => {
      const rows: Row[] = ids.map((id, i) => [id, at(i)]);
      const landed = rows.filter((_, i) => !isLost(i));
      return (await compareRelations(engine, relationOf(spec, rows), relationOf(spec, landed), options)).causes;
    };
    const pairs = (i: number): number => Math.floor(i / 2);
    const tail = { rule: 'MissingTail' as const, detail: 'the last by at', explains: 3 };
    assert.deepEqual(await causesWith(pairs, (i) => i > 4), [tail]);
    assert.deepEqual(await causesWith(pairs, (i) => [2, 5, 7].includes(i)), []);
    assert.deepEqual(
      await causesWith(
        () => 1,
        (i) => [0, 2, 4, 5, 6].includes(i),
      ),
      [],
    );
  });

  it('tells replaced rows that lie beside what replaced them by the base version', async () => {
    const base = relationOf(one, [
      [1, 'old'],
      [2, 'b'],
    ]);
    const baseline = relationOf(one, [
      [1, 'new'],
      [2, 'b'],
    ]);
    const candidate = relationOf(one, [
      [1, 'old'],
      [1, 'new'],
      [2, 'b'],
      [2, 'never there'],
    ]);
    const { rows, causes } = await compareRelations(engine, baseline, candidate, { ...defaults, base });
    assert.equal(rows.duplicated, 2);
    assert.deepEqual(causes, [{ rule: 'ResurrectedDelete', detail: 'rows of the base version', explains: 1 }]);
  });

  it('tells stale values and rows that came back by the base version', async () => {
    const base = relationOf(one, [
      [1, 'old'],
      [2, 'gone'],
      [3, 'c'],
    ]);
    const baseline = relationOf(one, [
      [1, 'new'],
      [3, 'c'],
    ]);
    const candidate = relationOf(one, [
      [1, 'old'],
      [2, 'gone'],
      [3, 'c'],
      [4, 'never there'],
    ]);
    const { columns, causes } = await compareRelations(engine, baseline, candidate, { ...defaults, base });
    assert.deepEqual(columns[1]?.causes, [
      { rule: 'StaleValue', detail: 'the value of the base version', explains: 1 },
    ]);
    assert.deepEqual(causes, [{ rule: 'ResurrectedDelete', detail: 'rows of the base version', explains: 1 }]);
  });

  it('names a dropped column', async () => {
    const { causes, verdict } = await compareRelations(
      engine,
      relationOf(one, ten),
      relationOf(
        { id: { kind: 'long' } },
        ten.map(([id]) => [id ?? null]),
      ),
      defaults,
    );
    assert.equal(verdict, 'Different');
    assert.deepEqual(causes, [{ rule: 'ColumnDropped', detail: 'v', explains: 1 }]);
  });
});

/** The bytes of the text's UTF-8 taken for Latin-1. */
function latin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
