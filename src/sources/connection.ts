import type { LandingEngine } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import type { Connection, SnowflakeAccess } from './source.ts';

/** The name under which tasks find a source's connection: `context.secret(sourceSecret('shop'))`. */
export function sourceSecret(source: string): string {
  return `source-${source}`;
}

type Keys = Readonly<Record<string, string>>;

/** Whose secret it is, for messages: a source's, or that of a pipeline which lands in a database. */
interface Owner {
  readonly name: string;
  readonly secret: string;
  readonly role?: 'source' | 'pipeline' | 'query';
}

/** The connection that a secret's keys describe, to a source or to where a pipeline lands. Throws `AccessDenied` naming the key that is missing or unusable. */
export function parseConnection(engine: LandingEngine, keys: Keys, owner: Owner): Connection {
  switch (engine) {
    case 'Snowflake':
      return parseSnowflake(keys, owner);
    case 'ClickHouse':
      return parseClickHouse(keys, owner);
    case 'Postgres':
    case 'MySQL':
      return parseServer(keys, owner);
  }
}

/** Whether a host is a path: of a Unix socket in MySQL, of the folder that holds it in Postgres, which names it after the port. */
export function isSocket(host: string): boolean {
  return host.startsWith('/');
}

/** The keys that `parseConnection` reads back as the same connection. */
export function formatConnection(connection: Connection): Keys {
  const { host, port, user, password, database, ca, snowflake, clickhouse } = connection;
  if (snowflake !== undefined) return formatSnowflake(connection, snowflake);
  const keys = { host, port: String(port), user, password, database, ...(ca === undefined ? {} : { ca }) };
  if (clickhouse === undefined) return keys;
  const { cluster } = clickhouse;
  return { ...keys, url: clickHouseUrl(connection), ...(cluster === undefined ? {} : { cluster }) };
}

/** Where the server's HTTP interface answers: `https://host:8443`. */
export function clickHouseUrl({ host, port, clickhouse }: Connection): string {
  const scheme = clickhouse?.isSecure === true ? 'https' : 'http';
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function parseServer(keys: Keys, owner: Owner): Connection {
  const takes =
    'It takes the keys host (or the path of a Unix socket), port, user, password and database, and ca where TLS is used.';
  const host = need(keys, 'host', owner, takes);
  // A socket of MySQL has no port, and the one of Postgres is nearly always called after 5432.
  const port = Number(isSocket(host) ? keys.port || '5432' : need(keys, 'port', owner, takes));
  if (!Number.isSafeInteger(port) || port < 1 || port > 65_535)
    throw refused(owner, 'has no usable port', 'The key port is a number from 1 to 65535.');
  return {
    host,
    port,
    user: need(keys, 'user', owner, takes),
    password: keys.password ?? '',
    database: need(keys, 'database', owner, takes),
    ...(keys.ca === undefined ? {} : { ca: keys.ca }),
  };
}

const snowflakeKeys =
  'For Snowflake it takes the keys account, user, database, one of password, privateKey (and passphrase) and token, and optionally warehouse, role and accessUrl.';

function parseSnowflake(keys: Keys, owner: Owner): Connection {
  const account = need(keys, 'account', owner, snowflakeKeys);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(account))
    throw refused(owner, 'has no usable account', 'Write the account identifier, such as myorg-account123.');
  const url = URL.parse(keys.accessUrl ?? `https://${account}.snowflakecomputing.com`);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw refused(owner, 'has no usable accessUrl', 'The key accessUrl is a URL such as https://host.');
  return {
    host: url.hostname,
    port: Number(url.port || (url.protocol === 'http:' ? 80 : 443)),
    user: need(keys, 'user', owner, snowflakeKeys),
    password: keys.password ?? '',
    database: need(keys, 'database', owner, snowflakeKeys),
    snowflake: {
      account,
      credential: credentialOf(keys, owner),
      ...optional(keys, 'warehouse'),
      ...optional(keys, 'role'),
      ...optional(keys, 'schema'),
      ...(keys.accessUrl === undefined ? {} : { accessUrl: url.origin }),
    },
  };
}

const clickHouseKeys =
  'For ClickHouse it takes the keys url (of the HTTP interface, such as https://host:8443), user and password, and optionally database, ca and cluster.';

function parseClickHouse(keys: Keys, owner: Owner): Connection {
  const url = URL.parse(need(keys, 'url', owner, clickHouseKeys));
  const isPlain = url !== null && url.pathname === '/' && url.search === '' && url.username === '';
  if (!isPlain || !/^https?:$/.test(url.protocol))
    throw refused(
      owner,
      'has no usable url',
      'The key url is http:// or https:// with host and port, and nothing more.',
    );
  const isSecure = url.protocol === 'https:';
  if (!isSecure && keys.ca !== undefined)
    throw refused(
      owner,
      'has a ca, and a url that is not https://',
      'Write https:// and the port of HTTPS, or take ca out.',
    );
  const { cluster } = optional(keys, 'cluster');
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(url.port || (isSecure ? 443 : 80)),
    user: need(keys, 'user', owner, clickHouseKeys),
    password: keys.password ?? '',
    database: keys.database || 'default',
    ...(keys.ca === undefined ? {} : { ca: keys.ca }),
    clickhouse: { isSecure, ...(cluster === undefined ? {} : { cluster }) },
  };
}

function credentialOf(keys: Keys, owner: Owner): SnowflakeAccess['credential'] {
  const { password, privateKey, passphrase, token } = keys;
  const given = [password, privateKey, token].filter((value) => value !== undefined && value !== '');
  if (given.length !== 1)
    throw refused(owner, `has ${given.length} of the keys password, privateKey and token`, snowflakeKeys);
  if (token) return { kind: 'token', token };
  if (privateKey) return { kind: 'keyPair', privateKey, ...(passphrase ? { passphrase } : {}) };
  return { kind: 'password' };
}

function formatSnowflake({ user, password, database }: Connection, access: SnowflakeAccess): Keys {
  const { account, credential, warehouse, role, schema, accessUrl } = access;
  const { kind: _, ...secrets } = credential;
  const all = { account, user, database, password, ...secrets, warehouse, role, schema, accessUrl };
  return Object.fromEntries(
    Object.entries(all).flatMap(([key, value]) => (value === undefined || value === '' ? [] : [[key, value]])),
  );
}

function optional<Key extends string>(keys: Keys, key: Key): { [K in Key]?: string } {
  const value = keys[key];
  const found: { [K in Key]?: string } = {};
  if (value !== undefined && value !== '') found[key] = value;
  return found;
}

function need(keys: Keys, key: string, owner: Owner, advice: string): string {
  const value = keys[key];
  if (value !== undefined && value !== '') return value;
  throw refused(owner, `has no key "${key}"`, advice);
}

function refused({ name, secret, role = 'source' }: Owner, found: string, advice: string): ParityError {
  return new ParityError('AccessDenied', `the secret "${secret}" of ${role} "${name}" ${found}`, {
    subject: name,
    advice,
  });
}
