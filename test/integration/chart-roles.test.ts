import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { type RunningOperator, startOperator } from '../../operator/operator.ts';
import { readOptions } from '../../operator/options.ts';
import { type Application, type ApplicationStatus, applications } from '../../operator/runs/application.ts';
import { abandonAnnotation, jobName } from '../../operator/runs/names.ts';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { clusterAccess } from '../../src/kube/kubeconfig.ts';
import {
  jobs,
  type KubeObject,
  namespaces,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  pods,
  type Resource,
  type StatefulSet,
  secrets,
  statefulSets,
} from '../../src/kube/objects.ts';
import { labels, plans, type RunObject, runs } from '../../src/kube/runs.ts';
import { Mirror, objectsOf } from '../../src/kube/watch.ts';
import { openStore } from '../../src/lake/open.ts';
import { taskId } from '../../src/run/task-id.ts';
import { type ApiProxy, type Decide, type ProxiedRequest, startApiProxy } from '../support/api-proxy.ts';
import { apply } from '../support/apply.ts';
import { say } from '../support/cluster-runs.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { sharedServer } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { type RenderedObject, rendered } from '../support/helm.ts';
import { isClean } from '../support/operator-crash.ts';
import { installApplications } from '../support/played-argocd.ts';
import { keysOf, playCluster } from '../support/played-cluster.ts';
import { type Access, accessOf, compareAccess } from '../support/rbac.ts';
import { type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';
import { reporting, smallRun } from '../support/small-run.ts';

const commit = 'c0ffee'.repeat(6).concat('0123');

describe('the Roles of the chart, on a tour through all that the operator does; the test plays the kubelet, the controllers and Argo CD', function () {
  this.timeout(120_000);
  // A second attempt would find what the first has made.
  this.retries(0);
  let controlPlane: ControlPlane;
  let s3: SeaweedFs;
  let kube: KubeClient;
  let played: AsyncDisposable[] = [];
  /** `Awaited`: the next task of a pipeline goes on until somebody ends it. */
  let pipeline: 'Free' | 'Awaited' | 'Held' = 'Free';
  let folder: string;

  before(async () => {
    [controlPlane, s3] = await Promise.all([startControlPlane(), startSeaweedFs(), sharedServer('Postgres')]);
    const { kubeconfig } = controlPlane;
    kube = await connect({ kubeconfig, requestsPerSecond: 500, burst: 500 });
    folder = await mkdtemp(join(tmpdir(), 'parity-roles-'));
    await Promise.all([installApplications(kube), s3.createBucket('workspaces')]);
    await kube.create(namespaces, { metadata: { name: 'argocd' } });
    const carriesOut = (_: string, task: string) => {
      const isHeld = pipeline === 'Awaited' && task.includes('sync');
      if (isHeld) pipeline = 'Held';
      // What is no task's is another's.
      return task !== '' && !isHeld;
    };
    played = [await playCluster({ kubeconfig, s3, carriesOut }), letApplicationsGo(kube)];
  });
  after(async () => {
    await Promise.all(played.map((each) => each[Symbol.asyncDispose]()));
    kube?.close();
    await s3?.stop();
    await controlPlane?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  for (const [what, account, watch] of [
    ['in listed namespaces', { name: 'parity', namespace: 'parity-listed' }, { namespaces: ['shop'] }],
    ['in all namespaces', { name: 'parity', namespace: 'parity-all' }, { allNamespaces: true }],
  ] as const) {
    it(`allow all that it asks for ${what}, and nothing that it never asks for`, async () => {
      const chart = await chartOf(account, watch);
      const proxy = await startApiProxy({ kubeconfig: await install(account, chart), decide: losesFirstReplies() });
      // Only once the operator has asked why there is no pod.
      const isAsked = () => proxy.requests.some(({ method, path }) => method === 'GET' && path.endsWith('/events'));
      const storage = playStorage(kube, isAsked);
      try {
        const broken = await tour(account, chart, proxy).then(
          () => undefined,
          (error: unknown) => error,
        );
        // Said first, in words: it is what a tour is broken by.
        const refused = proxy.requests.filter(({ status }) => status === 403);
        expect(compareAccess([], account, accessesOf(refused)).missing, 'refused').to.deep.equal([]);
        if (broken !== undefined) throw broken;
        expect(compareAccess(chart, account, accessesOf(proxy.requests))).to.deep.equal({ missing: [], unused: [] });
      } finally {
        await storage[Symbol.asyncDispose]();
        await proxy[Symbol.asyncDispose]();
      }
    });
  }

  it('allow tasks nothing', async () => {
    const chart = await chartOf({ name: 'parity', namespace: 'parity-listed' }, { namespaces: ['shop'] });
    const [tasks] = chart.filter(
      ({ kind, metadata: { namespace } }) => kind === 'ServiceAccount' && namespace === 'shop',
    );
    const account = { name: tasks?.metadata.name ?? 'none', namespace: 'shop' };
    expect(account.name).to.equal('pipeline-parity-task');
    expect(compareAccess(chart, account, [])).to.deep.equal({ missing: [], unused: [] });
  });

  function chartOf({ name, namespace }: Account, watch: object): Promise<readonly RenderedObject[]> {
    const workspace = { location: 's3://workspaces', endpoint: s3.endpoint, secretRef: { name: 'keys' } };
    const argocd = { enabled: true, repoURL: 'https://git.example/charts' };
    const runs = { defaultWorkspace: workspace, allow: { fileLocations: true } };
    return rendered('charts/pipeline-parity', name, { watch, argocd, runs }, namespace);
  }

  /** What Helm would do, without the pods. Returns a kubeconfig with a token of the operator's account. */
  async function install(account: Account, chart: readonly RenderedObject[]): Promise<string> {
    const own = await controlPlane.serviceAccount(account);
    const stringData = keysOf(s3.admin);
    await kube.create(secrets, { metadata: { namespace: account.namespace, name: 'keys' }, stringData });
    if ((await kube.find(namespaces, { name: 'shop' })) === undefined)
      await kube.create(namespaces, { metadata: { name: 'shop' } });
    const access = await clusterAccess({ kubeconfig: controlPlane.kubeconfig });
    for (const object of chart) if (/^(Cluster)?Role(Binding)?$/.test(object.kind)) await apply(access, object);
    access.close();
    return own;
  }

  async function start(
    { namespace }: Account,
    chart: readonly RenderedObject[],
    proxy: ApiProxy,
  ): Promise<RunningOperator> {
    const file = join(folder, `${namespace}.yaml`);
    const config = chart.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'parity-options');
    await writeFile(file, parse(JSON.stringify(config?.data))['options.yaml']);
    const options = await readOptions([`--options=${file}`, '--lease=parity', `--kubeconfig=${proxy.kubeconfig}`]);
    if (options === undefined) throw new Error('the options ask for help');
    const { healthPort: _, ...rest } = options;
    return await startOperator({
      ...rest,
      client: { requestsPerSecond: 500, burst: 500 },
      lease: { name: 'parity', retryMs: 1_000 },
      reach: async () => (await sharedServer('Postgres')).connection,
      sweepMs: 500,
      retryBaseMs: 20,
      retryMaxMs: 500,
    });
  }

  /** Everything that an operator does in its life. */
  async function tour(account: Account, chart: readonly RenderedObject[], proxy: ApiProxy): Promise<void> {
    const operator = await start(account, chart, proxy);
    try {
      await aRunThatPasses();
      await aRunThatIsCancelled();
      await aRunWhoseJobIsAnothers();
      await aRunThatIsAbandoned(account.namespace);
      const guard = say(['refuse-while-runs-remain', 'shop', '--kubeconfig', proxy.kubeconfig], folder);
      expect(await guard.code, guard.err).to.equal(0);
    } finally {
      await operator.stop();
    }
  }

  /** Of a plan, with a source by each that deploys them; Argo CD has trouble twice before it succeeds. It deletes itself at its end. */
  async function aRunThatPasses(): Promise<void> {
    const server = { engine: 'Postgres' as const };
    const sources = [
      { ...server, name: 'by-operator', tables: ['planes'], kubernetes: {}, size: '1Gi' },
      { ...server, name: 'by-argocd', tables: ['flights'], argocd: {} },
    ];
    const tables = [...smallRun.snapshot.tables, { name: 'flights', path: 'flights', key: ['id'] }];
    const spec = { ...smallRun, snapshot: { ...smallRun.snapshot, tables }, sources };
    await kube.create(plans, { metadata: { namespace: 'shop', name: 'usual' }, spec: { ...reporting, ...spec } });
    const cleanup = { policy: 'Always' as const, ttlSecondsAfterFinished: 1 };
    const run = await create('passing', { planRef: { name: 'usual' }, cleanup });
    const application = await applicationOf(run);
    for (const _ of ['once', 'again']) {
      await argoCDSays(run, application, { conditions: [{ type: 'ComparisonError', message: 'no route' }] });
      await until(run, isStalled);
      await argoCDSays(run, application, { conditions: [] });
      await until(run, (now) => !isStalled(now));
    }
    const operationState = { phase: 'Succeeded', syncResult: { revision: commit } } as const;
    const sync = { status: 'Synced', revision: commit };
    await eventually(async () => expect((await partsOf(run)).items).to.have.length(1));
    await argoCDSays(run, application, { operationState, sync, health: { status: 'Healthy' } });
    await untilGone(run);
    await kube.delete(plans, { namespace: 'shop', name: 'usual' });
  }

  async function aRunThatIsCancelled(): Promise<void> {
    const run = await atItsPipeline('cancelled');
    await kube.mergePatch(runs, run.metadata, { spec: { cancel: true } });
    const { status } = await until(run, isClean);
    expect(status?.result).to.include({ verdict: 'Cancelled' });
    await removed(run);
  }

  async function aRunWhoseJobIsAnothers(): Promise<void> {
    const run = await atItsPipeline('clashing');
    const { namespace, uid } = run.metadata;
    const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'task', image: 'none' }] } };
    const name = { namespace: namespace ?? '', name: jobName(uid, taskId('report'), 1) };
    // So that nobody carries it out.
    await kube.create(jobs, { metadata: name, spec: { template, suspend: true } });
    await kube.mergePatch(runs, run.metadata, { spec: { cancel: true } });
    const { status } = await until(run, isClean);
    expect(JSON.stringify(status)).to.match(/is there already and is not this run's/);
    await kube.delete(jobs, name);
    await removed(run);
  }

  /** Its workspace bears another's mark: it can't be removed until that is put right. */
  async function aRunThatIsAbandoned(own: string): Promise<void> {
    const run = await create('abandoned', { ...smallRun, ...reporting, cleanup: { policy: 'Never' } });
    await until(run, (now) => now.status?.phase === 'Finished');
    const { uid } = run.metadata;
    const location = `s3://workspaces/parity-${uid}`;
    const store = await openStore({ location, endpoint: s3.endpoint }, keysOf(s3.admin));
    try {
      const mark = (await store.get('.parity.json')).toString();
      await store.put('.parity.json', mark.replaceAll(uid, 'another'));
      await kube.delete(runs, run.metadata);
      await until(run, (now) => /remove it with/.test(JSON.stringify(now.status?.conditions)));
      await kube.mergePatch(runs, run.metadata, { metadata: { annotations: { [abandonAnnotation]: uid } } });
      await untilGone(run);
      expect(await holds(own)).to.have.length(1);
      await store.put('.parity.json', mark);
    } finally {
      store.close();
    }
    await eventually(async () => expect(await holds(own)).to.deep.equal([]));
  }

  function partsOf({ metadata: { uid } }: RunObject) {
    return kube.listMetadata(persistentVolumeClaims, { labelSelector: `${labels.runUid}=${uid}` });
  }

  async function holds(namespace: string): Promise<readonly KubeObject[]> {
    return (await kube.listMetadata(secrets, { namespace, labelSelector: labels.runUid })).items;
  }

  async function create(name: string, spec: object): Promise<RunObject> {
    return await kube.create(runs, { metadata: { namespace: 'shop', name }, spec });
  }

  async function atItsPipeline(name: string): Promise<RunObject> {
    pipeline = 'Awaited';
    const run = await create(name, { ...smallRun, ...reporting });
    await until(run, () => pipeline === 'Held');
    return run;
  }

  async function removed(run: RunObject): Promise<void> {
    await kube.delete(runs, run.metadata);
    await untilGone(run);
  }

  function until(run: RunObject, is: (run: RunObject) => boolean): Promise<RunObject> {
    return eventually(async () => {
      const now = await kube.get(runs, run.metadata);
      if (is(now)) return now;
      throw new Error(`the run is not as awaited: ${JSON.stringify(now.status)}`);
    }, 30_000);
  }

  function untilGone(run: RunObject): Promise<void> {
    return eventually(async () => {
      const found = await kube.find(runs, run.metadata);
      if (found !== undefined) throw new Error(`it is still there: ${JSON.stringify(found.status)}`);
    }, 30_000);
  }

  function applicationOf({ metadata: { uid } }: RunObject): Promise<Application> {
    return eventually(async () => {
      const { items } = await kube.list(applications, { labelSelector: `${labels.runUid}=${uid}` });
      return items[0] ?? expect.fail('there is no Application');
    });
  }

  /** The operator looks at an Application now and then; a run that changes is looked at at once. */
  async function argoCDSays(run: RunObject, { metadata, spec }: Application, status: ApplicationStatus): Promise<void> {
    const { destination, source } = spec;
    const sync = { ...status.sync, comparedTo: { source, destination } };
    const operationState = { ...status.operationState, operation: {}, startedAt: new Date().toISOString() };
    const more = { ...(status.sync && { sync }), ...(status.operationState && { operationState }) };
    await kube.mergePatch(applications, metadata, { status: { ...status, ...more } });
    await kube.mergePatch(runs, run.metadata, { metadata: { annotations: { looked: JSON.stringify(status) } } });
  }
});

