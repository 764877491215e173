import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type ClusterAccess, plainAccess } from './kubeconfig.ts';

/** A server on this machine that answers as a test says, to play faults that a real API server has at no one's bidding. */
export interface ScriptedServer extends AsyncDisposable {
  readonly access: ClusterAccess;
  /** `METHOD path?query` of every request so far. */
  readonly requests: readonly string[];
  /** Connections that were made. */
  connections(): number;
}

export type Script = (
  request: IncomingMessage & { readonly index: number; readonly body: string },
  response: ServerResponse,
) => void;

/** Starts one on a free port; `script` sees each request with its body read. */
export async function scriptedServer(script: Script): Promise<ScriptedServer> {
  const requests: string[] = [];
  let connections = 0;
  const server = createServer(async (request, response) => {
    const index = requests.push(`${request.method} ${request.url}`) - 1;
    let body = '';
    for await (const chunk of request) body += chunk;
    script(Object.assign(request, { index, body }), response);
  });
  server.on('connection', () => connections++);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    access: plainAccess({ server: new URL(`http://127.0.0.1:${port}`), namespace: 'default' }),
    requests,
    connections: () => connections,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Answers with JSON. */
export function reply(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

/** A refusal as the API server words it. */
export function status(code: number, reason: string, details?: object) {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: `${reason} it is`, details };
}
