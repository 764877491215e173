import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { Session } from 'chdb';
import { statusOf } from './status.ts';

/** What `startClickHouse` passes on, as JSON, in the first argument. */
export interface ServerOptions {
  readonly users: Readonly<Record<string, { readonly password: string; readonly isReadonly?: boolean }>>;
  /** Clusters of one node, this one, that `ON CLUSTER` may name. */
  readonly clusters: readonly string[];
  readonly tls?: { readonly key: string; readonly cert: string };
}

/** What the next `times` statements that contain `statement` are answered with. */
export interface Fault {
  readonly statement: string;
  readonly times: number;
  /** An HTTP answer that is none of ClickHouse, or the connection is closed. */
  readonly answer: { readonly status: number; readonly body: string } | 'Close';
}

/** An exception with a number of ClickHouse's. */
class Refusal extends Error {
  constructor(code: number, name: string, words: string) {
    super(`Code: ${code}. DB::Exception: ${words} (${name})`);
  }
}

const options: ServerOptions = JSON.parse(process.argv[2] ?? '{}');
const folder = await mkdtemp(join(tmpdir(), 'parity-clickhouse-server-'));
// The engine reads files only below the current folder.
process.chdir('/');
await mkdir(join(folder, 'data'));
const session = new Session(join(folder, 'data'));
const control = new Session(join(folder, 'data'));
const version = (await session.queryAsync('SELECT version()', { format: 'TabSeparatedRaw' })).text().trim();
const statements: string[] = [];
let faults: (Fault & { left: number })[] = [];
/** One session has one statement at a time. */
let queue: Promise<unknown> = Promise.resolve();

const listener = (request: IncomingMessage, response: ServerResponse): void => {
  handle(request, response).catch((error: unknown) => fail(response, error));
};
const server = options.tls === undefined ? createHttp(listener) : createHttps(options.tls, listener);
server.listen(0, '127.0.0.1', () => {
  const bound = server.address();
  process.stdout.write(`${JSON.stringify({ port: typeof bound === 'object' ? bound?.port : undefined })}\n`);
});
process.stdin
  .on('end', () => {
    void rm(folder, { recursive: true, force: true }).finally(() => process.exit(0));
  })
  .resume();

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://server');
  if (url.pathname === '/ping') return void response.end('Ok.\n');
  if (url.pathname === '/_control') return await controlled(request, response);
  if (url.pathname !== '/') return void response.writeHead(404).end('There is no handle /\n');
  const parameters = url.searchParams;
  const query = parameters.get('query') ?? '';
  const isInsert = /\bFORMAT\s+\w+\s*$/i.test(query) && /^\s*INSERT\b/i.test(query);
  const user = authenticate(request, parameters);
  const file = join(folder, randomUUID());
  if (isInsert) await pipeline(request, createWriteStream(file));
  const sql = isInsert ? query : [query, await text(request)].filter((part) => part.trim() !== '').join('\n');
  try {
    const turn = queue.then(() => answer({ sql, file: isInsert ? file : undefined, parameters, user }, response));
    queue = turn.catch(() => undefined);
    await turn;
  } finally {
    await rm(file, { force: true });
  }
}

/** What the test asks of the server itself: which statements came, and what to answer next. */
async function controlled(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'POST') {
    const asked: { faults: readonly Fault[] } = JSON.parse(await text(request));
    faults = asked.faults.map((fault) => ({ ...fault, left: fault.times }));
  }
  response.end(JSON.stringify({ statements: statements.splice(0) }));
}

interface User {
  readonly name: string;
  readonly isReadonly: boolean;
}

/** By headers, by Basic, or by parameters, in that order. */
function authenticate({ headers }: IncomingMessage, parameters: URLSearchParams): User {
  const [, basic] = /^Basic (.*)$/.exec(headers.authorization ?? '') ?? [];
  const [basicUser, ...rest] = Buffer.from(basic ?? '', 'base64')
    .toString()
    .split(':');
  const byHeader = [headers['x-clickhouse-user'], headers['x-clickhouse-key']].map((value) =>
    Buffer.from(String(value ?? ''), 'latin1').toString(),
  );
  const [name = '', password = ''] =
    headers['x-clickhouse-user'] !== undefined
      ? byHeader
      : basic !== undefined
        ? [basicUser, rest.join(':')]
        : [parameters.get('user') ?? 'default', parameters.get('password') ?? ''];
  const known = options.users[name];
  if (known !== undefined && known.password === password) return { name, isReadonly: known.isReadonly === true };
  throw new Refusal(
    516,
    'AUTHENTICATION_FAILED',
    `${name}: Authentication failed: password is incorrect, or there is no user with such name.`,
  );
}

interface Asked {
  readonly sql: string;
  readonly file: string | undefined;
  readonly parameters: URLSearchParams;
  readonly user: User;
}

/** Parameters of the interface itself; all others are settings. */
const reserved = [
  ...['query', 'database', 'user', 'password', 'query_id', 'default_format', 'session_id', 'compress', 'decompress'],
  ...['wait_end_of_query', 'buffer_size', 'quota_key', 'role', 'stacktrace'],
];