interface Account {
  readonly name: string;
  readonly namespace: string;
}

function accessesOf(requests: readonly ProxiedRequest[]): readonly Access[] {
  return requests
    .map(({ method, path, query }) => accessOf(method, path, query))
    .filter((access) => access !== undefined);
}

function isStalled({ status }: RunObject): boolean {
  return status?.conditions?.some(({ type }) => type === 'Stalled') === true;
}

/** The answer to the first creation of each kind is lost: whoever asks again finds what is there. */
function losesFirstReplies(): Decide {
  const seen = new Set<string>();
  return ({ method, path, query }) => {
    const access = accessOf(method, path, query);
    if (
      access?.verb !== 'create' ||
      /^(events|leases|statefulsets)$/.test(access.resource) ||
      seen.has(access.resource)
    )
      return;
    seen.add(access.resource);
    return { kind: 'LoseReply' };
  };
}

/** The pod and the volume claim of each StatefulSet, as its controller makes them; a claim that is deleted goes, since nobody uses it. */
function playStorage(kube: KubeClient, mayBegin: () => boolean): AsyncDisposable {
  const claims = reactTo(kube, persistentVolumeClaims, letGoOf);
  const make = async (_: KubeClient, set: StatefulSet) => {
    await eventually(() => expect(mayBegin()).to.equal(true));
    await makePartsOf(kube, set);
  };
  return reactTo(kube, statefulSets, make, claims);
}

