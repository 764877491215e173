import { chartValues } from '../../src/api/chart-values.ts';
import type { ResolvedProvider, ResolvedSource } from '../../src/api/resolved.ts';
import { isKubeError } from '../../src/kube/error.ts';
import type { Draft } from '../../src/kube/objects.ts';
import { ParityError, toParityError } from '../../src/support/error.ts';
import { type Application, applications, type Operation, resourcesFinalizer } from './application.ts';
import { deploymentOf } from './application-state.ts';
import { isOfRun, labels, runLabels, sourceName } from './names.ts';
import { describeServer, toChartValues } from './server-description.ts';
import { serverKind } from './server-kinds.ts';
import { remainingServerObjects, removeServerObjects, stuck } from './server-removal.ts';
import { askWhetherReady, keepData, podTrouble, type Reach } from './server-state.ts';
import { ensureCredentials, withAuthority } from './source-secrets.ts';
import type { OperatorOptions, Removed, Scope, SourceProvider, SourceState } from './types.ts';

type ArgoCD = NonNullable<OperatorOptions['argocd']>;
type ArgoCDSource = Extract<ResolvedProvider, { readonly kind: 'argocd' }>;

/** Argo CD takes up a new Application, or one to delete, within seconds; when it has not for so long, it is said. */
const patienceMs = 30_000;
/** After an operation has failed for good, another is started no sooner than this. */
const retryMs = 30_000;

/** Sources with `argocd: {…}`: an Application each, in Argo CD's namespace, of our AppProject, deployed into the run's namespace and nowhere else. */
export function applicationSources(reach: Reach = (connection) => connection): SourceProvider {
  return {
    async ensure(scope, source) {
      try {
        return await ensure(scope, source, reach);
      } catch (error) {
        const failure = toParityError(error);
        if (failure.isRetryable || isKubeError(failure, 'NamespaceTerminating')) throw error;
        return { state: 'Failed', error: failure };
      }
    },
    remove,
    keep: (scope, source) => keepData(scope, source, argoCDSource(source).server),
  };
}

async function ensure(scope: Scope, source: ResolvedSource, reach: Reach): Promise<SourceState> {
  const provider = argoCDSource(source);
  const argocd = scope.options.argocd;
  if (argocd === undefined) throw noArgoCD(source);
  // The Secret is there before what reads it, and is never Argo CD's business.
  const { connection: plain, createdAt } = await ensureCredentials(scope, source);
  const stalled = (message: string): SourceState => ({ state: 'Stalled', message, since: createdAt });
  const connection = await withAuthority(scope, plain, provider.server).catch(notFound);
  if (connection instanceof ParityError) return stalled(connection.message);
  const application = await ensureApplication(scope, source, provider, argocd).catch(argoCDMissing);
  if (application instanceof ParityError) return stalled(application.message);

  const deployment = deploymentOf(application, {
    namespace: scope.hold.namespace,
    ageMs: age(scope, application.metadata.creationTimestamp),
    patienceMs,
  });
  switch (deployment.kind) {
    case 'Failed':
      return { state: 'Failed', error: deployment.error };
    case 'NotPinned':
      await pin(scope, application, deployment.revision);
      return { state: 'Progressing', message: `pinned to ${deployment.revision}`, since: createdAt };
    case 'OperationFailed':
      if (age(scope, deployment.finishedAt) > retryMs) await startOperation(scope, application);
      return stalled(deployment.message);
    case 'Stalled':
      return stalled(deployment.message);
    case 'Deploying': {
      const trouble = deployment.isApplied ? await podTrouble(scope, source) : undefined;
      return trouble === undefined
        ? { state: 'Progressing', message: deployment.message, since: createdAt }
        : stalled(`${deployment.message}; ${trouble}`);
    }
    case 'Healthy':
      return await askWhetherReady(scope, source, { connection, createdAt }, reach);
  }
}

/** The run's Application, made if it is not there. What was asked for is frozen with the run, so one that is there is never changed. */
async function ensureApplication(
  scope: Scope,
  source: ResolvedSource,
  provider: ArgoCDSource,
  argocd: ArgoCD,
): Promise<Application> {
  const name = applicationName(scope, source, argocd);
  const found = await scope.kube.find(applications, name);
  if (found !== undefined) return ours(scope, found);
  try {
    return await scope.kube.create(applications, await draftOf(scope, source, provider, argocd));
  } catch (error) {
    if (!isKubeError(error, 'AlreadyExists')) throw error;
    return ours(scope, await scope.kube.get(applications, name));
  }
}

async function draftOf(
  scope: Scope,
  source: ResolvedSource,
  provider: ArgoCDSource,
  argocd: ArgoCD,
): Promise<Draft<Application>> {
  const server = await describeServer(scope, source, provider.server);
  const given = provider.values === undefined ? {} : chartValues(provider.values);
  return {
    metadata: {
      ...applicationName(scope, source, argocd),
      labels: { ...runLabels(scope.hold.run), [labels.source]: source.name },
      finalizers: [resourcesFinalizer],
    },
    spec: {
      project: argocd.project,
      source: {
        repoURL: provider.repoURL ?? argocd.repoURL,
        path: provider.path ?? `${argocd.path.replace(/\/+$/, '')}/${serverKind(source.engine).name}`,
        targetRevision: provider.targetRevision ?? argocd.targetRevision,
        // validate() sees to it that none of the given is one of ours.
        helm: { releaseName: server.name, valuesObject: { ...given, ...toChartValues(server) } },
      },
      destination: { server: argocd.destinationServer, namespace: server.namespace },
      syncPolicy: { syncOptions },
    },
    // Not automated: a chart that changes in Git while the run goes on would replace the database under it.
    operation,
  };
}

