import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ListBucketsCommand, S3Client } from '@aws-sdk/client-s3';
import { parse } from 'yaml';
import { applications } from '../../operator/runs/application.ts';
import { encodeKeys } from '../../operator/runs/credentials.ts';
import type { Bug } from '../../src/api/generated/enums.ts';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import {
  configMaps,
  jobs,
  type KubeObject,
  namespaces,
  networkPolicies,
  type Pod,
  persistentVolumeClaims,
  pods,
  resource,
  secrets,
  services,
  statefulSets,
} from '../../src/kube/objects.ts';
import { labels, type RunObject, runs } from '../../src/kube/runs.ts';
import { parseLocation } from '../../src/lake/location.ts';
import { openReader } from '../../src/lake/open.ts';
import { bucketAdmin, createBucket, deleteBucket, emptyBucket } from '../../src/lake/s3-admin.ts';
import type { Report } from '../../src/report/model.ts';
import { beforeClusterEnds, type TestCluster, testCluster } from './cluster.ts';
import { eventually } from './eventually.ts';
import { helm } from './helm.ts';
import { columnsOfTypes, type ExampleTable, exampleTables, root } from './runs.ts';
import { uploadExample } from './s3-lake.ts';

type AppProject = KubeObject & { readonly spec: Readonly<Record<string, unknown>> };
export const projects = resource<AppProject>('argoproj.io', 'v1alpha1', 'appprojects', 'AppProject');

/** Everything of which a run may have something, besides what lies outside the cluster. */
const kinds = [
  jobs,
  pods,
  statefulSets,
  services,
  networkPolicies,
  persistentVolumeClaims,
  configMaps,
  secrets,
  applications,
] as const;

let installed: Promise<Release> | undefined;

/** The operator as its chart installs it in the tests' cluster: the one that all tests of this process share. It is uninstalled at their end. */
export function testRelease(): Promise<Release> {
  installed ??= Release.install();
  return installed;
}

/**
 * A release of the chart, with what its users bring: namespaces for runs, the example lake in a bucket, a bucket for reports, the Secrets of both, a project
 * of Argo CD.
 */
export class Release {
  readonly cluster: TestCluster;
  readonly kube: KubeClient;
  readonly name: string;
  /** The operator's. */
  readonly namespace: string;
  /** Where runs are; the namespace as restricted as Kubernetes knows. */
  readonly runs: string;
  /** Another one for runs, to be deleted. */
  readonly doomed: string;
  readonly lake: string;
  readonly reports: string;

  private constructor(cluster: TestCluster, kube: KubeClient) {
    this.cluster = cluster;
    this.kube = kube;
    this.name = `e2e-${randomBytes(3).toString('hex')}`;
    this.namespace = `${this.name}-system`;
    this.runs = `${this.name}-runs`;
    this.doomed = `${this.name}-doomed`;
    this.lake = `${this.name}-lake`;
    this.reports = `${this.name}-reports`;
  }

