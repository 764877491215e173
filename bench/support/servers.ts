import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '../../src/sources/embedded.ts';
import type { Connection } from '../../src/sources/source.ts';
import { type Measured, measure } from './measure.ts';

export interface BenchServer {
  readonly connection: Connection;
  /** The connection as a file, for a child process. */
  readonly connectionFile: string;
  readonly url: string;
  readonly pid: number;
  /** Runs SQL, or loads by it, with the database's own command-line client. */
  client(sql: string): Promise<Measured>;
}

/** An embedded server for the time of `body`. */
export async function withServer(
  kind: 'Postgres' | 'MySQL',
  body: (server: BenchServer) => Promise<void>,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'parity-bench-server-'));
  const server = await startEmbedded(kind, { dir, name: 'bench', signal: new AbortController().signal });
  const { host, port, user, password, database } = server.connection;
  try {
    const connectionFile = join(dir, 'connection.json');
    await writeFile(connectionFile, JSON.stringify(server.connection), { mode: 0o600 });
    await body({
      connection: server.connection,
      connectionFile,
      pid: server.pid,
      url: `postgresql://${user}:${password}@${host}:${port}/${database}`,
      client: (sql) =>
        kind === 'Postgres'
          ? measure(['psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-h', host, '-p', String(port), '-U', user, database], {
              env: { ...process.env, PGPASSWORD: password },
              input: sql,
            })
          : measure(['mariadb', '--local-infile=1', '-h', host, '-P', String(port), '-u', user, database], {
              env: { ...process.env, MYSQL_PWD: password },
              input: sql,
            }),
    });
  } finally {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

/** The benchmark's table, as the floor's client makes it. */
export const createTable = {
  Postgres: (
    name: string,
  ): string => `DROP TABLE IF EXISTS ${name}; CREATE UNLOGGED TABLE ${name} (id bigint, customer integer,
    amount numeric(18,4), price double precision, updated_at timestamp(6), day date, status text, name text, note text, flag boolean);`,
  MySQL: (name: string): string => `DROP TABLE IF EXISTS ${name}; CREATE TABLE ${name} (id bigint, customer integer,
    amount decimal(18,4), price double, updated_at datetime(6), day date, status longtext, name longtext, note longtext, flag boolean)
    CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;`,
};
