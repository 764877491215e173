import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { assert } from 'chai';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { rowDigest } from '../../src/compare/row-digest.ts';
import { openEngine } from '../../src/engine/chdb.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Relation } from '../../src/lake/relation.ts';
import type { Field } from '../../src/lake/types.ts';
import { type EmbeddedServer, startEmbedded } from '../../src/sources/embedded.ts';
import { sourceDriver } from '../../src/sources/registry.ts';
import { createRunDatabase, dropRunDatabase } from '../../src/sources/run-database.ts';
import type { Connection } from '../../src/sources/source.ts';
import { ParityError } from '../../src/support/error.ts';
import { ownServer, sharedServer } from '../support/databases.ts';
import { errorOf } from '../support/snapshot-run.ts';

const signal = new AbortController().signal;
const quiet = { signal, onProgress: () => undefined };
const plain = { primaryKey: [], cursor: undefined, columns: [] };
const cwd = process.cwd();

for (const engineName of ['Postgres', 'MySQL'] as const) {
  const driver = sourceDriver(engineName);

  describe(`a ${engineName} source in trouble`, function () {
    this.timeout(120_000);
    let engine: Engine;
    let scratch: string;

    before(async () => {
      process.chdir('/');
      scratch = await mkdtemp(join(tmpdir(), 'parity-faults-'));
      engine = await openEngine({ scratch, memoryBytes: 512 * 1024 * 1024, threads: 2 });
    });
    after(async () => {
      await engine.close();
      await rm(scratch, { recursive: true, force: true });
      process.chdir(cwd);
    });

    it('names host and user where the password is wrong, and not the password', async () => {
      const { connection } = await sharedServer(engineName);
      const error = await errorOf(driver.connect({ ...connection, password: 'not-the-password' }, { signal }));
      assert.equal(error.code, 'AccessDenied');
      assert.include(error.message, `127.0.0.1:${connection.port}`);
      assert.include(error.message, 'user parity was refused');
      assert.notInclude(JSON.stringify(error), 'not-the-password');
    });

    it('says that nothing answers where no server is', async () => {
      const error = await errorOf(
        driver.connect({ ...(await deadEnd()), user: 'u', password: 'p', database: 'd' }, { signal }),
      );
      assert.deepEqual([error.code, error.isRetryable], ['Unreachable', true]);
    });

    it('names a database that is not there', async () => {
      const { connection } = await sharedServer(engineName);
      const error = await errorOf(driver.connect({ ...connection, database: 'nowhere' }, { signal }));
      assert.equal(error.code, 'NotFound');
      assert.include(error.message, 'nowhere');
    });

    for (const how of ['stopped', 'killed'] as const) {
      it(`is unreachable when its server is ${how} in the middle of a load, and loads again when it is back`, async () => {
        const dir = join(scratch, `${engineName}-${how}`);
        await mkdir(dir);
        const server = await startEmbedded(engineName, { dir, name: 'test', signal });
        let again: EmbeddedServer | undefined;
        try {
          const table = driver.plan('big', rows(1).columns, plain);
          const session = await driver.connect(server.connection, { signal });
          await session.load(engine, table, rows(5), quiet);
          const end = await untilLoading(
            async (onProgress) => {
              const error = await errorOf(session.load(engine, table, rows(20_000_000), { signal, onProgress }));
              await session.close();
              return error;
            },
            () => (how === 'stopped' ? void server.stop() : process.kill(server.pid, 'SIGKILL')),
          );
          assert.deepEqual([end.code, end.isRetryable], ['Unreachable', true], end.message);
          await server.exited;
          again = await startEmbedded(engineName, { dir, name: 'test', signal });
          const next = await driver.connect(again.connection, { signal });
          assert.deepEqual(await next.listTables(), ['big']);
          assert.equal((await next.scan(engine, table, quiet, (back) => rowDigest(engine, back))).rows, 5);
          assert.equal(await next.load(engine, table, rows(1000), quiet), 1000);
          await next.close();
        } finally {
          await again?.stop();
          await server.stop();
        }
      });
    }

    it('is unreachable when its server is killed in the middle of reading, never a shorter table', async () => {
      const server = await ownServer(engineName);
      try {
        const table = driver.plan('big', rows(1).columns, plain);
        const session = await driver.connect(server.connection, { signal });
        await session.load(engine, table, rows(2_000_000), quiet);
        let isKilled = false;
        // The reader dawdles, so that the server cannot be through when it is killed.
        const slowly = (relation: Relation): Promise<{ rows: number }> =>
          engine
            .rows<{ n: string }>(`SELECT count() AS n FROM (${relation.sql}) WHERE sleep(0.2) = 0`, {
              onProgress: ({ readRows }) => {
                if (readRows > 0 && !isKilled) process.kill(server.pid, 'SIGKILL');
                isKilled ||= readRows > 0;
              },
            })
            .then(([row]) => ({ rows: Number(row?.n) }));
        const error = await errorOf(session.scan(engine, table, quiet, slowly));
        assert.isTrue(isKilled);
        assert.deepEqual([error.code, error.isRetryable], ['Unreachable', true], error.message);
        await session.close();
      } finally {
        await server.stop();
      }
    });

    it('is left as it was when a load is cancelled, at once', async () => {
      const { connection } = await sharedServer(engineName);
      const table = driver.plan('cancelled', rows(1).columns, plain);
      const stop = new AbortController();
      const session = await driver.connect(connection, { signal: stop.signal });
      await session.load(engine, table, rows(7), quiet);
      const error = await untilLoading(
        (onProgress) => errorOf(session.load(engine, table, rows(50_000_000), { signal: stop.signal, onProgress })),
        () => stop.abort(),
      );
      assert.equal(error.code, 'Cancelled', error.message);
      await session.close();
      const next = await driver.connect(connection, { signal });
      assert.equal((await next.scan(engine, table, quiet, (back) => rowDigest(engine, back))).rows, 7);
      await next.close();
    });

    it('is loaded as if nothing had been when the process that loaded it is killed', async () => {
      const { connection } = await sharedServer(engineName);
      const script = join(import.meta.dirname, '../support/load-process.ts');
      const own = await mkdtemp(join(scratch, 'load-'));
      const child = spawn(process.execPath, [script, engineName, 'killed', '50000000', own], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { ...process.env, NODE_NO_WARNINGS: '1' },
      });
      const exit = once(child, 'exit');
      child.stdin.end(JSON.stringify(connection));
      await Promise.race([once(child.stdout, 'data'), exit]);
      child.kill('SIGKILL');
      await exit;
      const session = await driver.connect(connection, { signal });
      const table = driver.plan('killed', rows(1).columns, { ...plain, primaryKey: ['id'] });
      assert.equal(await session.load(engine, table, rows(1000), quiet), 1000);
      const read = await session.scan(engine, table, quiet, (back) => rowDigest(engine, back));
      assert.deepEqual(read, await rowDigest(engine, rows(1000)));
      await session.close();
    });

    it('has a database of its own for a run, and nothing after it', async () => {
      const { connection } = await sharedServer(engineName);
      const run = { uid: crypto.randomUUID(), installation: 'test' };
      const before = await databases(engineName, connection);
      const one = await createRunDatabase(connection, engineName, run, 'one');
      const two = await createRunDatabase(connection, engineName, run, 'two');
      assert.deepEqual(await createRunDatabase(connection, engineName, run, 'one'), one);
      const other = { uid: crypto.randomUUID(), installation: 'test' };
      const bystander = await createRunDatabase(connection, engineName, other);
      const session = await driver.connect(two, { signal });
      await session.load(engine, driver.plan('t', rows(1).columns, plain), rows(3), quiet);
      await dropRunDatabase(connection, engineName, run);
      await dropRunDatabase(connection, engineName, run);
      await session.close();
      assert.deepEqual((await databases(engineName, connection)).sort(), [...before, bystander.database].sort());
      await dropRunDatabase(connection, engineName, other);
      assert.deepEqual((await databases(engineName, connection)).sort(), before.sort());
    });

    it('reads its bytes past a proxy that the environment names', async () => {
      const { connection } = await sharedServer(engineName);
      const before = process.env.http_proxy;
      process.env.http_proxy = 'http://127.0.0.1:9';
      const session = await driver.connect(connection, { signal });
      try {
        const table = driver.plan('proxied', rows(1).columns, plain);
        await session.load(engine, table, rows(3), quiet);
        assert.equal((await session.export(engine, table, quiet)).rows, 3);
      } finally {
        if (before === undefined) delete process.env.http_proxy;
        else process.env.http_proxy = before;
        await session.close();
      }
    });
  });
}

