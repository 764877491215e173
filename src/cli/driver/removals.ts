import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResolvedSource, ResolvedStorage } from '../../api/resolved.ts';
import { pipelineRemovals } from '../../pipelines/removals.ts';
import { parseConnection } from '../../sources/connection.ts';
import { ParityError } from '../../support/error.ts';
import { isAlive, isProcessIdentity, type ProcessIdentity, signalIfAlive } from '../../support/process-identity.ts';
import { delay } from '../../support/retry.ts';
import { readSecret } from '../../support/secrets.ts';
import type { Removal } from '../../tasks/cleanup.ts';
import { removalCommand, removeWorkspace } from '../../tasks/workspace.ts';
import { databaseMark, needsCluster } from './provision.ts';
import { type RunFile, type RunFolders, removeRunFolder } from './state-dir.ts';

/**
 * Everything that a run may have made outside its local folder, in the order in which it goes: processes, servers, databases on
 * servers that stay, the workspace. Complete whatever the run had come to: the list follows from its file, not from what it did.
 */
export function removalsOf(file: RunFile, folders: RunFolders, secretFolders: readonly string[]): readonly Removal[] {
  const sources = file.spec.sources.map((source) => sourceRemoval(source, file, folders, secretFolders));
  return [...workRemovals(file, folders, secretFolders), ...sources, workspaceRemoval(file, folders, secretFolders)];
}

/** What may still be working on the sources: it ends before they do. */
export function workRemovals(file: RunFile, folders: RunFolders, secretFolders: readonly string[]): readonly Removal[] {
  const secret = (name: string) => readSecret(name, secretFolders);
  const { storage } = file.workspace;
  const workspace = async () => {
    const { openStore } = await import('../../lake/open.ts');
    return await openStore(storage, await storageSecret(storage, secretFolders));
  };
  return [
    taskProcesses(folders),
    ...pipelineRemovals({ spec: file.spec, run: file.run, runFolder: folders.root, workspace, secret }),
  ];
}

/** The run's local folder: last, and only when all else is gone, for it knows what there was. */
export function folderRemoval(folders: RunFolders): Removal {
  return {
    what: `the folder ${folders.root}`,
    remove: () => removeRunFolder(folders),
    command: `rm -rf '${folders.root}'`,
  };
}

/** The keys of a workspace's secret; undefined where the location names none. */
export async function storageSecret(
  storage: ResolvedStorage,
  secretFolders: readonly string[],
): Promise<Readonly<Record<string, string>> | undefined> {
  return storage.secretRef === undefined ? undefined : await readSecret(storage.secretRef.name, secretFolders);
}

/** Ends the task processes that a killed driver left, and waits until they are gone: no task runs twice at once. */
export async function endTaskProcesses(folders: RunFolders, signal: AbortSignal): Promise<void> {
  for (const identity of await identities(folders.processes)) {
    // What was started in another boot, or got the id later, has another start time, and is not touched.
    while (isAlive(identity)) {
      signalIfAlive(identity, 'SIGKILL');
      await delay(20, signal);
    }
  }
}

function taskProcesses(folders: RunFolders): Removal {
  return {
    what: 'task processes',
    command: `cat '${folders.processes}'/*.json   # then: kill -9 PID`,
    remove: (signal) => endTaskProcesses(folders, signal),
  };
}

function sourceRemoval(
  source: ResolvedSource,
  file: RunFile,
  folders: RunFolders,
  secretFolders: readonly string[],
): Removal {
  const { provider } = source;
  switch (provider.kind) {
    case 'embedded': {
      const dir = join(folders.sources, source.name);
      return {
        what: `the ${source.engine} server of source ${source.name}`,
        command: `pkill -f '${dir}/data'`,
        remove: async () => (await import('../../sources/server-process.ts')).stopStray(dir),
      };
    }
    case 'external':
      return {
        what: `the database of run ${file.run.uid} on the ${source.engine} server of source ${source.name}`,
        command: `DROP DATABASE parity_${file.run.uid.replaceAll('-', '_')}_…   -- every database whose name begins so`,
        remove: async () => {
          if (!(await exists(databaseMark(folders, source.name)))) return;
          const keys = await readSecret(provider.secretRef.name, secretFolders);
          const connection = parseConnection(source.engine, keys, {
            name: source.name,
            secret: provider.secretRef.name,
          });
          const { dropRunDatabase } = await import('../../sources/run-database.ts');
          await dropRunDatabase(connection, source.engine, file.run);
        },
      };
    case 'argocd':
    case 'kubernetes':
      throw needsCluster(source);
  }
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

/** The file that is there where the workspace's server had refused to make anything. */
export function refusalNote(folders: RunFolders): string {
  return join(folders.root, 'workspace.refused');
}

function workspaceRemoval(file: RunFile, folders: RunFolders, secretFolders: readonly string[]): Removal {
  const { storage } = file.workspace;
  return {
    what: `the workspace ${storage.location}`,
    command: removalCommand(file.workspace),
    remove: async (signal) => {
      if (await exists(refusalNote(folders))) return;
      await removeWorkspace(file.workspace, file.run, await storageSecret(storage, secretFolders), signal);
    },
  };
}

async function identities(folder: string): Promise<readonly ProcessIdentity[]> {
  const names = await readdir(folder).catch(() => []);
  const found: ProcessIdentity[] = [];
  for (const name of names) {
    const text = await readFile(join(folder, name), 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    const identity: unknown = parse(text);
    // A file cut short belongs to a process that was just starting, and that ends with its parent.
    if (isProcessIdentity(identity)) found.push(identity);
  }
  return found;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The error of a run that cannot be continued or removed because somebody works on it. */
export function heldError(uid: string, holder: ProcessIdentity): ParityError {
  return new ParityError('BadUsage', `run ${uid} is being carried out by process ${holder.pid}`, {
    advice: 'Wait for it, or stop it with Ctrl-C or SIGTERM.',
  });
}
