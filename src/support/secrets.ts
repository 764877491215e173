import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { ParityError } from './error.ts';
import { registerSecret } from './log.ts';

/**
 * The keys of a secret: a folder of its name in one of `folders` (the first that has it), one file per key, as Kubernetes mounts them. Every value
 * that protects something is registered with the log. Throws `NotFound` naming the secret.
 */
export async function readSecret(name: string, folders: readonly string[]): Promise<Readonly<Record<string, string>>> {
  if (!isName(name)) throw notFound(name, folders);
  for (const folder of folders) {
    const keys = await keysOf(join(folder, name));
    if (keys === undefined) continue;
    protectKeys(keys);
    return keys;
  }
  throw notFound(name, folders);
}

/** Registers every value of a secret that protects something with the log. */
export function protectKeys(keys: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(keys)) if (!publicKeys.has(key)) registerSecret(value);
}

/**
 * Writes a secret's keys as files that only this user can read. Replaces an older one, and leaves one alone that holds the same: somebody may be reading
 * it (a worker of an earlier driver whose run is continued).
 */
export async function writeSecret(folder: string, name: string, keys: Readonly<Record<string, string>>): Promise<void> {
  const target = join(folder, name);
  if (isDeepStrictEqual(await keysOf(target), { ...keys })) return protectKeys(keys);
  const aside = join(folder, `..${name}.${process.pid}`);
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true, mode: 0o700 });
  protectKeys(keys);
  for (const [key, value] of Object.entries(keys)) {
    await writeFile(join(aside, key), value, { mode: 0o600, flag: 'wx' });
  }
  // Moved away whole before it is removed: nobody reads what is left of it halfway.
  const old = `${aside}.old`;
  await rm(old, { recursive: true, force: true });
  await rename(target, old).catch((error: unknown) => {
    if (!isMissing(error)) throw error;
  });
  await rename(aside, target);
  await rm(old, { recursive: true, force: true });
}

/** What errors say in clear. */
const publicKeys: ReadonlySet<string> = new Set([
  ...['host', 'port', 'user', 'database', 'ca', 'region', 'endpoint', 'project'],
  ...['account', 'warehouse', 'role', 'schema', 'accessUrl'],
]);

/** How often a secret is read that is being replaced meanwhile. */
const readings = 5;

async function keysOf(folder: string, left = readings): Promise<Record<string, string> | undefined> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new ParityError('AccessDenied', `reading the secret in ${folder}: ${String(error)}`, { cause: error });
  }
  const keys: Record<string, string> = {};
  // Kubernetes keeps its versions of a mounted secret in `..data` and the like.
  for (const name of names.filter((name) => !name.startsWith('..'))) {
    const value = await readFile(join(folder, name), 'utf8').catch((error: unknown) => {
      if (left > 1 && isMissing(error)) return undefined;
      throw new ParityError('AccessDenied', `reading the secret in ${folder}: ${String(error)}`, { cause: error });
    });
    if (value === undefined) return await keysOf(folder, left - 1);
    // An editor or `echo` ends a file with a newline that is no part of the value.
    keys[name] = value.replace(/\r?\n$/, '');
  }
  return keys;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

function isName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/.test(name);
}

function notFound(name: string, folders: readonly string[]): ParityError {
  const where = folders.length === 0 ? 'no folder of secrets is known' : `it is in none of ${folders.join(', ')}`;
  return new ParityError('NotFound', `the secret "${name}" was not found: ${where}`, {
    subject: name,
    advice: `Set PARITY_SECRETS_DIR to a folder that holds ${name}/<key> with one file per key.`,
  });
}