async function answer({ sql, file, parameters, user }: Asked, response: ServerResponse): Promise<void> {
  if (response.destroyed) return;
  statements.push(sql);
  const fault = faults.find(({ statement, left }) => left > 0 && sql.includes(statement));
  if (fault !== undefined) {
    fault.left--;
    if (fault.answer === 'Close') return void response.destroy();
    return void response.writeHead(fault.answer.status).end(fault.answer.body);
  }
  const settings = [...parameters].filter(([name]) => !reserved.includes(name));
  if (user.isReadonly && settings.length > 0)
    throw new Refusal(164, 'READONLY', `Cannot modify '${settings[0]?.[0]}' setting in readonly mode.`);
  const database = parameters.get('database') ?? 'default';
  const given = settings.map(([name, value]) => `${name} = ${quoted(value)}`);
  await run(`USE \`${database}\``);
  try {
    if (given.length > 0) await run(`SET ${given.join(', ')}`);
    await send(statementOf(sql, file), parameters, response);
  } finally {
    await run('USE default').catch(() => undefined);
    if (settings.length > 0) await run(`SET ${settings.map(([name]) => `${name} = DEFAULT`).join(', ')}`);
  }
}

/** What the engine understands in the process: the data of an INSERT are a file, a cluster is this node. */
function statementOf(sql: string, file: string | undefined): string {
  const data = file === undefined ? sql : sql.replace(/\bFORMAT\s+(\w+)\s*$/i, `FROM INFILE ${quoted(file)} FORMAT $1`);
  const cluster = /\sON CLUSTER `?([^\s`(]+)`?/i.exec(data)?.[1];
  if (cluster === undefined || !options.clusters.includes(cluster)) return data;
  return data.replace(/\sON CLUSTER `?[^\s`(]+`?/i, '').replace(/\bReplicatedMergeTree\b/, 'MergeTree');
}

async function send(sql: string, parameters: URLSearchParams, response: ServerResponse): Promise<void> {
  const tag = randomUUID().replaceAll('-', '').slice(0, 16);
  const headers = {
    'x-clickhouse-query-id': parameters.get('query_id') ?? randomUUID(),
    'x-clickhouse-server-display-name': 'test',
    'x-clickhouse-timezone': 'UTC',
    'x-clickhouse-exception-tag': tag,
    'x-clickhouse-format': /\bFORMAT\s+(\w+)\s*$/i.exec(sql)?.[1] ?? 'TabSeparated',
    'content-type': 'application/octet-stream',
  };
  const format = parameters.get('default_format') ?? 'TabSeparated';
  const onClose = (): void => {
    if (!response.writableFinished) void control.queryAsync('KILL QUERY WHERE query_id != queryID() ASYNC');
  };
  response.once('close', onClose);
  try {
    if (parameters.get('wait_end_of_query') !== '1' && headers['x-clickhouse-format'] === 'Parquet')
      return await sendParquet(sql, headers, response);
    const result = await session.queryAsync(sql, { format });
    const summary = JSON.stringify({ read_rows: String(result.rowsRead), read_bytes: String(result.bytesRead) });
    response.writeHead(200, { ...headers, 'x-clickhouse-summary': summary }).end(result.bytes());
  } catch (error) {
    // What the statement had written before it failed would come before the next one's result.
    await session.queryAsync('SELECT 1 WHERE 0', { format: 'TabSeparated' }).catch(() => undefined);
    throw error;
  } finally {
    response.off('close', onClose);
  }
}

/** The answer is on its way when a statement fails: what there is of it is sent, and then the exception, as a server does that does not wait for the end. */
async function sendParquet(sql: string, headers: Record<string, string>, response: ServerResponse): Promise<void> {
  const file = join(folder, `${randomUUID()}.parquet`);
  const select = sql.replace(/\bFORMAT\s+Parquet\s*$/i, '');
  const failed: unknown = await run(`INSERT INTO FUNCTION file(${quoted(file)}, Parquet) ${select}`).catch(
    (error: unknown) => error,
  );
  try {
    const size = (await stat(file).catch(() => undefined))?.size ?? 0;
    if (failed !== undefined && size === 0) throw failed;
    response.writeHead(200, headers);
    await pipeline(createReadStream(file), response, { end: failed === undefined });
    if (failed === undefined) return;
    const [tag, words] = [headers['x-clickhouse-exception-tag'], exceptionOf(failed)];
    response.write(`\r\n__exception__\r\n${tag}\r\n${words}\n${words.length} ${tag}\r\n__exception__\r\n`, () =>
      response.destroy(),
    );
  } finally {
    await rm(file, { force: true });
  }
}

function fail(response: ServerResponse, error: unknown): void {
  const words = exceptionOf(error);
  const code = Number(/^Code: (\d+)/.exec(words)?.[1] ?? 1001);
  if (response.headersSent) return void response.destroy();
  response
    .writeHead(statusOf(code), {
      'x-clickhouse-exception-code': String(code),
      'content-type': 'text/plain; charset=UTF-8',
    })
    .end(`${words}\n`);
}

function exceptionOf(error: unknown): string {
  const words = error instanceof Error ? error.message : String(error);
  return `${words} (version ${version} (official build))`;
}

async function run(sql: string): Promise<void> {
  await session.queryAsync(sql, { format: 'Null' });
}

function quoted(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
