import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import type { ResolvedSource } from '../../src/api/resolved.ts';
import { columnDigests, rowDigest } from '../../src/compare/row-digest.ts';
import { openEngine } from '../../src/engine/chdb.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Relation } from '../../src/lake/relation.ts';
import { engineType } from '../../src/lake/relation-types.ts';
import type { DataType, Field } from '../../src/lake/types.ts';
import { sourceDriver } from '../../src/sources/registry.ts';
import type { OwnedSession } from '../../src/sources/session.ts';
import type { Connection, PlanOptions } from '../../src/sources/source.ts';
import { ParityError } from '../../src/support/error.ts';
import { sharedServer } from '../support/databases.ts';
import { ownSchema, realAccount, sharedSnowflake } from '../support/snowflake.ts';

const signal = new AbortController().signal;
const quiet = { signal, onProgress: () => undefined };
const cwd = process.cwd();

/** Columns by type, with the values of each as SQL of the engine. */
const extremes: readonly { name: string; type: DataType; values: readonly string[] }[] = [
  { name: 'b', type: { kind: 'byte' }, values: ['-128', '127', '0', 'NULL'] },
  { name: 's', type: { kind: 'short' }, values: ['-32768', '32767', 'NULL'] },
  { name: 'i', type: { kind: 'integer' }, values: ['-2147483648', '2147483647', 'NULL'] },
  { name: 'l', type: { kind: 'long' }, values: ["'-9223372036854775808'", "'9223372036854775807'", '0', 'NULL'] },
  {
    name: 'f',
    type: { kind: 'float' },
    values: ['3.4028235e38', '-3.4028235e38', '1e-45', '0.1', '16777216.', '0.33333334', 'NULL'],
  },
  {
    name: 'd',
    type: { kind: 'double' },
    values: [
      '1.7976931348623157e308',
      '5e-324',
      '2.2250738585072014e-308',
      '0.1',
      '123456789012345680.',
      '-1e22',
      'NULL',
    ],
  },
  { name: 'bool', type: { kind: 'boolean' }, values: ['true', 'false', 'NULL'] },
  {
    name: 'text',
    type: { kind: 'string' },
    values: [
      "''",
      "'NULL'",
      "'\\\\N'",
      "'\\\\'",
      "'a\\tb\\nc\\rd'",
      'char(8, 11, 12, 26, 27, 39, 34, 127)',
      "'\"'",
      '\'""\'',
      '\'a","b\'',
      "' trailing '",
      "'😀 é ß'",
      "'\\\\.'",
      '\'{"a":1}\'',
      "repeat('x', 100000)",
      "'a,b'",
      "'%s'",
      'NULL',
    ],
  },
  {
    name: 'bin',
    type: { kind: 'binary' },
    values: [
      "''",
      "unhex('00')",
      "unhex('00ff80270a0d5c225c4e2c')",
      "unhex('5c7841')",
      "repeat(unhex('ff'), 70000)",
      'NULL',
    ],
  },
  {
    name: 'date',
    type: { kind: 'date' },
    values: ['-719162', '-43678', '-141428', '0', '-1', '120530', '2932896', '11016', 'NULL'],
  },
  {
    name: 'ts',
    type: { kind: 'timestamp' },
    values: [
      "'-62135596800000000'",
      "'-62135596799999999'",
      '-1',
      '0',
      '1',
      "'253402300799999999'",
      "'-12219724800000001'",
      'NULL',
    ],
  },
  {
    name: 'ntz',
    type: { kind: 'timestamp_ntz' },
    values: ["'-62135596800000000'", "'1699999999123456'", "'253402300799999999'", 'NULL'],
  },
  {
    name: 'dec',
    type: { kind: 'decimal', precision: 38, scale: 10 },
    values: [
      "'9999999999999999999999999999.9999999999'",
      "'-9999999999999999999999999999.9999999999'",
      "'0.0000000001'",
      '0',
      'NULL',
    ],
  },
  {
    name: 'dec38',
    type: { kind: 'decimal', precision: 38, scale: 0 },
    values: ["'99999999999999999999999999999999999999'", 'NULL'],
  },
  {
    name: 'nested',
    type: { kind: 'array', element: { kind: 'integer' }, containsNull: true },
    values: ["'[1,null,3]'", "'[]'", 'NULL'],
  },
];

