import { randomUUID } from 'node:crypto';
import { link, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isAlive, isProcessIdentity, ownIdentity, type ProcessIdentity } from '../../support/process-identity.ts';

/**
 * Takes the run's folder for this process, unless a living one holds it: then that one is returned as `heldBy`.
 *
 * Each holder makes a file with the next number; making a file is atomic, and none is ever replaced, so of two that find the same
 * dead holder only one gets the next number.
 */
export async function takeRun(runDir: string): Promise<{ taken: true } | { taken: false; heldBy: ProcessIdentity }> {
  for (;;) {
    const holder = await holderOf(runDir);
    if (holder !== undefined && isAlive(holder.identity) && !isThisProcess(holder.identity)) {
      return { taken: false, heldBy: holder.identity };
    }
    if (holder !== undefined && isThisProcess(holder.identity)) return { taken: true };
    if (await create(runDir, (holder?.number ?? 0) + 1)) return { taken: true };
  }
}

/** The living process that carries the run out; undefined where none does. */
export async function livingHolder(runDir: string): Promise<ProcessIdentity | undefined> {
  const holder = await holderOf(runDir);
  return holder !== undefined && isAlive(holder.identity) ? holder.identity : undefined;
}

async function holderOf(runDir: string): Promise<{ number: number; identity: ProcessIdentity } | undefined> {
  const numbers = (await readdir(runDir)).flatMap((name) => {
    const match = /^driver-(\d+)\.json$/.exec(name);
    return match === null ? [] : [Number(match[1])];
  });
  if (numbers.length === 0) return undefined;
  const number = Math.max(...numbers);
  return { number, identity: await readIdentity(lockFile(runDir, number)) };
}

async function readIdentity(file: string): Promise<ProcessIdentity> {
  // A file that a full disk cut short is nobody's: no process has this id.
  const nobody = { pid: 0, started: 'unreadable' };
  try {
    const identity: unknown = JSON.parse(await readFile(file, 'utf8'));
    return isProcessIdentity(identity) ? identity : nobody;
  } catch {
    return nobody;
  }
}

/** Written aside and linked: whoever sees the file sees all of it. */
async function create(runDir: string, number: number): Promise<boolean> {
  const aside = join(runDir, `.driver-${randomUUID()}`);
  await writeFile(aside, JSON.stringify(ownIdentity()), { mode: 0o600 });
  try {
    await link(aside, lockFile(runDir, number));
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

function lockFile(runDir: string, number: number): string {
  return join(runDir, `driver-${number}.json`);
}

function isThisProcess(identity: ProcessIdentity): boolean {
  const own = ownIdentity();
  return identity.pid === own.pid && identity.started === own.started;
}
