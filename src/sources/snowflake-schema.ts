import { ParityError } from '../support/error.ts';
import type { RunMark } from './run-database.ts';
import {
  accessOf,
  asWritten,
  connectSnowflake,
  type SnowflakeClient,
  sfIdentifier,
  sfString,
} from './snowflake-client.ts';
import { diagnoseSnowflake } from './snowflake-errors.ts';
import type { Connection } from './source.ts';
import { toSourceError } from './source-errors.ts';

/**
 * Makes a schema of the run's own in the connection's database, marked as the run's in its comment, and returns the connection to it. Again it does
 * nothing. `beforeMaking` is awaited once the account has let us in. Throws `AccessDenied`, `NotFound`, `Unreachable`; and `AccessDenied` where a schema of that
 * name is not the run's.
 */
export async function createRunSchema(
  connection: Connection,
  name: string,
  run: RunMark,
  beforeMaking?: () => Promise<void>,
): Promise<Connection> {
  const schema = name.toUpperCase();
  await onAccount(connection, `making schema ${schema}`, async (client) => {
    const present = (await schemas(client, connection)).find((found) => found.name === schema);
    if (present !== undefined) return requireMark(present, run);
    await beforeMaking?.();
    // Transient, with no time travel: what is dropped is gone, and not paid for.
    await client.run(
      `CREATE TRANSIENT SCHEMA IF NOT EXISTS ${asWritten(connection.database)}.${sfIdentifier(schema)} DATA_RETENTION_TIME_IN_DAYS = 0 COMMENT = ${sfString(markOf(run))}`,
    );
  });
  return { ...connection, snowflake: { ...accessOf(connection), schema } };
}

/**
 * Drops what `createRunSchema` made for the run, with all that is in it. A schema that is gone already is no error; one of its name that carries another
 * installation's mark stays, and is `AccessDenied`.
 */
export async function dropRunSchemas(connection: Connection, name: string, run: RunMark): Promise<void> {
  const own = name.toUpperCase();
  await onAccount(connection, `dropping schema ${own}`, async (client) => {
    for (const schema of await schemas(client, connection)) {
      if (schema.name !== own && !schema.name.startsWith(`${own}_`)) continue;
      requireMark(schema, run);
      await client.run(`DROP SCHEMA IF EXISTS ${asWritten(connection.database)}.${sfIdentifier(schema.name)} CASCADE`);
    }
  });
}

interface Schema {
  readonly name: string;
  readonly comment: string;
}

async function schemas(client: SnowflakeClient, { database }: Connection): Promise<readonly Schema[]> {
  const rows = await client.run(`SHOW SCHEMAS LIKE 'PARITY%' IN DATABASE ${asWritten(database)}`);
  return rows.map((row) => ({ name: row.name ?? '', comment: row.comment ?? '' }));
}

function markOf({ uid, installation }: RunMark): string {
  return `pipeline-parity run=${uid} installation=${installation}`;
}

function requireMark({ name, comment }: Schema, run: RunMark): void {
  if (comment === markOf(run)) return;
  throw new ParityError('AccessDenied', `Schema ${name} in Snowflake does not carry the mark of run ${run.uid}.`, {
    subject: name,
    advice: `Its comment is to be "${markOf(run)}". Look at what is in it, and drop it by hand if it is nobody's.`,
  });
}

async function onAccount(
  connection: Connection,
  doing: string,
  action: (client: SnowflakeClient) => Promise<void>,
): Promise<void> {
  const client = await connectSnowflake(connection, new AbortController().signal);
  try {
    await action(client);
  } catch (error) {
    throw toSourceError(error, { engine: 'Snowflake', doing, connection }, diagnoseSnowflake(connection));
  } finally {
    await client.close();
  }
}
