import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { type KubeConfig, PortForward } from '@kubernetes/client-node';
import { expect } from 'chai';
import { parse } from 'yaml';
import { type Application, applications } from '../../../operator/runs/application.ts';
import { applicationSources } from '../../../operator/runs/applications.ts';
import { sourceName } from '../../../operator/runs/names.ts';
import { statefulSetSources } from '../../../operator/runs/statefulsets.ts';
import type { Removed, Scope, SourceState } from '../../../operator/runs/types.ts';
import type { ResolvedProvider, ResolvedSource } from '../../../src/api/resolved.ts';
import { connect, type KubeClient } from '../../../src/kube/client.ts';
import {
  configMaps,
  type KubeObject,
  namespaces,
  networkPolicies,
  persistentVolumeClaims,
  pods,
  resource,
  secrets,
  services,
  statefulSets,
} from '../../../src/kube/objects.ts';
import { parseConnection } from '../../../src/sources/connection.ts';
import { sourceDriver } from '../../../src/sources/registry.ts';
import type { Connection } from '../../../src/sources/source.ts';
import { type TestCluster, testCluster } from '../../support/cluster.ts';
import { loadKubeconfig } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import { deployed, sourceScope } from '../../support/source-scope.ts';

type AppProject = KubeObject & { readonly spec: Readonly<Record<string, unknown>> };
const projects = resource<AppProject>('argoproj.io', 'v1alpha1', 'appprojects', 'AppProject');

const namespace = `parity-sources-${randomUUID().slice(0, 8)}`;
const project = namespace;
const ready = { state: 'Ready' } as const;

