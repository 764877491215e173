import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { parse, stringify } from 'yaml';
import { createMetrics } from '../../operator/kube/metrics.ts';
import { readOptions } from '../../operator/options.ts';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import { type ClusterAccess, clusterAccess } from '../../src/kube/kubeconfig.ts';
import { customResourceDefinitions, namespaces } from '../../src/kube/objects.ts';
import { cleanupFinalizer, runs } from '../../src/kube/runs.ts';
import { type Appliable, apply } from '../support/apply.ts';
import { runSpec, say } from '../support/cluster-runs.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { linted, type RenderedObject, rendered } from '../support/helm.ts';
import { accessOf, compareAccess } from '../support/rbac.ts';

/** Everything that can be switched on. */
const everything = {
  watch: { namespaces: ['shop', 'crm'] },
  imagePullSecrets: ['registry'],
  argocd: { enabled: true, repoURL: 'https://git.example/charts' },
  serviceAccount: { annotations: { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::1:role/operator' } },
  runs: { defaultWorkspace: { location: 's3://ephemeral/parity', secretRef: { name: 'workspace' } } },
  tasks: {
    serviceAccount: { annotations: { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::1:role/tasks' } },
    tolerations: [{ key: 'spot', operator: 'Exists' }],
  },
  metrics: { serviceMonitor: { enabled: true }, prometheusRule: { enabled: true }, dashboard: { enabled: true } },
  networkPolicy: { metricsFrom: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }] },
  env: [{ name: 'NO_PROXY', value: '*' }],
};

const chart = 'charts/pipeline-parity';
const chartFolder = fileURLToPath(new URL(`../../${chart}`, import.meta.url));

/** The objects of the release `parity` in the namespace `parity-system`, hooks included. */
function render(values: object = {}): Promise<readonly RenderedObject[]> {
  return rendered(chart, 'parity', values, 'parity-system');
}

describe('the Helm chart', function () {
  this.timeout(120_000);

  it('is without fault for Helm', async () => {
    expect(await linted(chart, {})).to.include('0 chart(s) failed');
    expect(await linted(chart, everything)).to.include('0 chart(s) failed');
  });

  it('is of the version of this software', async () => {
    const version = parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')).version;
    const about = parse(await readFile(join(chartFolder, 'Chart.yaml'), 'utf8'));
    expect(about).to.include({ version, appVersion: version });
  });

  const refused: [string, object, RegExp][] = [
    ['a value that is misspelt', { replcas: 3 }, /additional properties 'replcas' not allowed|replcas/],
    ['no replica', { replicas: 0 }, /replicas/],
    ['a digest that is none', { image: { digest: 'latest' } }, /digest/],
    ['Argo CD without a repository', { argocd: { enabled: true } }, /repoURL/],
    ['a workspace that is no location', { runs: { defaultWorkspace: { location: 'bucket' } } }, /defaultWorkspace/],
    ['listed namespaces and all of them', { watch: { namespaces: ['a'], allNamespaces: true } }, /exclude each other/],
    ['an account that nobody makes', { serviceAccount: { create: false } }, /serviceAccount\.name is needed/],
  ];
  for (const [what, values, says] of refused) {
    it(`refuses ${what}`, async () => {
      const error = await render(values).then(
        () => 'it rendered',
        (thrown: unknown) => String(thrown),
      );
      expect(error).to.match(says);
    });
  }

  it('has the CRDs as they are, and keeps them when it is uninstalled', async () => {
    const rendered = (await render()).filter(({ kind }) => kind === 'CustomResourceDefinition');
    const folder = fileURLToPath(new URL('../../crds', import.meta.url));
    const files = (await readdir(folder)).filter((file) => file.endsWith('.yaml'));
    expect(rendered).to.have.length(files.length);
    for (const file of files) {
      const { metadata, ...crd } = parse(await readFile(join(folder, file), 'utf8'));
      const annotations = { 'helm.sh/resource-policy': 'keep' };
      expect(rendered).to.deep.include({ ...crd, metadata: { ...metadata, annotations } });
    }
    const without = await render({ crds: { install: false } });
    expect(without.filter(({ kind }) => kind === 'CustomResourceDefinition')).to.deep.equal([]);
  });

  it('allows the operator nothing in the whole cluster, and has one RoleBinding for each namespace', async () => {
    const manifests = await render(everything);
    expect(manifests.filter(({ kind }) => kind === 'ClusterRoleBinding')).to.deep.equal([]);
    const bindings = manifests.filter(({ kind }) => kind === 'RoleBinding').map(({ metadata }) => metadata.namespace);
    expect(bindings.sort()).to.deep.equal(['argocd', 'crm', 'parity-system', 'shop']);
  });

  it('watches all namespaces by a ClusterRole, on demand', async () => {
    const manifests = await render({ watch: { allNamespaces: true } });
    expect(manifests.filter(({ kind }) => kind === 'ClusterRoleBinding')).to.have.length(1);
    expect(options(manifests)).to.not.have.property('namespaces');
  });

  it('gives task pods an account without a token, with an identity of the cloud', async () => {
    const accounts = (await render(everything)).filter(({ kind }) => kind === 'ServiceAccount');
    const ofTasks = accounts.filter(({ metadata }) => metadata.name === 'pipeline-parity-task');
    expect(ofTasks.map(({ metadata }) => metadata.namespace)).to.deep.equal(['shop', 'crm']);
    for (const account of ofTasks) {
      expect(account).to.have.property('automountServiceAccountToken', false);
      expect(account.metadata.annotations).to.deep.equal(everything.tasks.serviceAccount.annotations);
    }
  });

  it('tells the operator what the values say', async () => {
    expect(options(await render(everything))).to.deep.include({
      installation: 'parity-system-parity',
      namespace: 'parity-system',
      namespaces: ['shop', 'crm'],
      taskServiceAccount: 'pipeline-parity-task',
      defaultWorkspace: everything.runs.defaultWorkspace,
      allow: { command: false, embedded: false, fileLocations: false },
      parallelRuns: 10,
    });
  });

  for (const [what, values] of [
    ['its defaults', {}],
    ['everything switched on', everything],
    ['all namespaces', { watch: { allNamespaces: true } }],
  ] as const) {
    it(`starts the operator with options that it understands, with ${what}`, async () => {
      const manifests = await render(values);
      const folder = await mkdtemp(join(tmpdir(), 'parity-chart-'));
      try {
        const file = join(folder, 'options.yaml');
        await writeFile(file, stringify(options(manifests)));
        const [container] = containersOf(manifests, 'Deployment');
        expect(container?.command).to.include.members(['node', '/app/dist/operator/main.js']);
        const argv = (container?.args ?? []).map((text) => text.replace('/etc/pipeline-parity/options.yaml', file));
        const read = await readOptions(argv);
        expect(read).to.deep.include({ installation: 'parity-system-parity', healthPort: 8080, executor: 'Jobs' });
        expect(read?.lease).to.deep.equal({ name: 'parity' });
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  }

  it('names only metrics that the operator has, in alerts and dashboard', async () => {
    const known = createMetrics()
      .registry.getMetricsAsArray()
      .map(({ name }) => name);
    for (const file of ['alerts.yaml', 'dashboard.json']) {
      const text = await readFile(join(chartFolder, 'files', file), 'utf8');
      const used = [...text.matchAll(/\b(parity_[a-z_]+?)(_bucket)?(?=[{[)])/g)].map(([, name]) => name);
      expect(used.length).to.be.above(5);
      for (const name of used) expect(known, `${file}: ${name}`).to.include(name);
    }
  });

  describe('on a real API server', () => {
    let controlPlane: ControlPlane;
    let kube: KubeClient;
    let access: ClusterAccess;

    before(async () => {
      controlPlane = await startControlPlane();
      kube = await connect({ kubeconfig: controlPlane.kubeconfig });
      access = await clusterAccess({ kubeconfig: controlPlane.kubeconfig });
      for (const name of ['parity-system', 'shop', 'crm', 'argocd']) {
        const restricted = { 'pod-security.kubernetes.io/enforce': 'restricted' };
        await kube.create(namespaces, { metadata: { name, labels: restricted } });
      }
      // The Prometheus operator's kinds are played by ones that take anything.
      for (const [plural, kind] of [
        ['servicemonitors', 'ServiceMonitor'],
        ['prometheusrules', 'PrometheusRule'],
      ] as const)
        await kube.create(customResourceDefinitions, anyKind(plural, kind));
      await eventually(() =>
        dryRun({
          apiVersion: 'monitoring.coreos.com/v1',
          kind: 'PrometheusRule',
          metadata: { name: 'a', namespace: 'shop' },
        }),
      );
    });
    after(async () => {
      kube?.close();
      access?.close();
      await controlPlane?.stop();
    });

    const dryRun = (manifest: Appliable) => apply(access, manifest, { dryRun: true });

    for (const [what, values] of [
      ['its defaults', {}],
      ['everything switched on', everything],
      ['all namespaces', { watch: { allNamespaces: true } }],
    ] as const) {
      it(`is accepted with ${what}`, async () => {
        for (const manifest of await render(values)) await dryRun(manifest);
      });
    }

    it('has pods that the restricted standard admits', async () => {
      const templates = (await render(everything)).flatMap(({ kind, metadata, spec }) =>
        kind === 'Deployment' || kind === 'Job' ? [{ name: metadata.name, template: templateOf(spec) }] : [],
      );
      expect(templates).to.have.length(2);
      for (const { name, template } of templates) {
        const metadata = { name, namespace: 'parity-system' };
        await dryRun({ apiVersion: 'v1', kind: 'Pod', metadata, spec: template });
      }
    });

    it('is not uninstalled while a run has something to be removed', async () => {
      const guard = (...argv: string[]) =>
        say(['refuse-while-runs-remain', ...argv, '--kubeconfig', controlPlane.kubeconfig], '/');
      const job = (await render(everything)).find(({ metadata }) => metadata.name === 'parity-uninstall');
      expect(job?.metadata.annotations).to.include({ 'helm.sh/hook': 'pre-delete' });
      expect(JSON.stringify(job)).to.include('"args":["refuse-while-runs-remain","shop","crm"]');
      expect(await guard('shop', 'crm').code).to.equal(0);
      const metadata = { name: 'flights', namespace: 'crm', finalizers: [cleanupFinalizer] };
      await kube.create(runs, { metadata, spec: runSpec() });
      const said = guard('shop', 'crm');
      expect(await said.code).to.equal(2);
      expect(said.err).to.match(
        /^parity: 1 run still has something that only the operator can remove: crm\/flights — /,
      );
      expect(await guard('shop').code).to.equal(0);
      const nobody = await controlPlane.serviceAccount({ name: 'nobody', namespace: 'shop' });
      const gone = say(['refuse-while-runs-remain', 'deleted', '--kubeconfig', nobody], '/');
      expect(await gone.code, gone.err).to.equal(0);
      expect(gone.err).to.equal('parity: the operator has no access to namespace deleted: it is taken for deleted\n');
      expect(await guard().code).to.equal(2);
    });
  });
});

describe('the comparison of Roles with what is asked', () => {
  const account = { name: 'parity', namespace: 'parity-system' };
  const ask = (method: string, path: string, query = '') => accessOf(method, path, new URLSearchParams(query));

  const requests: [string, string, string, string][] = [
    ['GET', '/api/v1/namespaces/shop/pods', '', 'list pods in shop'],
    ['GET', '/api/v1/namespaces/shop/pods', 'watch=true', 'watch pods in shop'],
    ['GET', '/api/v1/namespaces/shop/pods/a/log', '', 'get pods/log in shop'],
    ['GET', '/api/v1/namespaces/shop', '', 'get namespaces'],
    ['GET', '/apis/batch/v1/jobs', '', 'list jobs.batch'],
    [
      'PATCH',
      '/apis/pipelineparity.io/v1alpha1/namespaces/shop/pipelineparityruns/a/status',
      '',
      'patch pipelineparityruns/status.pipelineparity.io in shop',
    ],
    ['DELETE', '/apis/batch/v1/namespaces/shop/jobs/a', '', 'delete jobs.batch in shop'],
  ];
  for (const [method, path, query, says] of requests) {
    it(`reads ${method} ${path} as ${says}`, () => {
      const access = ask(method, path, query);
      expect(compareAccess([], account, access === undefined ? [] : [access]).missing).to.deep.equal([says]);
    });
  }

  it('takes no notice of what is about no resource', () => {
    expect(ask('GET', '/version')).to.equal(undefined);
  });

  it('names verbs that are missing or not used, by namespace', async () => {
    const manifests = await render({ watch: { namespaces: ['shop'] } });
    const shop = ask('GET', '/api/v1/namespaces/shop/secrets/a');
    const crm = ask('GET', '/api/v1/namespaces/crm/secrets/a');
    if (shop === undefined || crm === undefined) throw new Error('both are about Secrets');
    const { missing, unused } = compareAccess(manifests, account, [shop, crm]);
    expect(missing).to.deep.equal(['get secrets in crm']);
    expect(unused).to.include('delete secrets in shop').and.not.include('get secrets in shop');
    expect(unused).to.include('create leases.coordination.k8s.io in parity-system');
  });
});

function options(manifests: readonly RenderedObject[]): unknown {
  const config = manifests.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'parity-options');
  const data = config?.data;
  if (typeof data !== 'object' || data === null || !('options.yaml' in data)) throw new Error('there are no options');
  return parse(String(data['options.yaml']));
}

interface Container {
  readonly command?: readonly string[];
  readonly args?: readonly string[];
}

function containersOf(manifests: readonly RenderedObject[], kind: string): readonly Container[] {
  return manifests
    .filter((object) => object.kind === kind)
    .flatMap(({ spec }) => parse(JSON.stringify(spec)).template.spec.containers);
}

function templateOf(spec: unknown): unknown {
  return parse(JSON.stringify(spec)).template.spec;
}

function anyKind(plural: string, kind: string) {
  const group = 'monitoring.coreos.com';
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
  return {
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural, kind },
      versions: [{ name: 'v1', served: true, storage: true, schema }],
    },
  };
}
