/** Starts a database server in a folder, says its process id, and waits to be killed. */
import { startEmbedded } from '../../src/sources/embedded.ts';

const [engineName, dir = ''] = process.argv.slice(2);
if (engineName !== 'Postgres' && engineName !== 'MySQL') throw new Error('Postgres or MySQL');
const server = await startEmbedded(engineName, { dir, name: 'test', signal: new AbortController().signal });
process.stdout.write(`${server.pid}\n`);
await server.exited;
