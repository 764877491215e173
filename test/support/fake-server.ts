import type { StartServer } from '../../src/cli/driver/provision.ts';

/** A database server that nobody connects to. */
export const fakeServer: StartServer = async () => ({
  connection: { host: 'h', port: 1, user: 'u', password: 'a password', database: 'd' },
  exited: new Promise(() => undefined),
  stop: async () => undefined,
});
