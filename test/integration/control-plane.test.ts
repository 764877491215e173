import { readFile } from 'node:fs/promises';
import {
  ApiException,
  BatchV1Api,
  CoreV1Api,
  CustomObjectsApi,
  PatchStrategy,
  setHeaderOptions,
} from '@kubernetes/client-node';
import { expect } from 'chai';
import { parse } from 'yaml';
import { delay } from '../../src/support/retry.ts';
import { type ControlPlane, loadKubeconfig, startControlPlane } from '../support/control-plane.ts';

const runs = { group: 'pipelineparity.io', version: 'v1alpha1', namespace: 'default', plural: 'pipelineparityruns' };

describe('a Kubernetes API server with our CRDs', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let objects: CustomObjectsApi;

  before(async () => {
    controlPlane = await startControlPlane();
    objects = controlPlane.admin.makeApiClient(CustomObjectsApi);
  });

  after(() => controlPlane?.stop());

  it('accepts the run of the example', async () => {
    await objects.createNamespacedCustomObject({ ...runs, body: await exampleRun('accepted') });
    const run = await objects.getNamespacedCustomObject({ ...runs, name: 'accepted' });
    expect(run).to.have.nested.property('spec.snapshot.tables').with.length(6);
    expect(run, 'the default of status').to.have.nested.property('status.observedGeneration', -1);
  });

  const refused: readonly { what: string; change: (run: Run) => void; says: RegExp }[] = [
    {
      what: 'a base version above the version',
      change: (run) => Object.assign(run.spec.snapshot.tables[0] ?? {}, { baseVersion: '16' }),
      says: /spec\.snapshot\.tables\[0\]\.baseVersion.*baseVersion must be lower than version/,
    },
    {
      what: 'two steps of one name',
      change: (run) => Object.assign(run.spec, { scenario: [0, 1].map(() => ({ name: 'twice', advance: {} })) }),
      says: /spec\.scenario.*[dD]uplicate|steps must have different names/,
    },
    {
      what: 'a run without a snapshot or a plan',
      change: (run) => Reflect.deleteProperty(run.spec, 'snapshot'),
      says: /a run needs a snapshot of its own or a planRef that supplies one/,
    },
  ];
  for (const { what, change, says } of refused) {
    it(`refuses ${what}, and says why`, async () => {
      const run = await exampleRun('refused');
      change(run);
      expect(await refusal(objects.createNamespacedCustomObject({ ...runs, body: run }))).to.match(says);
    });
  }

  it('keeps the spec of a run as it was made', async () => {
    await objects.createNamespacedCustomObject({ ...runs, body: await exampleRun('immutable') });
    const patch = objects.patchNamespacedCustomObject(
      { ...runs, name: 'immutable', body: { spec: { execution: { parallelism: 7 } } } },
      setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
    );
    expect(await refusal(patch)).to.match(/the spec of a run is immutable/);
  });

  it('lets a run be suspended, continued, kept and cancelled, and never uncancelled', async () => {
    await objects.createNamespacedCustomObject({ ...runs, body: await exampleRun('switched') });
    const change = (spec: object) =>
      objects.patchNamespacedCustomObject(
        { ...runs, name: 'switched', body: { spec } },
        setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
      );
    for (const spec of [{ suspend: true }, { suspend: false }, { cleanup: { policy: 'Never' } }, { cancel: true }])
      await change(spec);
    for (const spec of [{ cancel: false }, { cancel: null }])
      expect(await refusal(change(spec))).to.match(/a run that was cancelled stays cancelled/);
    expect(await refusal(change({ planRef: { name: 'other' } }))).to.match(/the spec of a run is immutable/);
  });

  it('changes status by its own subresource, and nothing else by it', async () => {
    await objects.createNamespacedCustomObject({ ...runs, body: await exampleRun('status') });
    await objects.patchNamespacedCustomObjectStatus(
      { ...runs, name: 'status', body: { metadata: { labels: { a: 'b' } }, status: { phase: 'Comparing' } } },
      setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
    );
    await objects.patchNamespacedCustomObject(
      { ...runs, name: 'status', body: { status: { phase: 'Never' } } },
      setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
    );
    const run = await objects.getNamespacedCustomObject({ ...runs, name: 'status' });
    expect(run).to.have.nested.property('status.phase', 'Comparing');
    expect(run).to.have.nested.property('metadata.generation', 1);
  });

  it('lets a service account do what its rules say, and no more', async () => {
    const kubeconfig = await controlPlane.serviceAccount({
      name: 'reader',
      namespace: 'tests',
      namespaces: ['default'],
      rules: [{ apiGroups: ['pipelineparity.io'], resources: ['pipelineparityruns'], verbs: ['list'] }],
    });
    const theirs = loadKubeconfig(kubeconfig).makeApiClient(CustomObjectsApi);
    expect(await theirs.listNamespacedCustomObject(runs)).to.have.property('items');
    expect(await refusal(theirs.getNamespacedCustomObject({ ...runs, name: 'accepted' }))).to.match(
      /system:serviceaccount:tests:reader.* cannot get resource/,
    );
    expect(await refusal(theirs.listNamespacedCustomObject({ ...runs, namespace: 'kube-system' }))).to.match(
      /forbidden/,
    );
  });

  it('has its content again after the API server was lost', async () => {
    await objects.createNamespacedCustomObject({ ...runs, body: await exampleRun('lasting') });
    await controlPlane.stopApiServer();
    const lost = await objects.getNamespacedCustomObject({ ...runs, name: 'lasting' }).catch((error: unknown) => error);
    expect(lost).to.have.nested.property('cause.code', 'ECONNREFUSED');
    await controlPlane.startApiServer();
    const run = await objects.getNamespacedCustomObject({ ...runs, name: 'lasting' });
    expect(run).to.have.nested.property('metadata.name', 'lasting');
  });
});

