import { assert } from 'chai';
import type { DataType, Field } from '../lake/types.ts';
import { ParityError } from '../support/error.ts';
import { planMysql } from './mysql-types.ts';
import { planPostgres } from './postgres-types.ts';
import { planSnowflake } from './snowflake-types.ts';
import type { PlanOptions } from './source.ts';

const plain: PlanOptions = { primaryKey: [], cursor: undefined, columns: [] };

function field(name: string, type: DataType = { kind: 'string' }): Field {
  return { name, physicalName: name, nullable: true, type };
}

function errorOf(action: () => unknown): ParityError {
  try {
    action();
  } catch (error) {
    if (error instanceof ParityError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the type of a column in a source', () => {
  const nested: DataType = { kind: 'array', element: { kind: 'long' }, containsNull: true };
  const cases: readonly [DataType, string, string, string][] = [
    [{ kind: 'byte' }, 'smallint', 'tinyint', 'number(3,0)'],
    [{ kind: 'short' }, 'smallint', 'smallint', 'number(5,0)'],
    [{ kind: 'integer' }, 'integer', 'int', 'number(10,0)'],
    [{ kind: 'long' }, 'bigint', 'bigint', 'number(19,0)'],
    [{ kind: 'float' }, 'real', 'float', 'float'],
    [{ kind: 'double' }, 'double precision', 'double', 'float'],
    [{ kind: 'boolean' }, 'boolean', 'tinyint(1)', 'boolean'],
    [{ kind: 'string' }, 'text', 'longtext', 'varchar'],
    [{ kind: 'binary' }, 'bytea', 'longblob', 'binary'],
    [{ kind: 'date' }, 'date', 'date', 'date'],
    [{ kind: 'timestamp' }, 'timestamp(6) with time zone', 'datetime(6)', 'timestamp_ltz(6)'],
    [{ kind: 'timestamp_ntz' }, 'timestamp(6) without time zone', 'datetime(6)', 'timestamp_ntz(6)'],
    [{ kind: 'decimal', precision: 38, scale: 10 }, 'numeric(38,10)', 'decimal(38,10)', 'number(38,10)'],
    [nested, 'json', 'longtext', 'array'],
  ];
  for (const [type, postgres, mysql, snowflake] of cases) {
    it(`is ${postgres} in Postgres, ${mysql} in MySQL and ${snowflake} in Snowflake for ${type.kind}`, () => {
      assert.equal(planPostgres('t', [field('c', type)], plain).columns[0]?.sqlType, postgres);
      assert.equal(planMysql('t', [field('c', type)], plain).columns[0]?.sqlType, mysql);
      assert.equal(planSnowflake('t', [field('c', type)], plain).columns[0]?.sqlType, snowflake);
    });
  }

  it('is refused by the column’s name where the engine has none that is exact', () => {
    for (const plan of [planMysql, planSnowflake]) {
      const error = errorOf(() => plan('t', [field('deep', { kind: 'decimal', precision: 38, scale: 38 })], plain));
      assert.equal(error.code, 'UnsupportedFeature');
      assert.match(error.message, /column deep is decimal\(38,38\)/);
    }
  });

  it('gives text in a MySQL key the length that its data needs', () => {
    const options = { ...plain, primaryKey: ['k'], keyLengths: { k: 7 } };
    assert.equal(planMysql('t', [field('k')], options).columns[0]?.sqlType, 'varchar(7)');
    assert.equal(planMysql('t', [field('k', { kind: 'binary' })], options).columns[0]?.sqlType, 'varbinary(7)');
  });

  for (const type of [
    'uuid',
    'jsonb',
    'bigint unsigned',
    'numeric(38, 10)',
    'varchar(20)',
    'timestamp(3) with time zone',
    "enum('a','b')",
    'text[]',
  ]) {
    it(`is ${type} where the manifest says so`, () => {
      const columns = [{ table: 't', column: 'c', type }];
      assert.equal(planPostgres('t', [field('c')], { ...plain, columns }).columns[0]?.sqlType, type);
    });
  }
  for (const type of [
    'text; DROP TABLE x',
    'text)',
    'text --',
    "enum('a\\')",
    'text DEFAULT (1)',
    '',
    '"text"',
    "enum('a'); x",
  ]) {
    it(`is never the statement ${JSON.stringify(type)}`, () => {
      const columns = [{ table: 't', column: 'c', type }];
      assert.equal(errorOf(() => planPostgres('t', [field('c')], { ...plain, columns })).code, 'InvalidSpec');
    });
  }
});

describe('a table in a source', () => {
  it('leaves out the columns that the manifest omits, from key and cursor too', () => {
    const columns = [
      { table: 't', column: 'b', omit: true },
      { table: 'other', column: 'a', omit: true },
    ];
    const table = planPostgres('t', [field('a'), field('b')], { primaryKey: ['a', 'b'], cursor: 'b', columns });
    assert.deepEqual(
      [table.columns.map((column) => column.field.name), table.primaryKey, table.cursor],
      [['a'], [], undefined],
    );
  });

  const many = (count: number): Field[] => Array.from({ length: count }, (_, index) => field(`c${index}`));
  const refusals: readonly [string, () => unknown, RegExp][] = [
    [
      'names that Postgres would cut',
      () => planPostgres('t', [field('é'.repeat(32))], plain),
      /column é+ has a name longer than 63 bytes/,
    ],
    [
      'names that MySQL would refuse',
      () => planMysql('t', [field('x'.repeat(65))], plain),
      /longer than 64 characters/,
    ],
    [
      'table names that are too long',
      () => planPostgres('t'.repeat(64), [field('a')], plain),
      /its name is longer than 63 bytes/,
    ],
    [
      'names equal but for case',
      () => planPostgres('t', [field('Id'), field('id')], plain),
      /columns Id and id are equal but for case/,
    ],
    [
      'a name that Postgres keeps for itself',
      () => planPostgres('t', [field('CTID')], plain),
      /column CTID has a name that Postgres keeps/,
    ],
    ['a name of our own', () => planMysql('t', [field('parity~h')], plain), /column parity~h has a name that is kept/],
    [
      'a name that ends in a space',
      () => planMysql('t', [field('a ')], plain),
      /column 'a ' has a name that it would change/,
    ],
    [
      'more columns than Postgres takes',
      () => planPostgres('t', many(1601), plain),
      /1601 columns, more than the 1600/,
    ],
    ['more columns than MySQL takes', () => planMysql('t', many(1018), plain), /1018 columns, more than the 1017/],
    ['a table of which no column is left', () => planPostgres('t', [], plain), /no column is left/],
  ];
  for (const [what, plan, message] of refusals) {
    it(`is refused for ${what}`, () => {
      const error = errorOf(plan);
      assert.equal(error.code, 'UnsupportedFeature');
      assert.match(error.message, message);
    });
  }
  it('may have a name of exactly the longest length', () => {
    assert.equal(planPostgres('t'.repeat(63), [field('é'.repeat(31))], plain).columns.length, 1);
    assert.equal(planMysql('t', [field('é'.repeat(64))], plain).columns.length, 1);
  });
});