/** Extremes that only Postgres holds. */
const postgresOnly: typeof extremes = [
  { name: 'f_special', type: { kind: 'float' }, values: ['nan', 'inf', '-inf', '-0.', 'NULL'] },
  { name: 'd_special', type: { kind: 'double' }, values: ['nan', 'inf', '-inf', '-0.', 'NULL'] },
  {
    name: 'dec_deep',
    type: { kind: 'decimal', precision: 38, scale: 38 },
    values: ["'0.99999999999999999999999999999999999999'", 'NULL'],
  },
];

/** Extremes that Snowflake holds beside the common ones; of a negative zero its documentation says nothing. */
const snowflakeOnly: typeof extremes = [
  { name: 'f_special', type: { kind: 'float' }, values: ['nan', 'inf', '-inf', 'NULL'] },
  { name: 'd_special', type: { kind: 'double' }, values: ['nan', 'inf', '-inf', 'NULL'] },
  {
    name: 'dec_deep',
    type: { kind: 'decimal', precision: 38, scale: 37 },
    values: ["'0.9999999999999999999999999999999999999'", "'-9.9999999999999999999999999999999999999'", 'NULL'],
  },
];
const specials: Readonly<Record<ResolvedSource['engine'], typeof extremes>> = {
  Postgres: postgresOnly,
  MySQL: [],
  Snowflake: snowflakeOnly,
};

const plain: PlanOptions = { primaryKey: [], cursor: undefined, columns: [] };

/** A place for tables; `close` leaves nothing of it. */
interface Target {
  readonly title: string;
  readonly engine: ResolvedSource['engine'];
  readonly open: () => Promise<{ readonly connection: Connection; readonly close?: () => Promise<void> }>;
}

const account = realAccount();
const targets: readonly Target[] = [
  { title: 'Postgres', engine: 'Postgres', open: () => sharedServer('Postgres') },
  { title: 'MySQL', engine: 'MySQL', open: () => sharedServer('MySQL') },
  { title: 'Snowflake (emulated)', engine: 'Snowflake', open: async () => ownSchema(await sharedSnowflake()) },
  // In addition, where the environment names one.
  ...(account === undefined
    ? []
    : [{ title: 'Snowflake (account)', engine: 'Snowflake', open: () => ownSchema(account) } as const]),
];

