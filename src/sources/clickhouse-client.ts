import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { finished, pipeline } from 'node:stream/promises';
import { ParityError } from '../support/error.ts';
import { ClickHouseFailure, diagnoseClickHouse, exceptionIn } from './clickhouse-errors.ts';
import type { ClickHouseAccess, Connection } from './source.ts';
import { toSourceError } from './source-errors.ts';

export interface StatementOptions {
  readonly signal?: AbortSignal;
  /** The server ends the statement after this time, by `max_execution_time`. */
  readonly timeoutMs?: number;
  readonly settings?: Readonly<Record<string, string | number>>;
}

/** One ClickHouse server by its HTTP interface (https://clickhouse.com/docs/interfaces/http). No state is kept there between statements. */
export interface ClickHouseClient {
  /** Runs a statement with a small answer, and returns its text: TabSeparated where the statement names no format. */
  text(sql: string, options?: StatementOptions): Promise<string>;
  /** The rows of a small result, each value as text. */
  rows(sql: string, options?: StatementOptions): Promise<readonly Readonly<Record<string, string>>[]>;
  /** The answer's bytes with back-pressure, once the statement has ended well: the server keeps them on its disk until then. */
  stream(sql: string, options?: StatementOptions): AsyncIterable<Uint8Array>;
  /** Writes a result to a file, in Parquet. Throws where it is not whole. */
  parquet(sql: string, file: string, options?: StatementOptions): Promise<void>;
  /** `INSERT … FORMAT …` with these bytes. */
  insert(sql: string, bytes: AsyncIterable<Uint8Array>, options?: StatementOptions): Promise<void>;
  /** Ends every statement that this client still has there. */
  close(): void;
}

/**
 * A client for the server. Nothing is asked of it yet. What it throws: `AccessDenied` naming host and user, `Unreachable`, `Timeout`, `OutOfMemory`, `NotFound`,
 * and `Internal` with the server's own words for anything else.
 */
export function clickHouseClient(connection: Connection, options: { signal?: AbortSignal } = {}): ClickHouseClient {
  const access = clickHouseAccess(connection);
  const agent = access.isSecure
    ? new HttpsAgent({ keepAlive: true, ...(connection.ca === undefined ? {} : { ca: connection.ca }) })
    : new HttpAgent({ keepAlive: true });
  return new HttpClient(connection, access, agent, options.signal);
}

/** What `parseConnection` makes of a ClickHouse secret. Throws `InvalidSpec` for the connection of another engine. */
export function clickHouseAccess({ clickhouse, host }: Connection): ClickHouseAccess {
  if (clickhouse !== undefined) return clickhouse;
  throw new ParityError(
    'InvalidSpec',
    `Connecting to ClickHouse: the connection to ${host} is that of another database.`,
  );
}

/**
 * What every statement starts with, whatever the user's profile says: a result is whole or an error (a profile may cut it without a word), a shard that is away is an
 * error, and a client that is gone is not waited for.
 */
const settings = {
  session_timezone: 'UTC',
  limit: 0,
  offset: 0,
  max_result_rows: 0,
  max_result_bytes: 0,
  result_overflow_mode: 'throw',
  read_overflow_mode: 'throw',
  timeout_overflow_mode: 'throw',
  group_by_overflow_mode: 'throw',
  sort_overflow_mode: 'throw',
  join_overflow_mode: 'throw',
  set_overflow_mode: 'throw',
  distinct_overflow_mode: 'throw',
  transfer_overflow_mode: 'throw',
  skip_unavailable_shards: 0,
  use_query_cache: 0,
  cancel_http_readonly_queries_on_client_close: 1,
  output_format_json_quote_64bit_integers: 1,
  output_format_json_quote_decimals: 1,
  output_format_json_quote_denormals: 1,
  distributed_ddl_output_mode: 'throw',
};

/** How long a server may take to say something at all, where the statement has no time of its own. */
const silenceMs = 3_600_000;
/** How much later than the server the client gives up. */
const graceMs = 15_000;

class HttpClient implements ClickHouseClient {
  readonly #connection: Connection;
  readonly #access: ClickHouseAccess;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #signal: AbortSignal | undefined;

  constructor(
    connection: Connection,
    access: ClickHouseAccess,
    agent: HttpAgent | HttpsAgent,
    signal: AbortSignal | undefined,
  ) {
    this.#connection = connection;
    this.#access = access;
    this.#agent = agent;
    this.#signal = signal;
  }

