import type { ConnectionOptions } from 'mysql2';
import type { Connection } from './source.ts';

/** How `mysql2` is told of a connection; TLS is used and verified where there is a CA. */
export function clientOptions({ host, port, user, password, database, ca }: Connection): ConnectionOptions {
  return {
    host,
    port,
    user,
    password,
    database,
    connectTimeout: 15_000,
    enableKeepAlive: true,
    charset: 'utf8mb4',
    timezone: 'Z',
    supportBigNumbers: true,
    bigNumberStrings: true,
    multipleStatements: false,
    flags: ['+LOCAL_FILES'],
    ...(ca === undefined ? {} : { ssl: { ca, rejectUnauthorized: true } }),
  };
}
