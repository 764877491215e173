import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as plainRequest,
  type ServerResponse,
} from 'node:http';
import { type RequestOptions, request as tlsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { clusterAccess } from '../../src/kube/kubeconfig.ts';

/** What happens to one request. Nothing said: it passes. */
export type Fault =
  /** The connection is cut; the server never hears of it. */
  | { readonly kind: 'Drop' }
  /** The server carries it out; the connection is cut before a byte of the answer. */
  | { readonly kind: 'LoseReply' }
  /** The server never hears of it; this is answered. */
  | {
      readonly kind: 'Answer';
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
    }
  /** It waits before the server hears of it, before the answer goes back, or both. */
  | { readonly kind: 'Delay'; readonly beforeMs?: number; readonly afterMs?: number }
  /** The server has carried it out and answered with that status; what now? A test may end a process here. */
  | {
      readonly kind: 'Afterwards';
      readonly decide: (status: number) => Promise<'Forward' | 'Lose'> | 'Forward' | 'Lose';
    }
  /** The answer is cut after so many bytes of its body. */
  | { readonly kind: 'Cut'; readonly afterBytes: number }
  /** The connection stays open, and nothing comes after so many bytes of the answer's body. */
  | { readonly kind: 'Silence'; readonly afterBytes: number }
  /** Each line of the answer (an event of a watch, or a whole JSON body) becomes these lines: none, itself, twice, another. */
  | { readonly kind: 'Rewrite'; readonly line: (line: string) => readonly string[] };

/** A request on its way through the proxy. */
export interface ProxiedRequest {
  /** 0, 1, … in the order they came. */
  readonly index: number;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly isWrite: boolean;
  readonly isWatch: boolean;
  /** The whole body. Only a decision may ask for it, and may again later; a body that nobody asked for streams through. */
  body(): Promise<Buffer>;
  /** What the server answered; undefined while it has not, or never heard of it. */
  status: number | undefined;
}

export type Decide = (request: ProxiedRequest) => Fault | undefined | Promise<Fault | undefined>;

export interface FaultProxy extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Every request so far. */
  readonly requests: readonly ProxiedRequest[];
  /** The POST, PUT, PATCH and DELETE among them. */
  writes(): readonly ProxiedRequest[];
  /** Who decides from now on; undefined: all passes. */
  decideBy(decide: Decide | undefined): void;
  /** Cuts the connections of requests that run and match; returns how many. */
  cut(matches: (request: ProxiedRequest) => boolean): number;
}

export interface ProxyOptions {
  /** The server behind it, `http:` or `https:`. */
  readonly server: URL;
  /** What a request to it needs: TLS and headers that take the place of the client's. */
  readonly requestOptions?: () => Promise<RequestOptions>;
  readonly decide?: Decide;
  /** Address to listen on. Default `127.0.0.1`. */
  readonly host?: string;
}

/**
 * An HTTP proxy before one server (an API server, S3) that does to each request what the test decides. Requests go on with the
 * `Host` they came with, since signatures cover it.
 */
