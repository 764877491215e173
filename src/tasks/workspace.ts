import { readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResolvedStorage } from '../api/resolved.ts';
import { type FileLocation, parseLocation, type S3Location } from '../lake/location.ts';
import { openStore } from '../lake/open.ts';
import {
  bucketAdmin,
  bucketNames,
  bucketTags,
  createBucket,
  deleteBucket,
  emptyBucket,
  folderNames,
  isEmpty,
  tagBucket,
} from '../lake/s3-admin.ts';
import { mayHaveBeenDone } from '../lake/s3-client.ts';
import { codeOf } from '../sources/source-errors.ts';
import { ParityError } from '../support/error.ts';
import { makeFolder } from '../support/folder.ts';
import type { RunIdentity } from './task.ts';

/** Where a run's own bucket, prefix or folder is. Its name carries the run's full uid, so the plan is the record of the intent. */
export interface WorkspacePlan {
  readonly storage: ResolvedStorage;
  /** Whether the bucket itself is the run's, and goes with it. */
  readonly ownsBucket: boolean;
}

/** The object that says whose a workspace is: written before anything else, removed after everything else. */
export interface Mark {
  readonly installation: string;
  readonly uid: string;
  readonly name: string;
  readonly createdAt: string;
}

const markKey = '.parity.json';

type Secret = Readonly<Record<string, string>> | undefined;

/** A workspace was refused before anything of it can have been made: there is nothing to remove. */
export class WorkspaceRefused extends ParityError {}

/** The run's workspace under a location: `s3://` alone means a bucket of its own. */
export function planWorkspace(workspace: ResolvedStorage, uid: string): WorkspacePlan {
  const own = `parity-${uid}`;
  if (workspace.location === 's3://') return { storage: { ...workspace, location: `s3://${own}` }, ownsBucket: true };
  const location = `${workspace.location.replace(/\/+$/, '')}/${own}`;
  return { storage: { ...workspace, location }, ownsBucket: false };
}

/**
 * Makes the workspace and marks it. Done again it changes nothing. Throws `AccessDenied` for a place that is marked as somebody else's, and the store's
 * errors, as `WorkspaceRefused` where its first word was a refusal.
 */
export async function createWorkspace(
  plan: WorkspacePlan,
  run: RunIdentity,
  secret: Secret,
  createdAt: Date,
): Promise<void> {
  const location = parseLocation(plan.storage.location, plan.storage);
  if (plan.ownsBucket && location.scheme === 's3')
    await withAdmin(location, secret, async (admin) => {
      await tellRefusal(() => createBucket(admin));
      await tagBucket(admin, tagsOf(run));
    });
  if (location.scheme === 'file') await makeWorkspaceFolder(location);
  const store = await openStore(plan.storage, secret);
  try {
    const mark: Mark = { ...identity(run), createdAt: createdAt.toISOString() };
    const put = () => store.putIfAbsent(markKey, JSON.stringify(mark));
    if (await (plan.ownsBucket ? put() : tellRefusal(put))) return;
    const found = await readMark(plan, secret);
    if (found === undefined || !isOurs(found, run)) throw notOurs(plan, found);
  } finally {
    store.close();
  }
}

/**
 * Deletes the workspace with all that is in it, if its mark carries the installation's id and the run's full uid. Nothing there is
 * no error. Throws `CleanupIncomplete` where something lies there without our mark, and where something stayed.
 */
export async function removeWorkspace(
  plan: WorkspacePlan,
  run: RunIdentity,
  secret: Secret,
  signal?: AbortSignal,
): Promise<void> {
  const location = parseLocation(plan.storage.location, plan.storage);
  switch (location.scheme) {
    case 'file':
      return await removeFolder(plan, location, run);
    case 's3':
      return await removeObjects(plan, location, run, secret, signal);
  }
}

/** A place whose name is a workspace's, under a location where runs work. */
export interface FoundWorkspace {
  readonly uid: string;
  readonly plan: WorkspacePlan;
}

/** The places under a location that are named as workspaces; whose they are, only their marks say. Throws the store's errors. */
export async function listWorkspaces(base: ResolvedStorage, secret: Secret): Promise<readonly FoundWorkspace[]> {
  const names = await placesIn(base, secret);
  return names.flatMap((name) => {
    const uid = /^parity-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(name)?.[1];
    return uid === undefined ? [] : [{ uid, plan: planWorkspace(base, uid) }];
  });
}

async function placesIn(base: ResolvedStorage, secret: Secret): Promise<readonly string[]> {
  if (base.location === 's3://') {
    const anywhere = parseLocation('s3://any', base);
    if (anywhere.scheme !== 's3') return [];
    return await withAdmin(anywhere, secret, bucketNames);
  }
  const location = parseLocation(base.location, base);
  if (location.scheme === 's3') return await withAdmin(location, secret, folderNames);
  return await readdir(location.root).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}

