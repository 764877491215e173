import { createPrivateKey } from 'node:crypto';
import type { ConnectionOptions, Connection as DriverConnection, RowStatement, SnowflakeError } from 'snowflake-sdk';
import { env } from '../support/env.ts';
import { ParityError } from '../support/error.ts';
import { diagnoseSnowflake, isLost, isMissing, SnowflakeFailure } from './snowflake-errors.ts';
import type { Connection, SnowflakeAccess } from './source.ts';
import { toSourceError } from './source-errors.ts';

/** A row of a small result: what a statement did, or names of things. The names are Snowflake's own. */
export type Row = Readonly<Record<string, string | null>>;

/** One session with an account. Statements that are given at the same time run one after the other. */
export interface SnowflakeClient {
  /** Runs one statement and returns its few rows, every value as text. Throws what the account said as `SnowflakeFailure`. */
  run(sql: string): Promise<readonly Row[]>;
  /** Ends the session, and with it what is temporary; gives up after some seconds where the account is gone. */
  close(): Promise<void>;
}

/**
 * Logs in and makes the session independent of the account's and the user's own settings. Throws `AccessDenied` naming host and user, `NotFound` for
 * an account, role, warehouse or schema that is not there, `Unreachable`, `Cancelled`.
 */
export async function connectSnowflake(connection: Connection, signal: AbortSignal): Promise<SnowflakeClient> {
  const access = accessOf(connection);
  let client: SnowflakeClient | undefined;
  try {
    signal.throwIfAborted();
    client = await logIn(connection, access, signal);
    await prepare(client, connection, access);
    return client;
  } catch (error) {
    await client?.close();
    if (signal.aborted) throw new ParityError('Cancelled', 'Snowflake, connecting: cancelled.');
    throw toSourceError(error, { engine: 'Snowflake', doing: 'connecting', connection }, diagnoseSnowflake(connection));
  }
}

/** What the session's statements rely on: quoted names keep their case, text is compared as bytes, times are UTC, a client that is gone is not waited for. */
const settings = {
  QUOTED_IDENTIFIERS_IGNORE_CASE: 'FALSE',
  DEFAULT_DDL_COLLATION: "''",
  TIMEZONE: "'UTC'",
  DATE_INPUT_FORMAT: "'AUTO'",
  TIMESTAMP_INPUT_FORMAT: "'AUTO'",
  ABORT_DETACHED_QUERY: 'TRUE',
  AUTOCOMMIT: 'TRUE',
};

async function prepare(client: SnowflakeClient, { database }: Connection, access: SnowflakeAccess): Promise<void> {
  const { warehouse, schema } = access;
  const pairs = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  await client.run(`ALTER SESSION SET ${pairs.join(' ')}`);
  // A login lets in whoever names a warehouse or a database that is not there.
  if (warehouse !== undefined) await use(client, `WAREHOUSE ${asWritten(warehouse)}`, `warehouse ${warehouse}`);
  await use(client, `DATABASE ${asWritten(database)}`, `database ${database}`);
  if (schema !== undefined) await use(client, `SCHEMA ${asWritten(database)}.${asWritten(schema)}`, `schema ${schema}`);
}

async function use(client: SnowflakeClient, object: string, what: string): Promise<void> {
  try {
    await client.run(`USE ${object}`);
  } catch (error) {
    if (!(error instanceof SnowflakeFailure) || !isMissing(error)) throw error;
    throw new ParityError('NotFound', `Snowflake, connecting: there is no ${what}, or the role may not use it.`, {
      advice: "Check the name in the source's secret, and grant the role USAGE on it.",
      cause: error,
    });
  }
}

/** An identifier for Snowflake. Quoted, it keeps its case. */
export function sfIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A name as its owner wrote it: one that needs no quotes is folded to upper case by Snowflake, one with quotes keeps them. */
export function asWritten(name: string): string {
  return /^([A-Za-z_][A-Za-z0-9_$]*|"([^"]|"")+")$/.test(name) ? name : sfIdentifier(name);
}

