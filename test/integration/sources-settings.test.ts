import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { rowDigest } from '../../src/compare/row-digest.ts';
import { openEngine } from '../../src/engine/chdb.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Relation } from '../../src/lake/relation.ts';
import type { DataType, Field } from '../../src/lake/types.ts';
import { type EmbeddedServer, startEmbedded } from '../../src/sources/embedded.ts';
import { postgresServer } from '../../src/sources/embedded-postgres.ts';
import { clientOptions } from '../../src/sources/mysql-client.ts';
import { sourceDriver } from '../../src/sources/registry.ts';
import { createRunDatabase, dropRunDatabase } from '../../src/sources/run-database.ts';
import { startServerProcess } from '../../src/sources/server-process.ts';
import type { Connection, PlanOptions } from '../../src/sources/source.ts';
import { ownServer, sharedServer } from '../support/databases.ts';
import { errorOf } from '../support/snapshot-run.ts';

const signal = new AbortController().signal;
const quiet = { signal, onProgress: () => undefined };
const plain: PlanOptions = { primaryKey: [], cursor: undefined, columns: [] };

// What an owner may have set on a real server, and what must change nothing.
describe('a server with settings of its own', function () {
  this.timeout(180_000);
  const cwd = process.cwd();
  const stops: (() => Promise<void>)[] = [];
  let folder: string;
  let engine: Engine;

  before(async () => {
    process.chdir('/');
    folder = await mkdtemp(join(tmpdir(), 'parity-settings-'));
    await mkdir(join(folder, 'engine'));
    engine = await openEngine({ scratch: join(folder, 'engine'), memoryBytes: 512 * 1024 * 1024, threads: 2 });
  });
  after(async () => {
    for (const stop of stops) await stop();
    await engine.close();
    await rm(folder, { recursive: true, force: true });
    process.chdir(cwd);
  });

  /** Loads all types, reads them back both ways, reads from a cursor on, advances; everything has to be as it was in the lake. */
  const proveAll = async (engineName: 'Postgres' | 'MySQL', connection: Connection): Promise<void> => {
    const session = await sourceDriver(engineName).connect(connection, { signal });
    const table = sourceDriver(engineName).plan('all "types"', rows(5).columns, {
      ...plain,
      primaryKey: ['id'],
      cursor: 'at',
      keyLengths: {},
    });
    const digest = async (): Promise<unknown> => await session.scan(engine, table, quiet, (r) => rowDigest(engine, r));
    assert.equal(await session.load(engine, table, rows(5), quiet), 5);
    assert.deepEqual(await digest(), await rowDigest(engine, rows(5)));
    assert.deepEqual(
      await rowDigest(engine, await session.export(engine, table, quiet)),
      await rowDigest(engine, rows(5)),
    );
    const since = { cursor: 'at', value: '2023-11-14 22:13:22.123456', inclusive: true };
    const late = await session.export(engine, table, { ...quiet, since });
    assert.equal((await rowDigest(engine, late)).rows, 3);
    await session.apply(engine, table, { deletes: rows(2), inserts: rows(2) }, quiet);
    assert.deepEqual(await digest(), await rowDigest(engine, rows(5)));
    await session.close();
  };

  it('changes nothing in Postgres: time zone, date and byte formats, digits of floats, backslashes, collation, NULLs', async () => {
    const { connection } = await sharedServer('Postgres');
    const run = { uid: crypto.randomUUID(), installation: 'test' };
    const own = await createRunDatabase(connection, 'Postgres', run);
    const client = new pg.Client(own);
    await client.connect();
    for (const setting of [
      "timezone = 'Asia/Kathmandu'",
      "datestyle = 'German, DMY'",
      "intervalstyle = 'sql_standard'",
      "bytea_output = 'escape'",
      'extra_float_digits = -10',
      'standard_conforming_strings = off',
      'transform_null_equals = on',
      'array_nulls = off',
      "client_encoding = 'LATIN1'",
      "default_transaction_isolation = 'serializable'",
      "lc_numeric = 'C'",
    ])
      await client.query(`ALTER DATABASE "${own.database}" SET ${setting}`);
    await client.end();
    await proveAll('Postgres', own);
    await dropRunDatabase(connection, 'Postgres', run);
  });

  it('changes nothing in MySQL: sql_mode, time zone, character set and collation', async () => {
    const server = await ownServer('MySQL');
    stops.push(() => server.stop());
    const client = await mysql.createConnection(clientOptions(server.connection));
    for (const setting of [
      "sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,PAD_CHAR_TO_FULL_LENGTH,NO_AUTO_VALUE_ON_ZERO'",
      "time_zone = '+05:45'",
      "collation_server = 'latin1_swedish_ci'",
      "collation_connection = 'latin1_german2_ci'",
      'sql_safe_updates = 1',
      "transaction_isolation = 'SERIALIZABLE'",
    ])
      await client.query(`SET GLOBAL ${setting}`).catch((error: unknown) => {
        // The two families do not have all of the same.
        if (!/Unknown system variable/.test(String(error))) throw error;
      });
    await client.end();
    await proveAll('MySQL', server.connection);
  });

  it('is loaded and read over a Unix socket in Postgres', async () => {
    const { connection, stop } = await postgresOnSocket(folder);
    stops.push(stop);
    await proveAll('Postgres', connection);
    const error = await errorOf(
      sourceDriver('Postgres').connect({ ...connection, host: join(folder, 'no') }, { signal }),
    );
    assert.equal(error.code, 'Unreachable', error.message);
  });

  it('is loaded and read over a Unix socket in MySQL', async () => {
    const dir = join(folder, 'my');
    const server = await startEmbedded('MySQL', { dir, name: 'socket', signal });
    stops.push(() => server.stop());
    const { user, password } = server.connection;
    const client = await mysql.createConnection(clientOptions(server.connection));
    // Who comes over a socket comes from localhost.
    await client.query('CREATE USER ?@localhost IDENTIFIED BY ?', [user, password]);
    await client.query('GRANT ALL ON *.* TO ?@localhost', [user]);
    await client.end();
    // Nothing listens on the port that it is given: what arrives has come over the socket.
    await proveAll('MySQL', { ...server.connection, host: join(dir, 'data', 'mysqld.sock'), port: 9 });
    const error = await errorOf(
      sourceDriver('MySQL').connect({ ...server.connection, host: join(dir, 'no') }, { signal }),
    );
    assert.equal(error.code, 'Unreachable', error.message);
  });

  for (const type of ['bigint generated always as identity', 'bigint generated by default as identity', 'bigserial']) {
    it(`keeps the numbers that rows have in a ${type} column of Postgres`, async () => {
      const { connection } = await sharedServer('Postgres');
      const session = await sourceDriver('Postgres').connect(connection, { signal });
      const columns = [{ table: 'numbered', column: 'id', type }];
      const table = sourceDriver('Postgres').plan('numbered', rows(5).columns, {
        ...plain,
        primaryKey: ['id'],
        columns,
      });
      await session.load(engine, table, rows(5), quiet);
      await session.apply(engine, table, { deletes: rows(2), inserts: rows(2) }, quiet);
      assert.deepEqual(
        await session.scan(engine, table, quiet, (r) => rowDigest(engine, r)),
        await rowDigest(engine, rows(5)),
      );
      await session.close();
    });
  }
});