describe("an API server with Kubernetes' own controllers", function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;

  before(async () => {
    controlPlane = await startControlPlane({ controllerManager: true });
  });

  after(() => controlPlane?.stop());

  it('collects what a deleted run owns, and ends a namespace with all in it', async () => {
    const objects = controlPlane.admin.makeApiClient(CustomObjectsApi);
    const core = controlPlane.admin.makeApiClient(CoreV1Api);
    const namespace = 'passing';
    await core.createNamespace({ body: { metadata: { name: namespace } } });
    const owner: { metadata: { uid: string } } = await objects.createNamespacedCustomObject({
      ...runs,
      namespace,
      body: await exampleRun('owner'),
    });
    const ownerReferences = [
      { apiVersion: 'pipelineparity.io/v1alpha1', kind: 'PipelineParityRun', name: 'owner', uid: owner.metadata.uid },
    ];
    await core.createNamespacedSecret({ namespace, body: { metadata: { name: 'owned', ownerReferences } } });
    await core.createNamespacedSecret({ namespace, body: { metadata: { name: 'free' } } });

    await objects.deleteNamespacedCustomObject({ ...runs, namespace, name: 'owner' });
    await until(async () => isGone(core.readNamespacedSecret({ namespace, name: 'owned' })));
    await core.readNamespacedSecret({ namespace, name: 'free' });

    await core.deleteNamespace({ name: namespace });
    await until(async () => isGone(core.readNamespace({ name: namespace })));
  });

  it('makes the pod of a Job, which waits for a node', async () => {
    const batch = controlPlane.admin.makeApiClient(BatchV1Api);
    const core = controlPlane.admin.makeApiClient(CoreV1Api);
    const namespace = 'default';
    const containers = [{ name: 'task', image: 'none' }];
    await batch.createNamespacedJob({
      namespace,
      body: {
        metadata: { name: 'waiting' },
        spec: { backoffLimit: 0, template: { spec: { restartPolicy: 'Never', containers } } },
      },
    });
    const labelSelector = 'batch.kubernetes.io/job-name=waiting';
    await until(async () => (await core.listNamespacedPod({ namespace, labelSelector })).items.length === 1);
  });
});

interface Run {
  readonly metadata: { name: string };
  readonly spec: { readonly snapshot: { readonly tables: readonly object[] } };
}

async function exampleRun(name: string): Promise<Run> {
  const file = new URL('../../examples/flights/run.yaml', import.meta.url);
  const run: Run = parse(await readFile(file, 'utf8'));
  return { ...run, metadata: { name } };
}

/** What the server said when it refused. */
async function refusal(call: Promise<unknown>): Promise<string> {
  const answer = await call.then(
    () => 'it was accepted',
    (error: unknown) => error,
  );
  if (!(answer instanceof ApiException)) throw answer instanceof Error ? answer : new Error(String(answer));
  return String(answer.body);
}

async function isGone(call: Promise<unknown>): Promise<boolean> {
  return await call.then(
    () => false,
    (error: unknown) => error instanceof ApiException && error.code === 404,
  );
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within a minute: ${holds}`);
    await delay(100);
  }
}
