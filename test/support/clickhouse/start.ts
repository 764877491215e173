import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseConnection } from '../../../src/sources/connection.ts';
import type { Connection } from '../../../src/sources/source.ts';
import type { Fault, ServerOptions } from './server.ts';

type Keys = Readonly<Record<string, string>>;

/** A ClickHouse server to test on. */
export interface ClickHouse {
  /** The keys of a secret that reaches it. */
  readonly secret: Keys;
  readonly connection: Connection;
}

/** The embedded engine behind ClickHouse's HTTP interface (contract.md), in a process of its own. */
export interface ServedClickHouse extends ClickHouse {
  readonly readonlySecret: Keys;
  /** The statements that have come since the last time. */
  seen(): Promise<readonly string[]>;
  answerWith(faults: readonly Fault[]): Promise<void>;
  stop(): Promise<void>;
}

/** The real server that PARITY_TEST_CLICKHOUSE_URL, _USER, _PASSWORD, _CA and _CLUSTER describe; undefined without them. */
export function realClickHouse(): ClickHouse | undefined {
  const names = ['url', 'user', 'password', 'database', 'ca', 'cluster'];
  const secret = Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[`PARITY_TEST_CLICKHOUSE_${name.toUpperCase()}`];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  return secret.url === undefined ? undefined : described(secret);
}

let shared: Promise<ServedClickHouse> | undefined;

/** A server that all tests of this process share; gone when they have run. */
export function sharedClickHouse(): Promise<ServedClickHouse> {
  shared ??= startClickHouse();
  return shared;
}

export async function startClickHouse(tls?: ServerOptions['tls'] & { readonly ca: string }): Promise<ServedClickHouse> {
  const [user, password, reader] = ['parity', 'the right pässword', 'reader'];
  const options: ServerOptions = {
    users: { [user]: { password }, [reader]: { password, isReadonly: true } },
    clusters: ['parity_cluster'],
    ...(tls === undefined ? {} : { tls }),
  };
  // It ends with this process: its standard input closes.
  const child = spawn(process.execPath, [join(import.meta.dirname, 'server.ts'), JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const [line] = await Promise.race([
    once(lines, 'line'),
    ended.then(([code]) => {
      throw new Error(`the ClickHouse server ended with code ${code} before it listened`);
    }),
  ]);
  const scheme = tls === undefined ? 'http' : 'https';
  const url = `${scheme}://127.0.0.1:${JSON.parse(String(line)).port}`;
  const secret = { url, user, password, ...(tls === undefined ? {} : { ca: tls.ca }) };
  const server: ServedClickHouse = {
    ...described(secret),
    readonlySecret: { ...secret, user: reader },
    async seen() {
      const answer: { statements: string[] } = JSON.parse(await (await fetch(`${url}/_control`)).text());
      return answer.statements;
    },
    async answerWith(faults) {
      await (await fetch(`${url}/_control`, { method: 'POST', body: JSON.stringify({ faults }) })).text();
    },
    async stop() {
      child.stdin.end();
      await ended;
    },
  };
  started.push(server);
  return server;
}

const started: ServedClickHouse[] = [];

after(async () => {
  for (const server of started) await server.stop();
});

function described(secret: Keys): ClickHouse {
  return { secret, connection: parseConnection('ClickHouse', secret, { name: 'test', secret: 'test' }) };
}