  static async install(): Promise<Release> {
    const cluster = await testCluster();
    const kube = await connect({ kubeconfig: cluster.kubeconfig, requestsPerSecond: 200, burst: 200 });
    const release = new Release(cluster, kube);
    beforeClusterEnds(() => release.#uninstall());
    await release.#prepare();
    await release.#helm(
      'install',
      '--take-ownership',
      '--wait',
      '--timeout=180s',
      ...valuesFromInput,
    )(release.#values());
    return release;
  }

  /** How S3 is reached, in a manifest, with the credentials of that Secret: `lake`, `reports` or, in the operator's namespace, `workspace`. */
  store(secret: 'lake' | 'reports' | 'workspace') {
    return { endpoint: this.cluster.s3.endpoint, region: 'us-east-1', secretRef: { name: secret } };
  }

  /** A run over tables of the example lake, in one source that the operator deploys itself. */
  spec(tables: readonly ExampleTable[], options: SpecOptions = {}) {
    const { bug = 'None', isFullOnly = false, more = {} } = options;
    const read = tables.map((name) => {
      const { baseVersion, ...table } = exampleTables[name];
      return isFullOnly ? table : { ...table, baseVersion };
    });
    return {
      snapshot: { location: `s3://${this.lake}`, ...this.store('lake'), tables: read },
      sources: [this.source('shop', tables, options)],
      pipelines: [{ name: 'candidate', reference: { bug } }],
      execution: { threads: 1, memory: '256Mi', retries: 0 },
      reports: {
        location: `s3://${this.reports}`,
        ...this.store('reports'),
        formats: ['JSON' as const, 'Markdown' as const],
      },
      ...more,
    };
  }

  source(name: string, tables: readonly ExampleTable[], { by = 'kubernetes', engine = 'Postgres' }: SpecOptions = {}) {
    const image = engine === 'Postgres' ? this.cluster.postgresImage : this.cluster.mysqlImage;
    const columns = tables.includes('types') ? columnsOfTypes[engine] : [];
    return { name, engine, tables: [...tables], image, columns, [by]: {} };
  }

  /** Makes a run, in the namespace of runs unless another is named; what a first attempt of the test has left under that name goes before. */
  async apply(name: string, spec: object, namespace = this.runs): Promise<RunObject> {
    await this.remove(name, namespace);
    return await this.kube.create(runs, { metadata: { name, namespace }, spec }, { isStrict: true });
  }

  /** The run once the condition has that status; what it has come to, if that takes too long. */
  async until(name: string, type: string, status = 'True', timeoutMs = 240_000): Promise<RunObject> {
    return await this.untilRun(name, timeoutMs, ({ status: now }) => {
      const condition = now?.conditions?.find((each) => each.type === type);
      return condition?.status === status;
    });
  }

  /** The run once it is as asked. */
  async untilRun(
    name: string,
    timeoutMs: number,
    is: (run: RunObject) => boolean,
    namespace = this.runs,
  ): Promise<RunObject> {
    return await eventually(async () => {
      const run = await this.kube.get(runs, { namespace, name });
      if (is(run)) return run;
      throw new Error(`the run ${name} is not as awaited: ${JSON.stringify(run.status)}`);
    }, timeoutMs);
  }

  async delete(name: string, propagation: 'Foreground' | 'Background' = 'Background', namespace = this.runs) {
    await this.kube.delete(runs, { namespace, name }, { propagation });
  }

  async untilGone(name: string, timeoutMs = 120_000, namespace = this.runs): Promise<void> {
    await eventually(async () => {
      const run = await this.kube.find(runs, { namespace, name });
      if (run === undefined) return;
      throw new Error(`the run ${name} is still there: ${JSON.stringify([run.metadata, run.status?.conditions])}`);
    }, timeoutMs);
  }

  /** The run, if there is one, and what it has made. */
  async remove(name: string, namespace = this.runs): Promise<void> {
    if ((await this.kube.find(runs, { namespace, name })) === undefined) return;
    await this.delete(name, 'Background', namespace);
    await this.untilGone(name, 120_000, namespace);
  }

  /** What carries the run's uid in the cluster, and its bucket, in words. Empty: nothing is left but reports. */
  async left(uid: string): Promise<readonly string[]> {
    const labelSelector = `${labels.runUid}=${uid}`;
    const objects = await Promise.all(
      kinds.map(async (kind) => {
        const { items } = await this.kube.listMetadata(kind, { labelSelector });
        return items.map(({ metadata }) => `${kind.kind} ${metadata.namespace}/${metadata.name}`);
      }),
    );
    const buckets = (await this.buckets()).filter((name) => name.includes(uid)).map((name) => `bucket ${name}`);
    return [...objects.flat(), ...buckets];
  }

  /** Waits for nothing to be left: what Kubernetes collects by itself takes a moment. */
  async untilNothingLeft(uid: string, timeoutMs = 60_000): Promise<void> {
    await eventually(async () => {
      const left = await this.left(uid);
      if (left.length > 0) throw new Error(`left of the run ${uid}: ${left.join(', ')}`);
    }, timeoutMs);
  }

  async report(run: RunObject): Promise<Report> {
    const location = run.status?.result?.report ?? '';
    const [folder, file = ''] = [location.slice(0, location.lastIndexOf('/')), location.split('/').at(-1)];
    const reader = await openReader({ location: folder, ...this.store('reports') }, { ...this.cluster.s3 });
    try {
      return JSON.parse((await reader.get(file)).toString());
    } finally {
      reader.close();
    }
  }

  async buckets(): Promise<readonly string[]> {
    const client = new S3Client({
      endpoint: this.cluster.s3.endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { ...this.cluster.s3 },
    });
    try {
      return ((await client.send(new ListBucketsCommand({}))).Buckets ?? []).map(({ Name = '' }) => Name);
    } finally {
      client.destroy();
    }
  }

  /** What kubectl prints, in the namespace of runs. */
  async kubectl(...args: readonly string[]): Promise<string> {
    const { kubectl, kubeconfig } = this.cluster;
    const where = ['--kubeconfig', kubeconfig, '--namespace', this.runs];
    return (await promisify(execFile)(kubectl, [...where, ...args])).stdout;
  }

  async podsOf(uid: string): Promise<readonly Pod[]> {
    return (await this.kube.list(pods, { namespace: this.runs, labelSelector: `${labels.runUid}=${uid}` })).items;
  }

  /** Makes a Secret of that name in the namespace of runs. */
  async secret(name: string, keys: Readonly<Record<string, string>>, namespace = this.runs): Promise<void> {
    await this.kube.create(secrets, { metadata: { name, namespace }, type: 'Opaque', data: encodeKeys(keys) });
  }

  /** Makes the Secrets that runs of that namespace name. One for each purpose, as users have them: what is mounted for one serves no other. */
  async credentials(namespace: string): Promise<void> {
    const { accessKeyId, secretAccessKey } = this.cluster.s3;
    for (const name of ['lake', 'reports']) await this.secret(name, { accessKeyId, secretAccessKey }, namespace);
  }

  async #prepare(): Promise<void> {
    const { repository, s3 } = this.cluster;
    const enforce = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    for (const name of [this.namespace, this.runs, this.doomed])
      await this.kube.create(namespaces, { metadata: { name, labels: enforce } });
    const { accessKeyId, secretAccessKey } = s3;
    await this.secret('workspace', { accessKeyId, secretAccessKey }, this.namespace);
    for (const namespace of [this.runs, this.doomed]) await this.credentials(namespace);
    const { spec }: AppProject = parse(await readFile(join(root, 'argocd/project.yaml'), 'utf8'));
    const destinations = [{ server: inCluster, namespace: this.runs }];
    await this.kube.create(projects, {
      metadata: { name: this.name, namespace: 'argocd' },
      spec: { ...spec, sourceRepos: [repository.url], destinations },
    });
    for (const bucket of [this.lake, this.reports]) await this.#bucket(bucket, createBucket);
    await uploadExample({ endpoint: s3.endpoint, admin: s3 }, this.lake, Object.keys(exampleTables));
  }