describe('sources on a node, with Argo CD and without', function () {
  this.timeout(600_000);
  let cluster: TestCluster;
  let kube: KubeClient;
  let forwards: Forwards;

  before(async () => {
    cluster = await testCluster();
    kube = await connect({ kubeconfig: cluster.kubeconfig });
    forwards = new Forwards(loadKubeconfig(cluster.kubeconfig), kube);
    const enforce = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await kube.create(namespaces, { metadata: { name: namespace, labels: enforce } });
    const { spec }: AppProject = parse(
      await readFile(new URL('../../../argocd/project.yaml', import.meta.url), 'utf8'),
    );
    const destinations = [{ server: 'https://kubernetes.default.svc', namespace }];
    await kube.create(projects, {
      metadata: { name: project, namespace: 'argocd' },
      spec: { ...spec, sourceRepos: [cluster.repository.url], destinations },
    });
  });

  after(async () => {
    await forwards?.close();
    await kube?.delete(namespaces, { name: namespace });
    await kube?.delete(projects, { namespace: 'argocd', name: project });
  });

  const engines = { Postgres: 'postgresImage', MySQL: 'mysqlImage' } as const;
  for (const engine of ['Postgres', 'MySQL'] as const) {
    for (const kind of ['argocd', 'kubernetes'] as const) {
      it(`${engine} by ${kind} becomes ready, answers, and is gone without a trace`, async () => {
        const scope = await newScope();
        const source = deployed(engine, provider(kind, cluster[engines[engine]]));
        const { ensure, remove } = providerOf(source);
        expect(await settled(() => ensure(scope, source))).to.deep.equal(ready);
        expect(await ensure(scope, source), 'again it does nothing').to.deep.equal(ready);

        const connection = await forwards.reach(await published(scope, source));
        const session = await sourceDriver(engine).connect(connection, { signal: scope.signal });
        expect(await session.listTables()).to.deep.equal([]);
        await session.close();

        await untilGone(() => remove(scope, source));
        expect(await left(scope)).to.deep.equal([]);
      });
    }
  }

  it('speaks TLS where it is asked to, and only with those who do', async () => {
    const certificate = await makeCertificate();
    await kube.create(secrets, { metadata: { name: 'shop-tls', namespace }, type: 'Opaque', data: certificate });
    for (const engine of ['Postgres', 'MySQL'] as const) {
      const scope = await newScope();
      const server = { image: cluster[engines[engine]], tls: { secretRef: { name: 'shop-tls' } }, allowFrom: [] };
      const source = deployed(engine, { kind: 'kubernetes', server });
      const { ensure, remove } = providerOf(source);
      expect(await settled(() => ensure(scope, source))).to.deep.equal(ready);
      const { ca, ...plain } = await forwards.reach(await published(scope, source));
      expect(ca).to.match(/BEGIN CERTIFICATE/);
      const refusal = await sourceDriver(engine)
        .connect(plain, { signal: scope.signal })
        .catch((error: unknown) => error);
      expect(refusal, engine).to.be.instanceOf(Error);
      await untilGone(() => remove(scope, source));
    }
  });

  it('says why an image that is not there keeps a source from being ready, by Argo CD and without', async () => {
    for (const kind of ['argocd', 'kubernetes'] as const) {
      const scope = await newScope();
      const source = deployed('Postgres', provider(kind, 'local.parity/nowhere:1'));
      const { ensure, remove } = providerOf(source);
      await eventually(async () => {
        const state = await ensure(scope, source);
        expect(state).to.have.property('state', 'Stalled');
        expect(state)
          .to.have.property('message')
          .that.matches(/(ErrImagePull|ImagePullBackOff).*nowhere/s);
        expect(state).to.have.property('since').that.is.instanceOf(Date);
      }, 60_000);
      await untilGone(() => remove(scope, source));
    }
  });

  it('repeats what Argo CD says of a chart that is not there, and is gone all the same', async () => {
    const scope = await newScope();
    const source = deployed('Postgres', { kind: 'argocd', path: 'no/such/folder', server: { allowFrom: [] } });
    const { ensure, remove } = providerOf(source);
    await eventually(async () => {
      const state = await ensure(scope, source);
      expect(state).to.have.property('state', 'Stalled');
      expect(state)
        .to.have.property('message')
        .that.matches(/no\/such\/folder.*(not exist|no such)/s);
    }, 60_000);
    await untilGone(() => remove(scope, source));
    expect(await left(scope)).to.deep.equal([]);
  });

  it('is Failed where the server is of another version than the one asked for', async () => {
    const scope = await newScope();
    const source = deployed('Postgres', provider('kubernetes', cluster.postgresImage), '9.6');
    const { ensure, remove } = providerOf(source);
    const state = await settled(() => ensure(scope, source));
    expect(state)
      .to.have.nested.property('error.message')
      .that.matches(/asks for Postgres 9.6, and the server says/);
    await untilGone(() => remove(scope, source));
  });

  it('waits for the finalizer of an object of the server, names it, and goes on when it is taken off', async () => {
    const scope = await newScope();
    const source = deployed('Postgres', provider('argocd', cluster.postgresImage));
    const { ensure, remove } = providerOf(source);
    expect(await settled(() => ensure(scope, source))).to.deep.equal(ready);
    const name = { namespace, name: sourceName(scope.hold.run.uid, source.name) };
    const finalizers = (list: string[]) => kube.mergePatch(services, name, { metadata: { finalizers: list } });
    await finalizers(['example.test/stuck']);
    await eventually(async () => {
      expect(await saidOf(remove(scope, source))).to.match(
        /Application argocd\/.*Service .*kept by example.test\/stuck/,
      );
    }, 60_000);
    await finalizers([]);
    await untilGone(() => remove(scope, source));
    expect(await left(scope)).to.deep.equal([]);
  });

  it('repeats what Argo CD says when its project is gone while a source is removed, and goes on when it is back', async () => {
    const scope = await newScope();
    const source = deployed('Postgres', provider('argocd', cluster.postgresImage));
    const { ensure, remove } = providerOf(source);
    expect(await settled(() => ensure(scope, source))).to.deep.equal(ready);
    const lost = await kube.get(projects, { namespace: 'argocd', name: project });
    await kube.delete(projects, lost.metadata);
    await eventually(async () => {
      expect(await saidOf(remove(scope, source))).to.match(/Argo CD says: .*project/);
    }, 60_000);
    await kube.create(projects, { metadata: { name: project, namespace: 'argocd' }, spec: lost.spec });
    await untilGone(() => remove(scope, source));
    expect(await left(scope)).to.deep.equal([]);
  });

  it('removes what Argo CD leaves behind when it no longer knows the destination', async () => {
    const scope = await newScope();
    const source = deployed('Postgres', provider('argocd', cluster.postgresImage));
    const { ensure, remove } = providerOf(source);
    expect(await settled(() => ensure(scope, source))).to.deep.equal(ready);
    const application = await applicationOf(scope, source);
    const destination = { server: 'https://nowhere.example' };
    await kube.mergePatch(applications, application.metadata, { spec: { destination } });
    await untilGone(() => remove(scope, source));
    expect(await left(scope)).to.deep.equal([]);
  });

  function newScope(): Promise<Scope> {
    const { url: repoURL, revision: targetRevision } = cluster.repository;
    const destinationServer = 'https://kubernetes.default.svc';
    const argocd = { namespace: 'argocd', project, repoURL, path: 'argocd/sources', targetRevision, destinationServer };
    return sourceScope({ kube, namespace, argocd });
  }

  function providerOf(source: ResolvedSource) {
    const reach = (connection: Connection) => forwards.reach(connection);
    return source.provider.kind === 'argocd' ? applicationSources(reach) : statefulSetSources(reach);
  }

  async function published(scope: Scope, source: ResolvedSource): Promise<Connection> {
    const { data } = await kube.get(secrets, { namespace, name: sourceName(scope.hold.run.uid, source.name) });
    const text = Object.entries(data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]);
    return parseConnection(source.engine, Object.fromEntries(text), { name: source.name, secret: 'published' });
  }

  function applicationOf(scope: Scope, source: ResolvedSource): Promise<Application> {
    return kube.get(applications, { namespace: 'argocd', name: sourceName(scope.hold.run.uid, source.name) });
  }

  /** Everything that carries the run's uid. */
  async function left(scope: Scope): Promise<string[]> {
    const labelSelector = `pipelineparity.io/run-uid=${scope.hold.run.uid}`;
    const names: string[] = [];
    for (const kind of [
      applications,
      statefulSets,
      pods,
      persistentVolumeClaims,
      services,
      networkPolicies,
      configMaps,
      secrets,
    ])
      for (const { metadata } of (await kube.listMetadata(kind, { labelSelector })).items)
        names.push(`${kind.kind} ${metadata.name}`);
    return names;
  }
});

