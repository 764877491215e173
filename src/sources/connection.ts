import { ParityError } from '../support/error.ts';
import type { Connection } from './source.ts';

/** The name under which tasks find a source's connection: `context.secret(sourceSecret('shop'))`. */
export function sourceSecret(source: string): string {
  return `source-${source}`;
}

/** The connection that a secret's keys describe, to a source or to where a pipeline lands. Throws `AccessDenied` naming the key that is missing. */
export function parseConnection(
  keys: Readonly<Record<string, string>>,
  source: string,
  secretName: string,
  role: 'source' | 'pipeline' = 'source',
): Connection {
  const need = (key: string): string => {
    const value = keys[key];
    if (value !== undefined && value !== '') return value;
    throw new ParityError('AccessDenied', `the secret "${secretName}" of ${role} "${source}" has no key "${key}"`, {
      subject: source,
      advice: 'It takes the keys host, port, user, password and database, and ca where TLS is used.',
    });
  };
  const port = Number(need('port'));
  if (!Number.isSafeInteger(port) || port < 1 || port > 65_535) {
    throw new ParityError('AccessDenied', `the secret "${secretName}" of ${role} "${source}" has no usable port`, {
      subject: source,
      advice: 'The key port is a number from 1 to 65535.',
    });
  }
  return {
    host: need('host'),
    port,
    user: need('user'),
    password: keys.password ?? '',
    database: need('database'),
    ...(keys.ca === undefined ? {} : { ca: keys.ca }),
  };
}

/** The keys of the secret by which tasks reach a source; `parseConnection` reads them. */
export function formatConnection({
  host,
  port,
  user,
  password,
  database,
  ca,
}: Connection): Readonly<Record<string, string>> {
  return { host, port: String(port), user, password, database, ...(ca === undefined ? {} : { ca }) };
}