for (const { title, engine: engineName, open } of targets) {
  describe(`a ${title} source`, function () {
    this.timeout(engineName === 'Snowflake' ? 600_000 : 60_000);
    let target: Awaited<ReturnType<Target['open']>>;
    let engine: Engine;
    let scratch: string;
    let session: OwnedSession;
    const driver = sourceDriver(engineName);

    before(async () => {
      process.chdir('/');
      scratch = await mkdtemp(join(tmpdir(), 'parity-sources-'));
      engine = await openEngine({ scratch, memoryBytes: 512 * 1024 * 1024, threads: 2 });
      target = await open();
      session = await driver.connect(target.connection, { signal });
    });
    after(async () => {
      await session?.close();
      await target?.close?.();
      await engine.close();
      await rm(scratch, { recursive: true, force: true });
      process.chdir(cwd);
    });

    const roundTrip = async (
      name: string,
      relation: Relation,
      options: Partial<PlanOptions> = {},
    ): Promise<Relation> => {
      const table = driver.plan(name, relation.columns, { ...plain, ...options });
      assert.equal(await session.load(engine, table, relation, quiet), await count(engine, relation));
      return await session.export(engine, table, quiet);
    };

    for (const column of [...extremes, ...specials[engineName]]) {
      it(`gives back ${column.type.kind} at its extremes (${column.name}) as it was`, async () => {
        const relation = columnsOf([column]);
        const back = await roundTrip(`extreme ${column.name}`, relation);
        assert.deepEqual(await hexRows(engine, back), await hexRows(engine, relation));
        assert.deepEqual(await rowDigest(engine, back), await rowDigest(engine, relation));
      });
    }

    it('gives back all types side by side, 2,000 rows', async () => {
      const relation = columnsOf(extremes, 2_000);
      const back = await roundTrip('all types', relation);
      assert.deepEqual([...(await columnDigests(engine, back))], [...(await columnDigests(engine, relation))]);
      assert.deepEqual(await rowDigest(engine, back), await rowDigest(engine, relation));
    });

    it('loads a table again in its place, with another shape', async () => {
      await roundTrip('again', fromSql('SELECT 1::Nullable(Int64) AS id', [field('id', 'long')]), {
        primaryKey: ['id'],
      });
      const second = fromSql("SELECT 'x'::Nullable(String) AS name", [field('name', 'string')]);
      assert.deepEqual(await hexRows(engine, await roundTrip('again', second)), await hexRows(engine, second));
      assert.include(await session.listTables(), 'again');
    });

    it('quotes any name of a table or column', async () => {
      const relation = fromSql('SELECT 1::Nullable(Int32) AS `we"ird ``na\'me; --`', [
        field('we"ird `na\'me; --', 'integer'),
      ]);
      const back = await roundTrip('a "table" `of` \'its\'; own', {
        ...relation,
        sql: 'SELECT 1::Nullable(Int32) AS `we"ird \\`na\'me; --`',
      });
      assert.deepEqual(
        await rowDigest(engine, back),
        await rowDigest(engine, { ...relation, sql: 'SELECT 1::Nullable(Int32) AS `we"ird \\`na\'me; --`' }),
      );
    });

    it('keeps columns apart that have the names which queries like to use themselves', async () => {
      const columns = ['n', 'h', 'c0', 'c1', 'c', 'bucket', 'rows', 'value', 'count'].map((name) =>
        field(name, 'long'),
      );
      const values = columns.map(({ name }, index) => `(number * 10 + ${index})::Nullable(Int64) AS \`${name}\``);
      const relation = fromSql(`SELECT ${values.join(', ')} FROM numbers(3)`, columns);
      const back = await roundTrip('names of queries', relation, { primaryKey: ['n'], cursor: 'c' });
      assert.deepEqual(await hexRows(engine, back), await hexRows(engine, relation));
      assert.deepEqual(await rowDigest(engine, back), await rowDigest(engine, relation));
    });

    it('reads only the rows from a cursor on', async () => {
      const relation = fromSql(
        'SELECT number::Nullable(Int64) AS id, (number * 1000000)::Nullable(Int64) AS at FROM numbers(10)',
        [field('id', 'long'), field('at', 'timestamp')],
      );
      const table = driver.plan('cursors', relation.columns, { ...plain, primaryKey: ['id'], cursor: 'at' });
      await session.load(engine, table, relation, quiet);
      for (const [cursor, value, inclusive, expected] of [
        ['id', '7', true, 3],
        ['id', '7', false, 2],
        ['at', '1970-01-01 00:00:08.000000', true, 2],
        ['at', '1970-01-01 00:00:08.000000', false, 1],
      ] as const) {
        const part = await session.export(engine, table, { ...quiet, since: { cursor, value, inclusive } });
        assert.equal(await count(engine, part), expected, `${cursor} from ${value}`);
      }
    });

    it('applies deletes and inserts by key in one transaction', async () => {
      const columns = [field('id', 'long'), field('name', 'string')];
      const table = driver.plan('applied', columns, { ...plain, primaryKey: ['id'] });
      const rows = (n: number, tag: string): Relation =>
        fromSql(`SELECT number::Nullable(Int64) AS id, '${tag}'::Nullable(String) AS name FROM numbers(${n})`, columns);
      await session.load(engine, table, rows(10, 'old'), quiet);
      const done = await session.apply(engine, table, { deletes: rows(4, 'old'), inserts: rows(3, 'new') }, quiet);
      assert.deepEqual(done, { deleted: 4, inserted: 3 });
      const expected = fromSql(
        "SELECT number::Nullable(Int64) AS id, if(number < 3, 'new', 'old')::Nullable(String) AS name FROM numbers(10) WHERE number != 3",
        columns,
      );
      assert.deepEqual(
        await rowDigest(engine, await session.export(engine, table, quiet)),
        await rowDigest(engine, expected),
      );
    });

    it('deletes as many copies of a row as are asked for where there is no key', async () => {
      const columns = [field('r', 'double'), field('n', 'string')];
      const table = driver.plan('copies', columns, plain);
      const rows = (n: number): Relation =>
        fromSql(
          `SELECT 0.1::Nullable(Float64) AS r, NULL::Nullable(String) AS n FROM numbers(${n}) UNION ALL SELECT 0.1, '' FROM numbers(2)`,
          columns,
        );
      await session.load(engine, table, rows(5), quiet);
      const nulls = fromSql('SELECT 0.1::Nullable(Float64) AS r, NULL::Nullable(String) AS n FROM numbers(3)', columns);
      const done = await session.apply(engine, table, { deletes: nulls, inserts: none(columns) }, quiet);
      assert.deepEqual(done, { deleted: 3, inserted: 0 });
      assert.deepEqual(
        await rowDigest(engine, await session.export(engine, table, quiet)),
        await rowDigest(engine, rows(2)),
      );
    });

    it('leaves the table as it was when a row to delete is not there', async () => {
      const columns = [field('id', 'long')];
      const table = driver.plan('unchanged', columns, { ...plain, primaryKey: ['id'] });
      const rows = fromSql('SELECT number::Nullable(Int64) AS id FROM numbers(5)', columns);
      await session.load(engine, table, rows, quiet);
      const strange = fromSql('SELECT 3::Nullable(Int64) AS id UNION ALL SELECT 99', columns);
      const error = await caught(() =>
        session.apply(engine, table, { deletes: strange, inserts: none(columns) }, quiet),
      );
      assert.equal(error.code, 'ProofFailed');
      assert.deepEqual(
        await rowDigest(engine, await session.export(engine, table, quiet)),
        await rowDigest(engine, rows),
      );
    });

    it('adds and drops columns as the table does, and again nothing', async () => {
      const before = [field('id', 'long'), field('gone', 'string')];
      const relation = fromSql("SELECT 1::Nullable(Int64) AS id, 'x'::Nullable(String) AS gone", before);
      await session.load(engine, driver.plan('altered', before, plain), relation, quiet);
      const now = [field('id', 'long'), field('added', 'date')];
      const table = driver.plan('altered', now, plain);
      await session.alter(table);
      await session.alter(table);
      const expected = fromSql('SELECT 1::Nullable(Int64) AS id, NULL::Nullable(Int32) AS added', now);
      assert.deepEqual(
        await rowDigest(engine, await session.export(engine, table, quiet)),
        await rowDigest(engine, expected),
      );
    });

    const refusals: Readonly<Record<typeof engineName, readonly [string, DataType, string, RegExp][]>> = {
      Postgres: [
        ['a NUL character', { kind: 'string' }, "'a\\0b'", /column refused holds text with a NUL/],
        [
          'text that is not UTF-8',
          { kind: 'string' },
          "unhex('ff41')",
          /column refused holds text that is not valid UTF-8/,
        ],
        ['a date before year 1', { kind: 'date' }, '-719163', /column refused holds a date or time outside/],
        [
          'a timestamp after year 9999',
          { kind: 'timestamp' },
          "'253402300800000000'",
          /column refused holds a date or time outside/,
        ],
      ],
      MySQL: [
        ['NaN', { kind: 'double' }, 'nan', /column refused holds NaN/],
        ['infinity', { kind: 'float' }, 'inf', /column refused holds an infinite/],
        ['negative zero', { kind: 'double' }, '-0.', /column refused holds a negative zero/],
        [
          'text that is not UTF-8',
          { kind: 'string' },
          "unhex('ff41')",
          /column refused holds 1 values? that it would change/,
        ],
        ['a date after year 9999', { kind: 'date' }, '2932897', /column refused holds a date or time outside/],
      ],
      Snowflake: [
        [
          'text that is not UTF-8',
          { kind: 'string' },
          "unhex('ff41')",
          /column refused holds text that is not valid UTF-8/,
        ],
        [
          'text longer than a column takes',
          { kind: 'string' },
          "repeat(repeat('é', 1000), 8389)",
          /column refused holds text of more than 16 MiB/,
        ],
        [
          'binary longer than a column takes',
          { kind: 'binary' },
          "repeat(repeat('x', 1000), 8389)",
          /column refused holds binary of more than 8 MiB/,
        ],
        ['a date before year 1', { kind: 'date' }, '-719163', /column refused holds a date or time outside/],
        [
          'a timestamp after year 9999',
          { kind: 'timestamp_ntz' },
          "'253402300800000000'",
          /column refused holds a date or time outside/,
        ],
      ],
    };
    for (const [what, type, value, message] of refusals[engineName]) {
      it(`refuses ${what} by the column's name and leaves nothing behind`, async () => {
        const relation = columnsOf([
          { name: 'id', type: { kind: 'long' }, values: ['1'] },
          { name: 'refused', type, values: [value] },
        ]);
        const name = `refusal of ${what}`;
        const table = driver.plan(name, relation.columns, plain);
        const error = await caught(() => session.load(engine, table, relation, quiet));
        assert.equal(error.code, 'UnrepresentableValue', error.message);
        assert.match(error.message, message);
        assert.equal(error.subject, `${name}.refused`);
        assert.notInclude(await session.listTables(), name);
        assert.deepEqual(await engine.rows('SELECT 1 AS n'), [{ n: 1 }]);
      });
    }
  });
}

