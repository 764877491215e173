import type { ResolvedSource } from '../api/resolved.ts';
import { mysqlDriver } from './mysql.ts';
import { postgresDriver } from './postgres.ts';
import type { OwnedDriver } from './session.ts';
import { snowflakeDriver } from './snowflake.ts';

/** The driver of a database engine. */
export function sourceDriver(engine: ResolvedSource['engine']): OwnedDriver {
  switch (engine) {
    case 'Postgres':
      return postgresDriver;
    case 'MySQL':
      return mysqlDriver;
    case 'Snowflake':
      return snowflakeDriver;
  }
}