function provider(
  kind: 'argocd' | 'kubernetes',
  image: string,
): Extract<ResolvedProvider, { readonly server: unknown }> {
  return { kind, server: { image, allowFrom: [] } };
}

/** The first state that is Ready or Failed; says what was waited for when neither comes. */
function settled(ensure: () => Promise<SourceState>): Promise<SourceState> {
  return eventually(async () => {
    const state = await ensure();
    if (state.state === 'Progressing' || state.state === 'Stalled') throw new Error(`${state.state}: ${state.message}`);
    return state;
  }, 180_000);
}

/** What a removal waits for, or what it can't get over. */
async function saidOf(removal: Promise<Removed>): Promise<string> {
  return await removal.then(
    ({ waitingFor }) => waitingFor,
    (error: unknown) => String(error),
  );
}

function untilGone(remove: () => Promise<Removed>): Promise<void> {
  return eventually(async () => {
    const { isGone, waitingFor } = await remove();
    if (!isGone) throw new Error(`waiting for ${waitingFor}`);
  }, 120_000);
}

/** Ways from this machine to servers in the cluster, through the API server. */
class Forwards {
  readonly #config: KubeConfig;
  readonly #kube: KubeClient;
  readonly #servers = new Map<string, Server>();
  readonly #sockets = new Set<Socket>();

  constructor(config: KubeConfig, kube: KubeClient) {
    this.#config = config;
    this.#kube = kube;
  }

  async reach(connection: Connection): Promise<Connection> {
    const [name = '', namespace = ''] = connection.host.split('.');
    const { spec } = await this.#kube.get(services, { namespace, name });
    expect(spec?.ports?.map(({ port }) => port)).to.deep.equal([connection.port]);
    const server = this.#servers.get(connection.host) ?? (await this.#open(namespace, `${name}-0`, connection.port));
    this.#servers.set(connection.host, server);
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return { ...connection, host: '127.0.0.1', port: address.port };
  }

  async close(): Promise<void> {
    for (const server of this.#servers.values()) server.close();
    // A way does not end with its pod: who uses it would wait for ever.
    for (const socket of this.#sockets) socket.destroy();
  }

  async #open(namespace: string, pod: string, port: number): Promise<Server> {
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
      new PortForward(this.#config)
        .portForward(namespace, pod, [port], socket, null, socket)
        .catch(() => socket.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return server;
  }
}

/** A CA and a certificate of it for every Service of the namespace, and for where a test comes in. */
async function makeCertificate(): Promise<Record<string, string>> {
  const script = `set -e; cd "$(mktemp -d)"; trap 'rm -rf "$PWD"' EXIT
    key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    openssl req -x509 $key -subj /CN=test-ca -keyout ca.key -out ca.crt 2>/dev/null
    openssl req -x509 $key -subj /CN=server -addext 'subjectAltName=DNS:*.${namespace}.svc,IP:127.0.0.1' -addext basicConstraints=critical,CA:FALSE \
      -CA ca.crt -CAkey ca.key -keyout tls.key -out tls.crt 2>/dev/null
    for file in ca.crt tls.crt tls.key; do base64 -w0 $file; echo; done`;
  const { stdout } = await promisify(execFile)('bash', ['-c', script]);
  const [ca = '', certificate = '', key = ''] = stdout.split('\n');
  return { 'ca.crt': ca, 'tls.crt': certificate, 'tls.key': key };
}
