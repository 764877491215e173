import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { ResolvedSource } from '../../src/api/resolved.ts';
import { type EmbeddedServer, startEmbedded } from '../../src/sources/embedded.ts';
import { clientOptions } from '../../src/sources/postgres.ts';
import type { Connection } from '../../src/sources/source.ts';

type EngineName = ResolvedSource['engine'];

const started = new Map<EngineName, Promise<EmbeddedServer>>();
const folders: string[] = [];

/** A server that all tests of this process share; gone when they have run. Each test uses tables, or a database, of its own. */
export function sharedServer(engine: EngineName): Promise<EmbeddedServer> {
  const running = started.get(engine) ?? ownServer(engine);
  started.set(engine, running);
  return running;
}

/** A server for one test, which stops it or does something worse to it. */
export async function ownServer(engine: EngineName): Promise<EmbeddedServer> {
  const dir = await mkdtemp(join(tmpdir(), `parity-${engine.toLowerCase()}-`));
  folders.push(dir);
  return await startEmbedded(engine, { dir, name: 'test', signal: new AbortController().signal });
}

/** The databases that a run has on the shared Postgres. */
export async function databasesOf(uid: string): Promise<readonly string[]> {
  const { connection } = await sharedServer('Postgres');
  const text = 'SELECT datname AS name FROM pg_database WHERE datname LIKE $1';
  const rows = await ask<{ name: string }>(connection, text, [`parity\\_${uid.replaceAll('-', '\\_')}%`]);
  return rows.map(({ name }) => name);
}

/** How many rows a table of a Postgres database has, in whichever schema it is. */
export async function rowsOf(connection: Connection, table: string): Promise<number> {
  const [found] = await ask<{ schema: string }>(
    connection,
    'SELECT table_schema AS schema FROM information_schema.tables WHERE table_name = $1',
    [table],
  );
  const [counted] = await ask<{ rows: number }>(
    connection,
    `SELECT count(*)::int AS rows FROM "${found?.schema}"."${table}"`,
    [],
  );
  return counted?.rows ?? 0;
}

async function ask<Row extends pg.QueryResultRow>(
  connection: Connection,
  text: string,
  values: readonly string[],
): Promise<readonly Row[]> {
  const client = new pg.Client(clientOptions(connection));
  await client.connect();
  try {
    return (await client.query<Row>(text, [...values])).rows;
  } finally {
    await client.end();
  }
}

after(async () => {
  for (const server of started.values()) await (await server).stop();
  for (const dir of folders) await rm(dir, { recursive: true, force: true });
});
