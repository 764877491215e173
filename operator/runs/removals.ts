import type { ResolvedSource } from '../../src/api/resolved.ts';
import { secrets } from '../../src/kube/objects.ts';
import { openStore } from '../../src/lake/open.ts';
import { pipelineRemovals } from '../../src/pipelines/removals.ts';
import { ParityError, toParityError } from '../../src/support/error.ts';
import { redactError } from '../../src/support/log.ts';
import { throwIfAborted } from '../../src/support/retry.ts';
import { cleanUp, type Leftover } from '../../src/tasks/cleanup.ts';
import { removalCommand, removeWorkspace } from '../../src/tasks/workspace.ts';
import { storageKeys } from './memory.ts';
import { holdName, ofRun, sourceName } from './names.ts';
import type { Scope, SourceProvider, TaskExecutor } from './types.ts';

/** The hands by which a run's things are made and removed. */
export interface Hands {
  readonly executor: TaskExecutor;
  readonly providerOf: (source: ResolvedSource) => SourceProvider;
}

/** How far a removal has come. */
export type Removal =
  | { readonly kind: 'Gone' }
  /** It goes on by itself: ask again soon. */
  | { readonly kind: 'Waiting'; readonly waitingFor: string }
  /** Somebody may have to help: what stayed, why, and what a person would type. */
  | { readonly kind: 'Incomplete'; readonly leftovers: readonly Leftover[] };

/** Bound of one removal in one go, in ms; what is left then goes in the next. */
const removalMs = 240_000;

/**
 * One step towards nothing being left of a run but its reports: its tasks and pipelines, then its sources, then its workspace, then what it has in its namespace.
 * Can be done again from any point; creates nothing. Throws only when it is aborted.
 */
export async function removeAll(scope: Scope, hands: Hands): Promise<Removal> {
  throwIfAborted(scope.signal);
  const stopped = await step(tasksOf(scope), () => hands.executor.stop(scope, 'all'));
  // What still runs may still write.
  if (stopped.kind !== 'Gone') return stopped;
  const bounds = { timeoutMs: removalMs, signal: scope.signal };
  const hasWorkspace = scope.hold.isRefused !== true;
  const landed = hasWorkspace ? await cleanUp(pipelineRemovals(pipelinesOf(scope)), bounds) : [];
  throwIfAborted(scope.signal);
  const removed = await Promise.all(
    scope.hold.spec.sources.map((source) =>
      step(sourceOf(scope, source), () => hands.providerOf(source).remove(scope, source)),
    ),
  );
  const waiting = removed.find(({ kind }) => kind === 'Waiting');
  if (waiting !== undefined) return waiting;
  const leftovers = removed.flatMap((removal) => (removal.kind === 'Incomplete' ? removal.leftovers : []));
  throwIfAborted(scope.signal);
  // What a pipeline has started is on record in the workspace: it stays until all of that is gone.
  const workspace = hasWorkspace && landed.length === 0 ? [workspaceOf(scope)] : [];
  const kept = await cleanUp([...workspace, ownedOf(scope)], bounds);
  throwIfAborted(scope.signal);
  const all = [...landed, ...leftovers, ...kept];
  return all.length === 0 ? { kind: 'Gone' } : { kind: 'Incomplete', leftovers: all };
}

/** What stayed, in words: each thing with its error and the command that would remove it. */
export function describeLeftovers(leftovers: readonly Leftover[]): string {
  return leftovers
    .map(({ what, error, command }) => `${what}: ${error.message}; remove it with: ${command}`)
    .join('\n');
}

interface Thing {
  readonly what: string;
  readonly command: string;
}

async function step(
  { what, command }: Thing,
  remove: () => Promise<{ readonly isGone: boolean; readonly waitingFor: string }>,
): Promise<Removal> {
  try {
    const { isGone, waitingFor } = await remove();
    return isGone ? { kind: 'Gone' } : { kind: 'Waiting', waitingFor: `${what}: ${waitingFor}` };
  } catch (error) {
    const record = redactError(toParityError(error).toJSON());
    return { kind: 'Incomplete', leftovers: [{ what, error: record, command }] };
  }
}

function tasksOf({ hold }: Scope): Thing {
  const { namespace, run } = hold;
  return { what: 'its tasks', command: `kubectl -n ${namespace} delete jobs,pods -l ${ofRun(run)}` };
}

function sourceOf({ hold, options }: Scope, { name, provider }: ResolvedSource): Thing {
  const { namespace, run } = hold;
  const own = sourceName(run.uid, name);
  switch (provider.kind) {
    case 'argocd':
      return {
        what: `the Application ${own} of source ${name}`,
        command: `kubectl -n ${options.argocd?.namespace ?? 'argocd'} delete application ${own}`,
      };
    case 'kubernetes':
      return {
        what: `the server of source ${name}`,
        command: `kubectl -n ${namespace} delete statefulsets,services,networkpolicies,persistentvolumeclaims -l ${ofRun(run)}`,
      };
    case 'external':
      return {
        what: `the database of source ${name}`,
        command: `DROP DATABASE parity_${run.uid.replaceAll('-', '_')}_…   -- every database whose name begins so`,
      };
    case 'embedded':
      return { what: `the server of source ${name}`, command: 'stop the operator, and remove the folder of its state' };
  }
}

function pipelinesOf({ hold }: Scope) {
  const { spec, run, secrets } = hold;
  return {
    spec,
    run,
    workspace: () => openStore(hold.workspace.storage, storageKeys(hold)),
    secret: async (name: string) => {
      const keys = secrets[name];
      if (keys !== undefined) return keys;
      throw new ParityError('NotFound', `the run's hold has no copy of the Secret ${name}`, { subject: name });
    },
  };
}

function workspaceOf({ hold }: Scope) {
  return {
    what: `the workspace ${hold.workspace.storage.location}`,
    command: removalCommand(hold.workspace),
    remove: (signal: AbortSignal) => removeWorkspace(hold.workspace, hold.run, storageKeys(hold), signal),
  };
}

/** Connections and other Secrets in the run's namespace. With the run deleted the cluster would take them; one that is kept has nobody else. */
function ownedOf({ kube, hold }: Scope) {
  const { namespace, run } = hold;
  return {
    what: 'its Secrets',
    command: `kubectl -n ${namespace} delete secrets -l ${ofRun(run)}`,
    remove: async () => {
      const { items } = await kube.listMetadata(secrets, { namespace, labelSelector: ofRun(run) });
      for (const { metadata } of items) {
        if (metadata.name === holdName(run.uid)) continue;
        await kube.delete(secrets, { namespace, name: metadata.name }, { uid: metadata.uid });
      }
    },
  };
}

/** Throws what a removal came to, for whoever retries with a back-off. */
export function incompleteRemoval(leftovers: readonly Leftover[]): ParityError {
  return new ParityError('CleanupIncomplete', describeLeftovers(leftovers), { isRetryable: true });
}