describe('an embedded server', () => {
  for (const engineName of ['Postgres', 'MySQL'] as const) {
    it(`keeps its content and its password when ${engineName} is started again in its folder`, async () => {
      const dir = await mkdtemp(join(tmpdir(), 'parity-embedded-'));
      try {
        const first = await startEmbedded(engineName, { dir, name: 'test', signal });
        await run(engineName, first.connection, 'CREATE TABLE kept (id int)');
        await first.stop();
        const second = await startEmbedded(engineName, { dir, name: 'test', signal });
        try {
          assert.equal(second.connection.password, first.connection.password);
          await run(engineName, second.connection, 'SELECT id FROM kept');
        } finally {
          await second.stop();
        }
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    });

    it(`ends ${engineName} when the process that started it is killed`, async () => {
      const dir = await mkdtemp(join(tmpdir(), 'parity-embedded-'));
      try {
        const script = join(import.meta.dirname, '../support/server-process.ts');
        const parent = spawn(process.execPath, [script, engineName, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
        const [said] = await once(parent.stdout, 'data');
        const pid = Number(String(said));
        parent.kill('SIGKILL');
        await once(parent, 'exit');
        const deadline = Date.now() + 20_000;
        while (await isRunning(pid)) assert.isBelow(Date.now(), deadline, `${engineName} outlives its parent`);
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    });
  }

  for (const engineName of ['Postgres', 'MySQL'] as const) {
    it(`of ${engineName} starts in a folder whose making was cut short by kill -9, whenever that was`, async () => {
      const dir = await mkdtemp(join(tmpdir(), 'parity-embedded-'));
      try {
        const script = join(import.meta.dirname, '../support/server-process.ts');
        const ends: Promise<unknown[]>[] = [];
        for (const files of [1, 5, 50, 200]) {
          const parent = spawn(process.execPath, [script, engineName, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
          const ended = once(parent, 'exit');
          const said = Promise.race([once(parent.stdout, 'data'), ended]).then(() => true);
          while ((await filesBelow(join(dir, 'data'))) < files && !(await Promise.race([said, delay(1, false)])));
          parent.kill('SIGKILL');
          ends.push(ended);
        }
        for (const end of ends) assert.deepEqual(await end, [null, 'SIGKILL'], 'it went on from the one before');
        const server = await startEmbedded(engineName, { dir, name: 'test', signal });
        await run(engineName, server.connection, 'CREATE TABLE made (id int)');
        await server.stop();
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    });
  }

  it('that is cancelled before it has begun says so', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'parity-embedded-'));
    const error = await errorOf(startEmbedded('Postgres', { dir, name: 'test', signal: AbortSignal.abort() }));
    assert.equal(error.code, 'Cancelled');
    await rm(dir, { recursive: true });
  });

  it('starts several at a time', async () => {
    const servers = await Promise.all([ownServer('Postgres'), ownServer('MySQL'), ownServer('Postgres')]);
    assert.equal(new Set(servers.map(({ connection }) => connection.port)).size, 3);
    await Promise.all(servers.map((server) => server.stop()));
  });

  it('says how to get MySQL where its programs are not in the folder that was named, whatever is on the PATH', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'parity-embedded-'));
    const named = process.env.PARITY_MYSQL_BIN;
    process.env.PARITY_MYSQL_BIN = dir;
    try {
      await startEmbedded('MySQL', { dir, name: 'test', signal: new AbortController().signal });
      assert.fail('it has started another server');
    } catch (error) {
      assert.instanceOf(error, ParityError);
      assert.equal(error.message, `Starting MySQL: neither mariadbd nor mysqld is in PARITY_MYSQL_BIN=${dir}.`);
      assert.include(error.advice, 'apt-get install mariadb-server');
    } finally {
      if (named === undefined) delete process.env.PARITY_MYSQL_BIN;
      else process.env.PARITY_MYSQL_BIN = named;
      await rm(dir, { recursive: true });
    }
  });
});

async function filesBelow(folder: string): Promise<number> {
  return (await readdir(folder, { recursive: true }).catch(() => [])).length;
}

/** Starts loading, and does something once its first bytes are on their way. */
async function untilLoading<Result>(
  load: (onProgress: (progress: { bytes: number }) => void) => Promise<Result>,
  then: () => void,
): Promise<Result> {
  let isDone = false;
  return await load(({ bytes }) => {
    if (isDone || bytes < 5_000_000) return;
    isDone = true;
    then();
  });
}

function rows(count: number): Relation {
  const columns: Field[] = [
    { name: 'id', physicalName: 'id', nullable: true, type: { kind: 'long' } },
    { name: 'note', physicalName: 'note', nullable: true, type: { kind: 'string' } },
  ];
  const sql = `SELECT number::Nullable(Int64) AS id, concat('note ', toString(number))::Nullable(String) AS note FROM numbers(${count})`;
  return { columns, sql, rows: count, sizeBytes: undefined, name: 'made for a test' };
}

async function databases(engineName: 'Postgres' | 'MySQL', connection: Connection): Promise<string[]> {
  if (engineName === 'Postgres')
    return (await run(engineName, connection, 'SELECT datname AS n FROM pg_database')).map(String);
  return (await run(engineName, connection, 'SELECT schema_name AS n FROM information_schema.schemata')).map(String);
}

async function run(engineName: 'Postgres' | 'MySQL', connection: Connection, sql: string): Promise<unknown[]> {
  if (engineName === 'Postgres') {
    const client = new pg.Client(connection);
    await client.connect();
    const result = await client.query<{ n: unknown }>(sql);
    await client.end();
    return (result.rows ?? []).map(({ n }) => n);
  }
  const client = await mysql.createConnection(connection);
  const [result] = await client.query<mysql.RowDataPacket[]>(sql);
  await client.end();
  return Array.isArray(result) ? result.map((row) => row.n) : [];
}

async function deadEnd(): Promise<{ host: string; port: number }> {
  const server = await ownServer('Postgres');
  await server.stop();
  return { host: '127.0.0.1', port: server.connection.port };
}

/** A process that has ended but that nobody has waited for yet does not run. */
async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return stat !== undefined && !/\) [ZX] /.test(stat);
}
