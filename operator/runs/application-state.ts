import { ParityError } from '../../src/support/error.ts';
import type { Application, ManagedResource, OperationState } from './application.ts';

/** How far Argo CD has come with an Application of ours. */
export type Deployment =
  /** `isApplied`: the objects are there, and their pods may say more. */
  | { readonly kind: 'Deploying'; readonly message: string; readonly isApplied: boolean }
  | { readonly kind: 'Stalled'; readonly message: string }
  /** The operation has ended without success; another is needed. */
  | { readonly kind: 'OperationFailed'; readonly message: string; readonly finishedAt: string }
  /** Deployed from this commit, which is not yet what the Application is held to. */
  | { readonly kind: 'NotPinned'; readonly revision: string }
  | { readonly kind: 'Failed'; readonly error: ParityError }
  /** Everything is deployed at the pinned commit, and healthy: an Application without objects is, too, so the server is asked next. */
  | { readonly kind: 'Healthy' };

export interface Circumstances {
  /** The only namespace that it may deploy into. */
  readonly namespace: string;
  readonly ageMs: number;
  /** How long nothing may happen before that is said. */
  readonly patienceMs: number;
}

/** What an Application's status says, in the order in which things go wrong. */
export function deploymentOf(application: Application, { namespace, ageMs, patienceMs }: Circumstances): Deployment {
  const { metadata, spec, status } = application;
  const what = `Application ${metadata.namespace}/${metadata.name}`;
  if (metadata.deletionTimestamp !== undefined) return stalled(`${what} is being deleted, and not by this run`);
  const stray = (status?.resources ?? []).find((resource) => resource.namespace !== namespace);
  if (stray !== undefined) return { kind: 'Failed', error: deploysElsewhere(what, stray, namespace) };
  const said = errorConditions(application);
  if (said !== undefined) return stalled(`${what}: ${said}`);

  const state = status?.operationState;
  if (state === undefined) {
    if (ageMs <= patienceMs) return deploying(`${what}: waiting for Argo CD`, false);
    return stalled(
      `${what}: Argo CD has not touched it for ${Math.round(ageMs / 1000)} s; does its application controller run?`,
    );
  }
  switch (state.phase) {
    case 'Running':
    case 'Terminating':
      // A first attempt is on its way; a later one has failed before.
      return (state.retryCount ?? 0) > 0
        ? stalled(`${what}: ${outcomeOf(state)}`)
        : deploying(`${what}: ${state.message ?? 'being synced'}`, true);
    case 'Failed':
    case 'Error':
      if (application.operation !== undefined) return stalled(`${what}: ${outcomeOf(state)}`);
      return {
        kind: 'OperationFailed',
        message: `${what}: ${outcomeOf(state)}`,
        finishedAt: state.finishedAt ?? metadata.creationTimestamp,
      };
    case 'Succeeded':
      break;
  }

  const revision = state.syncResult?.revision ?? '';
  if (!isCommit(revision)) return stalled(`${what}: Argo CD does not say which commit it deployed`);
  if (spec.source.targetRevision !== revision) {
    // A commit that was asked for is never exchanged for another.
    return isCommit(spec.source.targetRevision)
      ? stalled(`${what}: Argo CD deployed ${revision} in place of ${spec.source.targetRevision}`)
      : { kind: 'NotPinned', revision };
  }
  const { sync, health } = status ?? {};
  if (sync?.revision !== revision) return deploying(`${what}: being compared with ${revision}`, true);
  if (sync.status !== 'Synced')
    return stalled(`${what} is ${sync.status ?? 'not compared'}: ${unsynced(status?.resources ?? [])}`);
  switch (health?.status) {
    case 'Healthy':
      return { kind: 'Healthy' };
    case 'Degraded':
    case 'Suspended':
    case 'Unknown':
      return stalled(`${what} is ${health.status}${unhealthy(status?.resources ?? [])}`);
    default:
      return deploying(`${what} is ${health?.status ?? 'not judged yet'}${unhealthy(status?.resources ?? [])}`, true);
  }
}

function errorConditions({ status }: Application): string | undefined {
  const errors = (status?.conditions ?? []).filter(({ type }) => type.endsWith('Error'));
  return errors.length === 0 ? undefined : errors.map(({ type, message }) => `${type}: ${message}`).join('; ');
}

/** The operation's own message, and those of the objects that it failed of. */
function outcomeOf({ phase, message, syncResult }: OperationState): string {
  const failed = (syncResult?.resources ?? []).filter(({ status }) => status !== undefined && status !== 'Synced');
  const objects = failed.map((resource) => `${resource.kind} ${resource.name}: ${resource.message ?? resource.status}`);
  return [message ?? phase, ...objects].join('; ');
}

function unsynced(resources: readonly ManagedResource[]): string {
  return resources
    .filter(({ status }) => status !== 'Synced')
    .map(({ kind, name, status }) => `${kind} ${name} is ${status ?? 'not compared'}`)
    .join('; ');
}

/** Argo CD writes the health of objects into the Application only where it is told to: often there is nothing here. */
function unhealthy(resources: readonly ManagedResource[]): string {
  const said = resources.flatMap(({ kind, name, health }) =>
    health?.message === undefined || health.status === 'Healthy' ? [] : [`${kind} ${name}: ${health.message}`],
  );
  return said.length === 0 ? '' : `: ${said.join('; ')}`;
}

function isCommit(revision: string): boolean {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(revision);
}

function deploysElsewhere(what: string, { kind, name, namespace }: ManagedResource, own: string): ParityError {
  const where = namespace === undefined ? 'the whole cluster' : `namespace ${namespace}`;
  return new ParityError(
    'AccessDenied',
    `${what} deploys ${kind} ${name} into ${where}, and a run deploys only into its own namespace, ${own}`,
    {
      advice: 'Take the object, or its namespace, out of the chart.',
    },
  );
}

function deploying(message: string, isApplied: boolean): Deployment {
  return { kind: 'Deploying', message, isApplied };
}

function stalled(message: string): Deployment {
  return { kind: 'Stalled', message };
}
