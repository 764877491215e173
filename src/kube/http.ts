import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { ParityError } from '../support/error.ts';
import { throwIfAborted } from '../support/retry.ts';
import { KubeError } from './error.ts';
import type { ClusterAccess } from './kubeconfig.ts';

/** One request as it is sent. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** What is being done, for errors: `reading Pod shop/db-0`. */
  readonly doing: string;
  /** The object or kind it is about, for errors. */
  readonly subject: string;
}

export interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly body: string;
}

/**
 * Sends a request and reads the whole answer, whatever its status. Throws `Timeout` when that takes longer than the deadline,
 * `Unreachable` when the connection can't be made or breaks, `Cancelled` when the signal aborts.
 */
export async function exchange(
  access: ClusterAccess,
  call: Call,
  deadlineMs: number,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const overdue = () =>
    new KubeError('Timeout', `${call.doing}: no answer within ${deadlineMs / 1000} s`, { subject: call.subject });
  const sent = await send(access, call, deadlineMs, overdue, signal);
  try {
    const response = await sent.response;
    response.setEncoding('utf8');
    let body = '';
    for await (const chunk of response) body += chunk;
    return { status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], body };
  } catch (error) {
    throw sent.failure(error);
  } finally {
    sent.release();
  }
}

/**
 * Sends a request and yields its answer line by line as it comes. An answer that refuses is yielded to `refuse`, which makes the
 * error. Throws `Timeout` when nothing comes for `idleMs`, `Unreachable` when the stream breaks or ends within a line.
 */
export async function* lines(
  access: ClusterAccess,
  call: Call,
  options: {
    readonly idleMs: number;
    readonly signal: AbortSignal | undefined;
    readonly refuse: (answer: Answer) => KubeError;
  },
): AsyncGenerator<string, void, undefined> {
  const silent = () =>
    new KubeError('Timeout', `${call.doing}: silent for ${options.idleMs / 1000} s`, { subject: call.subject });
  const sent = await send(access, call, options.idleMs, silent, options.signal);
  try {
    const response = await sent.response;
    response.setEncoding('utf8');
    const status = response.statusCode ?? 0;
    let rest = '';
    for await (const chunk of response) {
      sent.extend();
      rest += chunk;
      if (status >= 300) continue;
      const parts = rest.split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) if (line !== '') yield line;
    }
    if (status >= 300) throw options.refuse({ status, retryAfter: response.headers['retry-after'], body: rest });
    if (rest !== '') throw new Error('the stream ended within a line');
  } catch (error) {
    throw sent.failure(error);
  } finally {
    sent.release();
  }
}

interface Sent {
  readonly response: Promise<IncomingMessage>;
  /** Starts the time anew. */
  extend(): void;
  /** Why the request failed, as our error. */
  failure(error: unknown): unknown;
  /** Ends the timer, and the connection if the answer was not read to its end. */
  release(): void;
}

async function send(
  access: ClusterAccess,
  call: Call,
  timeMs: number,
  onTime: () => KubeError,
  signal: AbortSignal | undefined,
): Promise<Sent> {
  throwIfAborted(signal);
  const options = await authenticated(access, call);
  // The leader's signal may have aborted while a credential was read: nothing is sent then.
  throwIfAborted(signal);
  const url = new URL(access.server);
  const start = url.protocol === 'http:' ? httpRequest : httpsRequest;
  const request = start(`${url.origin}${url.pathname.replace(/\/$/, '')}${call.path}`, {
    ...options,
    method: call.method,
    headers: {
      accept: 'application/json',
      'user-agent': 'pipeline-parity',
      ...options.headers,
      ...call.headers,
      ...(call.body === undefined ? {} : { 'content-length': Buffer.byteLength(call.body) }),
    },
  });
  return supervised(request, call, timeMs, onTime, signal);
}

async function authenticated(access: ClusterAccess, call: Call) {
  try {
    const { headers, ...options } = await access.requestOptions();
    return { ...options, headers: Array.isArray(headers) ? {} : { ...headers } };
  } catch (error) {
    throw new KubeError('Unauthorized', `${call.doing}: no credentials: ${String(error)}`, {
      subject: call.subject,
      cause: error,
    });
  }
}

function supervised(
  request: ClientRequest,
  call: Call,
  timeMs: number,
  onTime: () => KubeError,
  signal: AbortSignal | undefined,
): Sent {
  let ended: unknown;
  let answer: IncomingMessage | undefined;
  const end = (why: unknown) => {
    ended ??= why;
    request.destroy();
  };
  const timer = setTimeout(() => end(onTime()), timeMs);
  const onAbort = () =>
    end(new ParityError('Cancelled', `${call.doing}: stopped on request`, { cause: signal?.reason }));
  signal?.addEventListener('abort', onAbort, { once: true });
  const { promise: response, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  request.once('response', (message) => {
    answer = message;
    resolve(message);
  });
  request.once('close', () => reject(new Error('the connection was closed')));
  request.on('error', reject);
  request.end(call.body);
  return {
    response,
    extend: () => timer.refresh(),
    failure: (error) => ended ?? (error instanceof ParityError ? error : unreachable(call, error)),
    release: () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      // A connection whose answer was read to its end goes back to the agent; any other can't be used again.
      if (answer?.complete !== true) request.destroy();
    },
  };
}

function unreachable(call: Call, error: unknown): KubeError {
  const why = error instanceof Error ? error.message : String(error);
  return new KubeError('Unreachable', `${call.doing}: ${why}`, {
    subject: call.subject,
    cause: error,
    advice: 'Look whether the API server runs and the kubeconfig names its address.',
  });
}
