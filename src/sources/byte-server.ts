import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { ownName } from '../compare/row-digest.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import { engineType } from '../lake/relation-types.ts';
import type { Field } from '../lake/types.ts';
import { ParityError } from '../support/error.ts';

/** Writes the bytes of a table, waiting where the sink asks for it, and returns how many rows they hold. */
export type Producer = (sink: ServerResponse) => Promise<number>;

/**
 * Lets the engine read bytes that this process has: they are served once, on the loopback interface, under a path nobody can guess, and the engine
 * pulls them as a table (`url()`), so that back-pressure reaches the database and nothing is kept on disk. An answer cut short is an error in the
 * engine (its last chunk is missing), never a shorter table; and `consume` returns the rows it saw, which have to be as many as were sent.
 */
export async function readBytes<Result extends { readonly rows: number }>(
  input: { readonly format: string; readonly structure: string; readonly produce: Producer },
  consume: (tableFunction: string) => Promise<Result>,
): Promise<Result> {
  keepLoopbackOffProxies();
  const path = `/${randomBytes(18).toString('base64url')}`;
  let sent: Promise<number> | undefined;
  const server = createServer((request, response) => {
    if (request.url !== path || request.method !== 'GET' || sent !== undefined) {
      response.writeHead(404).end();
      return;
    }
    sent = send(input.produce, response);
    // Whoever waits for it may do so later than it fails.
    sent.catch(() => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  try {
    const url = `http://127.0.0.1:${port}${path}`;
    const table = `url(${quoteString(url)}, ${input.format}, ${quoteString(input.structure)})`;
    const result = await consume(table).catch(async (error: unknown) => {
      server.closeAllConnections();
      // The database's own error says more than the engine's about an answer cut short.
      await sent?.catch((cause: unknown) => {
        if (!(cause instanceof ReaderGone)) throw cause;
      });
      throw error;
    });
    const rows = (await sent) ?? 0;
    if (rows !== result.rows)
      throw new ParityError(
        'Internal',
        `Reading a source: the database sent ${rows} rows and the engine saw ${result.rows}.`,
      );
    return result;
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** Settings for a query over such bytes: they can be read once, and the database may take its time. */
export const readBytesSettings = 'http_max_tries = 1, http_make_head_request = 0, http_receive_timeout = 86400';

/** Columns of a structure that arrive as text and are cast in the query, by position, so that no name has to be quoted twice. */
export function positional(types: readonly string[]): string {
  return types.map((type, index) => `${ownName(index)} ${type}`).join(', ');
}

/** The structure of a file that holds columns in canonical engine types. */
export function canonicalStructure(columns: readonly Field[]): string {
  return columns.map(({ name, type }) => `${quoteIdentifier(name)} ${engineType(type)}`).join(', ');
}

/** How many rows a table function or subquery yields. */
export async function countRows(engine: Engine, from: string): Promise<number> {
  const [row] = await engine.rows<{ n: string }>(`SELECT count() AS n FROM ${from}`);
  return Number(row?.n ?? 0);
}

/** What a producer throws when the engine has stopped reading: the engine's own error is the one to tell. */
export class ReaderGone extends Error {
  constructor() {
    super('The reader of a source went away.');
  }
}

async function send(produce: Producer, response: ServerResponse): Promise<number> {
  try {
    response.writeHead(200, { 'content-type': 'application/octet-stream' });
    const rows = await produce(response);
    response.end();
    return rows;
  } catch (error) {
    response.destroy();
    throw error;
  }
}

/** The engine honours `http_proxy`; bytes of a source must never travel through one. */
function keepLoopbackOffProxies(): void {
  for (const name of ['no_proxy', 'NO_PROXY']) {
    const hosts = (process.env[name] ?? '').split(',').filter((host) => host !== '');
    if (!hosts.includes('127.0.0.1')) process.env[name] = [...hosts, '127.0.0.1'].join(',');
  }
}
