import { resolve } from 'node:path';
import { env } from '../../support/env.ts';
import { ParityError, toParityError } from '../../support/error.ts';
import { cleanUp, type Leftover } from '../../tasks/cleanup.ts';
import { livingHolder, takeRun } from './lock.ts';
import { folderRemoval, heldError, removalsOf } from './removals.ts';
import { installationId, installationSecrets, listRuns, type RunFile, readRunFile, runFolders } from './state-dir.ts';

export interface GcOptions {
  /** Says what would be removed, and removes nothing. */
  readonly dryRun: boolean;
  /** Only this run, even if it was kept on purpose. */
  readonly uid?: string;
  /** Also runs that were kept on purpose. */
  readonly kept?: boolean;
  readonly stateDir?: string;
  readonly secretsDir?: string;
  readonly signal?: AbortSignal;
}

export interface GcResult {
  readonly runs: readonly GcRun[];
}

/** One run of this machine, and what became of it. */
export interface GcRun {
  readonly uid: string;
  /** undefined where its file cannot be read. */
  readonly name: string | undefined;
  readonly createdAt: string | undefined;
  readonly workspace: string | undefined;
  readonly result:
    | { readonly kind: 'Removed' }
    /** On a dry run: these things would go. */
    | { readonly kind: 'WouldRemove'; readonly things: readonly string[] }
    /** A living process carries it out. */
    | { readonly kind: 'Running'; readonly pid: number }
    /** Kept on purpose: remove it with `uid` or `kept`. */
    | { readonly kind: 'Kept' }
    | { readonly kind: 'Incomplete'; readonly leftovers: readonly Leftover[] };
}

const removalTimeoutMs = 600_000;

/**
 * Removes what runs of this installation left on this machine and elsewhere, when their driver is dead. Never touches a run that a
 * living process holds, nor anything that carries another installation's mark. Throws `NotFound` and `BadUsage` where `uid` names no
 * run, or a running one.
 */
export async function gc(options: GcOptions): Promise<GcResult> {
  const stateDir = resolve(options.stateDir ?? env.stateDir());
  const installation = await installationId(stateDir);
  const uids = options.uid === undefined ? await listRuns(stateDir) : [options.uid];
  const runs: GcRun[] = [];
  for (const uid of uids) runs.push(await collect(uid, stateDir, installation, options));
  return { runs };
}

async function collect(uid: string, stateDir: string, installation: string, options: GcOptions): Promise<GcRun> {
  const folders = runFolders(stateDir, uid);
  let file: RunFile;
  try {
    file = await readRunFile(folders);
  } catch (error) {
    if (options.uid !== undefined) throw error;
    const leftover = { what: `the run in ${folders.root}`, error: toParityError(error).toJSON() };
    const unread = { uid, name: undefined, createdAt: undefined, workspace: undefined };
    const leftovers = [{ ...leftover, command: folderRemoval(folders).command }];
    return { ...unread, result: { kind: 'Incomplete', leftovers } };
  }
  const about = { uid, name: file.run.name, createdAt: file.createdAt, workspace: file.workspace.storage.location };
  const holder = await livingHolder(folders.root);
  if (holder !== undefined && holder.pid !== process.pid) {
    if (options.uid !== undefined) throw heldError(uid, holder);
    return { ...about, result: { kind: 'Running', pid: holder.pid } };
  }
  if (file.stage.kind === 'Kept' && options.uid === undefined && options.kept !== true) {
    return { ...about, result: { kind: 'Kept' } };
  }
  if (file.run.installation !== installation) return { ...about, result: foreign(file, folders.root) };
  const secretsDir = options.secretsDir ?? env.secretsDir();
  const secretFolders = [
    folders.secrets,
    ...(secretsDir === undefined ? [] : [resolve(secretsDir)]),
    installationSecrets(stateDir),
  ];
  const removals = removalsOf(file, folders, secretFolders);
  if (options.dryRun) {
    const things = [...removals, folderRemoval(folders)].map(({ what }) => what);
    return { ...about, result: { kind: 'WouldRemove', things } };
  }
  const lock = await takeRun(folders.root);
  if (!lock.taken) return { ...about, result: { kind: 'Running', pid: lock.heldBy.pid } };
  const bounds = { timeoutMs: removalTimeoutMs, ...(options.signal === undefined ? {} : { signal: options.signal }) };
  const leftovers = await cleanUp(removals, bounds);
  // The folder knows what there was: it stays until all of that is gone.
  const last = leftovers.length === 0 ? await cleanUp([folderRemoval(folders)], bounds) : leftovers;
  return { ...about, result: last.length === 0 ? { kind: 'Removed' } : { kind: 'Incomplete', leftovers: last } };
}

function foreign(file: RunFile, root: string): GcRun['result'] {
  const error = new ParityError(
    'AccessDenied',
    `run ${file.run.uid} belongs to installation ${file.run.installation}`,
    {
      advice: 'It was copied here from elsewhere. Run gc where it was made.',
    },
  );
  const leftovers = [{ what: `the run in ${root}`, error: error.toJSON(), command: `rm -rf '${root}'` }];
  return { kind: 'Incomplete', leftovers };
}