async function makePartsOf(kube: KubeClient, { metadata, spec }: StatefulSet): Promise<void> {
  if (metadata.deletionTimestamp !== undefined || spec === undefined) return;
  const { namespace = '' } = metadata;
  const own = spec.template.metadata?.labels;
  const [claim] = spec.volumeClaimTemplates ?? [];
  if (own === undefined) throw new Error(`the pods of StatefulSet ${metadata.name} have no labels`);
  const containers = [{ name: 'server', image: 'none' }];
  const pod = { metadata: { namespace, name: `${metadata.name}-0`, labels: own }, spec: { containers } };
  await kube.create(pods, pod).catch(unless('AlreadyExists'));
  if (claim?.spec === undefined) return;
  const name = `data-${metadata.name}-0`;
  const labels = { ...claim.metadata?.labels };
  await kube
    .create(persistentVolumeClaims, { metadata: { namespace, name, labels }, spec: claim.spec })
    .catch(unless('AlreadyExists'));
}

async function letGoOf(kube: KubeClient, { metadata }: PersistentVolumeClaim): Promise<void> {
  if (metadata.deletionTimestamp === undefined) return;
  await kube.mergePatch(persistentVolumeClaims, metadata, { metadata: { finalizers: [] } }).catch(unless('NotFound'));
}

