import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import type { DataType, Field } from '../lake/types.ts';
import { ParityError } from '../support/error.ts';
import { type Bug, bugs, mutantOf } from './mutants.ts';
import { mutatedRows } from './mutated-rows.ts';

const column = (name: string, type: DataType): Field => ({ name, type, nullable: true, physicalName: name });
const fields: readonly Field[] = [
  column('id', { kind: 'long' }),
  column('a', { kind: 'integer' }),
  column('b', { kind: 'integer' }),
  column('text', { kind: 'string' }),
  column('price', { kind: 'decimal', precision: 38, scale: 10 }),
  column('ratio', { kind: 'double' }),
  column('day', { kind: 'date' }),
  column('at', { kind: 'timestamp' }),
  column('wall', { kind: 'timestamp_ntz' }),
  column('nested', { kind: 'struct', fields: [column('x', { kind: 'string' })] }),
  column('moved', { kind: 'timestamp' }),
];

type Cells = Partial<Record<string, string>>;
const healthy: Cells = {
  id: '1',
  a: '10',
  b: '20',
  text: "' é '",
  price: "'1.23456789'",
  ratio: '0.1',
  day: '15000',
  at: '1234567',
  wall: '-1',
  nested: `'{"x": " é "}'`,
  moved: '5000001',
};

/** One row with the given cells, everything else as in `healthy`. */
const rowOf = (cells: Cells): string =>
  `SELECT ${fields.map(({ name, type }) => `CAST(${cells[name] ?? healthy[name]}, '${typeOf(type)}') AS ${name}`).join(', ')}`;

function typeOf(type: DataType): string {
  switch (type.kind) {
    case 'long':
    case 'timestamp':
    case 'timestamp_ntz':
      return 'Nullable(Int64)';
    case 'integer':
    case 'date':
      return 'Nullable(Int32)';
    case 'decimal':
      return 'Nullable(Decimal(38, 10))';
    case 'double':
      return 'Nullable(Float64)';
    default:
      return 'Nullable(String)';
  }
}

describe('a bug on purpose', () => {
  let engine: Engine;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-mutants-'));
    engine = await openEngine({ scratch: folder, memoryBytes: 256 * 1024 ** 2, threads: 1 });
  });

  after(async () => {
    await engine.close();
    await rm(folder, { recursive: true, force: true });
  });

  const mutate = (bug: Bug, sql: string, rows: number): string =>
    mutatedRows({ fields, columns: fields, key: ['id'], cursor: 'moved', sql, rows }, mutantOf(bug));

  /** The cells of a row that the bug changes, as text. */
  const changedCells = async (bug: Bug, cells: Cells): Promise<Record<string, string | null>> => {
    const texts = `SELECT ${fields.map(({ name }) => `toString(${name}) AS ${name}`).join(', ')} FROM`;
    const [before] = await engine.rows<Record<string, string | null>>(`${texts} (${rowOf(cells)})`);
    const [after] = await engine.rows<Record<string, string | null>>(`${texts} (${mutate(bug, rowOf(cells), 1)})`);
    return Object.fromEntries(Object.entries(after ?? {}).filter(([name, value]) => value !== before?.[name]));
  };

  const values: readonly (readonly [Bug, string, Cells, Record<string, string | null>])[] = [
    ['None', 'changes nothing', {}, {}],
    [
      'TruncatedPrecision',
      'halves the places of decimals and cuts instants to seconds',
      {},
      { price: '1.23456', at: '1000000', wall: '-1000000', moved: '5000000' },
    ],
    ['LostMicroseconds', 'cuts instants to milliseconds', {}, { at: '1234000', wall: '-1000', moved: '5000000' }],
    [
      'ShiftedTimestamps',
      'moves instants by five hours, and no wall clock',
      {},
      { at: '18001234567', moved: '18005000001' },
    ],
    [
      'ShiftedTimestamps',
      'leaves an instant that would leave year 9999',
      { at: '253402300799999999', moved: 'NULL' },
      {},
    ],
    ['OffByOneDay', 'moves dates by a day', {}, { day: '15001' }],
    ['OffByOneDay', 'leaves the last day of year 9999', { day: '2932896' }, {}],
    ['NullToEmpty', 'makes NULL text empty', { text: 'NULL', nested: 'NULL' }, { text: '' }],
    ['EmptyToNull', 'makes empty text NULL', { text: "''" }, { text: null }],
    ['TrimmedStrings', 'trims text, and no JSON', {}, { text: 'é' }],
    ['WrongEncoding', 'takes the bytes of UTF-8 for Latin-1', {}, { text: ' Ã© ' }],
    ['Float32Rounding', 'rounds doubles to floats', {}, { ratio: '0.10000000149011612' }],
    ['SwappedColumns', 'swaps two columns of one type that are neither key nor cursor', {}, { a: '20', b: '10' }],
  ];
  for (const [bug, what, cells, expected] of values)
    it(`${bug} ${what}`, async () => expect(await changedCells(bug, cells)).to.deep.equal(expected));

  const manyRows = `SELECT number AS id, 50000 - number AS moved, ${fields
    .filter(({ name }) => name !== 'id' && name !== 'moved')
    .map(({ name, type }) => `CAST(NULL, '${typeOf(type)}') AS ${name}`)
    .join(', ')} FROM numbers(50000)`;

  const selections: readonly (readonly [Bug, string, { rows: string; ids: string; first: string; last: string }])[] = [
    ['DuplicatedBatch', 'doubles the first 20,000 rows', { rows: '70000', ids: '50000', first: '0', last: '49999' }],
    [
      'LostLastChunk',
      'loses what is beyond the last full 20,000 rows',
      { rows: '40000', ids: '40000', first: '0', last: '39999' },
    ],
    ['DroppedTail', 'loses the last hundredth by cursor', { rows: '49500', ids: '49500', first: '500', last: '49999' }],
  ];
  for (const [bug, what, expected] of selections)
    it(`${bug} ${what}`, async () => {
      const [found] = await engine.rows(
        `SELECT count() AS rows, uniqExact(id) AS ids, toString(min(id)) AS first, toString(max(id)) AS last FROM (${mutate(bug, manyRows, 50_000)})`,
      );
      expect(found).to.deep.equal(expected);
    });

  for (const [bug, rows] of [
    ['DuplicatedBatch', '2'],
    ['LostLastChunk', '0'],
    ['DroppedTail', '0'],
  ] as const)
    it(`${bug} shows in a table of one row`, async () => {
      expect(await engine.rows(`SELECT count() AS rows FROM (${mutate(bug, rowOf({}), 1)})`)).to.deep.equal([{ rows }]);
    });

  it('has a name that is known, or is refused with the names that are', () => {
    for (const bug of bugs) expect(mutantOf(bug).bug).to.equal(bug);
    expect(() => mutantOf('Typo'))
      .to.throw(ParityError, 'Typo')
      .with.property('advice')
      .that.contains('DroppedTail');
  });

  it('deviates from the healthy pipeline in at least one point', () => {
    const { bug: _, ...rest } = mutantOf('None');
    for (const name of bugs.filter((name) => name !== 'None')) {
      const { bug, ...mutant } = mutantOf(name);
      expect(mutant, bug).not.to.deep.equal(rest);
    }
  });
});
