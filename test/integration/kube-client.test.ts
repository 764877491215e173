import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { parse } from 'yaml';
import { kubeEvents, Recorder } from '../../operator/kube/events.ts';
import { addFinalizer, patchMetadata, patchStatus, removeFinalizer } from '../../operator/kube/patch.ts';
import { connect, KubeClient } from '../../src/kube/client.ts';
import { isKubeError, type KubeError } from '../../src/kube/error.ts';
import { plainAccess } from '../../src/kube/kubeconfig.ts';
import { configMaps, type KubeObject, namespaces, pods, resource, secrets } from '../../src/kube/objects.ts';
import { type RunObject, runs } from '../../src/kube/runs.ts';
import { type ApiProxy, startApiProxy } from '../support/api-proxy.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';

const applications = resource<KubeObject>('argoproj.io', 'v1alpha1', 'applications', 'Application');

describe('the client, on a real API server', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let proxy: ApiProxy;
  let kube: KubeClient;
  let namespace: string;
  let count = 0;

  before(async () => {
    controlPlane = await startControlPlane();
    proxy = await startApiProxy({ kubeconfig: controlPlane.kubeconfig });
    kube = await connect({ kubeconfig: proxy.kubeconfig });
  });
  after(async () => {
    kube?.close();
    await proxy?.[Symbol.asyncDispose]();
    await controlPlane?.stop();
  });
  beforeEach(async () => {
    namespace = `client-${count++}`;
    await kube.create(namespaces, { metadata: { name: namespace } });
  });

  const draft = (name: string, data: Record<string, string> = {}) => ({ metadata: { namespace, name }, data });

  it('works over TLS with the kubeconfig itself', async () => {
    const direct = await connect({ kubeconfig: controlPlane.kubeconfig });
    expect((await direct.get(namespaces, { name: namespace })).metadata.name).to.equal(namespace);
    expect(JSON.parse(await direct.text('/version', 'asking for the version'))).to.have.property('major', '1');
    direct.close();
  });

  it('creates, reads, lists by page and label, changes and deletes', async () => {
    for (let i = 0; i < 5; i++)
      await kube.create(configMaps, {
        ...draft(`m${i}`, { i: `${i}` }),
        metadata: { namespace, name: `m${i}`, labels: { even: String(i % 2 === 0) } },
      });
    const { items } = await kube.list(configMaps, { namespace, labelSelector: 'even=true', pageSize: 2 });
    expect(items.map((item) => [item.kind, item.apiVersion, item.data?.i])).to.deep.equal([
      ['ConfigMap', 'v1', '0'],
      ['ConfigMap', 'v1', '2'],
      ['ConfigMap', 'v1', '4'],
    ]);
    const metadata = await kube.listMetadata(configMaps, { namespace });
    expect(metadata.items).to.have.length(5);
    expect(metadata.items[0]).to.not.have.property('data');
    const changed = await kube.jsonPatch(configMaps, { namespace, name: 'm0' }, [
      { op: 'test', path: '/data/i', value: '0' },
      { op: 'replace', path: '/data/i', value: 'zero' },
    ]);
    expect(changed.data).to.deep.equal({ i: 'zero' });
    expect(await kube.delete(configMaps, { namespace, name: 'm0' })).to.equal('gone');
    expect(await kube.find(configMaps, { namespace, name: 'm0' })).to.equal(undefined);
    expect(await kube.delete(configMaps, { namespace, name: 'm0' })).to.equal('gone');
  });

  it('deletes only the very object that was meant', async () => {
    const first = await kube.create(configMaps, draft('a'));
    const name = { namespace, name: 'a' };
    await kube.delete(configMaps, name);
    const second = await kube.create(configMaps, draft('a'));
    const wrong = await refusal(kube.delete(configMaps, name, { uid: first.metadata.uid }));
    expect(wrong.reason).to.equal('Conflict');
    await kube.mergePatch(configMaps, name, { data: { x: '1' } });
    const { uid, resourceVersion } = second.metadata;
    expect((await refusal(kube.delete(configMaps, name, { uid, resourceVersion }))).reason).to.equal('Conflict');
    expect(await kube.delete(configMaps, name, { uid })).to.equal('gone');
  });

  it('says that an object with a finalizer is being deleted, until it comes off', async () => {
    const made = await kube.create(configMaps, draft('a'));
    const name = { namespace, name: 'a' };
    const held = await addFinalizer(kube, configMaps, made, 'example.com/hold');
    expect(await addFinalizer(kube, configMaps, held, 'example.com/hold'), 'nothing to do').to.equal(held);
    expect(await kube.delete(configMaps, name, { propagation: 'Foreground' })).to.equal('deleting');
    const dying = await kube.get(configMaps, name);
    expect(dying.metadata.deletionTimestamp).to.match(/^\d{4}-/);
    const other = dying.metadata.finalizers?.filter((finalizer) => finalizer !== 'example.com/hold') ?? [];
    const freed = await removeFinalizer(kube, configMaps, dying, 'example.com/hold');
    expect(freed.metadata.finalizers ?? [], "others' stay").to.deep.equal(other);
  });

  it('names what the server refuses', async () => {
    await kube.create(configMaps, draft('a'));
    const reasons = [
      await refusal(kube.get(configMaps, { namespace, name: 'none' })),
      await refusal(kube.get(applications, { namespace, name: 'none' })),
      await refusal(kube.list(applications, { namespace })),
      await refusal(kube.create(configMaps, draft('a'))),
      await refusal(kube.create(configMaps, draft('No Name'))),
      await refusal(
        kube.jsonPatch(configMaps, { namespace, name: 'a' }, [{ op: 'test', path: '/data', value: { x: '1' } }]),
      ),
    ].map(({ reason }) => reason);
    expect(reasons).to.deep.equal(['NotFound', 'NoSuchKind', 'NoSuchKind', 'AlreadyExists', 'Invalid', 'Invalid']);
  });

  it('names what an account may not do', async () => {
    const kubeconfig = await controlPlane.serviceAccount({
      name: 'reader',
      namespace,
      rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get'] }],
    });
    const reader = await connect({ kubeconfig });
    expect(await reader.find(configMaps, { namespace, name: 'none' })).to.equal(undefined);
    const error = await refusal(reader.get(secrets, { namespace, name: 'a' }));
    expect(error.reason).to.equal('Forbidden');
    expect(error.message).to.match(
      /^reading Secret client-\d+\/a: secrets "a" is forbidden: User .* cannot get resource/,
    );
    reader.close();
  });

  it('refuses a token that the server does not know', async () => {
    const server = new URL(controlPlane.url);
    const stranger = new KubeClient(
      plainAccess({
        server,
        namespace,
        tls: { rejectUnauthorized: false },
        headers: async () => ({ authorization: 'Bearer of-nobody' }),
      }),
    );
    expect((await refusal(stranger.get(configMaps, { namespace, name: 'a' }))).reason).to.equal('Unauthorized');
    stranger.close();
  });

  it('says that nothing can be made in a namespace that is being deleted', async () => {
    expect(await kube.delete(namespaces, { name: namespace })).to.equal('deleting');
    expect((await refusal(kube.create(configMaps, draft('a')))).reason).to.equal('NamespaceTerminating');
  });

  describe('a status', () => {
    const task = (state: string) => ({ observedGeneration: 1, phase: state });
    let made: RunObject;
    beforeEach(async () => {
      const run: RunObject = parse(await readFile('examples/flights/run.yaml', 'utf8'));
      made = await kube.create(runs, { metadata: { namespace, name: 'run' }, spec: run.spec });
    });
    const writes = () => proxy.writes().filter(({ path }) => path.includes(`/${namespace}/pipelineparityruns/`));
    const bodies = () => Promise.all(writes().map(async (write) => JSON.parse(String(await write.body()))));

    it('that did not change costs no request', async () => {
      expect(await patchStatus(kube, runs, made, { ...made.status })).to.equal(made);
      expect(writes()).to.deep.equal([]);
    });

    it('is sent as what changed only, and only for the version that was read', async () => {
      proxy.decideBy(async (request) => {
        if (request.isWrite) await request.body();
        return undefined;
      });
      const first = await patchStatus(kube, runs, made, task('Running'));
      const second = await patchStatus(kube, runs, first, { observedGeneration: 1 });
      proxy.decideBy(undefined);
      expect(second.status).to.deep.equal({ observedGeneration: 1 });
      expect(second.spec).to.deep.equal(made.spec);
      expect(await bodies()).to.deep.equal([
        { metadata: { resourceVersion: made.metadata.resourceVersion }, status: task('Running') },
        { metadata: { resourceVersion: first.metadata.resourceVersion }, status: { phase: null } },
      ]);
    });

    it('is not written over what another wrote meanwhile', async () => {
      await patchMetadata(kube, runs, made, { annotations: { other: 'yes' } });
      const error = await refusal(patchStatus(kube, runs, made, task('Running')));
      expect(error.reason).to.equal('Conflict');
      expect((await kube.get(runs, { namespace, name: 'run' })).status).to.deep.equal(made.status);
      expect(writes()).to.have.length(2);
    });

    it('is not written to a run that was made again under the same name', async () => {
      await kube.delete(runs, { namespace, name: 'run' });
      await kube.create(runs, { metadata: { namespace, name: 'run' }, spec: made.spec });
      expect((await refusal(patchStatus(kube, runs, made, task('Running')))).reason).to.equal('Conflict');
    });

    it('whose write was carried out and whose reply was lost is a Conflict the next time, not a second write', async () => {
      proxy.decideBy((request) => (request.isWrite ? { kind: 'LoseReply' } : undefined));
      expect((await refusal(patchStatus(kube, runs, made, task('Running')))).reason).to.equal('Unreachable');
      proxy.decideBy(undefined);
      expect((await refusal(patchStatus(kube, runs, made, task('Done')))).reason).to.equal('Conflict');
      expect((await kube.get(runs, { namespace, name: 'run' })).status).to.deep.equal(task('Running'));
    });
  });

  it('patches labels and annotations, and takes away those that are left out', async () => {
    const made = await kube.create(configMaps, {
      ...draft('a'),
      metadata: { namespace, name: 'a', labels: { keep: '1', drop: '1' } },
    });
    const after = await patchMetadata(kube, configMaps, made, { labels: { keep: '1' }, annotations: { 'a/b': 'c' } });
    expect(after.metadata.labels).to.deep.equal({ keep: '1' });
    expect(after.metadata.annotations).to.deep.equal({ 'a/b': 'c' });
  });

  it('records events that kubectl shows, counted', async () => {
    const pod = await kube.create(pods, {
      metadata: { namespace, name: 'p' },
      spec: { containers: [{ name: 'c', image: 'none' }] },
    });
    const recorder = new Recorder({ client: kube, component: 'pipelineparity.io/operator' });
    for (let i = 0; i < 3; i++) {
      recorder.record(pod, { type: 'Warning', reason: 'ImagePull', message: 'cannot pull none' });
      await recorder.flush();
    }
    const { items } = await kube.list(kubeEvents, { namespace, fieldSelector: 'reason=ImagePull' });
    expect(
      items.map(({ type, reason, note, regarding, series }) => [type, reason, note, regarding?.uid, series?.count]),
    ).to.deep.equal([['Warning', 'ImagePull', 'cannot pull none', pod.metadata.uid, 3]]);
  });

  it('drops an event of a namespace that is being deleted, and fails nobody', async () => {
    const made = await kube.create(configMaps, draft('a'));
    await kube.delete(namespaces, { name: namespace });
    let dropped = 0;
    const recorder = new Recorder({
      client: kube,
      component: 'pipelineparity.io/operator',
      onDropped: () => dropped++,
    });
    recorder.record(made, { type: 'Normal', reason: 'Deleted', message: 'gone soon' });
    await recorder.flush();
    expect(dropped).to.equal(1);
  });
});

async function refusal(promise: Promise<unknown>): Promise<KubeError> {
  const error: unknown = await promise.then(
    () => new Error('it was accepted'),
    (error: unknown) => error,
  );
  if (isKubeError(error)) return error;
  throw error;
}