  async text(sql: string, options: StatementOptions = {}): Promise<string> {
    return await this.#asking(options, async () => {
      // The server answers once it knows how the statement ended, so that the status says it.
      const response = await this.#send(sql, undefined, options, { wait_end_of_query: 1 });
      return await text(response);
    });
  }

  async rows(sql: string, options: StatementOptions = {}): Promise<readonly Readonly<Record<string, string>>[]> {
    const answer = await this.text(`${sql}\nFORMAT JSONStringsEachRow`, options);
    const parsed: readonly Record<string, string>[] =
      answer.trim() === '' ? [] : JSON.parse(`[${answer.trim().replaceAll('\n', ',')}]`);
    return parsed;
  }

  async *stream(sql: string, options: StatementOptions = {}): AsyncIterable<Uint8Array> {
    const response = await this.#asking(options, () => this.#send(sql, undefined, options, { wait_end_of_query: 1 }));
    try {
      for await (const chunk of response) yield chunk;
    } catch (error) {
      throw this.#error(error, options);
    } finally {
      response.destroy();
    }
  }

  async parquet(sql: string, file: string, options: StatementOptions = {}): Promise<void> {
    await this.#asking(options, async () => {
      const response = await this.#send(`${sql}\nFORMAT Parquet`, undefined, options, {});
      const lost = await save(response, file);
      const end = await endOf(file);
      if (lost === undefined && end.isWhole) return;
      throw exceptionIn(end.tail, response.headers['x-clickhouse-exception-tag']) ?? lost ?? new LostAnswer();
    });
  }

  async insert(sql: string, bytes: AsyncIterable<Uint8Array>, options: StatementOptions = {}): Promise<void> {
    await this.#asking(options, async () => {
      const response = await this.#send(sql, bytes, options, { wait_end_of_query: 1 });
      response.resume();
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  async #send(
    sql: string,
    bytes: AsyncIterable<Uint8Array> | undefined,
    { signal, timeoutMs, settings: own }: StatementOptions,
    more: Readonly<Record<string, string | number>>,
  ): Promise<IncomingMessage> {
    const { host, port, user, password, database } = this.#connection;
    const query = new URLSearchParams({
      database,
      query_id: `parity-${randomUUID()}`,
      ...(bytes === undefined ? {} : { query: sql }),
      ...texts({ ...settings, ...this.#ofCluster(), ...more, ...own }),
      ...(timeoutMs === undefined ? {} : { max_execution_time: String(timeoutMs / 1000) }),
    });
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = (this.#access.isSecure ? httpsRequest : httpRequest)(
      {
        host,
        port,
        path: `/?${query}`,
        method: 'POST',
        agent: this.#agent,
        signal: anyOf(this.#signal, signal),
        headers: {
          'x-clickhouse-user': headerText(user),
          'x-clickhouse-key': headerText(password),
          'content-type': 'application/octet-stream',
        },
      },
      resolve,
    );
    request.on('error', reject);
    request.setSocketKeepAlive(true, 30_000);
    request.setTimeout(timeoutMs === undefined ? silenceMs : timeoutMs + graceMs, () =>
      request.destroy(new ParityError('Timeout', `ClickHouse at ${host}:${port} said nothing in time.`)),
    );
    // As bytes: a text would be sent in one piece with the headers, and in its encoding.
    if (bytes === undefined) request.end(Buffer.from(sql));
    else pipeline(Readable.from(bytes), request).catch(reject);
    const response = await promise;
    if (response.statusCode === 200 && response.headers['x-clickhouse-query-id'] !== undefined) return response;
    throw refusal(response, await text(response));
  }

  /** Whichever replica answers has all that was written before, or says that it has not. */
  #ofCluster(): Readonly<Record<string, number>> {
    return this.#access.cluster === undefined ? {} : { select_sequential_consistency: 1 };
  }

  async #asking<Result>(options: StatementOptions, action: () => Promise<Result>): Promise<Result> {
    try {
      anyOf(this.#signal, options.signal)?.throwIfAborted();
      return await action();
    } catch (error) {
      throw this.#error(error, options);
    }
  }

  #error(error: unknown, { signal }: StatementOptions): ParityError {
    if (anyOf(this.#signal, signal)?.aborted === true) return new ParityError('Cancelled', 'The query was cancelled.');
    return toSourceError(
      error,
      { engine: 'ClickHouse', doing: 'running a statement', connection: this.#connection },
      diagnoseClickHouse(this.#connection),
    );
  }
}

/** The connection ended before the answer did. */
class LostAnswer extends Error {
  readonly code = 'ECONNRESET';
}

/** What the server keeps of an exception's text in the body. */
const tailBytes = 32_768;

function refusal(response: IncomingMessage, body: string): Error {
  const said = exceptionIn(body, undefined);
  if (said !== undefined) return said;
  const status = response.statusCode ?? 0;
  return new ClickHouseFailure(`HTTP ${status}`, /^Port \d+ is for clickhouse-client/.test(body) ? 'native port' : '');
}

/**
 * Writes the answer to a file, and returns what ended it before its time. A server that fails half-way says why and then cuts the connection, which throws away what is
 * still waiting to be read: so it is only kept waiting when the disk is far behind.
 */
async function save(response: IncomingMessage, file: string): Promise<unknown> {
  const out = createWriteStream(file, { highWaterMark: 16 * 1024 ** 2 });
  out.on('error', (error) => response.destroy(error));
  response.on('data', (chunk: Buffer) => {
    if (out.write(chunk)) return;
    response.pause();
    out.once('drain', () => response.resume());
  });
  const lost: unknown = await finished(response).catch((error: unknown) => error);
  out.end();
  if (!out.destroyed) await finished(out);
  return lost;
}

/** Whether a Parquet file has its end, and the text that stands there where it has not. */
async function endOf(file: string): Promise<{ readonly isWhole: boolean; readonly tail: string }> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const start = Math.max(0, size - tailBytes);
    const { buffer } = await handle.read(Buffer.alloc(size - start), 0, size - start, start);
    return { isWhole: buffer.subarray(-4).toString('latin1') === 'PAR1', tail: buffer.toString() };
  } finally {
    await handle.close();
  }
}

/** Headers are bytes; the server takes these for UTF-8. */
function headerText(value: string): string {
  return Buffer.from(value).toString('latin1');
}

function texts(values: Readonly<Record<string, string | number>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));
}

function anyOf(...signals: readonly (AbortSignal | undefined)[]): AbortSignal | undefined {
  const given = signals.filter((signal) => signal !== undefined);
  return given.length > 1 ? AbortSignal.any(given) : given[0];
}
