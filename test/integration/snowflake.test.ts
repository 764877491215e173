import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { assert } from 'chai';
import { rowDigest } from '../../src/compare/row-digest.ts';
import { openEngine } from '../../src/engine/chdb.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Relation } from '../../src/lake/relation.ts';
import type { DataType, Field } from '../../src/lake/types.ts';
import { parseConnection } from '../../src/sources/connection.ts';
import { createRunDatabase, dropRunDatabase } from '../../src/sources/run-database.ts';
import { askServer } from '../../src/sources/server-version.ts';
import { snowflakeDriver as driver } from '../../src/sources/snowflake.ts';
import { connectSnowflake } from '../../src/sources/snowflake-client.ts';
import type { PlanOptions } from '../../src/sources/source.ts';
import { exampleLake, exampleTables, Place } from '../support/runs.ts';
import { errorOf } from '../support/snapshot-run.ts';
import {
  type EmulatedAccount,
  ownSchema,
  realAccount,
  type SnowflakeAccount,
  sharedSnowflake,
  startSnowflake,
} from '../support/snowflake.ts';

const signal = new AbortController().signal;
const quiet = { signal, onProgress: () => undefined };
const plain: PlanOptions = { primaryKey: [], cursor: undefined, columns: [] };
const owner = { name: 'shop', secret: 'shop-account' };
const cwd = process.cwd();

let engine: Engine;
/** Processes that died with a session, which an account ends by itself after a while. */
let killed = 0;
let scratch: string;

