import mysql from 'mysql2/promise';
import pg from 'pg';
import type { ResolvedSource } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import { clientOptions as mysqlOptions } from './mysql-client.ts';
import { diagnoseMysql } from './mysql-errors.ts';
import { clientOptions as postgresOptions } from './postgres.ts';
import { diagnosePostgres } from './postgres-errors.ts';
import { connectSnowflake } from './snowflake-client.ts';
import { diagnoseSnowflake } from './snowflake-errors.ts';
import type { Connection } from './source.ts';
import { toSourceError } from './source-errors.ts';

/** How long a server may take to let us in. */
const timeoutMs = 5_000;

/** The server's own version, such as `16.4` or `10.11.6-MariaDB`, if it answers a query. Throws `Unreachable`, `AccessDenied`. */
export async function askServer(engine: ResolvedSource['engine'], connection: Connection): Promise<string> {
  switch (engine) {
    case 'Postgres':
      return await askPostgres(connection);
    case 'MySQL':
      return await askMysql(connection);
    case 'Snowflake':
      return await askSnowflake(connection);
  }
}

/** Throws `InvalidSpec` where the server is not of the version that the source names: `16` is any 16, `16.4` any 16.4. */
export function checkVersion(source: Pick<ResolvedSource, 'name' | 'engine' | 'engineVersion'>, version: string): void {
  const wanted = source.engineVersion?.split('.').map(Number);
  if (wanted === undefined) return;
  const found = (/^[0-9.]+/.exec(version)?.[0] ?? '').split('.').map(Number);
  if (wanted.every((part, index) => part === found[index])) return;
  throw new ParityError(
    'InvalidSpec',
    `source "${source.name}" asks for ${source.engine} ${source.engineVersion}, and the server says that it is ${version}`,
    {
      subject: `spec.sources[${source.name}].engineVersion`,
      advice: 'Name an image or a server of that version, or correct or leave out engineVersion.',
    },
  );
}

async function askPostgres(connection: Connection): Promise<string> {
  const client = new pg.Client({
    ...postgresOptions(connection),
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ version: string }>("SELECT current_setting('server_version') AS version");
    return rows[0]?.version ?? '';
  } catch (error) {
    throw toSourceError(
      error,
      { engine: 'Postgres', doing: 'asking for its version', connection },
      diagnosePostgres(connection),
    );
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function askMysql(connection: Connection): Promise<string> {
  let client: mysql.Connection | undefined;
  try {
    const session = await mysql.createConnection({ ...mysqlOptions(connection), connectTimeout: timeoutMs });
    client = session;
    session.on('error', () => undefined);
    const [rows] = await session.query<mysql.RowDataPacket[]>({
      sql: 'SELECT VERSION() AS version',
      timeout: timeoutMs,
    });
    return String(rows[0]?.version ?? '');
  } catch (error) {
    throw toSourceError(
      error,
      { engine: 'MySQL', doing: 'asking for its version', connection },
      diagnoseMysql(connection),
    );
  } finally {
    client?.destroy();
  }
}

async function askSnowflake(connection: Connection): Promise<string> {
  const client = await connectSnowflake(connection, AbortSignal.timeout(12 * timeoutMs));
  try {
    const [row] = await client.run('SELECT CURRENT_VERSION() AS "version"');
    return row?.version ?? '';
  } catch (error) {
    const doing = 'asking for its version';
    throw toSourceError(error, { engine: 'Snowflake', doing, connection }, diagnoseSnowflake(connection));
  } finally {
    await client.close();
  }
}
