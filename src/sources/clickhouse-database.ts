import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import { ParityError } from '../support/error.ts';
import { type ClickHouseClient, clickHouseAccess, clickHouseClient } from './clickhouse-client.ts';
import type { RunMark } from './run-database.ts';
import type { Connection } from './source.ts';

/** How long the server may take to make or drop a database, on all nodes of a cluster. */
const timeoutMs = 120_000;

/**
 * Makes a database of the run's own, marked as the run's in its comment, on every node where the connection names a cluster. Again it does nothing.
 * `beforeMaking` is awaited once the server has let us in. Throws `AccessDenied`, also where a database of that name is not the run's, `NotFound`, `Unreachable`.
 */
export async function createClickHouseDatabase(
  connection: Connection,
  name: string,
  run: RunMark,
  beforeMaking?: () => Promise<void>,
): Promise<Connection> {
  await onServer(connection, async (client) => {
    const present = (await databases(client, name)).find((found) => found.name === name);
    if (present !== undefined) requireMark(present, run);
    await beforeMaking?.();
    // Another node of the cluster may lack it still.
    await client.text(
      `CREATE DATABASE IF NOT EXISTS ${quoteIdentifier(name)}${onCluster(connection)} COMMENT ${quoteString(markOf(run))}`,
      { timeoutMs },
    );
  });
  return { ...connection, database: name };
}

/** Drops what was made for the run. One of its name that carries another installation's mark stays, and is `AccessDenied`. */
export async function dropClickHouseDatabases(connection: Connection, name: string, run: RunMark): Promise<void> {
  await onServer(connection, async (client) => {
    for (const database of await databases(client, name)) {
      requireMark(database, run);
      await client.text(
        `DROP DATABASE IF EXISTS ${quoteIdentifier(database.name)}${onCluster(connection)} SYNC`,
        // A table that somebody has filled is dropped too.
        { timeoutMs, settings: { max_table_size_to_drop: 0, max_partition_size_to_drop: 0 } },
      );
    }
  });
}

/** The clause that has a statement carried out on every node, where the connection names a cluster. */
export function onCluster(connection: Connection): string {
  const { cluster } = clickHouseAccess(connection);
  return cluster === undefined ? '' : ` ON CLUSTER ${quoteIdentifier(cluster)}`;
}

interface Database {
  readonly name: string;
  readonly comment: string;
}

async function databases(client: ClickHouseClient, name: string): Promise<readonly Database[]> {
  const rows = await client.rows(
    `SELECT name, comment FROM system.databases WHERE name = ${quoteString(name)} OR startsWith(name, ${quoteString(`${name}_`)}) ORDER BY name`,
    { timeoutMs },
  );
  return rows.map((row) => ({ name: row.name ?? '', comment: row.comment ?? '' }));
}

function markOf({ uid, installation }: RunMark): string {
  return `pipeline-parity run=${uid} installation=${installation}`;
}

function requireMark({ name, comment }: Database, run: RunMark): void {
  if (comment === markOf(run)) return;
  throw new ParityError('AccessDenied', `Database ${name} in ClickHouse does not carry the mark of run ${run.uid}.`, {
    subject: name,
    advice: `Its comment is to be "${markOf(run)}". Look at what is in it, and drop it by hand if it is nobody's.`,
  });
}

/** Before there is a database of the run's own, and after, the server is reached by the one that the secret names. */
async function onServer(connection: Connection, action: (client: ClickHouseClient) => Promise<void>): Promise<void> {
  const client = clickHouseClient(connection);
  try {
    await action(client);
  } finally {
    client.close();
  }
}
