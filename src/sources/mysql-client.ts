import type { ConnectionOptions } from 'mysql2';
import { isSocket } from './connection.ts';
import type { Connection } from './source.ts';

/** How `mysql2` is told of a connection; TLS is used and verified where there is a CA. A host that is a path is a socket's. */
export function clientOptions({ host, port, user, password, database, ca }: Connection): ConnectionOptions {
  return {
    ...(isSocket(host) ? { socketPath: host } : { host, port }),
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