/** A string literal for Snowflake, where a backslash escapes. */
export function sfString(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** What `parseConnection` makes of a Snowflake secret. Throws `InvalidSpec` for the connection of another engine. */
export function accessOf({ snowflake, host }: Connection): SnowflakeAccess {
  if (snowflake !== undefined) return snowflake;
  throw new ParityError(
    'InvalidSpec',
    `Connecting to Snowflake: the connection to ${host} is that of another database.`,
  );
}

async function logIn(connection: Connection, access: SnowflakeAccess, signal: AbortSignal): Promise<SnowflakeClient> {
  const sdk = await driver();
  const session = sdk.createConnection(loginOptions(connection, access));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  session.connect((error) => (error === undefined || error === null ? resolve() : reject(failure(error))));
  await aborting(promise, signal, () => undefined);
  let lost: SnowflakeFailure | undefined;
  return {
    run: async (sql) => {
      // The driver would try each statement for as long as it tried the first.
      if (lost !== undefined) throw lost;
      try {
        return await execute(session, sql, signal);
      } catch (error) {
        if (isLost(error)) lost = error;
        throw error;
      }
    },
    close: () => (lost === undefined ? destroy(session) : Promise.resolve()),
  };
}

async function driver(): Promise<typeof import('snowflake-sdk')> {
  env.quietSnowflakeDriver();
  // Loaded where it is needed: it brings the clients of three clouds along.
  const { default: sdk } = await import('snowflake-sdk');
  // Else it keeps a log file in the current folder.
  sdk.configure({ logLevel: 'OFF', additionalLogToConsole: false });
  return sdk;
}

function loginOptions({ user, password, database }: Connection, access: SnowflakeAccess): ConnectionOptions {
  const { account, warehouse, role, accessUrl } = access;
  return {
    account,
    username: user,
    database,
    ...credentialOptions(access.credential, password),
    ...(warehouse === undefined ? {} : { warehouse }),
    ...(role === undefined ? {} : { role }),
    ...(accessUrl === undefined ? {} : { accessUrl }),
    application: 'PipelineParity',
    queryTag: 'pipeline-parity',
    clientSessionKeepAlive: true,
    disableConsoleLogin: true,
    sfRetryMaxLoginRetries: 2,
  };
}

function credentialOptions(credential: SnowflakeAccess['credential'], password: string): ConnectionOptions {
  switch (credential.kind) {
    case 'password':
      return { password };
    case 'token':
      return { authenticator: 'OAUTH', token: credential.token };
    case 'keyPair':
      return {
        authenticator: 'SNOWFLAKE_JWT',
        privateKey: readablePrivateKey(credential.privateKey, credential.passphrase),
      };
  }
}

/** The key without its encryption. The driver would ask for a passphrase at the terminal where there is none. */
function readablePrivateKey(pem: string, passphrase: string | undefined): string {
  try {
    const key = createPrivateKey(passphrase === undefined ? pem : { key: pem, passphrase });
    return key.export({ type: 'pkcs8', format: 'pem' }).toString();
  } catch (cause) {
    throw new ParityError('AccessDenied', 'Snowflake, connecting: the private key cannot be read.', {
      advice: 'Check the keys privateKey (a PEM) and passphrase of the secret.',
      cause,
    });
  }
}

async function execute(session: DriverConnection, sql: string, signal: AbortSignal): Promise<readonly Row[]> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<readonly Row[]>();
  let statement: RowStatement | undefined;
  statement = session.execute({
    sqlText: sql,
    rowMode: 'object',
    fetchAsString: ['Number', 'Boolean', 'Date', 'JSON'],
    complete: (error, _statement, rows) =>
      error === undefined || error === null ? resolve((rows ?? []).map(toRow)) : reject(failure(error)),
  });
  return await aborting(promise, signal, () => statement?.cancel(() => undefined));
}

/** The promise's result, or the signal's reason as soon as it aborts: the driver has no signal of its own. */
async function aborting<Result>(promise: Promise<Result>, signal: AbortSignal, onAbort: () => void): Promise<Result> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => {
    onAbort();
    reject(signal.reason);
  };
  signal.addEventListener('abort', abort, { once: true });
  // Whichever comes second has nobody who waits for it.
  promise.catch(() => undefined);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

async function destroy(session: DriverConnection): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const late = setTimeout(resolve, 5_000);
  session.destroy(() => resolve());
  await promise;
  clearTimeout(late);
}

function toRow(row: unknown): Row {
  if (typeof row !== 'object' || row === null) return {};
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, value === null || value === undefined ? null : String(value)]),
  );
}

/** The driver numbers its own failures, and hands on the account's as text. */
function failure(error: SnowflakeError): SnowflakeFailure {
  const { code, sqlState, message, response, cause } = error;
  const status = response?.status ?? response?.statusCode;
  return new SnowflakeFailure(status === undefined ? message : `${message} (HTTP ${status})`, {
    code: code === undefined ? '' : String(code),
    sqlState: sqlState ?? '',
    cause: cause ?? error,
  });
}