describe('a Snowflake source', () => {
  let death: ReturnType<typeof errorOf>;

  before(async () => {
    process.chdir('/');
    scratch = await mkdtemp(join(tmpdir(), 'parity-snowflake-test-'));
    await mkdir(join(scratch, 'engine'));
    engine = await openEngine({ scratch: join(scratch, 'engine'), memoryBytes: 512 * 1024 * 1024, threads: 2 });
    // Waited for by the last test: the driver tries for a minute or two.
    death = dieInSession();
    death.catch(() => undefined);
  });
  after(async () => {
    await engine.close();
    await rm(scratch, { recursive: true, force: true });
    process.chdir(cwd);
  });

  // The generic suite of all sources (sources.test.ts) runs on both as well.
  const account = realAccount();
  suite('Snowflake (emulated)', sharedSnowflake);
  if (account !== undefined) suite('Snowflake (account)', async () => account);

  describe('an emulated Snowflake account', function () {
    this.timeout(300_000);
    let emulated: EmulatedAccount;

    before(async () => {
      emulated = await sharedSnowflake();
    });

    for (const kind of ['keys', 'keyPair', 'encryptedKeyPair', 'token'] as const) {
      it(`lets in who comes with the right ${kind === 'keys' ? 'password' : kind}`, async () => {
        const client = await connectSnowflake(parseConnection('Snowflake', emulated[kind], owner), signal);
        assert.deepEqual(await client.run('SELECT 1 AS "one"'), [{ one: '1' }]);
        await client.close();
      });
    }

    const without = (name: string, keys: Readonly<Record<string, string>>): Record<string, string> =>
      Object.fromEntries(Object.entries(keys).filter(([key]) => key !== name));
    const refusals: readonly [string, (account: EmulatedAccount) => Record<string, string>, string, RegExp][] = [
      [
        'a wrong password',
        ({ keys }) => ({ ...keys, password: 'not the one' }),
        'AccessDenied',
        /user PARITY was refused/,
      ],
      ['another user', ({ keys }) => ({ ...keys, user: 'SOMEBODY' }), 'AccessDenied', /user SOMEBODY was refused/],
      [
        'a wrong OAuth token',
        ({ token }) => ({ ...token, token: 'not the one' }),
        'AccessDenied',
        /the OAuth token of user/,
      ],
      [
        "a private key that is not the user's",
        ({ keyPair }) => ({ ...keyPair, user: 'SOMEBODY' }),
        'AccessDenied',
        /the private key of user SOMEBODY was refused/,
      ],
      [
        'a wrong passphrase',
        ({ encryptedKeyPair }) => ({ ...encryptedKeyPair, passphrase: 'not the one' }),
        'AccessDenied',
        /the private key cannot be read/,
      ],
      [
        'an encrypted key without its passphrase',
        ({ encryptedKeyPair }) => without('passphrase', encryptedKeyPair),
        'AccessDenied',
        /the private key cannot be read/,
      ],
      [
        'text that is no key',
        ({ keyPair }) => ({ ...keyPair, privateKey: 'not a key' }),
        'AccessDenied',
        /the private key cannot be read/,
      ],
      ['another account', ({ keys }) => ({ ...keys, account: 'nowhere' }), 'NotFound', /no account nowhere answers/],
      [
        'another warehouse',
        ({ keys }) => ({ ...keys, warehouse: 'NOWHERE' }),
        'NotFound',
        /there is no warehouse NOWHERE/,
      ],
      [
        'another database',
        ({ keys }) => ({ ...keys, database: 'NOWHERE' }),
        'NotFound',
        /there is no database NOWHERE/,
      ],
      ['no warehouse at all', ({ keys }) => ({ ...keys, warehouse: '"' }), 'NotFound', /there is no warehouse "/],
      ['another role', ({ keys }) => ({ ...keys, role: 'NOBODY' }), 'AccessDenied', /does not have the role NOBODY/],
      [
        'an address where nothing answers',
        ({ keys }) => ({ ...keys, accessUrl: 'http://127.0.0.1:9' }),
        'Unreachable',
        /nothing answers|the connection was lost/,
      ],
    ];
    for (const [what, keysOf, code, message] of refusals) {
      it(`refuses ${what} in one sentence`, async () => {
        const keys = keysOf(emulated);
        const error = await errorOf(connectSnowflake(parseConnection('Snowflake', keys, owner), signal));
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
        assert.isDefined(error.advice, error.message);
        for (const secret of ['password', 'privateKey', 'passphrase', 'token'])
          if (keys[secret] !== undefined) assert.notInclude(`${error.message} ${error.advice}`, keys[secret]);
      });
    }

    const halves: readonly [string, (account: EmulatedAccount) => Record<string, string>, RegExp][] = [
      ['no credential', ({ keys }) => without('password', keys), /has 0 of the keys password, privateKey and token/],
      ['two credentials', ({ keys, token }) => ({ ...keys, ...token }), /has 2 of the keys/],
      ['no account', ({ keys }) => without('account', keys), /has no key "account"/],
      ['no database', ({ keys }) => without('database', keys), /has no key "database"/],
      ['an account that is a URL', ({ keys }) => ({ ...keys, account: 'https://x.y/' }), /has no usable account/],
    ];
    for (const [what, keysOf, message] of halves) {
      it(`takes no secret with ${what}`, () => {
        assert.throws(() => parseConnection('Snowflake', keysOf(emulated), owner), message);
      });
    }

    it('is given as many statements for a million rows as for ten, none with a bound value, and keeps nothing staged', async () => {
      const place = await ownSchema(emulated);
      const session = await driver.connect(place.connection, { signal });
      const table = driver.plan('counted', rows(1).columns, { ...plain, primaryKey: ['id'] });
      const journey = async (count: number): Promise<readonly string[]> => {
        await emulated.observe();
        await session.load(engine, table, rows(count), quiet);
        await session.scan(engine, table, quiet, (read) => rowDigest(engine, read));
        const { statements, stagedFiles } = await emulated.observe();
        assert.equal(stagedFiles, 0);
        assert.isFalse(statements.some(({ binds }) => binds));
        return statements.map((statement) => statement.text.trim().split(/[\s@]/)[0] ?? '');
      };
      await journey(1);
      const few = await journey(10);
      assert.deepEqual(await journey(1_000_000), few);
      assert.deepEqual(few, ['CREATE', 'PUT', 'COPY', 'REMOVE', 'CREATE', 'ALTER', 'DROP', 'COPY', 'GET', 'REMOVE']);
      await session.close();
      await place.close();
    });

    it('takes the memory that the engine is given, and none for the rows', async () => {
      const place = await ownSchema(emulated);
      const own = await mkdtemp(join(scratch, 'memory-'));
      const script = join(import.meta.dirname, '../support/memory-process.ts');
      const memory = 384 * 1024 ** 2;
      const child = spawn(process.execPath, [script, own, String(memory), '4000000'], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { ...process.env, NODE_NO_WARNINGS: '1' },
      });
      child.stdin.end(JSON.stringify(place.connection));
      const peak: { before: number; after: number } = JSON.parse(await text(child.stdout));
      await place.close();
      // About 800 MB of text go through each way.
      assert.isBelow(peak.after - peak.before, memory + 128 * 1024 ** 2, JSON.stringify(peak));
    });

    it('tells its version', async () => {
      assert.match(await askServer('Snowflake', emulated.connection), /^\d+\.\d+\.\d+/);
    });

    it('has no session left but those of processes that were killed', async () => {
      assert.equal((await emulated.observe()).sessions, killed);
    });

    it('is unreachable when it dies in the middle of a session, in bounded time', async () => {
      const error = await death;
      assert.deepEqual([error.code, error.isRetryable], ['Unreachable', true], error.message);
    });
  });
});

