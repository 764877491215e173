import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { V1ResourceQuota } from '@kubernetes/client-node';
import { expect } from 'chai';
import {
  type Application,
  type ApplicationStatus,
  applications,
  resourcesFinalizer,
} from '../../operator/runs/application.ts';
import { applicationSources } from '../../operator/runs/applications.ts';
import { runLabels, sourceName } from '../../operator/runs/names.ts';
import { statefulSetSources } from '../../operator/runs/statefulsets.ts';
import type { Removed, Scope, SourceProvider } from '../../operator/runs/types.ts';
import type { ResolvedSource } from '../../src/api/resolved.ts';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import { isKubeError } from '../../src/kube/error.ts';
import {
  configMaps,
  namespaces,
  networkPolicies,
  pods,
  resource,
  type Stored,
  secrets,
  services,
  statefulSets,
} from '../../src/kube/objects.ts';
import { openStore } from '../../src/lake/open.ts';
import { taskId } from '../../src/run/task-id.ts';
import type { Connection } from '../../src/sources/source.ts';
import { recordSuccess } from '../../src/tasks/records.ts';
import { startApiProxy } from '../support/api-proxy.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { sharedServer } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { installApplications } from '../support/played-argocd.ts';
import { errorOf } from '../support/snapshot-run.ts';
import { deployed, sourceScope } from '../support/source-scope.ts';

const quotas = resource<Stored<V1ResourceQuota>>('', 'v1', 'resourcequotas', 'ResourceQuota');
const commit = 'c0ffee'.repeat(6).concat('0123');
const argocd = {
  namespace: 'argocd',
  project: 'pipeline-parity',
  repoURL: 'https://git.example/parity.git',
  path: 'argocd/sources/',
  targetRevision: 'v1.2.3',
  destinationServer: 'https://kubernetes.default.svc',
};
const byArgoCD = deployed('Postgres', { kind: 'argocd', server: { allowFrom: [{ pods: 'app=worker' }] } });
const byUs = deployed('Postgres', { kind: 'kubernetes', server: { allowFrom: [] } });

