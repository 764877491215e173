import { execFile, spawn } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { parseConnection } from '../../src/sources/connection.ts';
import { createRunDatabase, dropRunDatabase } from '../../src/sources/run-database.ts';
import type { Connection } from '../../src/sources/source.ts';
import { env } from '../../src/support/env.ts';

type Keys = Readonly<Record<string, string>>;

/** An account to test on: emulated, or a real one. */
export interface SnowflakeAccount {
  /** What a source's secret holds. */
  readonly keys: Keys;
  readonly connection: Connection;
}

/** An emulated account (test/support/snowflake/server.py). What it does otherwise than a real one: docs/reference/snowflake.md. */
export interface EmulatedAccount extends SnowflakeAccount {
  /** Keys with each kind of credential in place of the password. */
  readonly keyPair: Keys;
  readonly encryptedKeyPair: Keys;
  readonly token: Keys;
  /** What has arrived since the last time, and what there is now. */
  observe(): Promise<Observation>;
  /** Ends the server at once, as a crash would. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

export interface Observation {
  readonly statements: readonly { readonly text: string; readonly binds: boolean }[];
  readonly sessions: number;
  readonly stagedFiles: number;
}

/** The real account that PARITY_TEST_SNOWFLAKE_ACCOUNT, _USER, _PASSWORD (…) describe, with the names of a secret's keys in capitals; undefined without them. */
export function realAccount(): SnowflakeAccount | undefined {
  const prefix = 'PARITY_TEST_SNOWFLAKE_';
  const names = ['account', 'user', 'password', 'privateKey', 'passphrase', 'token', 'warehouse', 'role', 'database'];
  const keys = Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[prefix + name.replaceAll(/[A-Z]/g, '_$&').toUpperCase()];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  return keys.account === undefined ? undefined : account(keys);
}

/** A schema of the test's own in an account. */
export async function ownSchema(
  account: SnowflakeAccount,
): Promise<{ readonly connection: Connection; readonly close: () => Promise<void> }> {
  const run = { uid: crypto.randomUUID(), installation: 'test' };
  const connection = await createRunDatabase(account.connection, 'Snowflake', run);
  return { connection, close: () => dropRunDatabase(account.connection, 'Snowflake', run) };
}

const started: EmulatedAccount[] = [];
let shared: Promise<EmulatedAccount> | undefined;

/** An account that all tests of this process share; gone when they have run. */
export function sharedSnowflake(): Promise<EmulatedAccount> {
  shared ??= startSnowflake();
  return shared;
}

/** Starts an emulated account on a free port; the first time its packages are installed from PyPI into the cache folder. */
export async function startSnowflake(): Promise<EmulatedAccount> {
  const python = await installedPython();
  const dir = await mkdtemp(join(tmpdir(), 'parity-snowflake-'));
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const passphrase = 'of the key';
  const about = {
    account: 'parity-test',
    user: 'PARITY',
    password: 'the right password',
    publicKey: pair.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    token: 'the right token',
    warehouse: 'PARITY_WH',
    database: 'PARITY_TESTS',
    role: 'PARITY_ROLE',
  };
  await writeFile(join(dir, 'account.json'), JSON.stringify(about));
  const server = spawn(python, [join(import.meta.dirname, 'snowflake/server.py'), join(dir, 'account.json')], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // What is on its stages lies here.
    env: { ...process.env, TMPDIR: dir, PYTHONWARNINGS: 'ignore' },
  });
  const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const errors: string[] = [];
  server.stderr.setEncoding('utf8').on('data', (text: string) => errors.push(text));
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    server.kill(signal);
    await exited;
  };
  const stop = async (): Promise<void> => {
    await end('SIGKILL');
    await rm(dir, { recursive: true, force: true });
  };
  const port = await Promise.race([
    new Promise<string>((resolve) => createInterface({ input: server.stdout }).once('line', resolve)),
    exited.then(async () => {
      await rm(dir, { recursive: true, force: true });
      throw new Error(`the emulated account did not start: ${errors.join('')}`);
    }),
  ]);
  const { password, publicKey: _, token, ...plain } = about;
  const common = { ...plain, accessUrl: `http://127.0.0.1:${port}` };
  const pem = (options: { cipher?: string; passphrase?: string } = {}): string =>
    pair.privateKey.export({ type: 'pkcs8', format: 'pem', ...options }).toString();
  const made: EmulatedAccount = {
    ...account({ ...common, password }),
    keyPair: { ...common, privateKey: pem() },
    encryptedKeyPair: { ...common, privateKey: pem({ cipher: 'aes-256-cbc', passphrase }), passphrase },
    token: { ...common, token },
    observe: async () => {
      const response = await fetch(`${common.accessUrl}/statements`, { method: 'POST' });
      return JSON.parse(await response.text());
    },
    kill: () => end('SIGKILL'),
    stop,
  };
  started.push(made);
  return made;
}

after(async () => {
  for (const server of started) await server.stop();
});

function account(keys: Keys): SnowflakeAccount {
  return { keys, connection: parseConnection('Snowflake', keys, { name: 'test', secret: 'test' }) };
}

/** Python with the emulator's packages, in an environment of its own that outlives the checkout. */
async function installedPython(): Promise<string> {
  const requirements = join(import.meta.dirname, 'snowflake/requirements.txt');
  const key = createHash('sha256')
    .update(await readFile(requirements))
    .digest('hex')
    .slice(0, 12);
  const venv = join(env.cacheDir(), `fakesnow-${key}`);
  const python = join(venv, 'bin', 'python');
  if (existsSync(join(venv, '.complete'))) return python;
  const run = promisify(execFile);
  await mkdir(env.cacheDir(), { recursive: true });
  await rm(venv, { recursive: true, force: true });
  await run('python3', ['-m', 'venv', venv]);
  await run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements]);
  await writeFile(join(venv, '.complete'), '');
  return python;
}