/** The workspace's mark; undefined where there is none, or no such place. */
export async function readMark(plan: WorkspacePlan, secret: Secret): Promise<Mark | undefined> {
  const store = await openStore(plan.storage, secret);
  try {
    if ((await store.head(markKey)) === undefined) return undefined;
    const mark: unknown = JSON.parse((await store.get(markKey)).toString());
    return isMark(mark) ? mark : undefined;
  } catch (error) {
    if (error instanceof ParityError && error.code === 'NotFound') return undefined;
    throw error;
  } finally {
    store.close();
  }
}

/** The command that removes the workspace by hand, for whoever is told that it stayed. */
export function removalCommand({ storage, ownsBucket }: WorkspacePlan): string {
  const location = parseLocation(storage.location, storage);
  if (location.scheme === 'file') return `rm -rf '${location.root.replaceAll("'", `'\\''`)}'`;
  const endpoint = storage.endpoint === undefined ? '' : ` --endpoint-url ${storage.endpoint}`;
  const verb = ownsBucket ? 'rb --force' : 'rm --recursive';
  return `aws s3 ${verb} ${storage.location}${ownsBucket ? '' : '/'}${endpoint}`;
}

async function removeFolder(plan: WorkspacePlan, { root }: FileLocation, run: RunIdentity): Promise<void> {
  const entries = await readdir(root).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (entries === undefined) return;
  if (entries.length === 0) return await rmdir(root);
  const mark = await readMark(plan, undefined);
  if (mark === undefined || !isOurs(mark, run)) throw notOurs(plan, mark);
  // The mark goes last: a removal that is killed half-way can still prove whose the rest is.
  for (const entry of entries.filter((entry) => entry !== markKey)) {
    await rm(join(root, entry), { recursive: true, force: true });
  }
  await rm(root, { recursive: true, force: true });
}

async function removeObjects(
  plan: WorkspacePlan,
  location: S3Location,
  run: RunIdentity,
  secret: Secret,
  signal: AbortSignal | undefined,
): Promise<void> {
  await withAdmin(location, secret, async (admin) => {
    const mark = await readMark(plan, secret);
    const isProved = mark === undefined ? await hasOurTags() : isOurs(mark, run);
    // Without a mark there is only what was made before it: an empty bucket of the run's own name.
    if (!isProved && !(mark === undefined && (await isEmpty(admin)))) throw notOurs(plan, mark);
    if (isProved) {
      await emptyBucket(admin, { keep: markKey, ...(signal === undefined ? {} : { signal }) });
      await emptyBucket(admin);
    }
    if (plan.ownsBucket) await deleteBucket(admin);

    async function hasOurTags(): Promise<boolean> {
      const tags = plan.ownsBucket ? await bucketTags(admin) : undefined;
      const wanted = tagsOf(run);
      return tags !== undefined && Object.entries(wanted).every(([name, value]) => tags[name] === value);
    }
  });
}

/** No answer that lets us in, and none that could have been lost: whoever asked was refused, or never connected. */
async function tellRefusal<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof ParityError)) throw error;
    const { code, message, cause, advice, subject, isRetryable } = error;
    const isRefused = code === 'AccessDenied' || ['ECONNREFUSED', 'ENOTFOUND'].includes(codeOf(cause));
    if (!isRefused || mayHaveBeenDone(cause)) throw error;
    const optional = { ...(advice === undefined ? {} : { advice }), ...(subject === undefined ? {} : { subject }) };
    throw new WorkspaceRefused(code, message, { cause, isRetryable, ...optional });
  }
}

async function withAdmin<T>(
  location: S3Location,
  secret: Secret,
  work: (admin: ReturnType<typeof bucketAdmin>) => Promise<T>,
): Promise<T> {
  const admin = bucketAdmin(location, secret);
  try {
    return await work(admin);
  } finally {
    admin.client.destroy();
  }
}

async function makeWorkspaceFolder({ root }: FileLocation): Promise<void> {
  try {
    await makeFolder(root, 0o755);
  } catch (error) {
    throw new ParityError('AccessDenied', `making the workspace ${root}: ${String(error)}`, {
      cause: error,
      advice: 'Set spec.workspace.location to a folder that can be written to.',
    });
  }
}

function identity({ installation, uid, name }: RunIdentity): Omit<Mark, 'createdAt'> {
  return { installation, uid, name };
}

function tagsOf({ installation, uid }: RunIdentity): Readonly<Record<string, string>> {
  return { 'pipelineparity.io/installation': installation, 'pipelineparity.io/run': uid };
}

function isOurs(mark: Mark, run: RunIdentity): boolean {
  return mark.installation === run.installation && mark.uid === run.uid;
}

function isMark(value: unknown): value is Mark {
  return (
    typeof value === 'object' &&
    value !== null &&
    'installation' in value &&
    typeof value.installation === 'string' &&
    'uid' in value &&
    typeof value.uid === 'string'
  );
}

function notOurs({ storage }: WorkspacePlan, mark: Mark | undefined): ParityError {
  const found =
    mark === undefined
      ? 'it holds things without our mark'
      : `it is marked as run ${mark.uid} of installation ${mark.installation}`;
  return new ParityError('CleanupIncomplete', `the workspace ${storage.location} is not this run's: ${found}`, {
    advice: 'Nothing was deleted. See what lies there before removing it by hand.',
  });
}