describe('sources on a real API server; the test plays Argo CD and the kubelet, and a Postgres of its own is the pod', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let kube: KubeClient;
  let namespace: string;
  let clock: { aheadMs: number };
  let reach: (connection: Connection) => Promise<Connection>;

  before(async () => {
    controlPlane = await startControlPlane({ crds: false, controllerManager: true });
    kube = await connect({ kubeconfig: controlPlane.kubeconfig, requestsPerSecond: 500, burst: 500 });
    await kube.create(namespaces, { metadata: { name: 'argocd' } });
    const { connection } = await sharedServer('Postgres');
    reach = async () => connection;
  });

  beforeEach(async () => {
    clock = { aheadMs: 0 };
    namespace = `shop-${randomUUID().slice(0, 8)}`;
    await kube.create(namespaces, { metadata: { name: namespace } });
  });

  after(async () => {
    kube?.close();
    await controlPlane?.stop();
  });

  describe('by Argo CD', () => {
    it('stall while the cluster has none, are nothing to remove, and go on when it is there', async () => {
      const scope = await newScope();
      const provider = applicationSources(reach);
      expect(await provider.ensure(scope, byArgoCD)).to.include({
        state: 'Stalled',
        message: 'Argo CD is not installed in this cluster: it knows no Applications',
      });
      await untilGone(provider, scope, byArgoCD);
      await installApplications(kube);
      await eventually(async () => expect((await provider.ensure(scope, byArgoCD)).state).to.equal('Progressing'));
      await untilGone(provider, scope, byArgoCD);
    });

    it('are refused by an installation without it', async () => {
      const scope = await newScope({ isSetUp: false });
      const state = await applicationSources(reach).ensure(scope, byArgoCD);
      expect(state)
        .to.have.nested.property('error.message')
        .that.matches(/which this installation is not set up for/);
      expect(await applicationSources(reach).remove(scope, byArgoCD)).to.deep.equal({ isGone: true, waitingFor: '' });
    });

    it('are an Application of our project, for the run’s namespace only, with the finalizer and without a credential', async () => {
      const scope = await newScope();
      await applicationSources(reach).ensure(scope, byArgoCD);
      const { metadata, spec, operation } = await applicationOf(scope);
      const { uid } = scope.hold.run;
      expect(metadata.labels).to.deep.equal({ ...runLabels(scope.hold.run), 'pipelineparity.io/source': 'shop' });
      expect(metadata.finalizers).to.deep.equal([resourcesFinalizer]);
      expect(metadata.ownerReferences, 'none crosses namespaces').to.equal(undefined);
      expect(spec.project).to.equal('pipeline-parity');
      expect(spec.destination).to.deep.equal({ server: argocd.destinationServer, namespace });
      expect(spec.source).to.deep.include({ path: 'argocd/sources/postgres', targetRevision: 'v1.2.3' });
      expect(spec.source.helm.valuesObject).to.deep.include({
        auth: { existingSecret: sourceName(uid, 'shop') },
        runUid: uid,
        allowFrom: [{ podSelector: { matchLabels: { app: 'worker' } } }],
      });
      expect(spec.syncPolicy).not.to.have.property('automated');
      expect(operation?.retry.limit).to.equal(-1);
      expect(JSON.stringify(spec)).not.to.contain(await passwordOf(scope));
    });

    it('take the chart and values of the manifest, under those of the run', async () => {
      const scope = await newScope();
      const source = deployed('MySQL', {
        kind: 'argocd',
        repoURL: 'https://git.example/own.git',
        path: 'charts/db',
        targetRevision: commit,
        values: 'resources: { limits: { memory: 8Gi } }',
        server: { image: 'own/db:1', size: '5Gi', allowFrom: [] },
      });
      await applicationSources(reach).ensure(scope, source);
      const { source: chart } = (await applicationOf(scope)).spec;
      expect(chart).to.include({ repoURL: 'https://git.example/own.git', path: 'charts/db', targetRevision: commit });
      expect(chart.helm.valuesObject).to.deep.include({
        resources: { limits: { memory: '8Gi' } },
        image: 'own/db:1',
        size: '5Gi',
      });
    });

    it('are ready only once pinned, synced, healthy and answering, and keep their password', async () => {
      const scope = await newScope();
      const { ensure } = applicationSources(reach);
      expect(await ensure(scope, byArgoCD)).to.have.property('state', 'Progressing');
      const password = await passwordOf(scope);
      const operationState = {
        operation: {},
        phase: 'Succeeded',
        startedAt: now(),
        syncResult: { revision: commit, source: { repoURL: argocd.repoURL } },
      };
      await argoCDSays(scope, {
        operationState,
        sync: { status: 'Synced', revision: commit },
        health: { status: 'Healthy' },
      });
      expect(await ensure(scope, byArgoCD)).to.include({ state: 'Progressing', message: `pinned to ${commit}` });
      expect((await applicationOf(scope)).spec.source.targetRevision).to.equal(commit);
      await argoCDSays(scope, { health: { status: 'Degraded' } });
      expect(await ensure(scope, byArgoCD)).to.have.property('state', 'Stalled');
      await argoCDSays(scope, { health: { status: 'Healthy' } });
      const closed = applicationSources(async (connection) => ({ ...connection, host: '127.0.0.1', port: 1 }));
      expect(await closed.ensure(scope, byArgoCD), 'an Application without objects is healthy too').to.have.property(
        'state',
        'Progressing',
      );
      clock.aheadMs = 61_000;
      expect(await closed.ensure(scope, byArgoCD))
        .to.have.property('message')
        .that.matches(/does not answer yet.*nothing answers there/);
      expect(await ensure(scope, byArgoCD)).to.deep.equal({ state: 'Ready' });
      expect(await passwordOf(scope)).to.equal(password);
    });

    it('start another operation when one has failed for good, but not at once', async () => {
      const scope = await newScope();
      const { ensure } = applicationSources(reach);
      await ensure(scope, byArgoCD);
      await kube.mergePatch(applications, await nameOf(scope), { operation: null });
      await argoCDSays(scope, {
        operationState: {
          operation: {},
          phase: 'Failed',
          message: 'terminated by hand',
          startedAt: now(),
          finishedAt: now(),
        },
      });
      expect(await ensure(scope, byArgoCD))
        .to.have.property('message')
        .that.matches(/terminated by hand/);
      expect((await applicationOf(scope)).operation).to.equal(undefined);
      clock.aheadMs = 31_000;
      expect(await ensure(scope, byArgoCD)).to.have.property('state', 'Stalled');
      expect((await applicationOf(scope)).operation).to.have.nested.property('sync.prune', false);
    });

    it('say that Argo CD does nothing when it is stopped, at the beginning and at the end, and strip nothing', async () => {
      const scope = await newScope();
      const { ensure, remove } = applicationSources(reach);
      await ensure(scope, byArgoCD);
      clock.aheadMs = 120_000;
      expect(await ensure(scope, byArgoCD))
        .to.have.property('message')
        .that.matches(/not touched it for 1\d\d s; does its application controller run\?/);
      clock.aheadMs = 0;
      expect(await remove(scope, byArgoCD))
        .to.have.property('waitingFor')
        .that.matches(/which is being deleted$/);
      clock.aheadMs = 300_000;
      const error = await errorOf(remove(scope, byArgoCD));
      expect(error.code).to.equal('CleanupIncomplete');
      expect(error.message).to.match(/not done for [23]\d\d s; does Argo CD's application controller run\?/);
      expect((await applicationOf(scope)).metadata.finalizers).to.deep.equal([resourcesFinalizer]);
      await argoCDLetsGo(scope);
      await untilGone({ ensure, remove }, scope, byArgoCD);
    });

    it('take back an operation that would never end before they delete', async () => {
      const scope = await newScope();
      const { ensure, remove } = applicationSources(reach);
      await ensure(scope, byArgoCD);
      expect((await applicationOf(scope)).operation).not.to.equal(undefined);
      await remove(scope, byArgoCD);
      const { operation, metadata } = await applicationOf(scope);
      expect(operation).to.equal(undefined);
      expect(metadata.deletionTimestamp).not.to.equal(undefined);
      await argoCDLetsGo(scope);
      await untilGone({ ensure, remove }, scope, byArgoCD);
    });

    it('repeat what Argo CD says of a deletion that it cannot finish', async () => {
      const scope = await newScope();
      const { ensure, remove } = applicationSources(reach);
      await ensure(scope, byArgoCD);
      await remove(scope, byArgoCD);
      const message = 'error getting app project "pipeline-parity": not found';
      await argoCDSays(scope, { conditions: [{ type: 'DeletionError', message }] });
      const error = await errorOf(remove(scope, byArgoCD));
      expect(error).to.include({ code: 'CleanupIncomplete', isRetryable: true });
      expect(error.message).to.contain(`Argo CD says: ${message}`);
      await argoCDLetsGo(scope);
      await untilGone({ ensure, remove }, scope, byArgoCD);
    });

    it('remove what Argo CD left behind, and name what a finalizer keeps', async () => {
      const scope = await newScope();
      const { ensure, remove } = applicationSources(reach);
      await ensure(scope, byArgoCD);
      const labels = { ...runLabels(scope.hold.run), 'pipelineparity.io/source': 'shop' };
      await kube.create(services, {
        metadata: { name: 'left', namespace, labels, finalizers: ['example.test/stuck'] },
        spec: { ports: [{ port: 5432 }] },
      });
      await kube.create(configMaps, {
        metadata: { name: 'stranger', namespace, labels: { ...labels, 'pipelineparity.io/installation': 'another' } },
      });
      await remove(scope, byArgoCD);
      expect(await remove(scope, byArgoCD))
        .to.have.property('waitingFor')
        .that.matches(/which is being deleted, with Service .*left/);
      await argoCDLetsGo(scope);
      await eventually(async () =>
        expect(await remove(scope, byArgoCD)).to.deep.equal({
          isGone: false,
          waitingFor: `Service ${namespace}/left (kept by example.test/stuck: who set that has to let go)`,
        }),
      );
      clock.aheadMs = 120_000;
      const error = await errorOf(remove(scope, byArgoCD));
      expect(error.code).to.equal('CleanupIncomplete');
      expect(error.message).to.match(/still there: Service .*left \(kept by example.test\/stuck/);
      await kube.mergePatch(services, { namespace, name: 'left' }, { metadata: { finalizers: [] } });
      await untilGone({ ensure, remove }, scope, byArgoCD);
      await kube.get(configMaps, { namespace, name: 'stranger' });
    });

    it("adopt and remove no Application of another's, whatever its name", async () => {
      const scope = await newScope();
      const { ensure, remove } = applicationSources(reach);
      await ensure(scope, byArgoCD);
      // The same eight characters, another run.
      const labels = { 'pipelineparity.io/run-uid': `${scope.hold.run.uid.slice(0, 8)}-another` };
      await kube.mergePatch(applications, await nameOf(scope), { metadata: { labels } });
      expect(await ensure(scope, byArgoCD)).to.have.nested.property('error.code', 'AccessDenied');
      await untilGone({ ensure, remove }, scope, byArgoCD);
      expect((await applicationOf(scope)).metadata.deletionTimestamp).to.equal(undefined);
      await kube.delete(applications, await nameOf(scope));
      await argoCDLetsGo(scope);
    });
  });

  describe('by the operator', () => {
    it('are ready once the pod is and the server answers, and agree on one password however many ask', async () => {
      const scope = await newScope();
      const { ensure, remove } = statefulSetSources(reach);
      const states = await Promise.all([1, 2, 3].map(() => ensure(scope, byUs)));
      for (const { state } of states) expect(state).to.equal('Progressing');
      const password = await passwordOf(scope);
      expect(password).to.have.length(32);
      await eventually(async () => {
        await podIsReady(scope);
        expect(await ensure(scope, byUs)).to.deep.equal({ state: 'Ready' });
      });
      expect(await passwordOf(scope)).to.equal(password);
      await untilGone({ ensure, remove }, scope, byUs);
    });

    it('are lost with their pod, unless they have a volume', async () => {
      const scope = await newScope();
      for (const size of [undefined, '1Gi']) {
        const server = { ...(size === undefined ? {} : { size }), allowFrom: [] };
        const name = size === undefined ? 'shop' : 'kept';
        const source = { ...deployed('Postgres', { kind: 'kubernetes', server }), name };
        const { ensure, remove, keep } = statefulSetSources(reach);
        await eventually(async () => {
          await podIsReady(scope, name);
          expect(await ensure(scope, source)).to.deep.equal({ state: 'Ready' });
        });
        expect(await keep?.(scope, source)).to.deep.equal({ state: 'Ready' });
        await kube.delete(pods, { namespace, name: `${sourceName(scope.hold.run.uid, name)}-0` });
        const after = await keep?.(scope, source);
        if (size !== undefined) expect(after).to.deep.equal({ state: 'Ready' });
        else
          expect(after)
            .to.have.nested.property('error.message')
            .that.matches(/lost its data: its pod is gone/);
        await untilGone({ ensure, remove }, scope, source);
      }
    });

    it('ask their node for the room that their tables take, as far as it is known', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'parity-sizes-'));
      try {
        const scope = await sourceScope({ kube, namespace, workspace: pathToFileURL(folder).href });
        const table = { version: 1, baseVersion: null, rows: 1, copyBytes: 1, files: 1 };
        const tables = ['flights', 'others'].map((name) => ({ ...table, name, sizeBytes: 2 ** 30 }));
        const store = await openStore(scope.hold.workspace.storage);
        await recordSuccess(store, taskId('resolve'), { summary: {}, detail: { tables } });
        const { ensure, remove } = statefulSetSources(reach);
        await ensure(scope, byUs);
        const name = { namespace, name: sourceName(scope.hold.run.uid, 'shop') };
        const [container] = (await kube.get(statefulSets, name)).spec?.template.spec?.containers ?? [];
        expect(container?.resources?.requests).to.include({ 'ephemeral-storage': '4Gi' });
        await untilGone({ ensure, remove }, scope, byUs);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });

    it('wait for the Secret of their certificate, and hand its CA on', async () => {
      const scope = await newScope();
      const server = { tls: { secretRef: { name: 'db-tls' } }, allowFrom: [] };
      const source = deployed('Postgres', { kind: 'kubernetes', server });
      const { ensure, remove } = statefulSetSources(reach);
      expect(await ensure(scope, source))
        .to.have.property('message')
        .that.matches(/Secret .*\/db-tls with the certificate of the server is not there/);
      const text = (value: string) => Buffer.from(value).toString('base64');
      await kube.create(secrets, {
        metadata: { name: 'db-tls', namespace },
        data: { 'tls.crt': text('certificate'), 'ca.crt': text('authority') },
      });
      expect(await ensure(scope, source))
        .to.have.property('message')
        .that.matches(/has no tls.key/);
      await kube.mergePatch(secrets, { namespace, name: 'db-tls' }, { data: { 'tls.key': text('key') } });
      await ensure(scope, source);
      await eventually(async () => {
        await podIsReady(scope);
        expect(await ensure(scope, source)).to.deep.equal({ state: 'Ready' });
      });
      const { data } = await kube.get(secrets, { namespace, name: sourceName(scope.hold.run.uid, 'shop') });
      expect(data?.ca).to.equal(text('authority'));
      await untilGone({ ensure, remove }, scope, source);
      await kube.get(secrets, { namespace, name: 'db-tls' });
    });

    it('say which quota keeps the pod from being made', async () => {
      await kube.create(quotas, { metadata: { name: 'none', namespace }, spec: { hard: { pods: '0' } } });
      await eventually(async () =>
        expect((await kube.get(quotas, { namespace, name: 'none' })).status?.hard).not.to.equal(undefined),
      );
      const scope = await newScope();
      const { ensure, remove } = statefulSetSources(reach);
      await eventually(async () => {
        const state = await ensure(scope, byUs);
        expect(state)
          .to.have.property('message')
          .that.matches(/FailedCreate: .*exceeded quota: none/);
        expect(state).to.have.property('state', 'Stalled');
      });
      await untilGone({ ensure, remove }, scope, byUs);
    });

    it('say why their volume does not come', async () => {
      const scope = await newScope();
      const { ensure, remove } = statefulSetSources(reach);
      const source = deployed('Postgres', { kind: 'kubernetes', server: { allowFrom: [], size: '1Gi' } });
      const name = `${sourceName(scope.hold.run.uid, 'shop')}-0`;
      await ensure(scope, source);
      await eventually(() => kube.get(pods, { namespace, name }));
      // As a scheduler does.
      const unbound = 'pod has unbound immediate PersistentVolumeClaims';
      const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: unbound };
      await kube.mergePatch(
        pods,
        { namespace, name },
        { status: { conditions: [condition] } },
        { subresource: 'status' },
      );
      await eventually(async () =>
        expect(await ensure(scope, source))
          .to.have.property('message')
          .that.matches(/unbound .*; its claim data-\S+-0: FailedBinding: .*no storage class is set/),
      );
      await untilGone({ ensure, remove }, scope, source);
    });

    it('touch no object of the same name that is not theirs', async () => {
      for (const [kind, fields] of [
        [secrets, { data: {} }],
        [services, { spec: { ports: [{ port: 1 }] } }],
      ] as const) {
        const scope = await newScope();
        const metadata = { namespace, name: sourceName(scope.hold.run.uid, 'shop') };
        await kube.create(kind, { metadata, ...fields });
        const { ensure, remove } = statefulSetSources(reach);
        const state = await ensure(scope, byUs);
        expect(state)
          .to.have.nested.property('error.message')
          .that.matches(/is there already and is not this run's/);
        await untilGone({ ensure, remove }, scope, byUs);
        await kube.get(kind, metadata);
      }
    });

    it('go with the run when it is deleted in the foreground, and when its namespace is', async () => {
      const scope = await newScope();
      const { ensure, remove } = statefulSetSources(reach);
      await ensure(scope, byUs);
      await kube.delete(configMaps, scope.run.metadata, { propagation: 'Foreground' });
      await untilGone({ ensure, remove }, scope, byUs);

      const second = await newScope();
      await ensure(second, byUs);
      const held = { metadata: { finalizers: ['example.test/held'] } };
      await kube.mergePatch(configMaps, second.run.metadata, held);
      await kube.delete(namespaces, { name: namespace });
      // Nothing can be made any more, and nothing needs to be.
      const refusal = await eventually(async () => {
        const error = await ensure(second, byUs).catch((error: unknown) => error);
        expect(isKubeError(error, 'NamespaceTerminating'), String(error)).to.equal(true);
        return error;
      });
      expect(refusal).to.be.instanceOf(Error);
      await untilGone({ ensure, remove }, second, byUs);
      await kube.mergePatch(configMaps, second.run.metadata, { metadata: { finalizers: [] } });
    });
  });

  // Nested, so that it comes after the test that finds no Argo CD.
  describe('when the operator dies', () => {
    for (const [title, source, makeProvider] of [
      ['by Argo CD', byArgoCD, () => applicationSources(reach)],
      ['by the operator', byUs, () => statefulSetSources(reach)],
    ] as const) {
      it(`${title} they end in the same place, before or after whichever of its writes it was`, async () => {
        const undisturbed = await journey(source, makeProvider(), undefined);
        expect(undisturbed.writes).to.be.greaterThan(4);
        let points = 0;
        for (const kind of ['Drop', 'LoseReply'] as const) {
          for (let nth = 0; nth < undisturbed.writes; nth += 1) {
            const disturbed = await journey(source, makeProvider(), { kind, nth });
            expect(disturbed.objects, `${kind} at write ${nth}`).to.deep.equal(undisturbed.objects);
            points += 1;
          }
        }
        console.log(`      ${points} points of death`);
      });
    }
  });

  /** From nothing to ready to nothing, with one write disturbed, whose caller is then started again. Returns what was there in between. */
  async function journey(
    source: ResolvedSource,
    provider: SourceProvider,
    fault: { readonly kind: 'Drop' | 'LoseReply'; readonly nth: number } | undefined,
  ): Promise<{ readonly writes: number; readonly objects: readonly string[] }> {
    const proxy = await startApiProxy({ kubeconfig: controlPlane.kubeconfig });
    const through = await connect({ kubeconfig: proxy.kubeconfig, requestsPerSecond: 500, burst: 500 });
    try {
      const scope = { ...(await newScope()), kube: through };
      let seen = 0;
      proxy.decideBy((request) => {
        if (!request.isWrite) return undefined;
        return seen++ === fault?.nth ? { kind: fault.kind } : undefined;
      });
      let objects: readonly string[] = [];
      await again(async () => {
        const state = await provider.ensure(scope, source);
        if (state.state === 'Failed') throw state.error;
        if (state.state !== 'Ready') {
          if (source.provider.kind === 'kubernetes') await podIsReady(scope);
          else await argoCDHasSynced(scope);
        }
        expect(state).to.deep.equal({ state: 'Ready' });
        objects = await objectsOf(scope);
      });
      await again(async () => {
        const { isGone, waitingFor } = await provider.remove(scope, source);
        if (!isGone && source.provider.kind === 'argocd') await argoCDLetsGo(scope);
        expect(isGone, waitingFor).to.equal(true);
      });
      expect(await objectsOf(scope)).to.deep.equal([]);
      return { writes: seen, objects };
    } finally {
      through.close();
      await proxy[Symbol.asyncDispose]();
    }
  }

  /** As the queue would: whatever was thrown, it is tried again. */
  function again(step: () => Promise<void>): Promise<void> {
    return eventually(step, 30_000);
  }

  function newScope(options: { readonly isSetUp?: boolean } = {}): Promise<Scope> {
    return sourceScope({ kube, namespace, clock, ...(options.isSetUp === false ? {} : { argocd }) });
  }

  async function nameOf(scope: Scope) {
    return { namespace: 'argocd', name: sourceName(scope.hold.run.uid, 'shop') };
  }

  async function applicationOf(scope: Scope): Promise<Application> {
    return await kube.get(applications, await nameOf(scope));
  }

  async function argoCDSays(
    scope: Scope,
    status: Omit<ApplicationStatus, 'operationState'> & { operationState?: object },
  ): Promise<void> {
    const complete =
      status.sync === undefined
        ? status
        : {
            ...status,
            sync: { ...status.sync, comparedTo: { source: { repoURL: argocd.repoURL }, destination: { namespace } } },
          };
    await kube.mergePatch(applications, await nameOf(scope), { status: complete });
  }

  async function argoCDHasSynced(scope: Scope): Promise<void> {
    const operationState = {
      operation: {},
      phase: 'Succeeded',
      startedAt: now(),
      syncResult: { revision: commit, source: { repoURL: argocd.repoURL } },
    };
    await argoCDSays(scope, {
      operationState,
      sync: { status: 'Synced', revision: commit },
      health: { status: 'Healthy' },
    }).catch(unlessMissing);
  }

  /** It has removed what it deployed, and takes its finalizer off. */
  async function argoCDLetsGo(scope: Scope): Promise<void> {
    const found = await kube.find(applications, await nameOf(scope));
    if (found?.metadata.deletionTimestamp === undefined) return;
    await kube.mergePatch(applications, found.metadata, { metadata: { finalizers: [] } }).catch(unlessMissing);
  }

  /** The kubelet says so of the pod that the StatefulSet's controller has made. */
  async function podIsReady(scope: Scope, source = 'shop'): Promise<void> {
    const name = { namespace, name: `${sourceName(scope.hold.run.uid, source)}-0` };
    const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    await kube.mergePatch(pods, name, { status }, { subresource: 'status' }).catch(unlessMissing);
  }

  async function passwordOf(scope: Scope): Promise<string> {
    const { data } = await kube.get(secrets, { namespace, name: sourceName(scope.hold.run.uid, 'shop') });
    return Buffer.from(data?.password ?? '', 'base64').toString();
  }

  /** What carries the run's uid, without the uid. */
  async function objectsOf(scope: Scope): Promise<string[]> {
    const { uid } = scope.hold.run;
    const labelSelector = `pipelineparity.io/run-uid=${uid}`;
    const names: string[] = [];
    for (const kind of [applications, statefulSets, services, networkPolicies, configMaps, secrets])
      for (const { metadata } of (await kube.listMetadata(kind, { labelSelector })).items)
        names.push(`${kind.kind} ${metadata.name.replace(uid.slice(0, 8), 'UID')}`);
    return names;
  }

  async function untilGone(provider: SourceProvider, scope: Scope, source: ResolvedSource): Promise<void> {
    clock.aheadMs = 0;
    await eventually(async () => {
      const { isGone, waitingFor }: Removed = await provider.remove(scope, source);
      if (!isGone) await argoCDLetsGo(scope);
      expect(isGone, waitingFor).to.equal(true);
    });
  }
});

function now(): string {
  return new Date().toISOString();
}

function unlessMissing(error: unknown): void {
  if (!isKubeError(error, 'NotFound', 'NoSuchKind')) throw error;
}
