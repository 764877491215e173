import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import { openEngine } from '../../src/engine/chdb.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Relation } from '../../src/lake/relation.ts';
import { formatType } from '../../src/lake/relation-types.ts';
import type { DataType, Field } from '../../src/lake/types.ts';
import { tableRelation } from '../../src/pipelines/landed-database.ts';
import { snowflakeType } from '../../src/pipelines/landed-snowflake.ts';
import { connectSnowflake, type SnowflakeClient } from '../../src/sources/snowflake-client.ts';
import type { Connection } from '../../src/sources/source.ts';
import { errorOf } from '../support/snapshot-run.ts';
import { ownSchema, realAccount, type SnowflakeAccount, sharedSnowflake } from '../support/snowflake.ts';

const signal = new AbortController().signal;
const cwd = process.cwd();

let engine: Engine;
let scratch: string;

describe('what a pipeline lands in Snowflake', () => {
  before(async () => {
    process.chdir('/');
    scratch = await mkdtemp(join(tmpdir(), 'parity-landed-snowflake-'));
    await mkdir(join(scratch, 'engine'));
    engine = await openEngine({ scratch: join(scratch, 'engine'), memoryBytes: 512 * 1024 * 1024, threads: 2 });
  });
  after(async () => {
    await engine.close();
    await rm(scratch, { recursive: true, force: true });
    process.chdir(cwd);
  });

  for (const type of ['geography', 'vector(float,3)', 'map(varchar,number(38,0))', 'file'])
    it(`is refused as ${type}, which has no exact type here`, () => {
      assert.isUndefined(snowflakeType(type));
    });

  const account = realAccount();
  suite('Snowflake (emulated)', sharedSnowflake);
  if (account !== undefined) suite('Snowflake (account)', async () => account);
});

function suite(name: string, open: () => Promise<SnowflakeAccount>): void {
  describe(`is read from ${name}`, function () {
    this.timeout(300_000);
    let connection: Connection;
    let client: SnowflakeClient;
    let close: () => Promise<void>;

    before(async () => {
      ({ connection, close } = await ownSchema(await open()));
      client = await connectSnowflake(connection, signal);
    });
    after(async () => {
      await client.close();
      await close();
    });

    const land = async (columns: string, values: string): Promise<void> => {
      await client.run(`CREATE OR REPLACE TABLE ORDERS (${columns})`);
      if (values !== '') await client.run(`INSERT INTO ORDERS SELECT ${values}`);
    };
    const read = (fields: readonly Field[] = []): Promise<Relation> =>
      tableRelation(
        engine,
        connection,
        {
          engineName: 'Snowflake',
          output: { format: 'Table', schema: null, table: 'orders' },
          table: 'orders',
          fields,
          columns: [],
        },
        { signal, onProgress: () => undefined },
      );

    const long: DataType = { kind: 'long' };
    const types: readonly [string, string, DataType, string, string][] = [
      ['NUMBER(19,0)', '9223372036854775807', long, 'long', '9223372036854775807'],
      ['NUMBER', '7', long, 'decimal(38,0)', '7'],
      ['NUMBER(38,10)', '1234567890123456789.0123456789', long, 'decimal(38,10)', '1234567890123456789.0123456789'],
      ['FLOAT', '1.5', { kind: 'double' }, 'double', '1.5'],
      ['BOOLEAN', 'TRUE', { kind: 'boolean' }, 'boolean', 'true'],
      ['VARCHAR', "'it''s'", { kind: 'string' }, 'string', "it's"],
      ['DATE', "'1969-12-31'", { kind: 'date' }, 'date', '-1'],
      ['TIMESTAMP_NTZ', "'1970-01-01 00:00:01.000001'", { kind: 'timestamp_ntz' }, 'timestamp_ntz', '1000001'],
      ['TIMESTAMP_NTZ(6)', "'1970-01-01 00:00:01.000001'", { kind: 'timestamp_ntz' }, 'timestamp_ntz', '1000001'],
      ['TIMESTAMP_LTZ(9)', "'1970-01-01 00:00:01'", { kind: 'timestamp' }, 'timestamp', '1000000'],
      ['TIME', "'12:13:14'", { kind: 'string' }, 'string', '12:13:14'],
      ['BINARY', "TO_BINARY('FF00', 'HEX')", { kind: 'string' }, 'binary', '\u{fffd}\0'],
      [
        'OBJECT',
        `PARSE_JSON('{ "a": 1 }')`,
        { kind: 'struct', fields: [field('a', long)] },
        'struct<a:long>',
        '{"a":1}',
      ],
    ];
    it('exactly, under names that were folded', async () => {
      const name = (index: number): string => `v${index}`;
      await land(
        types.map(([type], index) => `${name(index)} ${type}`).join(', '),
        types.map(([, value]) => value).join(', '),
      );
      const fields = types.map(([, , type], index) => field(name(index), type));
      const relation = await read(fields);
      assert.deepEqual(
        relation.columns.map((column) => [column.name, formatType(column.type)]),
        types.map(([, , , found], index) => [name(index), found]),
      );
      const values = types.map((_, index) => `toString(${name(index)}) AS ${name(index)}`);
      const [row] = await engine.rows<Record<string, string>>(`SELECT ${values.join(', ')} FROM (${relation.sql})`);
      assert.deepEqual(
        Object.values(row ?? {}),
        types.map(([, , , , text]) => text),
      );
    });

    it('not where a time has nanoseconds: that is an error with the name of the column, and no cut value', async () => {
      await land('moment TIMESTAMP_NTZ(9)', "'1970-01-01 00:00:01.000001001'");
      // The emulator keeps microseconds only.
      const [kept] = await client.run(`SELECT DATE_PART('nanosecond', MOMENT) AS "n" FROM ORDERS`);
      if (Number(kept?.n) % 1000 === 0) assert.equal((await read()).rows, 1);
      else assert.match((await errorOf(read())).message, /its column MOMENT holds a time with a part below/);
    });

    it('not where a number is none of the type that it stands for: it would wrap around, and be another one', async () => {
      await land('v0 NUMBER(19,0), v1 NUMBER(10,0), v2 FLOAT', '9223372036854775808, 4294967297, 0.1');
      const kinds = ['long', 'integer', 'float'] as const;
      const relation = await read(kinds.map((kind, index) => field(`v${index}`, { kind })));
      for (const [index, kind] of kinds.entries()) {
        const error = await errorOf(engine.rows(`SELECT v${index} FROM (${relation.sql})`));
        assert.equal(error.code, 'UnrepresentableValue', error.message);
        assert.match(error.message, new RegExp(`column V${index} in Snowflake holds a number that no ${kind} is`));
      }
    });

    it('where it is empty', async () => {
      await land('amount NUMBER, name VARCHAR', '');
      const relation = await read();
      assert.deepEqual([relation.rows, relation.columns.map((field) => field.name)], [0, ['AMOUNT', 'NAME']]);
    });

    it('not where there is no such table', async () => {
      await client.run('DROP TABLE IF EXISTS ORDERS');
      const error = await errorOf(read());
      assert.equal(error.code, 'NotFound');
      assert.match(error.message, /There is no table orders in the Snowflake database/);
    });
  });
}

function field(name: string, type: DataType): Field {
  return { name, physicalName: name, nullable: true, type };
}
