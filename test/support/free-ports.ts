import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';

/** Below those that the kernel gives to connections on their way out, and Kubernetes to Services: else one could be taken before its server listens. */
const range = { from: 12_000, to: 30_000 };

/**
 * Ports that are free now, on every address of this machine: servers name their sockets by the port alone. They are all held at once, so that no two are the
 * same.
 */
export async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = [];
  try {
    const ports: number[] = [];
    while (ports.length < count) {
      const port = randomInt(range.from, range.to);
      const server = await listenOn(port);
      if (server === undefined) continue;
      held.push(server);
      ports.push(port);
    }
    return ports;
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** undefined where somebody else has the port. */
async function listenOn(port: number): Promise<Server | undefined> {
  const server = createServer();
  return await new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen(port, '0.0.0.0', () => resolve(server));
  });
}
