import { assert } from 'chai';
import type { CloneFrom } from '../../src/api/resolved.ts';
import { rowDigest } from '../../src/compare/row-digest.ts';
import type { DataType, Field } from '../../src/lake/types.ts';
import type { OwnedSession } from '../../src/sources/session.ts';
import { snowflakeDriver as driver } from '../../src/sources/snowflake.ts';
import { connectSnowflake, type SnowflakeClient } from '../../src/sources/snowflake-client.ts';
import type { SourceTable } from '../../src/sources/source.ts';
import { runAdvance } from '../../src/tasks/advance.ts';
import { runRehydrate } from '../../src/tasks/rehydrate.ts';
import { errorOf, tableSpec } from '../support/snapshot-run.ts';
import { ownSchema, realAccount, type SnowflakeAccount, sharedSnowflake } from '../support/snowflake.ts';
import { openSourceRun, type SourceRun } from '../support/source-run.ts';

const signal = new AbortController().signal;
const tables = [
  tableSpec('airlines', { baseVersion: '1', version: '4', key: ['carrier'], cursor: 'updated_at' }),
  {
    ...tableSpec('types', { baseVersion: '1', version: '3', key: ['id'], cursor: 'updated_at' }),
    exclude: ['text_nul'],
  },
];
const names = tables.map(({ name }) => name);

const account = realAccount();
suite('Snowflake (emulated)', sharedSnowflake);
if (account !== undefined) suite('Snowflake (account)', async () => account);

