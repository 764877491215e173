import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { startOperator } from '../../../operator/operator.ts';
import { namespaces, secrets } from '../../../src/kube/objects.ts';
import type { RunObject } from '../../../src/kube/runs.ts';
import { eventually } from '../../support/eventually.ts';
import { type Release, testRelease } from '../../support/release.ts';
import { startJobs } from '../../support/runs.ts';

describe('faults of a cluster, each named in the status of the run', function () {
  this.timeout(600_000);
  let release: Release;
  let done: (name: string) => Promise<void>;
  let noChartOver: Promise<void> | undefined;

  before(async () => {
    release = await testRelease();
    // Most of them are waiting.
    done = startJobs(
      2,
      new Map([
        [
          'no-chart',
          () => {
            noChartOver = noChart();
            return noChartOver;
          },
        ],
        ['no-image', noImage],
        ['no-task-image', noTaskImage],
        ['stopped', argoCDStopped],
        ['no-memory', noMemory],
        ['no-secret', noSecret],
      ]),
    );
  });

  for (const [name, what] of [
    ['no-image', 'an image of a source that nobody has: Stalled with what kubelet says'],
    ['no-task-image', 'an image of tasks that nobody has: Stalled, then Errored with what to look at, and cleaned up'],
    ['no-memory', 'a task that needs more memory than it may have: Errored, OutOfMemory, with what to raise'],
    ['no-secret', 'a Secret that is missing: it waits and says for which, and goes on once it is there'],
    ['no-chart', 'an Application that is never healthy: Stalled, and Errored when its time is over'],
    ['stopped', 'Argo CD is down: Stalled at the beginning, CleanedUp=False at the end, and both heal once it is back'],
  ] as const) {
    it(what, () => done(name));
  }

  async function noImage(): Promise<void> {
    const spec = small();
    const sources = spec.sources.map((source) => ({ ...source, image: nowhere }));
    await release.apply('no-image', { ...spec, sources });
    const run = await untilStalled('no-image', /(ErrImagePull|ImagePullBackOff).*nowhere/s);
    await removed(run);
  }

  /** By an operator beside the cluster, which knows another image than the one that Helm installed. */
  async function noTaskImage(): Promise<void> {
    const namespace = `${release.name}-imageless-${randomBytes(3).toString('hex')}`;
    await release.kube.create(namespaces, { metadata: { name: namespace } });
    await release.credentials(namespace);
    const operator = await startOperator({
      installation: namespace,
      namespace: release.namespace,
      namespaces: [namespace],
      image: nowhere,
      imagePullSecrets: [],
      executor: 'Jobs',
      allow: { command: false, embedded: false, fileLocations: false },
      defaultWorkspace: { location: 's3://', ...release.store('workspace') },
      parallelRuns: 1,
      nodeSelector: {},
      tolerations: [],
      access: { kubeconfig: release.cluster.kubeconfig },
      stateDir: '/nowhere',
      pullPatienceMs: 15_000,
    });
    try {
      const { metadata } = await release.apply('no-task-image', small(), namespace);
      await untilStalled('no-task-image', /task resolve.*image .*nowhere:1 could not be pulled/, namespace);
      const run = await release.untilRun('no-task-image', 120_000, isCleanedUp, namespace);
      expect(run.status?.result).to.include({ verdict: 'Errored' });
      const [failure] = run.status?.tasks?.failures ?? [];
      expect(failure).to.include({ task: 'resolve', code: 'NotFound' });
      expect(failure?.advice).to.match(/the image exists and that nodes reach its registry/);
      await release.untilNothingLeft(metadata.uid);
      await release.delete('no-task-image', 'Background', namespace);
      await release.untilGone('no-task-image', 60_000, namespace);
    } finally {
      await operator.stop();
      await release.kube.delete(namespaces, { name: namespace });
    }
  }

  async function noMemory(): Promise<void> {
    await release.apply('no-memory', release.spec(['flights'], { isFullOnly: true }));
    const { metadata } = await release.untilRun('no-memory', 120_000, ({ status }) => status?.phase === 'Rehydrating');
    await fillMemory(metadata.uid, 'rehydrate');
    const run = await release.until('no-memory', 'Finished');
    const [failure] = run.status?.tasks?.failures ?? [];
    expect(failure, JSON.stringify(run.status)).to.include({ code: 'OutOfMemory' });
    expect(failure?.advice).to.match(/spec\.execution\.memory/);
    await removed(run);
  }

  async function noSecret(): Promise<void> {
    const spec = small();
    await release.kube.delete(secrets, { namespace: release.runs, name: 'late' });
    await release.apply('no-secret', { ...spec, snapshot: { ...spec.snapshot, secretRef: { name: 'late' } } });
    await release.untilRun('no-secret', 60_000, ({ status }) =>
      /Secret .*late/.test(JSON.stringify(status?.conditions)),
    );
    const { accessKeyId, secretAccessKey } = release.cluster.s3;
    await release.secret('late', { accessKeyId, secretAccessKey });
    const run = await release.until('no-secret', 'SnapshotCopied');
    await removed(run);
    await release.kube.delete(secrets, { namespace: release.runs, name: 'late' });
  }

  async function noChart(): Promise<void> {
    const spec = release.spec(['airlines'], { by: 'argocd', isFullOnly: true });
    const sources = spec.sources.map((source) => ({ ...source, argocd: { path: 'no/such/folder' } }));
    await release.apply('no-chart', { ...spec, sources, execution: { ...spec.execution, timeoutSeconds: 20 } });
    await untilStalled('no-chart', /no\/such\/folder/);
    const run = await release.until('no-chart', 'Finished');
    expect(run.status?.result).to.include({ verdict: 'Errored' });
    const [failure] = run.status?.tasks?.failures ?? [];
    expect(failure).to.include({ code: 'Timeout' });
    expect(failure?.message).to.match(/no\/such\/folder/);
    await removed(run);
  }

  /** One run that is deleted and one that begins, both while it is down. */
  async function argoCDStopped(): Promise<void> {
    const spec = release.spec(['airlines'], { by: 'argocd', isFullOnly: true });
    await release.apply('before-it-stopped', spec);
    const before = await release.until('before-it-stopped', 'SourcesProvisioned');
    await noChartOver?.catch(() => undefined);
    const { argoCD } = release.cluster;
    await argoCD.stop();
    try {
      await release.delete('before-it-stopped');
      await release.apply('while-it-is-stopped', spec);
      await untilStalled(
        'while-it-is-stopped',
        /Application .* has not touched it .*does its application controller run\?/,
      );
      await release.untilRun('before-it-stopped', 120_000, (run) =>
        /Application .* not done for \d+ s; does Argo CD's application controller run\?/.test(
          message(run, 'CleanedUp'),
        ),
      );
    } finally {
      await argoCD.start();
    }
    await release.untilGone('before-it-stopped');
    await release.untilNothingLeft(before.metadata.uid);
    const run = await release.until('while-it-is-stopped', 'SourcesProvisioned');
    expect(message(run, 'Stalled')).to.equal('');
    await removed(run);
  }

  function small() {
    return release.spec(['airlines'], { isFullOnly: true });
  }

  async function untilStalled(name: string, says: RegExp, namespace = release.runs): Promise<RunObject> {
    return await release.untilRun(name, 120_000, (run) => says.test(message(run, 'Stalled')), namespace);
  }

  /** Starts so many small processes beside the task that its container is full: then the kernel ends the largest, which is the task. */
  async function fillMemory(uid: string, task: string): Promise<void> {
    const pod = await eventually(async () => {
      const found = (await release.podsOf(uid)).find(
        ({ metadata, status }) => metadata.name.includes(`-${task}-`) && status?.phase === 'Running',
      );
      return found ?? expect.fail(`no pod of ${task} runs`);
    }, 60_000);
    const fill = 'for i in $(seq 60); do node --eval "setTimeout(() => {}, 60000)" & done; wait';
    // It is ended with the container.
    await release.kubectl('exec', pod.metadata.name, '--', 'sh', '-c', fill).catch(() => undefined);
  }

  async function removed({ metadata: { name, uid } }: RunObject): Promise<void> {
    await release.delete(name);
    await release.untilGone(name);
    await release.untilNothingLeft(uid);
  }
});

/** An image that no registry has. */
const nowhere = 'local.parity/nowhere:1';

function isCleanedUp({ status }: RunObject): boolean {
  return status?.conditions?.some(({ type, status }) => type === 'CleanedUp' && status === 'True') === true;
}

function message({ status }: RunObject, type: string): string {
  return status?.conditions?.find((condition) => condition.type === type)?.message ?? '';
}
