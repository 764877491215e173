import { randomUUID } from 'node:crypto';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { applications, resourcesFinalizer } from '../../operator/runs/application.ts';
import type { RunContext } from '../../operator/runs/context.ts';
import { createHold, keepAbandoned } from '../../operator/runs/hold.ts';
import { JobExecutor } from '../../operator/runs/jobs.ts';
import { RunMemory } from '../../operator/runs/memory.ts';
import { runLabels } from '../../operator/runs/names.ts';
import type { Hold } from '../../operator/runs/types.ts';
import { sweep } from '../../operator/sweep/sweep.ts';
import { type Job, jobs, namespaces, secrets } from '../../src/kube/objects.ts';
import type { RunIdentity } from '../../src/tasks/task.ts';
import { createWorkspace, planWorkspace, type WorkspacePlan } from '../../src/tasks/workspace.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { Installation } from '../support/operator.ts';
import { argocd, installApplications } from '../support/played-argocd.ts';
import { type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';
import { spec } from '../support/spec.ts';

describe('the sweeper, on a real API server and S3', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let s3: SeaweedFs;
  let installation: Installation;

  before(async () => {
    [controlPlane, s3] = await Promise.all([startControlPlane(), startSeaweedFs()]);
  });
  after(async () => {
    await controlPlane?.stop();
    await s3?.stop();
  });
  beforeEach(async () => {
    installation = await Installation.open(controlPlane);
  });
  afterEach(async () => {
    await installation.removeRuns();
    await installation.close();
  });

  it('removes workspaces of ours without a run, and touches no other', async () => {
    const living = await installation.apply('living', { snapshot: { location: 's3://lake' } });
    const [gone, another] = [identity(), { ...identity(), installation: 'another' }];
    const places: readonly RunIdentity[] = [gone, another, { ...identity(), uid: living.metadata.uid }];
    for (const run of places) await makeWorkspace(run);
    const leaks = await sweep(context());
    expect(leaks.map(({ kind, outcome }) => ({ kind, outcome }))).to.deep.equal([
      { kind: 'Workspace', outcome: 'Removed' },
    ]);
    expect(await Promise.all(places.map(isThere))).to.deep.equal([false, true, true]);
    expect(await sweep(context())).to.deep.equal([]);
  });

  it('removes buckets of ours without a run', async () => {
    const storage = { location: 's3://', endpoint: s3.endpoint, secretRef: { name: 'keys' } };
    const keys = { accessKeyId: s3.admin.accessKeyId, secretAccessKey: s3.admin.secretAccessKey };
    const data = Object.fromEntries(
      Object.entries(keys).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    );
    await installation.kube.create(secrets, { metadata: { name: 'keys', namespace: 'default' }, data });
    const [gone, another] = [identity(), { ...identity(), installation: 'another' }];
    for (const run of [gone, another]) await createWorkspace(planWorkspace(storage, run.uid), run, keys, new Date());
    const leaks = await sweep(context({ defaultWorkspace: storage }));
    expect(leaks).to.deep.equal([{ kind: 'Workspace', name: `s3://parity-${gone.uid}`, outcome: 'Removed' }]);
    expect(await s3.buckets()).to.deep.equal([`parity-${another.uid}`]);
    await installation.kube.delete(secrets, { namespace: 'default', name: 'keys' });
  });

  it('removes workspaces of ours without a run from where another run works, as its hold says', async () => {
    const { metadata } = await installation.apply('living', { snapshot: { location: 's3://lake' } });
    const keys = { ...s3.admin };
    const own = { location: `s3://${await s3.createBucket('work-of-its-own')}`, endpoint: s3.endpoint };
    const workspace = { ...own, secretRef: { name: 'own-keys' } };
    const living = { ...identity(), name: 'living', uid: metadata.uid };
    await createHold(installation.kube, {
      ...holdOf(living, planWorkspace(workspace, living.uid)),
      spec: spec({ workspace, sources: [] }),
      secrets: { 'own-keys': keys },
    });
    // Another place, which cannot be listed, is no reason not to look at this one.
    const nowhere = { location: 's3://no-such-bucket', endpoint: s3.endpoint };
    const [gone, another] = [identity(), { ...identity(), installation: 'another' }];
    for (const run of [gone, another, living])
      await createWorkspace(planWorkspace(workspace, run.uid), run, keys, new Date());
    const leaks = await sweep(context({ defaultWorkspace: nowhere }));
    expect(leaks).to.deep.equal([
      { kind: 'Workspace', name: `${own.location}/parity-${gone.uid}`, outcome: 'Removed' },
    ]);
    const left = [another, living].map(({ uid }) => `parity-${uid}/.parity.json`);
    expect([...(await s3.objects('work-of-its-own'))].sort()).to.deep.equal(left.sort());
  });

  it('leaves alone what is so young that its run may not have been seen', async () => {
    const run = identity();
    await makeWorkspace(run);
    await makeJob(run);
    expect(await sweep({ ...context(), now: () => new Date() })).to.deep.equal([]);
  });

  it('removes Jobs of ours without a run', async () => {
    const living = await installation.apply('living', { snapshot: { location: 's3://lake' } });
    const gone = await makeJob(identity());
    const kept = await makeJob({ ...identity(), uid: living.metadata.uid });
    const others = await makeJob({ ...identity(), installation: 'another' });
    const leaks = await sweep(context());
    expect(leaks.map(({ name }) => name)).to.deep.equal([`default/${gone.metadata.name}`]);
    const found = (await installation.kube.listMetadata(jobs, { namespace: 'default' })).items;
    const names = found.map(({ metadata }) => metadata.name);
    expect(names).to.include.members([kept, others].map(({ metadata }) => metadata.name));
    expect(names).to.not.include(gone.metadata.name);
  });

  it('removes Applications of ours without a run, which Argo CD is still trying to sync', async () => {
    const { kube } = installation;
    await kube.create(namespaces, { metadata: { name: argocd.namespace } });
    await installApplications(kube);
    const living = await installation.apply('living', { snapshot: { location: 's3://lake' } });
    const [gone, kept] = [identity(), { ...identity(), uid: living.metadata.uid }];
    for (const run of [gone, kept]) await makeApplication(run);
    const name = (run: RunIdentity) => ({ namespace: argocd.namespace, name: run.uid });
    expect(await sweep(context({ argocd }))).to.deep.equal([
      { kind: 'Application', name: `argocd/${gone.uid}`, outcome: 'Waiting' },
    ]);
    const found = await kube.get(applications, name(gone));
    expect(found.metadata.deletionTimestamp, 'its deletion').to.be.a('string');
    expect(found.metadata.finalizers).to.deep.equal([resourcesFinalizer]);
    expect(found.operation).to.equal(undefined);
    expect((await kube.get(applications, name(kept))).operation).to.not.equal(undefined);
    await kube.mergePatch(applications, name(gone), { metadata: { finalizers: [] } });
  });

  it('goes on with what an administrator let go of, until nothing of it is left', async () => {
    const run = identity();
    const plan = await makeWorkspace(run);
    await keepAbandoned(installation.kube, holdOf(run, plan), 'default');
    expect(await sweep(context())).to.deep.equal([
      { kind: 'Hold', name: `default/parity-abandoned-${run.uid}`, outcome: 'Removed' },
    ]);
    expect(await isThere(run)).to.equal(false);
    expect(await installation.leftovers()).to.deep.equal([]);
  });

  function identity(): RunIdentity {
    return { name: 'gone', uid: randomUUID(), installation: installation.options.installation };
  }

  function holdOf(run: RunIdentity, workspace: WorkspacePlan): Hold {
    const plain = { namespace: 'default', specDigest: '', graphVersion: 1, image: '', secrets: {} };
    return { ...plain, run, workspace, spec: spec({ sources: [] }) };
  }

  async function makeWorkspace(run: RunIdentity) {
    const plan = planWorkspace(installation.options.defaultWorkspace ?? { location: 's3://' }, run.uid);
    await createWorkspace(plan, run, undefined, new Date());
    return plan;
  }

  async function isThere({ uid }: RunIdentity): Promise<boolean> {
    return await access(join(installation.workspaces, `parity-${uid}`)).then(
      () => true,
      () => false,
    );
  }

  async function makeJob(run: RunIdentity): Promise<Job> {
    const containers = [{ name: 'task', image: 'none' }];
    return await installation.kube.create(jobs, {
      metadata: { name: `job-${randomUUID()}`, namespace: 'default', labels: runLabels(run) },
      spec: { template: { spec: { restartPolicy: 'Never', containers } } },
    });
  }

  /** As Argo CD leaves it while its operation fails time and again. */
  async function makeApplication(run: RunIdentity): Promise<void> {
    const { project, repoURL, path, targetRevision, destinationServer: server } = argocd;
    const helm = { releaseName: 'shop', valuesObject: {} };
    await installation.kube.create(applications, {
      metadata: {
        name: run.uid,
        namespace: argocd.namespace,
        labels: runLabels(run),
        finalizers: [resourcesFinalizer],
      },
      spec: { project, source: { repoURL, path, targetRevision, helm }, destination: { server, namespace: 'default' } },
      operation: {
        initiatedBy: { username: 'pipeline-parity' },
        sync: { prune: false, syncOptions: [] },
        retry: { limit: -1, backoff: { duration: '2s', factor: 2, maxDuration: '30s' } },
      },
    });
  }

  /** An hour later: nothing is young any more. */
  function context(more: Partial<RunContext['options']> = {}): RunContext {
    return {
      kube: installation.kube,
      options: { ...installation.options, ...more },
      hands: {
        executor: new JobExecutor(),
        providerOf: () => {
          throw new Error('there are no sources here');
        },
      },
      events: { record: () => undefined },
      signal: new AbortController().signal,
      now: () => new Date(Date.now() + 3_600_000),
      recall: () => undefined,
      remember: (hold) => new RunMemory(hold),
      forget: () => undefined,
      admits: () => true,
    };
  }
});
