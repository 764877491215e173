import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { type Job, jobs, type Pod, pods, secrets } from '../../src/kube/objects.ts';
import { labels, type RunObject } from '../../src/kube/runs.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { carryOutCrowd, readySources } from '../support/crowd.ts';
import { eventually } from '../support/eventually.ts';
import { Kubelet } from '../support/kubelet.ts';
import { Installation } from '../support/operator.ts';
import { type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';

const program = fileURLToPath(new URL('../support/fake-task.ts', import.meta.url));

describe('the operator, with tasks as Jobs whose pods a played kubelet runs, on S3', function () {
  this.timeout(300_000);
  let controlPlane: ControlPlane;
  let s3: SeaweedFs;
  let installation: Installation;
  let kubelet: Kubelet | undefined;

  before(async () => {
    [controlPlane, s3] = await Promise.all([startControlPlane(), startSeaweedFs()]);
    await s3.createBucket('work');
  });
  after(async () => {
    await controlPlane?.stop();
    await s3?.stop();
  });
  beforeEach(async () => {
    installation = await Installation.open(controlPlane, {
      executor: 'Jobs',
      allow: { command: false, embedded: false, fileLocations: false },
      providers: { kubernetes: readySources },
    });
    const data = { accessKeyId: encoded(s3.admin.accessKeyId), secretAccessKey: encoded(s3.admin.secretAccessKey) };
    await installation.kube.create(secrets, { metadata: { name: 'keys', namespace: 'default' }, data });
  });
  afterEach(async () => {
    await installation.stop();
    await kubelet?.stop();
    kubelet = undefined;
    await installation.kube.delete(secrets, { namespace: 'default', name: 'keys' });
    await installation.removeRuns();
    await installation.close();
  });

  it('carries a run out, each pod with no more than it needs, and leaves nothing', async () => {
    const seen = new Map<string, Job>();
    play((job) => {
      seen.set(job.metadata.labels?.[labels.task] ?? '', job);
      return undefined;
    });
    await installation.start();
    await installation.apply('passing', behaving('None'));
    const ended = await installation.until('passing', 'Finished');
    expect(ended.status?.result?.verdict, JSON.stringify(ended.status)).to.equal('Passed');
    await installation.until('passing', 'CleanedUp');
    await untilNothingIsLeft();
    expect(await objectsOf(ended)).to.deep.equal([]);
    const mounted = (task: string) =>
      seen.get(task)?.spec?.template.spec?.volumes?.flatMap(({ secret }) => secret?.secretName ?? []);
    expect(mounted('resolve')).to.deep.equal(['keys']);
    expect(mounted('rehydrate-shop-0')).to.deep.equal(['keys', `parity-${ended.metadata.uid.slice(0, 8)}-shop`]);
    for (const job of seen.values()) expectRestricted(job, ended);
  });

  const fates: readonly {
    what: string;
    fate: () => NonNullable<Pod['status']>;
    code: string;
    says: RegExp;
    attempts: number;
  }[] = [
    {
      what: 'is killed for its memory',
      fate: () => ended({ exitCode: 137, reason: 'OOMKilled' }),
      code: 'OutOfMemory',
      says: /task snapshot-0 \(copy planes\) needed more than its/,
      attempts: 1,
    },
    {
      what: 'is evicted time and again',
      fate: () => ({ phase: 'Failed', reason: 'Evicted', message: 'The node was low on resource: memory.' }),
      code: 'OutOfMemory',
      says: /evicted from its node/,
      attempts: 2,
    },
    {
      what: 'has an image with a name that is none',
      fate: () => waiting('InvalidImageName', 'no such image'),
      code: 'NotFound',
      says: /the image parity\.example.* could not be pulled: no such image/,
      attempts: 1,
    },
  ];
  for (const { what, fate, code, says, attempts } of fates) {
    it(`ends as Errored, named, when a pod ${what}`, async () => {
      let made = 0;
      play((job) => {
        if (job.metadata.labels?.[labels.task] !== 'snapshot-0') return undefined;
        made += 1;
        return fate();
      });
      await installation.start();
      await installation.apply('errored', behaving('None'));
      const run = await installation.until('errored', 'Finished');
      expect(run.status?.tasks?.failures?.[0]?.code, JSON.stringify(run.status)).to.equal(code);
      expect(run.status?.tasks?.failures?.[0]?.message).to.match(says);
      expect(made).to.equal(attempts);
      await installation.until('errored', 'CleanedUp');
      await untilNothingIsLeft();
    });
  }

  it('begins no second attempt while a pod of the first may still write', async () => {
    // The node is lost: the Job has failed, its pod goes on.
    let made = 0;
    let reconciles = 0;
    const isLost = ({ metadata, status }: Pod) =>
      metadata.labels?.[labels.task] === 'snapshot-0' && made === 1 && status?.phase === 'Running';
    play((job) => {
      if (job.metadata.labels?.[labels.task] !== 'snapshot-0') return undefined;
      made += 1;
      return made === 1 ? { phase: 'Running' } : undefined;
    }, isLost);
    await installation.start({ onReconcile: () => reconciles++ });
    await installation.apply('lost', behaving('None'));
    const pod = await eventually(async () => {
      const { items } = await installation.kube.list(pods, {
        namespace: 'default',
        labelSelector: `${labels.task}=snapshot-0`,
      });
      expect(items).to.have.length(1);
      return items[0];
    }, 60_000);
    const job = pod?.metadata.ownerReferences?.[0]?.name ?? '';
    await failJob(job);
    // Its Job is of no more use, and goes; the pod does not.
    await eventually(async () =>
      expect(await installation.kube.find(jobs, { namespace: 'default', name: job })).to.equal(undefined),
    );
    const before = reconciles;
    await eventually(() => expect(reconciles).to.be.greaterThan(before + 1), 30_000);
    expect((await installation.get('lost')).status?.tasks?.active).to.deep.equal(['snapshot-0']);
    const selection = { namespace: 'default', labelSelector: `${labels.task}=snapshot-0` };
    expect((await installation.kube.list(jobs, selection)).items).to.deep.equal([]);
    expect(made).to.equal(1);
    await installation.kube.mergePatch(
      pods,
      { namespace: 'default', name: pod?.metadata.name ?? '' },
      { status: { phase: 'Failed', reason: 'NodeLost' } },
      { subresource: 'status' },
    );
    const run = await installation.until('lost', 'CleanedUp');
    expect(run.status?.result?.verdict).to.equal('Passed');
    expect(made).to.equal(2);
    await untilNothingIsLeft();
  });

  it('carries out all of many runs, no more at once than it may, in the order of their creation', async () => {
    const [count, parallel] = [12, 3];
    const { runs, mostAtOnce } = await carryOutCrowd({
      controlPlane,
      s3,
      namespace: 'crowd',
      count,
      parallel,
      timeoutMs: 120_000,
    });
    expect(runs.map(({ verdict }) => verdict)).to.deep.equal(runs.map(() => 'Passed'));
    expect(runs).to.have.length(count);
    expect(mostAtOnce).to.equal(parallel);
    // Those that begin side by side may be seen in any order.
    for (const [age, { place }] of runs.entries())
      expect(Math.abs(place - age), JSON.stringify(runs)).to.be.below(parallel);
  });

  it('goes on with Jobs that were started by an operator that was killed', async () => {
    let made = 0;
    play(() => {
      made += 1;
      return undefined;
    });
    await installation.apply('restarted', behaving('None'));
    for (let round = 0; round < 40; round++) {
      let reconciles = 0;
      const enough = Promise.withResolvers<void>();
      await installation.start({ graceMs: 0, onReconcile: () => ++reconciles > 2 && enough.resolve() });
      await enough.promise;
      await installation.stop();
      const run = await installation.get('restarted');
      if (run.status?.conditions?.some(({ type, status }) => type === 'Finished' && status === 'True')) break;
    }
    await installation.start();
    const run = await installation.until('restarted', 'CleanedUp');
    expect(run.status?.result?.verdict).to.equal('Passed');
    // resolve, snapshot, rehydrate, sync, compare, report: each once.
    expect(made).to.equal(6);
    await untilNothingIsLeft();
  });

  it('is stopped and deleted in the middle of a task: its pod ends first, then its workspace goes', async () => {
    play();
    await installation.start();
    await installation.apply('deleted', behaving('sync:wait'));
    await eventually(
      async () => expect((await installation.get('deleted')).status?.tasks?.active?.join()).to.match(/sync/),
      60_000,
    );
    const run = await installation.get('deleted');
    expect(await objectsOf(run)).to.not.have.length(0);
    await installation.delete('deleted');
    await installation.untilGone('deleted');
    await untilNothingIsLeft();
    expect(await objectsOf(run)).to.deep.equal([]);
  });

  it('goes on without the Secret that it was given: finalization has its own copy', async () => {
    play();
    await installation.start();
    await installation.apply('bereft', { ...behaving('None'), cleanup: { policy: 'Never' } });
    const run = await installation.until('bereft', 'Finished');
    expect(await objectsOf(run)).to.not.have.length(0);
    await installation.kube.delete(secrets, { namespace: 'default', name: 'keys' });
    await installation.delete('bereft');
    await installation.untilGone('bereft');
    expect(await objectsOf(run)).to.deep.equal([]);
  });

  /** A run over one table whose fake tasks behave so, on S3. */
  function behaving(behaviour: string) {
    const place = { endpoint: s3.endpoint, secretRef: { name: 'keys' } };
    return {
      snapshot: {
        location: 's3://lake',
        ...place,
        tables: [{ name: 'planes', path: `behave/${behaviour}`, key: ['id'] }],
      },
      workspace: { location: 's3://work', ...place },
      sources: [{ name: 'shop', engine: 'Postgres', tables: ['planes'], kubernetes: {} }],
      pipelines: [{ name: 'candidate', reference: {} }],
      execution: { retries: 1 },
      reports: { location: 's3://reports', ...place },
    };
  }

  function play(fate?: (job: Job) => NonNullable<Pod['status']> | undefined, isLost?: (pod: Pod) => boolean): void {
    kubelet = new Kubelet({
      kube: installation.kube,
      namespace: 'default',
      program,
      ...(fate === undefined ? {} : { fate }),
      ...(isLost === undefined ? {} : { isLost }),
    });
  }

  async function failJob(name: string): Promise<void> {
    const at = new Date().toISOString();
    const last = {
      status: 'True',
      lastProbeTime: at,
      lastTransitionTime: at,
      reason: 'BackoffLimitExceeded',
      message: '',
    };
    const conditions = ['FailureTarget', 'Failed'].map((type) => ({ type, ...last }));
    const status = { startTime: at, failed: 1, conditions };
    await installation.kube.mergePatch(jobs, { namespace: 'default', name }, { status }, { subresource: 'status' });
  }

  async function objectsOf({ metadata }: RunObject): Promise<readonly string[]> {
    return (await s3.objects('work')).filter((key) => key.startsWith(`parity-${metadata.uid}/`));
  }

  async function untilNothingIsLeft(): Promise<void> {
    await eventually(async () => expect(await installation.leftovers()).to.deep.equal([]));
  }
});

/** https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted */
function expectRestricted(job: Job, run: RunObject): void {
  const spec = job.spec?.template.spec;
  const [container] = spec?.containers ?? [];
  expect(spec).to.deep.include({ restartPolicy: 'Never', automountServiceAccountToken: false });
  expect(spec?.securityContext).to.deep.equal({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
  expect(container?.securityContext).to.deep.equal({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  });
  expect(container?.resources?.limits?.memory).to.equal(container?.resources?.requests?.memory);
  expect(job.spec?.backoffLimit).to.equal(0);
  expect(job.spec?.ttlSecondsAfterFinished).to.equal(undefined);
  expect(job.metadata.ownerReferences?.[0]).to.include({
    uid: run.metadata.uid,
    controller: true,
    blockOwnerDeletion: false,
  });
  expect(job.metadata.labels?.[labels.runUid]).to.equal(run.metadata.uid);
}

type Terminated = { readonly exitCode: number; readonly reason: string };

function ended(terminated: Terminated): NonNullable<Pod['status']> {
  return { phase: 'Failed', containerStatuses: [{ ...about, state: { terminated } }] };
}

function waiting(reason: string, message: string): NonNullable<Pod['status']> {
  return { phase: 'Pending', containerStatuses: [{ ...about, state: { waiting: { reason, message } } }] };
}

const about = { name: 'task', image: 'image', imageID: '', ready: false, restartCount: 0 };

function encoded(text: string): string {
  return Buffer.from(text).toString('base64');
}