/** What a load says whose account dies in the middle of a session. */
async function dieInSession(): ReturnType<typeof errorOf> {
  const mortal = await startSnowflake();
  try {
    const place = await ownSchema(mortal);
    const session = await driver.connect(place.connection, { signal });
    const table = driver.plan('t', rows(1).columns, plain);
    await session.load(engine, table, rows(5), quiet);
    await mortal.kill();
    const error = await errorOf(session.load(engine, table, rows(5), quiet));
    await session.close();
    return error;
  } finally {
    await mortal.stop();
  }
}

/** What holds on any account. */
function suite(title: string, open: () => Promise<SnowflakeAccount>): void {
  describe(title, function () {
    this.timeout(600_000);
    let target: SnowflakeAccount;
    let place: Awaited<ReturnType<typeof ownSchema>>;

    before(async () => {
      target = await open();
      place = await ownSchema(target);
    });
    after(() => place?.close());

    const string: DataType = { kind: 'string' };
    const struct: DataType = {
      kind: 'struct',
      fields: [field('z', { kind: 'double' }), field('a', string), field('n', { kind: 'long' })],
    };
    const types: readonly [string, DataType, string, readonly string[]][] = [
      ['varchar(3)', string, 'varchar(3)', ["'abc'", "''", 'NULL']],
      ['char(2)', string, 'char(2)', ["'ab'", "'a'", 'NULL']],
      ['number(5,2) for text', string, 'number(5,2)', ["'123.45'", "'-0.50'", 'NULL']],
      ['number for an integer', { kind: 'integer' }, 'number(38,0)', ['-2147483648', '2147483647', 'NULL']],
      [
        'timestamp_tz for an instant',
        { kind: 'timestamp' },
        'timestamp_tz(6)',
        ["'1699999999123456'", "'-62135596800000000'", 'NULL'],
      ],
      ['timestamp_ntz for an instant', { kind: 'timestamp' }, 'timestamp_ntz(9)', ["'253402300799999999'", 'NULL']],
      [
        'variant for an array',
        { kind: 'array', element: string, containsNull: true },
        'variant',
        ['\'["a",null,"b"]\'', "'[]'", 'NULL'],
      ],
      [
        'object for a struct, whose keys it orders anew',
        struct,
        'object',
        ['\'{"z":0.1,"a":"x","n":9223372036854775807}\'', '\'{"z":null,"a":null,"n":null}\'', 'NULL'],
      ],
      ['varchar for a struct', struct, 'varchar', ['\'{"z":1e300,"a":"\\\\u0001","n":1}\'', 'NULL']],
      [
        'object for a map',
        { kind: 'map', key: string, value: { kind: 'long' }, valueContainsNull: true },
        'object',
        ['\'{"a":1,"b":null}\'', "'{}'", 'NULL'],
      ],
    ];
    for (const [what, type, sqlType, values] of types) {
      it(`holds and gives back ${what}`, async () => {
        const session = await driver.connect(place.connection, { signal });
        const relation = column(type, values);
        const columns = [{ table: 'typed', column: 'c', type: sqlType }];
        const table = driver.plan('typed', relation.columns, { ...plain, columns });
        assert.equal(table.columns[0]?.sqlType, sqlType);
        await session.load(engine, table, relation, quiet);
        const back = await session.scan(engine, table, quiet, (read) => rowDigest(engine, read));
        await session.close();
        assert.deepEqual(back, await rowDigest(engine, relation));
      });
    }

    it('names the column whose values are not of the type that the manifest gives it', async () => {
      const session = await driver.connect(place.connection, { signal });
      const relation = fromSql("SELECT 1::Nullable(Int32) AS id, 'abc'::Nullable(String) AS name", [
        field('id', { kind: 'integer' }),
        field('name', string),
      ]);
      const columns = [{ table: 'misfit', column: 'name', type: 'number(10,0)' }];
      const table = driver.plan('misfit', relation.columns, { ...plain, columns });
      const error = await errorOf(session.load(engine, table, relation, quiet));
      assert.deepEqual([error.code, error.subject], ['UnrepresentableValue', 'misfit.name']);
      assert.notInclude(error.message, 'abc');
      assert.notInclude(await session.listTables(), 'misfit');
      await session.close();
    });

    it('loads and reads a table without a row', async () => {
      const session = await driver.connect(place.connection, { signal });
      const table = driver.plan('empty', rows(1).columns, { ...plain, primaryKey: ['id'] });
      assert.equal(await session.load(engine, table, rows(0), quiet), 0);
      assert.deepEqual(await session.listTables(), ['empty', 'typed']);
      assert.equal((await session.scan(engine, table, quiet, (read) => rowDigest(engine, read))).rows, 0);
      assert.deepEqual(await session.apply(engine, table, { deletes: rows(0), inserts: rows(2) }, quiet), {
        deleted: 0,
        inserted: 2,
      });
      await session.close();
    });

    it('has a schema of its own for a run, and nothing after it', async () => {
      const run = { uid: crypto.randomUUID(), installation: 'mine' };
      const one = await createRunDatabase(target.connection, 'Snowflake', run, 'one');
      assert.deepEqual(await createRunDatabase(target.connection, 'Snowflake', run, 'one'), one);
      const two = await createRunDatabase(target.connection, 'Snowflake', run, 'two');
      const session = await driver.connect(two, { signal });
      await session.load(engine, driver.plan('t', rows(1).columns, plain), rows(3), quiet);
      await session.close();
      assert.sameMembers(await schemasOf(target, run.uid), [one.snowflake?.schema, two.snowflake?.schema]);
      await dropRunDatabase(target.connection, 'Snowflake', run);
      await dropRunDatabase(target.connection, 'Snowflake', run);
      assert.deepEqual(await schemasOf(target, run.uid), []);
    });

    it('neither uses nor drops a schema of the same name that another installation has marked', async () => {
      const run = { uid: crypto.randomUUID(), installation: 'theirs' };
      await createRunDatabase(target.connection, 'Snowflake', run);
      const ours = { ...run, installation: 'ours' };
      for (const attempt of [createRunDatabase, dropRunDatabase]) {
        const error = await errorOf(attempt(target.connection, 'Snowflake', ours));
        assert.equal(error.code, 'AccessDenied', error.message);
        assert.match(error.message, /does not carry the mark of run/);
      }
      assert.lengthOf(await schemasOf(target, run.uid), 1);
      await dropRunDatabase(target.connection, 'Snowflake', run);
      assert.deepEqual(await schemasOf(target, run.uid), []);
    });

    it('is loaded as if nothing had been when the process that loaded it is killed', async () => {
      const own = await mkdtemp(join(scratch, 'load-'));
      const script = join(import.meta.dirname, '../support/load-process.ts');
      const child = spawn(process.execPath, [script, 'Snowflake', 'killed', '3000000', own], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { ...process.env, NODE_NO_WARNINGS: '1' },
      });
      const exit = once(child, 'exit');
      child.stdin.end(JSON.stringify(place.connection));
      // Its files are on the stage, and the table is not there.
      const [said] = await Promise.race([once(child.stdout, 'data'), exit]);
      child.kill('SIGKILL');
      killed++;
      await exit;
      assert.equal(String(said), 'loading\n');
      const session = await driver.connect(place.connection, { signal });
      assert.notInclude(await session.listTables(), 'killed');
      const table = driver.plan('killed', rows(1).columns, { ...plain, primaryKey: ['id'] });
      assert.equal(await session.load(engine, table, rows(1000), quiet), 1000);
      const back = await session.scan(engine, table, quiet, (read) => rowDigest(engine, read));
      assert.deepEqual(back, await rowDigest(engine, rows(1000)));
      await session.close();
    });

    it('stays as it was when a load is cancelled', async () => {
      const table = driver.plan('cancelled', rows(1).columns, plain);
      const stop = new AbortController();
      const session = await driver.connect(place.connection, { signal: stop.signal });
      await session.load(engine, table, rows(7), quiet);
      const onProgress = ({ bytes }: { bytes: number }): void => {
        if (bytes > 0) stop.abort();
      };
      const error = await errorOf(session.load(engine, table, rows(500_000), { signal: stop.signal, onProgress }));
      assert.equal(error.code, 'Cancelled', error.message);
      await session.close();
      const next = await driver.connect(place.connection, { signal });
      assert.equal((await next.scan(engine, table, quiet, (read) => rowDigest(engine, read))).rows, 7);
      await next.close();
    });

    it('carries a run from end to end, full and incremental, and keeps nothing of it', async () => {
      const run = await Place.open();
      try {
        await run.secret('shop-account', target.keys);
        const manifest = await run.manifest(specOf('airlines', 'types'));
        const before = await schemasOf(target);
        const result = await run.parity(['run', manifest]);
        assert.equal(result.exitCode, 0, result.stdout + result.stderr);
        const report = await run.report();
        assert.equal(report.verdict, 'Passed');
        assert.deepEqual(
          report.comparisons.map(({ table }) => table),
          ['airlines', 'types', 'airlines', 'types'],
        );
        assert.deepEqual(await schemasOf(target), before);
        await run.expectNothingLeft();
      } finally {
        await run.close();
      }
    });

    it('is rid of the schema of a run that was killed, once gc has been there', async () => {
      const run = await Place.open();
      try {
        await run.secret('shop-account', target.keys);
        let uid = '';
        const { ended } = run.start(['run', await run.manifest(specOf('airlines')), '--json'], (event, driver) => {
          if (event.type === 'RunStarted') uid = event.run.uid;
          if (event.type === 'TaskStarted' && event.task.input.kind === 'rehydrate') driver.kill('SIGKILL');
        });
        const { exitCode, stdout, stderr } = await ended;
        assert.equal(exitCode, null, stdout + stderr);
        assert.equal((await schemasOf(target, uid)).length, 1);
        const collected = await run.parity(['gc']);
        assert.equal(collected.exitCode, 0, collected.stdout + collected.stderr);
        assert.deepEqual(await schemasOf(target, uid), []);
        await run.expectNothingLeft();
      } finally {
        await run.close();
      }
    });
  });
}