const syncOptions = ['CreateNamespace=false', 'FailOnSharedResource=true'];

/** It tries again for as long as the run waits. */
const operation: Operation = {
  initiatedBy: { username: 'pipeline-parity' },
  sync: { prune: false, syncOptions },
  retry: { limit: -1, backoff: { duration: '2s', factor: 2, maxDuration: '30s' } },
};

/** A branch or tag is resolved once: from here on the Application is compared with the commit that was deployed. */
async function pin(scope: Scope, { metadata }: Application, revision: string): Promise<void> {
  const { resourceVersion } = metadata;
  const patch = { metadata: { resourceVersion }, spec: { source: { targetRevision: revision } } };
  await scope.kube.mergePatch(applications, metadata, patch);
}

async function startOperation(scope: Scope, { metadata }: Application): Promise<void> {
  const { resourceVersion } = metadata;
  await scope.kube.mergePatch(applications, metadata, { metadata: { resourceVersion }, operation });
}

/**
 * One step towards the Application being gone and, after it, everything in the run's namespace that it may have left: Argo CD lets go of what it deployed
 * without removing it when it no longer knows the destination, or its project no longer permits the object. Throws `CleanupIncomplete` with what Argo CD says,
 * what a finalizer keeps, or that nothing happens at all: finalizers are named, never taken off.
 */
async function remove(scope: Scope, source: ResolvedSource): Promise<Removed> {
  const { argocd } = scope.options;
  const found = argocd === undefined ? undefined : await findApplication(scope, applicationName(scope, source, argocd));
  if (found === undefined || !isOfRun(found, scope.hold.run)) return await removeServerObjects(scope, source);
  const { metadata, status } = found;
  const what = `Application ${metadata.namespace}/${metadata.name}`;
  if (metadata.deletionTimestamp === undefined) {
    // Argo CD finishes an operation before it deletes, and ours never gives up.
    if (found.operation !== undefined) {
      const { resourceVersion } = metadata;
      await scope.kube.mergePatch(applications, metadata, { metadata: { resourceVersion }, operation: null });
    }
    await scope.kube.delete(applications, metadata, { uid: metadata.uid });
    return { isGone: false, waitingFor: `${what}, which is being deleted` };
  }
  const errors = (status?.conditions ?? [])
    .filter(({ type }) => type === 'DeletionError')
    .map(({ message }) => message);
  if (errors.length > 0) throw stuck(`${what}: Argo CD says: ${errors.join('; ')}`);
  const remaining = await remainingServerObjects(scope, source);
  const waitingFor = `${what}, which is being deleted${remaining.length === 0 ? '' : `, with ${remaining.join('; ')}`}`;
  const ageMs = age(scope, metadata.deletionTimestamp);
  if (ageMs <= patienceMs) return { isGone: false, waitingFor };
  throw stuck(`${waitingFor}: not done for ${Math.round(ageMs / 1000)} s; does Argo CD's application controller run?`);
}

/** Without Argo CD's kinds there is no Application any more. */
async function findApplication(
  scope: Scope,
  name: { namespace: string; name: string },
): Promise<Application | undefined> {
  try {
    return await scope.kube.find(applications, name);
  } catch (error) {
    if (isKubeError(error, 'NoSuchKind')) return undefined;
    throw error;
  }
}

function applicationName(scope: Scope, source: ResolvedSource, argocd: ArgoCD): { namespace: string; name: string } {
  return { namespace: argocd.namespace, name: sourceName(scope.hold.run.uid, source.name) };
}

function ours(scope: Scope, application: Application): Application {
  if (isOfRun(application, scope.hold.run)) return application;
  const { namespace, name } = application.metadata;
  throw new ParityError('AccessDenied', `the Application ${namespace}/${name} is there already and is not this run's`, {
    subject: name,
    advice: 'Nothing was changed. Rename or remove it, and start another run.',
  });
}

function age(scope: Scope, time: string): number {
  return scope.now().getTime() - Date.parse(time);
}

/** For what heals when somebody makes it. */
function notFound(error: unknown): ParityError {
  if (error instanceof ParityError && error.code === 'NotFound') return error;
  throw error;
}

function argoCDMissing(error: unknown): ParityError {
  if (!isKubeError(error, 'NoSuchKind')) throw error;
  return new ParityError('NotFound', 'Argo CD is not installed in this cluster: it knows no Applications', {
    cause: error,
  });
}

function noArgoCD({ name }: ResolvedSource): ParityError {
  return new ParityError(
    'InvalidSpec',
    `source "${name}" is to be deployed by Argo CD, which this installation is not set up for`,
    {
      subject: `spec.sources[${name}].argocd`,
      advice: "Set argocd in the values of the operator's chart, or write kubernetes: {}.",
    },
  );
}

function argoCDSource({ name, provider }: ResolvedSource): ArgoCDSource {
  if (provider.kind === 'argocd') return provider;
  throw new ParityError('Internal', `source "${name}" is not one that Argo CD deploys`);
}