  async #uninstall(): Promise<void> {
    const left = (await this.kube.list(runs, { namespace: this.runs })).items;
    for (const { metadata } of left) await this.delete(metadata.name);
    for (const { metadata } of left) await this.untilGone(metadata.name);
    await this.#helm('uninstall', '--ignore-not-found', '--wait', '--timeout=120s')('');
    for (const name of [this.namespace, this.runs, this.doomed]) await this.kube.delete(namespaces, { name });
    await this.kube.delete(projects, { namespace: 'argocd', name: this.name });
    for (const bucket of [this.lake, this.reports])
      await this.#bucket(bucket, async (admin) => {
        await emptyBucket(admin);
        await deleteBucket(admin);
      });
    this.kube.close();
  }

  async #bucket(name: string, act: (admin: ReturnType<typeof bucketAdmin>) => Promise<void>): Promise<void> {
    const location = parseLocation(`s3://${name}`, this.store('lake'));
    if (location.scheme !== 's3') throw new Error(`s3://${name} is no bucket`);
    const admin = bucketAdmin(location, { ...this.cluster.s3 });
    try {
      await act(admin);
    } finally {
      admin.client.destroy();
    }
  }

  #helm(verb: 'install' | 'upgrade' | 'uninstall', ...args: readonly string[]) {
    const where = [`--namespace=${this.namespace}`, `--kubeconfig=${this.cluster.kubeconfig}`];
    const chart = verb === 'uninstall' ? [] : [join(root, 'charts/pipeline-parity')];
    return helm(verb, this.name, ...chart, ...where, ...args);
  }

  #values(): string {
    const { image, repository } = this.cluster;
    const [, repositoryOfImage = image, tag = ''] = /^(.+):([^:/@]+)$/.exec(image) ?? [];
    const { url: repoURL, revision: targetRevision } = repository;
    return JSON.stringify({
      image: { repository: repositoryOfImage, tag },
      watch: { namespaces: [this.runs, this.doomed] },
      runs: { defaultWorkspace: { location: 's3://', ...this.store('workspace') } },
      argocd: { enabled: true, project: this.name, repoURL, targetRevision },
    });
  }
}

export interface SpecOptions {
  readonly by?: 'kubernetes' | 'argocd';
  readonly engine?: 'Postgres' | 'MySQL';
  readonly bug?: Bug;
  /** One sync and one comparison. */
  readonly isFullOnly?: boolean;
  /** Replaces parts of the spec. */
  readonly more?: object;
}

const inCluster = 'https://kubernetes.default.svc';
const valuesFromInput = ['--values', '-'];