function field(name: string, type: DataType): Field {
  return { name, physicalName: name, nullable: true, type };
}

/** Values that a setting could change: zones, formats, digits, quotes and backslashes, trailing blanks, case, bytes. */
function rows(count: number): Relation {
  const columns: readonly [string, DataType, string][] = [
    ['id', { kind: 'long' }, '(number * 3)::Nullable(Int64)'],
    ['at', { kind: 'timestamp' }, '(1700000000123456 + number * 1000000)::Nullable(Int64)'],
    ['wall clock', { kind: 'timestamp_ntz' }, '(1700000000123456 - number)::Nullable(Int64)'],
    ['day', { kind: 'date' }, '(19000 + number)::Nullable(Int32)'],
    ['real', { kind: 'double' }, '(number / 3 + 1e-300)::Nullable(Float64)'],
    ['small', { kind: 'float' }, 'toFloat32(number / 7)::Nullable(Float32)'],
    ['money', { kind: 'decimal', precision: 20, scale: 4 }, 'toDecimal128(number / 8, 4)::Nullable(Decimal(20,4))'],
    ['text', { kind: 'string' }, "['', 'Straße  ', 'a\\\\b''c\"d', NULL, 'strasse'][number % 5 + 1]::Nullable(String)"],
    ['bytes', { kind: 'binary' }, "unhex(['', '00ff5c27', '5c78', 'e9', NULL][number % 5 + 1])::Nullable(String)"],
    ['flag', { kind: 'boolean' }, '(number % 2 = 0)::Nullable(Bool)'],
  ];
  return {
    columns: columns.map(([name, type]) => field(name, type)),
    sql: `SELECT ${columns.map(([name, , sql]) => `${sql} AS \`${name}\``).join(', ')} FROM numbers(${count})`,
    rows: count,
    sizeBytes: undefined,
    name: 'made for a test',
  };
}

/** A Postgres that listens on a socket alone. */
async function postgresOnSocket(folder: string): Promise<Pick<EmbeddedServer, 'connection' | 'stop'>> {
  const dir = join(folder, 'pg');
  const probe = await startEmbedded('Postgres', { dir, name: 'socket', signal });
  await probe.stop();
  const { user, password, port, database } = probe.connection;
  const paths = { dir, data: join(dir, 'data'), log: join(dir, 'server.log'), scratch: join(dir, 'tmp') };
  const command = await postgresServer.command(paths, { user, password, port });
  // The folder of the data is the one that the server's user may write to.
  const alone = ['-c', 'listen_addresses=', '-c', `unix_socket_directories=${paths.data}`];
  const server = await startServerProcess({ ...command, args: [...command.args, ...alone] }, paths);
  const connection = { host: paths.data, port, user, password, database };
  for (let isUp = false; !isUp && server.exit() === undefined; )
    isUp = await postgresServer.ping(connection).then(
      () => true,
      () => false,
    );
  return { connection, stop: () => server.stop() };
}
