import { randomBytes } from 'node:crypto';
import { BatchV1Api, CoreV1Api, type KubeConfig, type V1Job } from '@kubernetes/client-node';
import { expect } from 'chai';
import { delay } from '../../src/support/retry.ts';
import { type TestCluster, testCluster } from '../support/cluster.ts';
import { loadKubeconfig } from '../support/control-plane.ts';

// Its own each time: a namespace takes a while to end.
const namespace = `image-test-${randomBytes(4).toString('hex')}`;

describe('the image on a node', function () {
  this.timeout(600_000);
  let cluster: TestCluster;
  let config: KubeConfig;

  before(async () => {
    cluster = await testCluster();
    config = loadKubeconfig(cluster.kubeconfig);
    await config.makeApiClient(CoreV1Api).createNamespace({
      body: { metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } } },
    });
  });

  after(async () => {
    await config?.makeApiClient(CoreV1Api).deleteNamespace({ name: namespace });
  });

  it('runs the command', async () => {
    expect(await logOf('version', ['parity', '--version'])).to.match(/^\d+\.\d+\.\d+\n$/);
  });

  it('runs the engine', async () => {
    const query = `
      const { openEngine } = await import('/app/dist/src/engine/chdb.js');
      const engine = await openEngine({ scratch: '/tmp', memoryBytes: 2 ** 28, threads: 1 });
      console.log(await engine.rows('SELECT 6 * 7 AS answer'));
      await engine.close();`;
    expect(await logOf('engine', ['node', '--input-type=module', '--eval', query])).to.match(/answer: 42/);
  });

  it('has the scripts of the servers that the operator deploys', async () => {
    const read = `
      const { serverKind, serverScript } = await import('/app/dist/operator/runs/server-kinds.js');
      for (const engine of ['Postgres', 'MySQL']) console.log(serverScript(serverKind(engine), 'start.sh').split('\\n')[0]);`;
    expect(await logOf('scripts', ['node', '--input-type=module', '--eval', read])).to.equal('#!/bin/sh\n#!/bin/sh\n');
  });

  it('reaches the object store', async () => {
    const ask = `const answer = await fetch('${cluster.s3.endpoint}'); console.log(answer.status);`;
    expect(await logOf('store', ['node', '--input-type=module', '--eval', ask])).to.match(/^[234]\d\d\n$/);
  });

  /** What a Job of the image, as restricted as a pod can be, wrote until it had succeeded. */
  async function logOf(name: string, command: string[]): Promise<string> {
    const batch = config.makeApiClient(BatchV1Api);
    const core = config.makeApiClient(CoreV1Api);
    await batch.createNamespacedJob({ namespace, body: restrictedJob(name, command) });
    const deadline = Date.now() + 120_000;
    for (;;) {
      const { status } = await batch.readNamespacedJob({ namespace, name });
      const labelSelector = `batch.kubernetes.io/job-name=${name}`;
      const pod = (await core.listNamespacedPod({ namespace, labelSelector })).items[0];
      const isOver = (status?.succeeded ?? 0) + (status?.failed ?? 0) > 0;
      if (isOver || Date.now() > deadline) {
        const log = await core
          .readNamespacedPodLog({ namespace, name: pod?.metadata?.name ?? '' })
          .catch((error: unknown) => String(error));
        expect(status?.succeeded, `${log}\n${JSON.stringify(pod?.status ?? status)}`).to.equal(1);
        return log;
      }
      await delay(200);
    }
  }

  function restrictedJob(name: string, command: string[]): V1Job {
    const container = {
      name: 'task',
      image: cluster.image,
      command,
      volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
      securityContext: {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      },
    };
    const pod = {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [container],
      volumes: [{ name: 'tmp', emptyDir: {} }],
    };
    return { metadata: { name }, spec: { backoffLimit: 0, template: { spec: pod } } };
  }
});
