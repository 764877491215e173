import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ApiException, CoreV1Api, CustomObjectsApi, type KubeConfig } from '@kubernetes/client-node';
import { expect } from 'chai';
import { delay } from '../../src/support/retry.ts';
import { testCluster } from '../support/cluster.ts';
import { loadKubeconfig } from '../support/control-plane.ts';

const applications = { group: 'argoproj.io', version: 'v1alpha1', namespace: 'argocd', plural: 'applications' };
// Its own each time: a namespace takes a while to end.
const name = `argocd-test-${randomBytes(4).toString('hex')}`;
const namespace = name;
const chart = {
  'Chart.yaml': '{ apiVersion: v2, name: greeting, version: 0.1.0 }',
  'values.yaml': 'greeting: hello',
  'templates/greeting.yaml':
    '{ apiVersion: v1, kind: ConfigMap, metadata: { name: greeting }, data: { text: {{ .Values.greeting }} } }',
};

describe('Argo CD beside a node', function () {
  this.timeout(600_000);
  let config: KubeConfig;
  let objects: CustomObjectsApi;
  let core: CoreV1Api;
  let repository: string;

  before(async () => {
    config = loadKubeconfig((await testCluster()).kubeconfig);
    objects = config.makeApiClient(CustomObjectsApi);
    core = config.makeApiClient(CoreV1Api);
    await core.createNamespace({ body: { metadata: { name: namespace } } });
    repository = await mkdtemp(join(tmpdir(), 'parity-chart-'));
    for (const [path, text] of Object.entries(chart)) {
      await mkdir(dirname(join(repository, 'greeting', path)), { recursive: true });
      await writeFile(join(repository, 'greeting', path), text);
    }
    await git('init', '--quiet', '--initial-branch=main');
    await git('add', '--all');
    await git('-c', 'user.name=test', '-c', 'user.email=test@example.test', 'commit', '--quiet', '--message=A chart');
  });

  after(async () => {
    await unlessGone(objects.deleteNamespacedCustomObject({ ...applications, name }));
    await core.deleteNamespace({ name: namespace });
    await rm(repository, { recursive: true, force: true });
  });

  it('deploys a chart with our values, and takes it away with the Application', async () => {
    await objects.createNamespacedCustomObject({ ...applications, body: application() });
    await until('Synced and Healthy', async () => {
      const { status } = await objects.getNamespacedCustomObject({ ...applications, name });
      if (status?.sync?.status === 'Synced' && status?.health?.status === 'Healthy') return undefined;
      return status ?? 'without a status';
    });
    expect((await core.readNamespacedConfigMap({ namespace, name: 'greeting' })).data).to.deep.equal({
      text: 'servus',
    });

    await objects.deleteNamespacedCustomObject({ ...applications, name });
    await until('gone', () => unlessGone(objects.getNamespacedCustomObject({ ...applications, name })));
    expect(await unlessGone(core.readNamespacedConfigMap({ namespace, name: 'greeting' }))).to.equal(undefined);
  });

  function application(): object {
    return {
      apiVersion: 'argoproj.io/v1alpha1',
      kind: 'Application',
      metadata: { name, finalizers: ['resources-finalizer.argocd.argoproj.io'] },
      spec: {
        project: 'default',
        source: {
          repoURL: `file://${repository}`,
          targetRevision: 'main',
          path: 'greeting',
          helm: { valuesObject: { greeting: 'servus' } },
        },
        destination: { server: 'https://kubernetes.default.svc', namespace },
        syncPolicy: { automated: {} },
      },
    };
  }

  async function git(...args: string[]): Promise<void> {
    await promisify(execFile)('git', args, { cwd: repository });
  }
});

async function unlessGone(call: Promise<unknown>): Promise<unknown> {
  return await call.catch((error: unknown) => {
    if (error instanceof ApiException && error.code === 404) return undefined;
    throw error;
  });
}

/** Waits until nothing stands in the way. */
async function until(what: string, obstacle: () => Promise<unknown>): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (let found = await obstacle(); found !== undefined; found = await obstacle()) {
    if (Date.now() > deadline) throw new Error(`not ${what} within a minute: ${JSON.stringify(found)}`);
    await delay(200);
  }
}
