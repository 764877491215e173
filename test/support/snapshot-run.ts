import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ResolvedSpec, ResolvedStorage, ResolvedTable } from '../../src/api/resolved.ts';
import { openStore } from '../../src/lake/open.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import type { TaskInput } from '../../src/run/types.ts';
import { ParityError } from '../../src/support/error.ts';
import { runResolve } from '../../src/tasks/resolve.ts';
import { runSnapshot } from '../../src/tasks/snapshot.ts';
import type { Resolution, SnapshotDetail, TaskContext } from '../../src/tasks/task.ts';

export type Secrets = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface SnapshotRun {
  readonly lake: ResolvedStorage;
  readonly workspace: ResolvedStorage;
  readonly tables: readonly ResolvedTable[];
  readonly secrets?: Secrets;
  readonly limits?: ResolvedSpec['snapshot']['limits'];
  readonly signal?: AbortSignal;
  readonly onProgress?: TaskContext['progress'];
}

/** A table of a manifest with only what the test is about. */
export function tableSpec(name: string, fields: Partial<ResolvedTable> = {}): ResolvedTable {
  return { name, path: name, key: [], exclude: [], mask: [], ...fields };
}

/** Carries out `resolve` and `snapshot` for all tables, as a run does, and returns what the snapshot task reports. */
export async function takeSnapshot(run: SnapshotRun): Promise<SnapshotDetail> {
  const scratch = await mkdtemp(join(tmpdir(), 'parity-snapshot-'));
  const workspace = await openWorkspace(run);
  try {
    const resolution = await resolveLake(run);
    const input: TaskInput = { kind: 'snapshot', tables: run.tables.map(({ name }) => name) };
    return (await runSnapshot(contextOf(run, workspace, scratch, input, resolution))).detail;
  } finally {
    workspace.close();
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Carries out `resolve` alone. */
export async function resolveLake(run: SnapshotRun): Promise<Resolution> {
  const workspace = await openWorkspace(run);
  try {
    return (await runResolve(contextOf(run, workspace, tmpdir(), { kind: 'resolve' }))).detail;
  } finally {
    workspace.close();
  }
}

export async function openWorkspace(run: SnapshotRun): Promise<ObjectStore> {
  const { secretRef } = run.workspace;
  return openStore(run.workspace, secretRef === undefined ? undefined : run.secrets?.[secretRef.name]);
}

/** The ParityError that a promise ends in. */
export async function errorOf(promise: Promise<unknown>): Promise<ParityError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ParityError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

export function specOf(run: SnapshotRun): ResolvedSpec {
  return {
    snapshot: { ...run.lake, limits: run.limits ?? {}, tables: run.tables },
    workspace: run.workspace,
    sources: [],
    pipelines: [],
    scenario: [],
    comparison: { profile: 'Exact', columns: [], unseen: 'Expected', maxDifferences: 0, samples: 20, values: 'Masked' },
    queries: [],
    execution: { parallelism: 1, retries: 0, timeoutSeconds: 600, memoryBytes: 1024 ** 3, threads: 2 },
    cleanup: { policy: 'Always' },
    reports: { location: 'file:///nowhere/reports', formats: ['JSON'] },
  };
}

function contextOf(
  run: SnapshotRun,
  workspace: ObjectStore,
  scratch: string,
  input: TaskInput,
  resolution?: Resolution,
): TaskContext {
  const details = new Map<string, unknown>([['resolve', resolution]]);
  return {
    file: {
      id: input.kind,
      run: { name: 'test', uid: '00000000-0000-4000-8000-000000000000', installation: 'test' },
      spec: specOf(run),
      input,
    },
    attempt: 1,
    workspace,
    scratch,
    signal: run.signal ?? new AbortController().signal,
    engine: async () => {
      throw new Error('the snapshot needs no engine');
    },
    async secret(name) {
      const secret = run.secrets?.[name];
      if (secret === undefined) throw new ParityError('NotFound', `There is no secret '${name}'`);
      return secret;
    },
    progress: run.onProgress ?? (() => undefined),
    async detailOf<Detail>(id: string): Promise<Detail> {
      return structuredClone(details.get(id)) as Detail;
    },
  };
}