function field(name: string, kind: Exclude<DataType['kind'], 'decimal' | 'struct' | 'array' | 'map'>): Field {
  return { name, physicalName: name, nullable: true, type: { kind } };
}

function fromSql(sql: string, columns: readonly Field[]): Relation {
  return { columns, sql, rows: undefined, sizeBytes: undefined, name: 'made for a test' };
}

function none(columns: readonly Field[]): Relation {
  const values = columns.map(({ name, type }) => `CAST(NULL AS ${engineType(type)}) AS \`${name}\``);
  return fromSql(`SELECT ${values.join(', ')} WHERE 0`, columns);
}

/** As many rows as the longest list of values (or `rows`), each column going round its own. */
function columnsOf(columns: typeof extremes, rows = Math.max(...columns.map(({ values }) => values.length))): Relation {
  const expressions = columns.map(({ name, type, values }) => {
    const casts = values.map((value) => `CAST(${value} AS ${engineType(type)})`);
    return `[${casts.join(', ')}][number % ${values.length} + 1] AS \`${name}\``;
  });
  const fields = columns.map(({ name, type }) => ({ name, physicalName: name, nullable: true, type }));
  return { ...fromSql(`SELECT ${expressions.join(', ')} FROM numbers(${rows})`, fields), rows };
}

async function hexRows(engine: Engine, relation: Relation): Promise<unknown[]> {
  const columns = relation.columns.map(({ name }) => `substring(hex(toString(\`${name}\`)), 1, 400) AS \`${name}\``);
  return await engine.rows(`SELECT ${columns.join(', ')} FROM (${relation.sql}) ORDER BY ALL`);
}

async function count(engine: Engine, relation: Relation): Promise<number> {
  const [row] = await engine.rows<{ n: string }>(`SELECT count() AS n FROM (${relation.sql})`);
  return Number(row?.n);
}

async function caught(action: () => Promise<unknown>): Promise<ParityError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof ParityError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
