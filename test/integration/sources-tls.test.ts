import { chown, copyFile, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import pg from 'pg';
import { rowDigest } from '../../src/compare/row-digest.ts';
import { openEngine } from '../../src/engine/chdb.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Relation } from '../../src/lake/relation.ts';
import type { Field } from '../../src/lake/types.ts';
import { type EmbeddedServer, startEmbedded } from '../../src/sources/embedded.ts';
import { mysqlServer } from '../../src/sources/embedded-mysql.ts';
import { sourceDriver } from '../../src/sources/registry.ts';
import { startServerProcess } from '../../src/sources/server-process.ts';
import type { Connection } from '../../src/sources/source.ts';
import { makeCertificates } from '../support/certificates.ts';
import { errorOf } from '../support/snapshot-run.ts';

const signal = new AbortController().signal;
const quiet = { signal, onProgress: () => undefined };
const plain = { primaryKey: [], cursor: undefined, columns: [] };

describe('a source whose secret has a CA', function () {
  this.timeout(120_000);
  const cwd = process.cwd();
  const stops: (() => Promise<void>)[] = [];
  let folder: string;
  let engine: Engine;
  let ca: string;
  let otherCa: string;

  before(async () => {
    process.chdir('/');
    folder = await mkdtemp(join(tmpdir(), 'parity-tls-'));
    await mkdir(join(folder, 'engine'));
    engine = await openEngine({ scratch: join(folder, 'engine'), memoryBytes: 512 * 1024 * 1024, threads: 2 });
    ca = await makeCertificates(folder, 'own');
    otherCa = await makeCertificates(folder, 'other');
  });
  after(async () => {
    for (const stop of stops) await stop();
    await engine.close();
    await rm(folder, { recursive: true, force: true });
    process.chdir(cwd);
  });

  const start = { Postgres: postgresWithTls, MySQL: mysqlWithTls };
  for (const engineName of ['Postgres', 'MySQL'] as const) {
    it(`is loaded and read over TLS in ${engineName}, and refused where another CA vouches for the server`, async () => {
      const server = await start[engineName](folder);
      stops.push(() => server.stop());
      const driver = sourceDriver(engineName);
      const session = await driver.connect({ ...server.connection, ca }, { signal });
      const table = driver.plan('secret', rows.columns, plain);
      assert.equal(await session.load(engine, table, rows, quiet), 10_000);
      assert.deepEqual(
        await session.scan(engine, table, quiet, (back) => rowDigest(engine, back)),
        await rowDigest(engine, rows),
      );
      assert.deepEqual(
        await rowDigest(engine, await session.export(engine, table, quiet)),
        await rowDigest(engine, rows),
      );
      await session.close();
      const error = await errorOf(driver.connect({ ...server.connection, ca: otherCa }, { signal }));
      assert.equal(error.code, 'AccessDenied', error.message);
      assert.match(error.message, /certificate/);
    });

    it(`is refused in ${engineName} where the server does not speak TLS`, async () => {
      const server = await startEmbedded(engineName, {
        dir: join(folder, `plain-${engineName}`),
        name: 'plain',
        signal,
      });
      stops.push(() => server.stop());
      const error = await errorOf(sourceDriver(engineName).connect({ ...server.connection, ca }, { signal }));
      assert.equal(error.code, 'AccessDenied', error.message);
      assert.match(error.message, /does not speak TLS/);
    });
  }
});

const columns: Field[] = [
  { name: 'id', physicalName: 'id', nullable: true, type: { kind: 'long' } },
  { name: 'text', physicalName: 'text', nullable: true, type: { kind: 'string' } },
  { name: 'bytes', physicalName: 'bytes', nullable: true, type: { kind: 'binary' } },
  { name: 'at', physicalName: 'at', nullable: true, type: { kind: 'timestamp' } },
];
const rows: Relation = {
  columns,
  sql: `SELECT number::Nullable(Int64) AS id, if(number % 3 = 0, NULL, repeat('é', number % 200))::Nullable(String) AS text,
        unhex(hex(number))::Nullable(String) AS bytes, (number * 1000003)::Nullable(Int64) AS at FROM numbers(10000)`,
  rows: 10_000,
  sizeBytes: undefined,
  name: 'made for a test',
};

/** Key and certificate where the server's user may read them, and nobody else. */
async function giveCertificate(folder: string, data: string): Promise<void> {
  const { uid, gid } = await stat(data);
  for (const file of ['own.key', 'own.crt']) {
    await copyFile(join(folder, file), join(data, file));
    await chown(join(data, file), uid, gid);
  }
}

async function postgresWithTls(folder: string): Promise<EmbeddedServer> {
  const dir = join(folder, 'postgres');
  const server = await startEmbedded('Postgres', { dir, name: 'tls', signal });
  await giveCertificate(folder, join(dir, 'data'));
  const client = new pg.Client(server.connection);
  await client.connect();
  for (const setting of ["ssl_cert_file = 'own.crt'", "ssl_key_file = 'own.key'", 'ssl = on'])
    await client.query(`ALTER SYSTEM SET ${setting}`);
  await client.query('SELECT pg_reload_conf()');
  while ((await client.query<{ ssl: string }>('SHOW ssl')).rows[0]?.ssl !== 'on');
  await client.end();
  return server;
}

async function mysqlWithTls(folder: string): Promise<{ connection: Connection; stop(): Promise<void> }> {
  const dir = join(folder, 'mysql');
  const paths = { dir, data: join(dir, 'data'), log: join(dir, 'server.log'), scratch: join(dir, 'tmp') };
  await mkdir(paths.scratch, { recursive: true });
  const probe = await startEmbedded('MySQL', { dir, name: 'tls', signal });
  await probe.stop();
  await giveCertificate(folder, paths.data);
  const { user, password, port } = probe.connection;
  const command = await mysqlServer.command(paths, { user, password, port });
  const tls = ['--ssl-cert=own.crt', '--ssl-key=own.key', '--require-secure-transport=ON'];
  const server = await startServerProcess({ ...command, args: [...command.args, ...tls] }, paths);
  // It listens when a connection without TLS is refused for that, and no longer for want of a server.
  for (let isUp = false; !isUp && server.exit() === undefined; )
    isUp = await mysqlServer.ping(probe.connection).then(
      () => true,
      (error: unknown) => !/ECONNREFUSED|lost/i.test(String(error)),
    );
  return { connection: probe.connection, stop: () => server.stop() };
}