/** What holds on any account. The tables to clone lie in a schema that a run like this one has loaded. */
function suite(title: string, open: () => Promise<SnowflakeAccount>): void {
  describe(`cloning tables that lie in ${title}`, function () {
    this.timeout(600_000);
    let run: SourceRun;
    let kept: Awaited<ReturnType<typeof ownSchema>>;
    let client: SnowflakeClient;
    let session: OwnedSession;
    let cloneFrom: CloneFrom;

    before(async () => {
      const target = await open();
      run = await openSourceRun('Snowflake', tables, [], target.connection);
      kept = await ownSchema(target);
      client = await connectSnowflake(kept.connection, signal);
      session = await driver.connect(run.connection, { signal });
      cloneFrom = { schema: `${kept.connection.database}.${kept.connection.snowflake?.schema}` };
    });
    after(async () => {
      await session?.close();
      await client?.close();
      await run?.close();
      await kept?.close();
    });

    const rehydrate = (loaded: readonly string[], from?: CloneFrom) =>
      runRehydrate(
        run.context(
          { kind: 'rehydrate', source: 'shop', tables: loaded },
          from === undefined ? {} : { cloneFrom: from },
        ),
      );

    it('proves the clone of a base, again as the first time, and advances it', async () => {
      const loaded = await rehydrate(names);
      for (const name of names)
        await client.run(
          `CREATE OR REPLACE TRANSIENT TABLE "${name}" CLONE ${run.connection.database}.${run.connection.snowflake?.schema}."${name}"`,
        );
      // A column that the manifest excludes, and a wider type: both as production may have them.
      for (const sql of [
        'ALTER TABLE "types" ADD COLUMN "text_nul" VARCHAR',
        'ALTER TABLE "types" ADD COLUMN "wide" NUMBER(38,0)',
        'UPDATE "types" SET "wide" = "int32"',
        'ALTER TABLE "types" DROP COLUMN "int32"',
        'ALTER TABLE "types" RENAME COLUMN "wide" TO "int32"',
      ])
        await client.run(sql);
      const cloned = await rehydrate(names, cloneFrom);
      assert.deepEqual(
        cloned.detail.tables.map(({ name, at, rows, digest }) => [name, at, rows, digest]),
        loaded.detail.tables.map(({ name, at, rows, digest }) => [name, at, rows, digest]),
      );
      assert.deepEqual(cloned.detail.tables[0]?.notes, [
        `a clone of ${cloneFrom.schema}."airlines", with its types and keys`,
      ]);
      assert.deepEqual((await rehydrate(['airlines'], cloneFrom)).detail.tables, cloned.detail.tables.slice(0, 1));
      const advanced = await runAdvance(
        run.context({ kind: 'advance', step: 'to-version', source: 'shop', tables: names }, { cloneFrom }),
      );
      assert.deepEqual(
        advanced.detail.tables.map(({ applied }) => applied),
        [
          { deleted: 2, inserted: 2 },
          { deleted: 11, inserted: 18 },
        ],
      );
    });

    it('is no pass where another version, or nothing, lies there', async () => {
      await client.run(`UPDATE "airlines" SET "name" = 'changed' WHERE "carrier" = 'AA'`);
      const changed = await errorOf(rehydrate(['airlines'], cloneFrom));
      assert.deepEqual([changed.code, changed.subject, changed.isRetryable], ['ProofFailed', 'airlines.name', false]);
      assert.include(
        changed.message,
        `Proving airlines, a clone of ${cloneFrom.schema}."airlines": it holds other values`,
      );
      await client.run('TRUNCATE TABLE "airlines"');
      const empty = await errorOf(rehydrate(['airlines'], cloneFrom));
      assert.deepEqual([empty.code, empty.subject], ['ProofFailed', 'airlines'], empty.message);
      assert.match(empty.message, /it holds 0 rows where .* has 16\.$/);
      assert.match(empty.advice ?? '', /leave cloneFrom out/);
    });

    const integer: DataType = { kind: 'integer' };
    const misfits: readonly [string, string, DataType, string, string, RegExp][] = [
      ['a column less', '"other" NUMBER(10,0)', integer, 'NULL', 'UnsupportedFeature', /there is no column c\.$/],
      [
        'names in capitals',
        'C NUMBER(10,0)',
        integer,
        'NULL',
        'UnsupportedFeature',
        /no column c \(C is another one: names keep their case\)/,
      ],
      [
        'a column more',
        '"c" NUMBER(10,0), "d" DATE',
        integer,
        'NULL, NULL',
        'UnsupportedFeature',
        /column d is not one of the snapshot's/,
      ],
      [
        'text for a number',
        '"c" VARCHAR',
        integer,
        "'1'",
        'UnsupportedFeature',
        /column c is varchar\(\d+\), and integer in the snapshot, which a load would make number\(10,0\)/,
      ],
      ['fractions', '"c" NUMBER(12,2)', integer, '1.5', 'UnsupportedFeature', /column c is number\(12,2\)/],
      [
        'another scale',
        '"c" NUMBER(10,3)',
        { kind: 'decimal', precision: 10, scale: 2 },
        '1.505',
        'UnsupportedFeature',
        /column c is number\(10,3\), and decimal\(10,2\)/,
      ],
      [
        'a number that would wrap around',
        '"c" NUMBER(38,0)',
        integer,
        '4294967297',
        'UnrepresentableValue',
        /column c in Snowflake holds a number that no integer is/,
      ],
      [
        'a number beyond a long',
        '"c" NUMBER(38,0)',
        { kind: 'long' },
        '-9223372036854775809',
        'UnrepresentableValue',
        /that no long is/,
      ],
      ['a double for a float', '"c" FLOAT', { kind: 'float' }, '0.1', 'UnrepresentableValue', /that no float is/],
    ];
    for (const [what, columns, type, values, code, message] of misfits) {
      it(`refuses ${what} by name`, async () => {
        await client.run(`CREATE OR REPLACE TRANSIENT TABLE "t" (${columns})`);
        await client.run(`INSERT INTO "t" SELECT ${values}`);
        const error = await errorOf(cloneAndRead(type));
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
      });
    }

    for (const [type, sqlType, values] of [
      [{ kind: 'byte' }, 'NUMBER(38,0)', ['-128', '127', 'NULL']],
      [{ kind: 'long' }, 'NUMBER(38,0)', ['-9223372036854775808', '9223372036854775807', 'NULL']],
      [{ kind: 'float' }, 'FLOAT', ['0.5', "CAST('NaN' AS FLOAT)", 'NULL']],
    ] as const satisfies readonly [DataType, string, readonly string[]][]) {
      it(`takes every ${type.kind} in ${sqlType}`, async () => {
        await client.run(`CREATE OR REPLACE TRANSIENT TABLE "t" ("c" ${sqlType})`);
        await client.run(`INSERT INTO "t" ${values.map((value) => `SELECT ${value}`).join(' UNION ALL ')}`);
        assert.equal(await cloneAndRead(type), values.length);
      });
    }

    it('refuses nanoseconds by name', async () => {
      await client.run('CREATE OR REPLACE TRANSIENT TABLE "t" ("c" TIMESTAMP_NTZ(9))');
      await client.run(`INSERT INTO "t" SELECT '1970-01-01 00:00:01.000001001'`);
      // The emulator keeps microseconds only.
      const [kept] = await client.run(`SELECT DATE_PART('nanosecond', "c") AS "n" FROM "t"`);
      if (Number(kept?.n) % 1000 === 0) assert.equal(await cloneAndRead({ kind: 'timestamp_ntz' }), 1);
      else assert.match((await errorOf(cloneAndRead({ kind: 'timestamp_ntz' }))).message, /column c holds a time with/);
    });

    it('says what is not there, and which grants it takes', async () => {
      const missing = await errorOf(session.clone?.(planned('nowhere', integer), cloneFrom, []) ?? Promise.resolve());
      assert.deepEqual([missing.code, missing.subject], ['NotFound', 'nowhere'], missing.message);
      assert.include(missing.message, `Cloning ${cloneFrom.schema}."nowhere" in Snowflake: there is no such table`);
      assert.match(missing.advice ?? '', /case included; grant the role USAGE on .* SELECT on the table/);
      const schema = await errorOf(
        session.clone?.(planned('t', integer), { schema: 'NOWHERE.AT_ALL' }, []) ?? Promise.resolve(),
      );
      assert.equal(schema.code, 'NotFound', schema.message);
    });

    it('says that there is no history so far back', async () => {
      const error = await errorOf(
        session.clone?.(planned('t', integer), { ...cloneFrom, at: '2001-01-01T00:00:00Z' }, []) ?? Promise.resolve(),
      );
      assert.deepEqual([error.code, error.subject], ['NotFound', 't'], error.message);
      assert.match(error.message, /there is no history of it back to 2001-01-01T00:00:00Z/);
    });

    /** How many rows are read of a clone of the table `t`, whose column is the snapshot's `type`. */
    async function cloneAndRead(type: DataType): Promise<number> {
      const table = await session.clone?.(planned('t', type), cloneFrom, []);
      assert.isDefined(table);
      const options = { signal, onProgress: () => undefined };
      const { rows } = await session.scan(run.engine, table, options, (read) => rowDigest(run.engine, read));
      return rows;
    }
  });
}

