import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import type { DataType } from '../lake/types.ts';
import { compareRelations } from './compare.ts';
import { plainDecimal } from './schema.ts';
import { defaults, type Row, relationOf, type TableSpec } from './testing.ts';

describe('comparing schemas', () => {
  let engine: Engine;
  let scratch: string;
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'parity-schema-'));
    engine = await openEngine({ scratch, memoryBytes: 512 * 1024 * 1024, threads: 2 });
  });
  after(async () => {
    await engine.close();
    await rm(scratch, { recursive: true });
  });

  const nested: DataType = {
    kind: 'struct',
    fields: [
      { name: 'x', physicalName: 'x', nullable: true, type: { kind: 'long' } },
      { name: 'y', physicalName: 'y', nullable: true, type: { kind: 'string' } },
    ],
  };
  const decimal = (precision: number, scale: number): DataType => ({ kind: 'decimal', precision, scale });
  type Cell = Row[number];
  /** Types and values of both sides; whether the values are compared, are equal, and whether the difference of types counts. */
  const pairs: [DataType, Cell, DataType, Cell, 'equal' | 'changed' | 'not compared', 'counts' | 'shown' | 'same'][] = [
    [{ kind: 'integer' }, 7, { kind: 'long' }, 7, 'equal', 'shown'],
    [{ kind: 'long' }, 7, { kind: 'integer' }, 7, 'equal', 'counts'],
    [{ kind: 'byte' }, -1, { kind: 'long' }, 255, 'changed', 'shown'],
    [{ kind: 'long' }, '9223372036854775807', decimal(20, 0), '9223372036854775807', 'equal', 'shown'],
    [decimal(10, 2), '1.50', decimal(12, 4), '1.5000', 'equal', 'shown'],
    [decimal(12, 4), '1.5001', decimal(10, 2), '1.50', 'changed', 'counts'],
    [decimal(38, 0), '1', decimal(38, 38), '0', 'changed', 'counts'],
    [{ kind: 'float' }, 0.5, { kind: 'double' }, 0.5, 'equal', 'shown'],
    [{ kind: 'double' }, 0.1, { kind: 'float' }, 0.1, 'changed', 'counts'],
    [{ kind: 'integer' }, 7, { kind: 'double' }, 7, 'equal', 'shown'],
    [{ kind: 'long' }, 7, { kind: 'double' }, 7, 'not compared', 'counts'],
    [{ kind: 'boolean' }, true, { kind: 'byte' }, 1, 'equal', 'counts'],
    [{ kind: 'timestamp' }, 5, { kind: 'timestamp_ntz' }, 5, 'equal', 'counts'],
    [{ kind: 'date' }, 1, { kind: 'timestamp' }, 86_400_000_000, 'not compared', 'counts'],
    [{ kind: 'integer' }, 7, { kind: 'string' }, '7', 'not compared', 'counts'],
    [{ kind: 'string' }, 'a', { kind: 'binary' }, 'a', 'equal', 'counts'],
    [nested, '{"x":1,"y":"a"}', { kind: 'string' }, '{ "y": "a", "x": 1 }', 'equal', 'shown'],
    [nested, '{"x":1,"y":"a"}', { kind: 'string' }, '{"x":2,"y":"a"}', 'changed', 'shown'],
    [{ kind: 'double' }, Number.NaN, { kind: 'double' }, Number.NaN, 'equal', 'same'],
    [{ kind: 'double' }, 0, { kind: 'double' }, -0, 'changed', 'same'],
  ];
  for (const [mine, a, theirs, b, values, types] of pairs)
    it(`${name(mine)} ${String(a)} and ${name(theirs)} ${Object.is(b, -0) ? '-0' : String(b)}: ${values}, ${types}`, async () => {
      const left = relationOf({ id: { kind: 'long' }, v: mine }, [[1, a]]);
      const right = relationOf({ id: { kind: 'long' }, v: theirs }, [[1, b]]);
      const result = await compareRelations(engine, left, right, defaults);
      const column = result.columns.find((one) => one.name === 'v');
      assert.equal(column === undefined ? 'not compared' : column.changed > 0 ? 'changed' : 'equal', values);
      const [difference] = result.schema;
      assert.equal(difference === undefined ? 'same' : difference.counts ? 'counts' : 'shown', types);
      assert.equal(result.differences, (values === 'changed' ? 1 : 0) + (types === 'counts' ? 1 : 0));
    });

  const id: DataType = { kind: 'long' };
  const v: DataType = { kind: 'string' };

  it('counts a missing, an extra and a narrower column, and shows a wider nullability', async () => {
    const left: TableSpec = { id, gone: v, narrower: v, wider: { ...v, notNull: true } };
    const right: TableSpec = { id, narrower: { ...v, notNull: true }, wider: v, fresh: v };
    const result = await compareRelations(
      engine,
      relationOf(left, [[1, 'a', 'b', 'c']]),
      relationOf(right, [[1, 'b', 'c', 'd']]),
      defaults,
    );
    assert.deepEqual(result.schema, [
      { column: 'gone', difference: 'Missing', baseline: 'string', candidate: null, counts: true },
      { column: 'narrower', difference: 'Nullability', baseline: 'nullable', candidate: 'not null', counts: true },
      { column: 'wider', difference: 'Nullability', baseline: 'not null', candidate: 'nullable', counts: false },
      { column: 'fresh', difference: 'Extra', baseline: null, candidate: 'string', counts: true },
    ]);
    assert.equal(result.rows.matched, 1);
    assert.equal(result.differences, 3);
  });

  it('shows a key that a primary key has made narrower, and does not count it', async () => {
    const [left, right]: [TableSpec, TableSpec] = [
      { id, v },
      { id: { ...id, notNull: true }, v },
    ];
    const result = await compareRelations(
      engine,
      relationOf(left, [[1, 'a']]),
      relationOf(right, [[1, 'a']]),
      defaults,
    );
    assert.deepEqual(result.schema, [
      { column: 'id', difference: 'Nullability', baseline: 'nullable', candidate: 'not null', counts: false },
    ]);
    assert.equal(result.differences, 0);
  });

  it('passes over ignored columns and follows renamed ones, whatever their names', async () => {
    const left = relationOf({ id, c1: v, c0: v, 'odd `name"': v }, [[1, 'a', 'b', 'c']]);
    const right = relationOf({ id, c0: v, 'odd `name"': v, noise: v }, [[1, 'a', 'c', 'x']]);
    const columns = [
      { table: 't', column: 'c1', rename: 'c0' },
      { table: 't', column: 'c0', ignore: true },
      { table: 't', column: 'noise', ignore: true },
      { table: 'other', column: 'nowhere', ignore: true },
    ];
    const result = await compareRelations(engine, left, right, { ...defaults, columns });
    assert.equal(result.verdict, 'Equal');
    assert.deepEqual(result.schema, []);
  });

  it('compares as a multiset where the candidate has lost the key, and says so', async () => {
    const result = await compareRelations(
      engine,
      relationOf({ id, v }, [[1, 'a']]),
      relationOf({ v }, [['a']]),
      defaults,
    );
    assert.deepEqual(result.key, []);
    assert.equal(result.rows.matched, 1);
    assert.equal(result.differences, 1);
    assert.match(result.notes[0] ?? '', /no comparable key column id/);
  });

  const tolerances: [string, DataType, Cell, Cell, number][] = [
    ['0.01', { kind: 'double' }, 1, 1.0078125, 0],
    ['0.01', { kind: 'double' }, 1, 1.015625, 1],
    ['1e-9', { kind: 'double' }, Number.NaN, Number.NaN, 0],
    ['1e-9', { kind: 'double' }, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 0],
    ['1e9', { kind: 'double' }, Number.POSITIVE_INFINITY, 1, 1],
    ['0.1', decimal(10, 2), '1.10', '1.20', 0],
    ['0.1', decimal(10, 2), '1.10', '1.21', 1],
    ['1', { kind: 'long' }, '9223372036854775807', '9223372036854775806', 0],
    ['1', { kind: 'long' }, '9223372036854775807', '-9223372036854775808', 1],
    ['1', { kind: 'long' }, null, 0, 1],
    ['1', { kind: 'long' }, null, null, 0],
  ];
  for (const [tolerance, type, a, b, differences] of tolerances)
    it(`with a tolerance of ${tolerance}, ${String(a)} and ${String(b)} are ${differences === 0 ? 'equal' : 'different'}`, async () => {
      const columns = [{ table: 't', column: 'v', tolerance }];
      const side = (value: Cell) =>
        relationOf({ id, v: type, w: v }, [
          [1, value, 'w'],
          [2, value, 'w'],
          [2, value, 'w'],
        ]);
      const result = await compareRelations(engine, side(a), side(b), { ...defaults, columns });
      assert.equal(result.differences, differences * 3);
      assert.equal(result.rows.matched, 3 - differences * 3);
    });

  const refused: [string, Parameters<typeof compareRelations>[3], RegExp][] = [
    [
      'a tolerance without a key',
      { ...defaults, key: [], columns: [{ table: 't', column: 'id', tolerance: '1' }] },
      /needs a key/,
    ],
    [
      'a tolerance of a key column',
      { ...defaults, columns: [{ table: 't', column: 'id', tolerance: '1' }] },
      /key column id cannot/,
    ],
    [
      'a tolerance of text',
      { ...defaults, columns: [{ table: 't', column: 'v', tolerance: '1' }] },
      /v is not a number/,
    ],
    ['a key that is not there', { ...defaults, key: ['nope'] }, /key column nope is not a column/],
    [
      'a key that is ignored',
      { ...defaults, columns: [{ table: 't', column: 'id', ignore: true }] },
      /key column id is ignored/,
    ],
    [
      'two columns that one of the candidate would stand for',
      {
        ...defaults,
        columns: [
          { table: 't', column: 'v', rename: 'x' },
          { table: 't', column: 'id', rename: 'x' },
        ],
      },
      /column x would be compared with both id and v/,
    ],
    [
      'a rename to what another column is compared with',
      { ...defaults, columns: [{ table: 't', column: 'v', rename: 'id' }] },
      /column id would be compared with both id and v/,
    ],
    [
      'a rename to what PostHog calls another column',
      { ...defaults, profile: 'PostHog', columns: [{ table: 't', column: 'v', rename: 'foo_bar' }] },
      /column foo_bar would be compared with both v and Foo Bar/,
    ],
    [
      'a tolerance that no decimal beside the column could hold',
      { ...defaults, columns: [{ table: 't', column: 'wide', tolerance: '1e60' }] },
      /1e60 is no tolerance for the column wide/,
    ],
    ['a setting of no column', { ...defaults, columns: [{ table: 't', column: 'nope', rename: 'x' }] }, /names nope/],
    ['a cursor that is not there', { ...defaults, cursor: 'nope' }, /cursor nope/],
  ];
  for (const [title, options, message] of refused)
    it(`refuses ${title}`, async () => {
      const side = relationOf({ id, v, 'Foo Bar': v, wide: decimal(38, 18) }, [[1, 'a', 'a', 1]]);
      const error = await compareRelations(engine, side, side, options).catch((e: unknown) => e);
      assert.propertyVal(error, 'code', 'InvalidSpec');
      assert.match(String(error), message);
    });

  it('reads tolerances as plain decimal numbers', () => {
    const texts = ['1e-3', '0.5', '12', '1.5e2', '1E-9', '-1', '1e', 'x', '1e99'];
    assert.deepEqual(texts.map(plainDecimal), [
      '0.001',
      '0.5',
      '12',
      '150',
      '0.000000001',
      ...Array<undefined>(4).fill(undefined),
    ]);
  });
});

function name(type: DataType): string {
  return type.kind === 'decimal' ? `decimal(${type.precision},${type.scale})` : type.kind;
}
