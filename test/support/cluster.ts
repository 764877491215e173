import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type S3Keys, startSeaweedFs } from './seaweedfs.ts';

/** A Kubernetes with nodes, Argo CD and an object store, on which images run. */
export interface TestCluster {
  /** Path of a kubeconfig that may do everything. */
  readonly kubeconfig: string;
  /** The program. */
  readonly kubectl: string;
  /** The project's own image. The cluster has it, or can pull it. */
  readonly image: string;
  readonly postgresImage: string;
  readonly mysqlImage: string;
  /** An S3 server that both this machine and pods reach at this endpoint. */
  readonly s3: S3Keys & { readonly endpoint: string };
  /** Ends Argo CD's application controller, as when it is down, and starts it again. */
  readonly argoCD: { stop(): Promise<unknown>; start(): Promise<unknown> };
  /** A Git repository with this checkout's charts, as Argo CD reaches it, and the revision to take. */
  readonly repository: { readonly url: string; readonly revision: string };
}

let started: Promise<TestCluster> | undefined;
const endings: (() => Promise<unknown>)[] = [];

/**
 * The cluster that all tests of this process share: the user's own where PARITY_E2E_IMAGE is set (see test/cluster/README.md), else the one that
 * test/cluster/up.sh brings up here, with the image built from this checkout. What was up before stays up.
 */
export function testCluster(): Promise<TestCluster> {
  started ??= process.env.PARITY_E2E_IMAGE === undefined ? clusterHere() : Promise.resolve(usersCluster());
  return started;
}

/** What a test has put on the cluster is removed before the cluster and its object store end, in the reverse order of its making. */
export function beforeClusterEnds(end: () => Promise<unknown>): void {
  endings.push(end);
}

after(async () => {
  const failures: unknown[] = [];
  for (const end of endings.reverse()) await end().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw new AggregateError(failures, `ending the cluster: ${failures.map(String).join('; ')}`);
});

async function clusterHere(): Promise<TestCluster> {
  const wasUp = await script('up.sh', '--is-up').then(
    () => true,
    () => false,
  );
  if (!wasUp) endings.push(() => script('down.sh'));
  const kubeconfig = await script('up.sh');
  await script('argocd.sh');
  const image = await script('image.sh', '--import');
  const [postgresImage = '', mysqlImage = ''] = (await script('images.sh', '--import', 'postgres', 'mariadb')).split(
    '\n',
  );
  // The address of test/cluster/lib.sh at which pods meet this machine.
  const s3 = await startSeaweedFs({ address: '10.88.0.1' });
  endings.push(() => s3.stop());
  const [programs = ''] = (await script('build.sh', '--where', 'node')).split('\n');
  return {
    kubeconfig,
    kubectl: join(programs, 'kubectl'),
    image,
    postgresImage,
    mysqlImage,
    s3: { endpoint: s3.endpoint, ...s3.admin },
    argoCD: { stop: () => script('argocd.sh', 'stop'), start: () => script('argocd.sh') },
    repository: { url: `file://${await checkoutAsRepository()}`, revision: 'main' },
  };
}

/** What Argo CD may deploy from this checkout, committed or not, as a Git repository of its own. Returns its folder. */
async function checkoutAsRepository(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'parity-repository-'));
  endings.push(() => rm(folder, { recursive: true, force: true }));
  const git = (...args: string[]) => promisify(execFile)('git', args, { cwd: folder });
  await git('init', '--quiet', '--initial-branch=main');
  for (const part of ['argocd', 'charts', 'examples']) {
    const from = fileURLToPath(new URL(`../../${part}/`, import.meta.url));
    if (existsSync(from)) await cp(from, join(folder, part), { recursive: true });
  }
  await git('add', '--all');
  await git(
    '-c',
    'user.name=test',
    '-c',
    'user.email=test@example.test',
    'commit',
    '--quiet',
    '--message=The checkout',
  );
  return folder;
}

function usersCluster(): TestCluster {
  return {
    kubeconfig: required('KUBECONFIG'),
    kubectl: 'kubectl',
    image: required('PARITY_E2E_IMAGE'),
    postgresImage: process.env.PARITY_E2E_POSTGRES_IMAGE ?? 'docker.io/library/postgres:16',
    mysqlImage: process.env.PARITY_E2E_MYSQL_IMAGE ?? 'docker.io/library/mysql:8.4',
    s3: {
      endpoint: required('PARITY_E2E_S3_ENDPOINT'),
      accessKeyId: required('PARITY_E2E_S3_ACCESS_KEY_ID'),
      secretAccessKey: required('PARITY_E2E_S3_SECRET_ACCESS_KEY'),
    },
    argoCD: { stop: () => scaleArgoCD(0), start: () => scaleArgoCD(1) },
    repository: {
      url: required('PARITY_E2E_REPOSITORY'),
      revision: process.env.PARITY_E2E_REVISION ?? 'HEAD',
    },
  };
}

function scaleArgoCD(replicas: number): Promise<unknown> {
  const controller = ['--namespace', 'argocd', 'statefulset', 'argocd-application-controller'];
  return promisify(execFile)('kubectl', ['scale', ...controller, `--replicas=${replicas}`]);
}

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '')
    throw new Error(`Testing on a cluster of your own, because PARITY_E2E_IMAGE is set: ${name} is not set.`);
  return value;
}

/** What a script of the kit prints; an error carries what it complained of. */
async function script(name: string, ...args: string[]): Promise<string> {
  const file = fileURLToPath(new URL(`../cluster/${name}`, import.meta.url));
  const { stdout } = await promisify(execFile)(file, args, { maxBuffer: 64 * 1024 * 1024 });
  return stdout.trim();
}