describe('cloning tables in an emulated Snowflake account', () => {
  it('is one statement for a table, and none that moves rows there', async () => {
    const emulated = await sharedSnowflake();
    const [from, to] = [await ownSchema(emulated), await ownSchema(emulated)];
    const schema = `${from.connection.database}.${from.connection.snowflake?.schema}`;
    const client = await connectSnowflake(from.connection, signal);
    await client.run('CREATE TRANSIENT TABLE "t" ("c" NUMBER(10,0))');
    await client.close();
    const session = await driver.connect(to.connection, { signal });
    await emulated.observe();
    const at = { schema, at: '2026-01-01T00:00:00Z' };
    const table = planned('t', { kind: 'integer' });
    await session.clone?.(table, { schema }, []);
    await errorOf(session.clone?.(table, at, []) ?? Promise.resolve());
    const { statements } = await emulated.observe();
    const clone = `CREATE OR REPLACE TRANSIENT TABLE "t" CLONE ${schema}."t"`;
    assert.deepEqual(
      statements.map(({ text }) => text),
      [clone, 'DESCRIBE TABLE "t"', `${clone} AT (TIMESTAMP => TO_TIMESTAMP_TZ('2026-01-01T00:00:00Z'))`],
    );
    await session.close();
    await from.close();
    await to.close();
  });
});

function planned(name: string, type: DataType): SourceTable {
  const column: Field = { name: 'c', physicalName: 'c', nullable: true, type };
  return driver.plan(name, [column], { primaryKey: [], cursor: undefined, columns: [] });
}
