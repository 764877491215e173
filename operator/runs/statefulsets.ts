import type { DeployedServer, ResolvedSource } from '../../src/api/resolved.ts';
import { isKubeError } from '../../src/kube/error.ts';
import {
  configMaps,
  type Draft,
  type KubeObject,
  networkPolicies,
  type Resource,
  type StatefulSet,
  services,
  statefulSets,
} from '../../src/kube/objects.ts';
import { ParityError, toParityError } from '../../src/support/error.ts';
import { isOfRun, sourceName } from './names.ts';
import { describeServer } from './server-description.ts';
import { serverObjects } from './server-objects.ts';
import { removeServerObjects } from './server-removal.ts';
import { askWhetherReady, keepData, podTrouble, type Reach } from './server-state.ts';
import { ensureCredentials, withAuthority } from './source-secrets.ts';
import type { Scope, SourceProvider, SourceState } from './types.ts';

/** Sources with `kubernetes: {}`: servers that the operator deploys itself, for clusters without Argo CD. */
export function statefulSetSources(reach: Reach = (connection) => connection): SourceProvider {
  return {
    async ensure(scope, source) {
      try {
        return await ensure(scope, source, serverOf(source), reach);
      } catch (error) {
        return refused(error);
      }
    },
    remove: removeServerObjects,
    keep: (scope, source) => keepData(scope, source, serverOf(source)),
  };
}

async function ensure(
  scope: Scope,
  source: ResolvedSource,
  server: DeployedServer,
  reach: Reach,
): Promise<SourceState> {
  const credentials = await ensureCredentials(scope, source);
  const since = credentials.createdAt;
  const connection = await withAuthority(scope, credentials.connection, server).catch((error: unknown) => {
    if (error instanceof ParityError && error.code === 'NotFound') return error;
    throw error;
  });
  if (connection instanceof ParityError) return { state: 'Stalled', message: connection.message, since };

  const statefulSet = await deploy(scope, source, server);
  if ((statefulSet.status?.readyReplicas ?? 0) < 1) {
    const trouble = await podTrouble(scope, source);
    return trouble === undefined
      ? { state: 'Progressing', message: `waiting for pod ${statefulSet.metadata.name}-0`, since }
      : { state: 'Stalled', message: trouble, since };
  }
  return await askWhetherReady(scope, source, { connection, createdAt: since }, reach);
}

/** The StatefulSet, which is made last: where it is, the rest is. */
async function deploy(scope: Scope, source: ResolvedSource, server: DeployedServer): Promise<StatefulSet> {
  const { namespace, run } = scope.hold;
  const found = await scope.kube.find(statefulSets, { namespace, name: sourceName(run.uid, source.name) });
  if (found !== undefined) return ours(scope, statefulSets, found);
  const objects = serverObjects(await describeServer(scope, source, server));
  // Closed before anything listens.
  await make(scope, networkPolicies, objects.networkPolicy);
  await make(scope, configMaps, objects.configMap);
  await make(scope, services, objects.service);
  return await make(scope, statefulSets, objects.statefulSet);
}

async function make<T extends KubeObject>(scope: Scope, kind: Resource<T>, draft: Draft<T>): Promise<T> {
  try {
    return await scope.kube.create(kind, draft);
  } catch (error) {
    if (!isKubeError(error, 'AlreadyExists')) throw error;
    return ours(scope, kind, await scope.kube.get(kind, draft.metadata));
  }
}

function ours<T extends KubeObject>(scope: Scope, kind: Resource, object: T): T {
  if (isOfRun(object, scope.hold.run)) return object;
  const { namespace, name } = object.metadata;
  throw new ParityError(
    'AccessDenied',
    `the ${kind.kind} ${namespace}/${name} is there already and is not this run's`,
    {
      subject: name,
      advice: 'Nothing was changed. Rename or remove it, and start another run.',
    },
  );
}

/** What passes is for the next reconcile; the rest is what the source fails of. */
function refused(error: unknown): SourceState {
  const failure = toParityError(error);
  if (failure.isRetryable || isKubeError(failure, 'NamespaceTerminating')) throw error;
  return { state: 'Failed', error: failure };
}

function serverOf({ name, provider }: ResolvedSource): DeployedServer {
  if (provider.kind === 'kubernetes') return provider.server;
  throw new ParityError('Internal', `source "${name}" is not one that the operator deploys`);
}
