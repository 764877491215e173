import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ResolvedSource } from '../../src/api/resolved.ts';
import { type EmbeddedServer, startEmbedded } from '../../src/sources/embedded.ts';

type EngineName = ResolvedSource['engine'];

const started = new Map<EngineName, Promise<EmbeddedServer>>();
const folders: string[] = [];

/** A server that all tests of this process share; gone when they have run. Each test uses tables, or a database, of its own. */
export function sharedServer(engine: EngineName): Promise<EmbeddedServer> {
  const running = started.get(engine) ?? ownServer(engine);
  started.set(engine, running);
  return running;
}

/** A server for one test, which stops it or does something worse to it. */
export async function ownServer(engine: EngineName): Promise<EmbeddedServer> {
  const dir = await mkdtemp(join(tmpdir(), `parity-${engine.toLowerCase()}-`));
  folders.push(dir);
  return await startEmbedded(engine, { dir, name: 'test', signal: new AbortController().signal });
}

after(async () => {
  for (const server of started.values()) await (await server).stop();
  for (const dir of folders) await rm(dir, { recursive: true, force: true });
});
