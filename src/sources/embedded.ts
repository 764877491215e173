import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ResolvedSource } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import { throwIfAborted } from '../support/retry.ts';
import { mysqlServer } from './embedded-mysql.ts';
import { postgresServer } from './embedded-postgres.ts';
import { type Exit, type ServerProcess, startServerProcess, stopStray } from './server-process.ts';
import type { Connection } from './source.ts';

export interface EmbeddedOptions {
  /** A folder of this server's own: data, log and credentials lie in it. Used again, it starts the same server with the same content. */
  readonly dir: string;
  /** Name of the source, for messages. */
  readonly name: string;
  readonly signal: AbortSignal;
}

export interface EmbeddedServer {
  readonly connection: Connection;
  readonly pid: number;
  /** Settles when the server's process ends, wanted or not; a crash is seen here first. */
  readonly exited: Promise<Exit>;
  /** Ends the server within seconds, by force if need be. The folder stays. */
  stop(): Promise<void>;
}

/** What differs between database servers; everything about processes, ports and waiting is shared. */
export interface EmbeddedKind {
  readonly label: string;
  readonly database: string;
  /** Makes the data folder unless a complete one is there. */
  initialise(paths: ServerPaths, credentials: Credentials, signal: AbortSignal): Promise<void>;
  command(paths: ServerPaths, credentials: Credentials): Promise<ServerCommand>;
  /** Connects and runs `SELECT 1`; throws while the server is not ready. */
  ping(connection: Connection): Promise<void>;
}

export interface ServerPaths {
  readonly dir: string;
  readonly data: string;
  readonly log: string;
  readonly scratch: string;
}

export interface Credentials {
  readonly user: string;
  readonly password: string;
  readonly port: number;
}

export interface ServerCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /**
   * What lets the server run as root, for folders that only root may enter; undefined where it refuses to. (MariaDB asks by `access()`, for which a
   * kept capability does not count: it took its own tables for broken.)
   */
  readonly rootArgs?: readonly string[];
  /** The server's own way to end soon without losing what was committed. */
  readonly stopSignal: NodeJS.Signals;
}

const startTimeoutMs = 60_000;

/**
 * Starts a database server for one source: loopback only, a free port, a random password, no fsync (its content can be made again
 * at any time). It ends when `stop` is called, and also when this process dies. Returns once `SELECT 1` works.
 *
 * Throws `NotFound` where the server's programs are not on the machine, `Timeout` where it is not ready in a minute, `Crashed` with the
 * last lines of its log where it ended, `Cancelled` on an abort.
 */
export async function startEmbedded(
  engine: ResolvedSource['engine'],
  options: EmbeddedOptions,
): Promise<EmbeddedServer> {
  const kind = kindOf(engine);
  const subject = `source ${options.name}`;
  const paths = await makeFolders(options.dir);
  await stopStray(options.dir);
  let attempt = 0;
  for (;;) {
    throwIfAborted(options.signal);
    const credentials = await credentialsOf(options.dir, attempt > 0);
    await kind.initialise(paths, credentials, options.signal);
    const command = await kind.command(paths, credentials);
    const process = await startServerProcess(command, paths);
    const connection = { host: '127.0.0.1', database: kind.database, ...credentials };
    try {
      await untilReady(kind, connection, process, subject, options.signal);
      return { connection, pid: process.pid, exited: process.exited, stop: () => process.stop() };
    } catch (error) {
      await process.stop();
      // Between finding a free port and listening on it somebody else may have taken it.
      if (error instanceof ParityError && error.code === 'Crashed' && ++attempt < 3) continue;
      throw error;
    }
  }
}

function kindOf(engine: ResolvedSource['engine']): EmbeddedKind {
  switch (engine) {
    case 'Postgres':
      return postgresServer;
    case 'MySQL':
      return mysqlServer;
    case 'Snowflake':
      throw new ParityError('UnsupportedFeature', 'Starting Snowflake: there is no server of it to start.', {
        advice: 'Name an account with sources[].external.',
      });
  }
}

async function makeFolders(dir: string): Promise<ServerPaths> {
  const paths = { dir, data: join(dir, 'data'), log: join(dir, 'server.log'), scratch: join(dir, 'tmp') };
  await mkdir(dir, { recursive: true });
  await mkdir(paths.scratch, { recursive: true, mode: 0o700 });
  return paths;
}

/** Kept beside the data, for this user only, so that a server started again answers to the same password. */
async function credentialsOf(dir: string, needsNewPort: boolean): Promise<Credentials> {
  const file = join(dir, 'credentials.json');
  const saved = await readFile(file, 'utf8').catch(() => undefined);
  const before: unknown = saved === undefined ? undefined : JSON.parse(saved);
  const port = isCredentials(before) && !needsNewPort && (await isFree(before.port)) ? before.port : await freePort();
  const password = isCredentials(before) ? before.password : randomBytes(18).toString('base64url');
  const credentials = { user: 'parity', password, port };
  await writeFile(`${file}.new`, JSON.stringify(credentials), { mode: 0o600 });
  await chmod(`${file}.new`, 0o600);
  await rename(`${file}.new`, file);
  return credentials;
}

function isCredentials(value: unknown): value is Credentials {
  return (
    typeof value === 'object' &&
    value !== null &&
    'password' in value &&
    typeof value.password === 'string' &&
    'port' in value &&
    typeof value.port === 'number'
  );
}

async function untilReady(
  kind: EmbeddedKind,
  connection: Connection,
  process: ServerProcess,
  subject: string,
  signal: AbortSignal,
): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  let last: unknown;
  while (Date.now() < deadline) {
    if (signal.aborted) throw new ParityError('Cancelled', `Starting ${kind.label} for ${subject} was cancelled.`);
    const exit = process.exit();
    if (exit !== undefined) {
      throw new ParityError(
        'Crashed',
        `Starting ${kind.label} for ${subject}: the server ended (${exit.signal ?? `exit code ${exit.code}`}): ${await process.lastWords()}`,
        { subject, advice: `Read ${process.logFile}.` },
      );
    }
    try {
      await kind.ping(connection);
      return;
    } catch (error) {
      last = error;
    }
    await Promise.race([delay(50), process.exited]);
  }
  throw new ParityError(
    'Timeout',
    `Starting ${kind.label} for ${subject}: no answer to SELECT 1 within ${startTimeoutMs / 1000} s.`,
    { subject, advice: `Read ${process.logFile}.`, cause: last, isRetryable: true },
  );
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string')
    throw new ParityError('Internal', 'Finding a free port: the system gave none.');
  return address.port;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
