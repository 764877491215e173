import { createServer, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { ParityError } from '../../src/support/error.ts';
import { redact } from '../../src/support/log.ts';

export interface HealthOptions {
  readonly port: number;
  /** Default: every address. */
  readonly host?: string;
  /** What makes this process one that should be started again; by name. Each returns undefined while all is well, or what is wrong. */
  readonly live: Checks;
  /** What keeps it from being of use now, as before its first list. */
  readonly ready: Checks;
  readonly metrics: Registry;
}

export type Checks = Readonly<Record<string, () => string | undefined>>;

export interface HealthServer extends AsyncDisposable {
  readonly port: number;
}

/** Serves `/healthz`, `/readyz` (200 or 503, one line per check) and `/metrics`. Throws `BadUsage` if the port is taken. */
export async function startHealthServer(options: HealthOptions): Promise<HealthServer> {
  const server = createServer(async (request, response) => {
    const path = request.url?.split('?', 1)[0];
    if (path === '/healthz') answerChecks(response, options.live);
    else if (path === '/readyz') answerChecks(response, options.ready);
    else if (path === '/metrics') {
      const text = await options.metrics.metrics().catch(() => undefined);
      answer(response, text === undefined ? 500 : 200, text ?? '', options.metrics.contentType);
    } else answer(response, 404, 'there is /healthz, /readyz and /metrics\n');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new ParityError('BadUsage', `serving health checks on port ${options.port}: ${error.message}`, {
          cause: error,
          advice: 'Choose another port.',
        }),
      ),
    );
    server.listen(options.port, options.host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answerChecks(response: ServerResponse, checks: Checks): void {
  const results = Object.entries(checks).map(([name, check]) => ({ name, wrong: outcome(check) }));
  const lines = results.map(({ name, wrong }) => (wrong === undefined ? `${name}: ok` : `${name}: ${redact(wrong)}`));
  const isWell = results.every(({ wrong }) => wrong === undefined);
  answer(response, isWell ? 200 : 503, `${lines.join('\n')}\n`);
}

function outcome(check: () => string | undefined): string | undefined {
  try {
    return check();
  } catch (error) {
    return String(error);
  }
}

function answer(response: ServerResponse, status: number, body: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': type }).end(body);
}
