import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { type Application, applications } from '../../operator/runs/application.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type CustomResourceDefinition, customResourceDefinitions } from '../../src/kube/objects.ts';
import { Mirror, objectsOf } from '../../src/kube/watch.ts';
import { eventually } from './eventually.ts';

const buildScript = fileURLToPath(new URL('../cluster/build.sh', import.meta.url));
const commit = 'c0ffee'.repeat(6).concat('0123');

/** An installation's Argo CD. */
export const argocd = {
  namespace: 'argocd',
  project: 'pipeline-parity',
  repoURL: 'https://git.example/parity.git',
  path: 'argocd/sources',
  targetRevision: 'v1',
  destinationServer: 'https://kubernetes.default.svc',
};

/** Makes Argo CD's own kind `Application` known to an API server, as Argo CD's release defines it. */
export async function installApplications(kube: KubeClient): Promise<void> {
  const { stdout } = await promisify(execFile)(buildScript, ['--where', 'argocd']);
  const file = join(stdout.split('\n')[0] ?? '', 'manifests', 'application-crd.yaml');
  const definition: CustomResourceDefinition = parse(await readFile(file, 'utf8'));
  await kube.create(customResourceDefinitions, definition);
  await eventually(async () => {
    const { status } = await kube.get(customResourceDefinitions, { name: 'applications.argoproj.io' });
    if (status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True') !== true)
      throw new Error('the kind Application is not served yet');
  });
}

/**
 * Plays Argo CD for Applications in its namespace: each is synced at once, at one commit, and healthy; one that is deleted is let go, with nothing that it had deployed. What
 * it does not play is a deployment.
 */
export async function playArgoCD(kube: KubeClient): Promise<AsyncDisposable> {
  const { namespace, repoURL } = argocd;
  const works = new Set<Promise<void>>();
  const mirror: Mirror<Application, Application> = new Mirror({
    source: objectsOf(kube, applications, { namespace }),
    keep: (application) => application,
    onChange: (key) => {
      const application = mirror.get(key);
      if (application === undefined) return;
      const work: Promise<void> = act(application)
        .catch((error: unknown) => {
          if (!isKubeError(error, 'NotFound')) process.stderr.write(`playing Argo CD: ${String(error)}\n`);
        })
        .finally(() => works.delete(work));
      works.add(work);
    },
  });

  async function act({ metadata, operation, spec }: Application): Promise<void> {
    if (metadata.deletionTimestamp !== undefined) {
      await kube.mergePatch(applications, metadata, { metadata: { finalizers: [] } });
      return;
    }
    if (operation === undefined) return;
    const { destination } = spec;
    const operationState = {
      operation: {},
      phase: 'Succeeded',
      startedAt: metadata.creationTimestamp,
      finishedAt: metadata.creationTimestamp,
      syncResult: { revision: commit, source: { repoURL } },
    };
    const sync = { status: 'Synced', revision: commit, comparedTo: { source: { repoURL }, destination } };
    const status = { operationState, sync, health: { status: 'Healthy' } };
    await kube.mergePatch(applications, metadata, { operation: null, status });
  }

  mirror.start();
  return {
    [Symbol.asyncDispose]: async () => {
      await mirror.stop();
      await Promise.all(works);
    },
  };
}
