import { randomBytes, randomUUID } from 'node:crypto';
import { link, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ResolvedSpec } from '../../api/resolved.ts';
import type { Verdict } from '../../run/types.ts';
import { ParityError } from '../../support/error.ts';
import { makeFolder } from '../../support/folder.ts';
import { writeSecret } from '../../support/secrets.ts';
import type { RunIdentity } from '../../tasks/task.ts';
import type { WorkspacePlan } from '../../tasks/workspace.ts';
import { takeRun } from './lock.ts';

/** What the driver keeps of a run on this machine: enough to continue it, and to remove all of it. Written before anything is made. */
export interface RunFile {
  readonly version: 1;
  readonly run: RunIdentity;
  readonly createdAt: string;
  readonly spec: ResolvedSpec;
  readonly specDigest: string;
  /** A run of another graph version is not continued, only cleaned up. */
  readonly graphVersion: number;
  readonly workspace: WorkspacePlan;
  readonly stage:
    | { readonly kind: 'Running'; readonly isCancelled: boolean }
    /** From here on the workspace may be gone in parts: the run is never continued, only removed. */
    | { readonly kind: 'CleaningUp'; readonly verdict: Verdict; readonly message: string }
    | { readonly kind: 'Kept'; readonly verdict: Verdict; readonly message: string };
}

/** Folders of one run on this machine. */
export interface RunFolders {
  readonly root: string;
  readonly scratch: string;
  readonly secrets: string;
  readonly sources: string;
  /** Identities of the run's task processes. */
  readonly processes: string;
}

/**
 * The id of this installation, made at its first use: what runs make carries it, and only what carries it is ever removed. The
 * installation's secret for masks is made with it.
 */
export async function installationId(stateDir: string): Promise<string> {
  const file = join(stateDir, 'installation.json');
  await makeFolder(stateDir, 0o711).catch((error) => {
    throw new ParityError('AccessDenied', `making the state folder ${stateDir}: ${String(error)}`, {
      cause: error,
      advice: 'Set PARITY_STATE_DIR to a folder that can be written to.',
    });
  });
  const aside = join(stateDir, `.installation-${randomUUID()}`);
  await writeFile(aside, JSON.stringify({ id: randomUUID() }), { mode: 0o600 });
  try {
    // The first of several processes wins, and all of them read what it wrote.
    await link(aside, file);
    await writeSecret(installationSecrets(stateDir), 'mask', { key: randomBytes(32).toString('hex') });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    await rm(aside, { force: true });
  }
  return parseInstallation(await readFile(file, 'utf8'), file);
}

/** Folder of the secrets that this installation made for itself. */
export function installationSecrets(stateDir: string): string {
  return join(stateDir, 'secrets');
}

/** Where workspaces lie unless the manifest or the command line says otherwise. */
export function defaultWorkspace(stateDir: string): string {
  return `file://${join(stateDir, 'workspaces').replaceAll('%', '%25')}`;
}

/** The folders of a run; nothing is made. */
export function runFolders(stateDir: string, uid: string): RunFolders {
  const root = join(stateDir, 'runs', uid);
  return {
    root,
    scratch: join(root, 'scratch'),
    secrets: join(root, 'secrets'),
    sources: join(root, 'sources'),
    processes: join(root, 'processes'),
  };
}

/** Makes a run's folder, complete with its file and held by this process, or not at all. */
export async function createRunFolder(stateDir: string, file: RunFile): Promise<RunFolders> {
  const folders = runFolders(stateDir, file.run.uid);
  const aside = join(stateDir, 'runs', `.new-${file.run.uid}`);
  await mkdir(aside, { recursive: true, mode: 0o711 });
  for (const name of ['scratch', 'secrets', 'processes']) await mkdir(join(aside, name), { mode: 0o700 });
  // Database servers run as a user of their own and must be able to pass through.
  await mkdir(join(aside, 'sources'), { mode: 0o711 });
  await writeFile(join(aside, 'run.json'), JSON.stringify(file), { mode: 0o600 });
  await takeRun(aside);
  await rename(aside, folders.root);
  return folders;
}

/** Replaces the run's file; readers see the old one or the new one. */
export async function writeRunFile(folders: RunFolders, file: RunFile): Promise<void> {
  const aside = join(folders.root, `.run-${randomUUID()}`);
  await writeFile(aside, JSON.stringify(file), { mode: 0o600 });
  await rename(aside, join(folders.root, 'run.json'));
}

/** The run's file. Throws `NotFound` where this machine knows no such run. */
export async function readRunFile(folders: RunFolders): Promise<RunFile> {
  let text: string;
  try {
    text = await readFile(join(folders.root, 'run.json'), 'utf8');
  } catch (error) {
    throw new ParityError('NotFound', `there is no run in ${folders.root}`, {
      cause: error,
      advice: 'List the runs of this machine with: parity gc --dry-run',
    });
  }
  const file: RunFile = JSON.parse(text);
  if (file.version !== 1)
    throw new ParityError('UnsupportedFeature', `${folders.root} was written by another version of parity`);
  return file;
}

/**
 * Removes a run's folder. It gets another name first: killed half-way, what is left is never taken for a run whose file is lost, and goes with the next
 * look at the runs.
 */
export async function removeRunFolder({ root }: RunFolders): Promise<void> {
  const aside = join(dirname(root), `${gone}${basename(root)}`);
  await rename(root, aside).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await rm(aside, { recursive: true, force: true });
}

const gone = '.gone-';

/** Uids of the runs that this machine holds something of, oldest name first. Folders that were never completed, or not wholly removed, are removed. */
export async function listRuns(stateDir: string): Promise<readonly string[]> {
  const runs = join(stateDir, 'runs');
  const names = await readdir(runs).catch(() => []);
  for (const name of names.filter((name) => name.startsWith(gone)))
    await rm(join(runs, name), { recursive: true, force: true });
  for (const name of names.filter((name) => name.startsWith('.new-'))) {
    const { mtimeMs } = await stat(join(runs, name)).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > unfinishedMs) await rm(join(runs, name), { recursive: true, force: true });
  }
  return names.filter((name) => /^[0-9a-f-]{36}$/.test(name)).sort();
}

/** A folder that is being made is complete within moments; one older than this never will be. */
const unfinishedMs = 3_600_000;

function parseInstallation(text: string, file: string): string {
  const value: unknown = JSON.parse(text);
  if (typeof value === 'object' && value !== null && 'id' in value && typeof value.id === 'string') return value.id;
  throw new ParityError('Internal', `${file} does not hold an installation's id`, {
    advice: 'Restore it from a backup: without it, what earlier runs made is not recognised.',
  });
}