export async function startFaultProxy(options: ProxyOptions): Promise<FaultProxy> {
  const requests: ProxiedRequest[] = [];
  const running = new Map<ProxiedRequest, IncomingMessage>();
  let { decide } = options;
  const server = createServer(async (message, response) => {
    const request = proxied(message, requests.length);
    requests.push(request);
    running.set(request, message);
    response.once('close', () => running.delete(request));
    try {
      await pass(options, request, message, response, await decide?.(request));
    } catch {
      // The server is gone, or the client is: both learn it by the connection.
      message.socket.destroy();
    }
  });
  const host = options.host ?? '127.0.0.1';
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    url: `http://${host}:${port}`,
    requests,
    writes: () => requests.filter((request) => request.isWrite),
    decideBy: (next) => {
      decide = next;
    },
    cut: (matches) => {
      const hit = [...running].filter(([request]) => matches(request));
      for (const [, message] of hit) message.socket.destroy();
      return hit.length;
    },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A fault proxy before the API server of a kubeconfig, with a kubeconfig that leads to the proxy. */
export interface ApiProxy extends FaultProxy {
  readonly kubeconfig: string;
}

/** Starts one. Whoever comes through it is let in as the kubeconfig's user. */
export async function startApiProxy(options: {
  readonly kubeconfig: string;
  readonly decide?: Decide;
  readonly host?: string;
}): Promise<ApiProxy> {
  const { kubeconfig, ...rest } = options;
  const access = await clusterAccess({ kubeconfig });
  const proxy = await startFaultProxy({ ...rest, server: access.server, requestOptions: access.requestOptions });
  const folder = await mkdtemp(join(tmpdir(), 'parity-proxy-'));
  const path = join(folder, 'kubeconfig');
  await writeFile(path, stringify(kubeconfigTo(proxy.url, access.namespace)), { mode: 0o600 });
  return {
    ...proxy,
    kubeconfig: path,
    [Symbol.asyncDispose]: async () => {
      await proxy[Symbol.asyncDispose]();
      access.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function kubeconfigTo(server: string, namespace: string) {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    // The Kubernetes client refuses plain HTTP without that word.
    clusters: [{ name: 'proxy', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'proxy', user: {} }],
    contexts: [{ name: 'proxy', context: { cluster: 'proxy', user: 'proxy', namespace } }],
    'current-context': 'proxy',
  };
}

function proxied(message: IncomingMessage, index: number): ProxiedRequest {
  const { pathname, searchParams } = new URL(message.url ?? '/', 'http://proxy');
  const method = message.method ?? 'GET';
  let body: Promise<Buffer> | undefined;
  return {
    index,
    method,
    path: pathname,
    query: searchParams,
    headers: message.headers,
    isWrite: ['POST', 'PUT', 'PATCH', 'DELETE'].includes(method),
    isWatch: searchParams.get('watch') === 'true',
    body: () => {
      body ??= readAll(message);
      bodies.set(message, body);
      return body;
    },
    status: undefined,
  };
}

/** Bodies that a decision has read already. */
const bodies = new WeakMap<IncomingMessage, Promise<Buffer>>();

async function readAll(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function pass(
  options: ProxyOptions,
  request: ProxiedRequest,
  message: IncomingMessage,
  response: ServerResponse,
  fault: Fault | undefined,
): Promise<void> {
  if (fault?.kind === 'Drop') {
    message.socket.destroy();
    return;
  }
  if (fault?.kind === 'Answer') {
    response.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers }).end(fault.body ?? '');
    return;
  }
  if (fault?.kind === 'Delay') await sleep(fault.beforeMs ?? 0);
  const answer = await forward(options, message, response);
  request.status = answer.statusCode ?? 0;
  if (await isLost(fault, answer)) {
    message.socket.destroy();
    return;
  }
  await giveBack(answer, response, fault);
}

async function isLost(fault: Fault | undefined, answer: IncomingMessage): Promise<boolean> {
  if (fault?.kind === 'Delay') await sleep(fault.afterMs ?? 0);
  if (fault?.kind === 'Afterwards') return (await fault.decide(answer.statusCode ?? 0)) === 'Lose';
  return fault?.kind === 'LoseReply';
}

/** Sends the request to the server; resolves with the head of its answer. */
async function forward(
  options: ProxyOptions,
  message: IncomingMessage,
  response: ServerResponse,
): Promise<IncomingMessage> {
  const { headers: own, ...rest } = (await options.requestOptions?.()) ?? {};
  const send = options.server.protocol === 'http:' ? plainRequest : tlsRequest;
  const headers = { ...message.headers, ...(Array.isArray(own) ? {} : own) };
  // Both are between the client and this proxy, which has said "continue" itself.
  delete headers.connection;
  delete headers.expect;
  const upstream = send({
    ...rest,
    hostname: options.server.hostname,
    port: options.server.port,
    path: message.url,
    method: message.method,
    headers,
  });
  response.once('close', () => upstream.destroy());
  // After the head of the answer its own stream tells.
  upstream.on('error', () => {});
  const answered = once(upstream, 'response');
  const body = bodies.get(message);
  if (body === undefined) message.pipe(upstream);
  else upstream.end(await body);
  const [answer] = await answered;
  return answer;
}

async function giveBack(answer: IncomingMessage, response: ServerResponse, fault: Fault | undefined): Promise<void> {
  const headers = { ...answer.headers };
  delete headers.connection;
  // Another text has another length.
  if (fault?.kind === 'Rewrite') delete headers['content-length'];
  response.writeHead(answer.statusCode ?? 0, headers).flushHeaders();
  if (fault?.kind === 'Rewrite') answer.setEncoding('utf8');
  let passed = 0;
  let rest = '';
  for await (const chunk of answer) {
    if (fault?.kind === 'Rewrite') {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines.flatMap(fault.line)) response.write(`${line}\n`);
      continue;
    }
    const left = fault?.kind === 'Cut' || fault?.kind === 'Silence' ? fault.afterBytes - passed : chunk.length;
    if (left > 0 && !response.write(chunk.subarray(0, left))) await once(response, 'drain');
    passed += chunk.length;
    if (fault?.kind === 'Cut' && passed >= fault.afterBytes) {
      // What was written before arrives before the cut.
      response.write('', () => response.destroy());
      return;
    }
  }
  if (fault?.kind === 'Silence' && passed >= fault.afterBytes) return;
  if (rest !== '' && fault?.kind === 'Rewrite') response.write(fault.line(rest).join('\n'));
  response.end();
}
