import { createHash } from 'node:crypto';
import mysql from 'mysql2/promise';
import pg from 'pg';
import type { LandingEngine, ResolvedSource } from '../api/resolved.ts';
import { createClickHouseDatabase, dropClickHouseDatabases } from './clickhouse-database.ts';
import { clientOptions as mysqlOptions } from './mysql-client.ts';
import { diagnoseMysql } from './mysql-errors.ts';
import { mysqlIdentifier } from './mysql-types.ts';
import { clientOptions as postgresOptions } from './postgres.ts';
import { diagnosePostgres } from './postgres-errors.ts';
import { pgIdentifier } from './postgres-types.ts';
import { createRunSchema, dropRunSchemas } from './snowflake-schema.ts';
import type { Connection } from './source.ts';
import { toSourceError } from './source-errors.ts';

/** Whose a thing is that a run has made. */
export interface RunMark {
  readonly uid: string;
  readonly installation: string;
}

/**
 * Makes the run's own database on a server that was there, and returns the connection to it: `parity_<uid>`, and one for each source where several
 * share a server. In Snowflake it is a schema of the connection's database. Again it does nothing. Nothing else on the server is touched. `beforeMaking` is awaited once the server has let us in: until then
 * nothing has been made that would have to be dropped.
 * Throws `AccessDenied` naming host and user, `Unreachable`.
 */
export async function createRunDatabase(
  connection: Connection,
  engine: LandingEngine,
  run: RunMark,
  source?: string,
  beforeMaking?: () => Promise<void>,
): Promise<Connection> {
  const database = runDatabaseName(run.uid, source);
  if (engine === 'Snowflake') return await createRunSchema(connection, database, run, beforeMaking);
  if (engine === 'ClickHouse') return await createClickHouseDatabase(connection, database, run, beforeMaking);
  await onServer(connection, engine, `making database ${database}`, async (server) => {
    const databases = await server.databases();
    await beforeMaking?.();
    if (!databases.includes(database)) await server.create(database);
  });
  return { ...connection, database };
}

/** Drops what `createRunDatabase` made for the run, ending sessions that still use it. A database that is gone already is no error. */
export async function dropRunDatabase(connection: Connection, engine: LandingEngine, run: RunMark): Promise<void> {
  const own = runDatabaseName(run.uid);
  if (engine === 'Snowflake') return await dropRunSchemas(connection, own, run);
  if (engine === 'ClickHouse') return await dropClickHouseDatabases(connection, own, run);
  await onServer(connection, engine, `dropping database ${own}`, async (server) => {
    for (const name of await server.databases())
      if (name === own || name.startsWith(`${own}_`)) await server.drop(name);
  });
}

/** The full UID is the proof of whose it is; 63 bytes are the most that Postgres takes. */
export function runDatabaseName(uid: string, source?: string): string {
  const own = `parity_${uid.toLowerCase().replaceAll('-', '_')}`;
  return source === undefined ? own : `${own}_${createHash('sha256').update(source).digest('hex').slice(0, 8)}`;
}

interface Server {
  databases(): Promise<string[]>;
  create(name: string): Promise<void>;
  drop(name: string): Promise<void>;
}

async function onServer(
  connection: Connection,
  engine: Exclude<ResolvedSource['engine'], 'Snowflake'>,
  doing: string,
  action: (server: Server) => Promise<void>,
): Promise<void> {
  switch (engine) {
    case 'Postgres':
      return await onPostgres(connection, doing, action);
    case 'MySQL':
      return await onMysql(connection, doing, action);
  }
}

async function onPostgres(
  connection: Connection,
  doing: string,
  action: (server: Server) => Promise<void>,
): Promise<void> {
  const client = new pg.Client(postgresOptions(connection));
  client.on('error', () => undefined);
  try {
    await client.connect();
    await action({
      databases: async () =>
        (await client.query<{ name: string }>('SELECT datname AS name FROM pg_database')).rows.map(({ name }) => name),
      create: async (name) => {
        await client.query(`CREATE DATABASE ${pgIdentifier(name)} TEMPLATE template0 ENCODING 'UTF8'`);
      },
      drop: async (name) => {
        await client.query(`DROP DATABASE IF EXISTS ${pgIdentifier(name)} WITH (FORCE)`);
      },
    });
  } catch (error) {
    throw toSourceError(error, { engine: 'Postgres', doing, connection }, diagnosePostgres(connection));
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function onMysql(
  connection: Connection,
  doing: string,
  action: (server: Server) => Promise<void>,
): Promise<void> {
  let client: mysql.Connection | undefined;
  try {
    const session = await mysql.createConnection(mysqlOptions(connection));
    client = session;
    session.on('error', () => undefined);
    await action({
      databases: async () => {
        const [rows] = await session.query<mysql.RowDataPacket[]>(
          'SELECT schema_name AS name FROM information_schema.schemata',
        );
        return rows.map((row) => String(row.name));
      },
      create: async (name) => {
        await session.query(`CREATE DATABASE IF NOT EXISTS ${mysqlIdentifier(name)} DEFAULT CHARACTER SET utf8mb4`);
      },
      drop: async (name) => {
        await session.query(`DROP DATABASE IF EXISTS ${mysqlIdentifier(name)}`);
      },
    });
  } catch (error) {
    throw toSourceError(error, { engine: 'MySQL', doing, connection }, diagnoseMysql(connection));
  } finally {
    client?.destroy();
  }
}
