import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import type { ResolvedSpec } from '../../api/resolved.ts';
import { buildGraph, graphVersion } from '../../run/graph.ts';
import { env } from '../../support/env.ts';
import { ParityError } from '../../support/error.ts';
import { planWorkspace } from '../../tasks/workspace.ts';
import type { RunEvent, RunOutcome } from './events.ts';
import { LocalRun } from './local-run.ts';
import { takeRun } from './lock.ts';
import { needsCluster, type StartServer } from './provision.ts';
import { heldError } from './removals.ts';
import { createRunFolder, installationId, installationSecrets, readRunFile, runFolders } from './state-dir.ts';

/** What is run; `LoadedManifest` is one. */
export interface RunRequest {
  readonly name: string;
  readonly spec: ResolvedSpec;
  readonly specDigest: string;
}

export interface RunOptions {
  /** Keeps everything, whatever the manifest's cleanup policy says. */
  readonly keep?: boolean;
  readonly onEvent: (event: RunEvent) => void;
  /** Cancels: tasks are stopped, the report is written, the run is cleaned up. */
  readonly signal: AbortSignal;
  /** Cancels faster: tasks are killed, the report is left out, the run is cleaned up. */
  readonly hurry?: AbortSignal;
  /** Default: that of the environment. */
  readonly stateDir?: string;
  /** Folder of secrets. Default: that of the environment. */
  readonly secretsDir?: string;
  /** For tests: the program that a task process runs, and what starts an embedded server. */
  readonly taskEntry?: string;
  readonly startServer?: StartServer;
}

/**
 * Carries a run out on this machine, from its first folder to its last, and says how it ended. Never hangs: everything it waits for
 * is bounded. Throws only where there is no run yet (`InvalidSpec`, no state folder); later troubles are the outcome's.
 */
export async function runLocally(request: RunRequest, options: RunOptions): Promise<RunOutcome> {
  const stateDir = resolve(options.stateDir ?? env.stateDir());
  const spec = options.keep === true ? { ...request.spec, cleanup: { policy: 'Never' as const } } : request.spec;
  buildGraph(spec);
  const deployed = spec.sources.find(({ provider }) => provider.kind === 'argocd' || provider.kind === 'kubernetes');
  if (deployed !== undefined) throw needsCluster(deployed);
  const run = { name: request.name, uid: randomUUID(), installation: await installationId(stateDir) };
  // The intent, with every name in it, is on disk before anything is made.
  const file = {
    version: 1,
    run,
    createdAt: new Date().toISOString(),
    spec,
    specDigest: request.specDigest,
    graphVersion,
    workspace: planWorkspace(spec.workspace, run.uid),
    stage: { kind: 'Running', isCancelled: false },
  } as const;
  const folders = await createRunFolder(stateDir, file);
  return await new LocalRun(file, folders, secretFolders(stateDir, folders.secrets, options), options).carryOut(false);
}

/**
 * Continues a run whose driver was killed, from what its tasks recorded. Throws `NotFound` for an unknown run, `BadUsage` for one
 * that has ended, that a living process holds, or that another version of parity began.
 */
export async function resumeLocally(uid: string, options: RunOptions): Promise<RunOutcome> {
  const stateDir = resolve(options.stateDir ?? env.stateDir());
  const folders = runFolders(stateDir, uid);
  const file = await readRunFile(folders);
  if (file.stage.kind !== 'Running') {
    throw new ParityError('BadUsage', `run ${uid} has ended (${file.stage.verdict}) and cannot be continued`, {
      advice: `Remove what it left with: parity gc --uid ${uid}`,
    });
  }
  if (file.graphVersion !== graphVersion) {
    throw new ParityError('BadUsage', `run ${uid} was begun by another version of parity and cannot be continued`, {
      advice: `Remove it with: parity gc --uid ${uid}`,
    });
  }
  const lock = await takeRun(folders.root);
  if (!lock.taken) throw heldError(uid, lock.heldBy);
  return await new LocalRun(file, folders, secretFolders(stateDir, folders.secrets, options), options).carryOut(true);
}

/** The run's own secrets first (connections of its sources), then the user's, then the installation's. */
function secretFolders(stateDir: string, ofRun: string, options: RunOptions): readonly string[] {
  const ofUser = options.secretsDir ?? env.secretsDir();
  return [ofRun, ...(ofUser === undefined ? [] : [resolve(ofUser)]), installationSecrets(stateDir)];
}