/** A run of tables of the example through the account, whose keys the secret `shop-account` holds. */
function specOf(...tables: readonly ('airlines' | 'types')[]): object {
  return {
    snapshot: { location: pathToFileURL(exampleLake).href, tables: tables.map((name) => exampleTables[name]) },
    sources: [{ name: 'shop', engine: 'Snowflake', tables, external: { secretRef: { name: 'shop-account' } } }],
    pipelines: [{ name: 'candidate', reference: {} }],
  };
}

function field(name: string, type: DataType): Field {
  return { name, physicalName: name, nullable: true, type };
}

function fromSql(sql: string, columns: readonly Field[]): Relation {
  return { columns, sql, rows: undefined, sizeBytes: undefined, name: 'made for a test' };
}

function rows(count: number): Relation {
  return fromSql(`SELECT number::Nullable(Int64) AS id FROM numbers(${count})`, [field('id', { kind: 'long' })]);
}

function column(type: DataType, values: readonly string[]): Relation {
  const cast = { integer: 'Nullable(Int32)', timestamp: 'Nullable(Int64)' };
  const engineType = type.kind === 'integer' || type.kind === 'timestamp' ? cast[type.kind] : 'Nullable(String)';
  const sql = values.map((value) => `SELECT CAST(${value} AS ${engineType}) AS c`).join(' UNION ALL ');
  return fromSql(sql, [field('c', type)]);
}

/** Schemas of runs in the account's database: all, or those of one. */
async function schemasOf(target: SnowflakeAccount, uid = ''): Promise<string[]> {
  const client = await connectSnowflake(target.connection, signal);
  const found = await client.run(`SHOW SCHEMAS LIKE 'PARITY%' IN DATABASE ${target.connection.database}`);
  await client.close();
  const part = uid.replaceAll('-', '_').toUpperCase();
  return found.flatMap(({ name }) => (name?.includes(part) ? [name] : []));
}
