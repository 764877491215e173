import type { ResolvedSource } from '../../src/api/resolved.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { isWorkOver } from '../../src/run/decide.ts';
import { stateOf } from '../../src/run/state.ts';
import type { RunState, Task, TaskGraph } from '../../src/run/types.ts';
import { ParityError } from '../../src/support/error.ts';
import { recordSuccess } from '../../src/tasks/records.ts';
import { ensureSecret } from './connections.ts';
import { workspaceSecretName } from './freeze.ts';
import type { RunMemory } from './memory.ts';
import type { Hands } from './removals.ts';
import type { Scope, SourceState } from './types.ts';

/** What keeps a run from going on, for `Stalled`. */
export interface Stalled {
  readonly reason: string;
  readonly message: string;
}

/**
 * One step of each source: those that are being brought up, and those that need a living operator. A source that is ready is recorded as its task's success, one
 * that can't be as its failure. Returns what stalls, if anything does.
 */
export async function provision(
  scope: Scope,
  hands: Hands,
  memory: RunMemory,
  store: ObjectStore,
  { graph, state }: { readonly graph: TaskGraph; readonly state: RunState },
): Promise<Stalled | undefined> {
  if (isWorkOver(graph, state, scope.hold.spec.execution)) {
    memory.provisioning.clear();
    return undefined;
  }
  const stalled: Stalled[] = [];
  for (const task of graph.tasks) {
    const source = sourceOf(scope, task);
    if (source === undefined) continue;
    const provider = hands.providerOf(source);
    const { phase } = stateOf(state, task);
    if (phase === 'Succeeded') {
      const kept = await provider.keep?.(scope, source);
      if (kept?.state === 'Failed') throw kept.error;
    } else if (memory.provisioning.has(task.id)) {
      const found = await provider.ensure(scope, source);
      const stall = await settle(scope, memory, store, task, found);
      if (stall !== undefined) stalled.push(stall);
    }
  }
  return stalled[0];
}

/** Copies the default workspace's credentials to where the run's tasks can read them. */
export async function publishWorkspaceSecret(scope: Scope): Promise<void> {
  const name = workspaceSecretName(scope.hold.run.uid);
  const keys = scope.hold.spec.workspace.secretRef?.name === name ? scope.hold.secrets[name] : undefined;
  if (keys !== undefined) await ensureSecret(scope, name, keys, {});
}

async function settle(
  { now }: Scope,
  memory: RunMemory,
  store: ObjectStore,
  task: Task,
  found: SourceState,
): Promise<Stalled | undefined> {
  const fail = async (error: ParityError) => {
    memory.provisioning.delete(task.id);
    await memory.recordFailure(store, task.id, memory.failuresOf(task.id).size + 1, { error: error.toJSON() });
    return undefined;
  };
  switch (found.state) {
    case 'Ready':
      memory.provisioning.delete(task.id);
      await recordSuccess(store, task.id, { summary: {}, detail: null });
      await memory.refresh(store, task);
      return undefined;
    case 'Failed':
      return await fail(found.error);
    case 'Progressing':
    case 'Stalled': {
      const lastedMs = found.since === undefined ? 0 : now().getTime() - found.since.getTime();
      if (lastedMs > task.timeoutSeconds * 1000) return await fail(tooLate(task, found.message));
      return found.state === 'Stalled' ? { reason: 'SourceStalled', message: found.message } : undefined;
    }
  }
}

function sourceOf({ hold }: Scope, { input }: Task): ResolvedSource | undefined {
  if (input.kind !== 'provision') return undefined;
  return hold.spec.sources.find(({ name }) => name === input.source);
}

function tooLate(task: Task, message: string): ParityError {
  return new ParityError(
    'Timeout',
    `task ${task.id}: the source was not ready within ${task.timeoutSeconds} s: ${message}`,
    {
      advice: 'Correct what it waits for, or give it more time with spec.execution.timeoutSeconds.',
    },
  );
}