/** It has removed what it deployed, and takes its finalizer off. */
function letApplicationsGo(kube: KubeClient): AsyncDisposable {
  return reactTo(kube, applications, async (_, { metadata }) => {
    if (metadata.deletionTimestamp === undefined) return;
    await kube.mergePatch(applications, metadata, { metadata: { finalizers: [] } }).catch(unless('NotFound'));
  });
}

/** Does so to each object that changes, until it is disposed of. */
function reactTo<T extends KubeObject>(
  kube: KubeClient,
  kind: Resource<T>,
  react: (kube: KubeClient, object: T) => Promise<void>,
  and?: AsyncDisposable,
): AsyncDisposable {
  const reactions = new Set<Promise<void>>();
  const mirror: Mirror<T, T> = new Mirror({
    source: objectsOf(kube, kind),
    keep: (object) => object,
    onChange: (key) => {
      const object = mirror.get(key);
      if (object === undefined) return;
      const reaction: Promise<void> = react(kube, object)
        .catch((error: unknown) => {
          process.stderr.write(`playing the cluster: ${String(error)}\n`);
        })
        .finally(() => {
          reactions.delete(reaction);
        });
      reactions.add(reaction);
    },
  });
  mirror.start();
  return {
    [Symbol.asyncDispose]: async () => {
      await mirror.stop();
      await Promise.all(reactions);
      await and?.[Symbol.asyncDispose]();
    },
  };
}

function unless(reason: 'NotFound' | 'AlreadyExists'): (error: unknown) => void {
  return (error) => {
    if (!isKubeError(error, reason)) throw error;
  };
}
