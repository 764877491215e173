import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  ApiException,
  CoreV1Api,
  CustomObjectsApi,
  Health,
  KubeConfig,
  RbacAuthorizationV1Api,
  type V1CustomResourceDefinition,
  type V1PolicyRule,
} from '@kubernetes/client-node';
import { parseAllDocuments } from 'yaml';
import { freePorts } from './free-ports.ts';

const readyTimeoutMs = 60_000;
const buildScript = fileURLToPath(new URL('../cluster/build.sh', import.meta.url));
const crdFolder = fileURLToPath(new URL('../../crds/', import.meta.url));

export interface ControlPlaneOptions {
  /** Whether the project's own CRDs are applied. Default true. */
  readonly crds?: boolean;
  /**
   * Whether Kubernetes' own controllers run: garbage collection of owned objects, deletion of namespaces, Jobs, service accounts. Default false:
   * then nobody makes pods of Jobs, and a test may play that part itself.
   */
  readonly controllerManager?: boolean;
}

/** A Kubernetes API server with an etcd behind it, of the test's own, on loopback and free ports. It has no nodes: no pod ever runs. */
export interface ControlPlane {
  /** `https://127.0.0.1:PORT` */
  readonly url: string;
  /** Path of a kubeconfig that may do everything. */
  readonly kubeconfig: string;
  /** The same, loaded. */
  readonly admin: KubeConfig;
  /** Makes a ServiceAccount that may do only what is given, and returns the path of a kubeconfig with a token of it. */
  serviceAccount(account: ServiceAccountOptions): Promise<string>;
  /** The API server ends at once, as when its machine is lost. Its content stays. */
  stopApiServer(): Promise<void>;
  /** Starts the API server again under the same address, with the same content; resolves when it answers. */
  startApiServer(): Promise<void>;
  /** Ends all of it and removes its folder. */
  stop(): Promise<void>;
}

export interface ServiceAccountOptions {
  readonly name: string;
  /** Made if it is not there. Default `default`. */
  readonly namespace?: string;
  /** What it may do in that namespace, and in each of `namespaces`. */
  readonly rules?: readonly V1PolicyRule[];
  /** Further namespaces that `rules` hold in. They exist already. */
  readonly namespaces?: readonly string[];
  /** What it may do in the whole cluster. */
  readonly clusterRules?: readonly V1PolicyRule[];
}

/** Starts it and resolves when it answers and serves the CRDs. Throws where its programs are not built, with the command that builds them. */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const programs = await builtPrograms();
  const dir = await mkdtemp(join(tmpdir(), 'parity-control-plane-'));
  const [etcdPort = 0, etcdPeerPort = 0, apiPort = 0, managerPort = 0] = await freePorts(4);
  const url = `https://127.0.0.1:${apiPort}`;
  const token = randomBytes(24).toString('hex');
  await writeIdentity(dir, token);
  const etcd = startProgram(dir, join(programs, 'etcd'), etcdFlags(dir, etcdPort, etcdPeerPort));
  let apiServer: Program | undefined;
  let manager: Program | undefined;

  const stopApiServer = async () => {
    await apiServer?.stop();
  };
  const startApiServer = async () => {
    await stopApiServer();
    apiServer = startProgram(dir, join(programs, 'kube-apiserver'), [
      ...apiServerFlags(dir, apiPort, etcdPort),
      // This plugin refuses pods in namespaces without a ServiceAccount, which only the controllers make.
      ...(options.controllerManager === true ? [] : ['--disable-admission-plugins=ServiceAccount']),
    ]);
    await untilReady(dir, url, token, [etcd, apiServer]);
  };
  const stop = async () => {
    // The last first, so that nobody fills a log with complaints about the other's end.
    await manager?.stop();
    await stopApiServer();
    await etcd.stop();
    await rm(dir, { recursive: true, force: true });
  };

  try {
    await startApiServer();
    const kubeconfig = await writeKubeconfig(dir, 'admin', url, token);
    const admin = loadKubeconfig(kubeconfig);
    if (options.crds !== false) await applyCrds(admin);
    // After the CRDs: it looks for new kinds to collect only every half minute.
    if (options.controllerManager === true) {
      manager = startProgram(
        dir,
        join(programs, 'kube-controller-manager'),
        managerFlags(dir, kubeconfig, managerPort),
      );
    }
    return {
      url,
      kubeconfig,
      admin,
      serviceAccount: async (account) => {
        const { name, namespace = 'default' } = account;
        return await writeKubeconfig(dir, `${namespace}-${name}`, url, await makeServiceAccount(admin, account));
      },
      stopApiServer,
      startApiServer,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A client's configuration from a kubeconfig file. */
export function loadKubeconfig(path: string): KubeConfig {
  const config = new KubeConfig();
  config.loadFromFile(path);
  return config;
}

async function builtPrograms(): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(buildScript, ['--where', 'control-plane']);
    return stdout.trim();
  } catch (error) {
    const found = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
    throw new Error(
      `Starting a Kubernetes API server: ${found}. Build it with: test/cluster/build.sh control-plane (about 5 minutes, once).`,
      { cause: error },
    );
  }
}

async function writeIdentity(dir: string, adminToken: string): Promise<void> {
  await writeFile(join(dir, 'tokens.csv'), `${adminToken},admin,admin,system:masters\n`, { mode: 0o600 });
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  await writeFile(join(dir, 'service-accounts.key'), privateKey, { mode: 0o600 });
}

function etcdFlags(dir: string, port: number, peerPort: number): string[] {
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  return [
    `--data-dir=${join(dir, 'etcd')}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    // What it holds is gone with the test; a power cut may take it.
    '--unsafe-no-fsync',
  ];
}

function apiServerFlags(dir: string, port: number, etcdPort: number): string[] {
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    // The Service `kubernetes` may not point to loopback, and no pod is there to use it.
    '--endpoint-reconciler-type=none',
    `--secure-port=${port}`,
    // It makes a certificate of its own there, the first time.
    `--cert-dir=${join(dir, 'certificates')}`,
    `--token-auth-file=${join(dir, 'tokens.csv')}`,
    '--authorization-mode=RBAC',
    '--service-cluster-ip-range=10.96.0.0/16',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${join(dir, 'service-accounts.key')}`,
    `--service-account-signing-key-file=${join(dir, 'service-accounts.key')}`,
  ];
}

function managerFlags(dir: string, kubeconfig: string, port: number): string[] {
  return [
    `--kubeconfig=${kubeconfig}`,
    `--authentication-kubeconfig=${kubeconfig}`,
    `--authorization-kubeconfig=${kubeconfig}`,
    '--bind-address=127.0.0.1',
    `--secure-port=${port}`,
    `--cert-dir=${join(dir, 'manager')}`,
    `--service-account-private-key-file=${join(dir, 'service-accounts.key')}`,
    `--root-ca-file=${join(dir, 'certificates', 'apiserver.crt')}`,
    '--leader-elect=false',
  ];
}

interface Program {
  readonly name: string;
  readonly logFile: string;
  hasExited(): boolean;
  stop(): Promise<void>;
}

/** The kernel ends it when this process dies, however it dies. */
function startProgram(dir: string, file: string, flags: readonly string[]): Program {
  const name = file.slice(file.lastIndexOf('/') + 1);
  const logFile = join(dir, `${name}.log`);
  const log = openSync(logFile, 'a');
  const child: ChildProcess = spawn('setpriv', ['--pdeathsig=KILL', file, ...flags], {
    cwd: dir,
    stdio: ['ignore', log, log],
    env: { PATH: process.env.PATH, HOME: dir },
  });
  closeSync(log);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  return {
    name,
    logFile,
    hasExited: () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined,
    stop: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** `/readyz` answers everybody, so a stranger's server on the same port would do: only our own knows the token. */
async function untilReady(dir: string, url: string, token: string, programs: readonly Program[]): Promise<void> {
  const deadline = Date.now() + readyTimeoutMs;
  for (;;) {
    const dead = programs.find((program) => program.hasExited());
    if (dead !== undefined || Date.now() > deadline) {
      const { name, logFile } = dead ?? programs.at(-1) ?? { name: 'nothing', logFile: '' };
      const log = await readFile(logFile, 'utf8').catch(() => 'no log: could setpriv (util-linux) not be started?');
      const what = dead === undefined ? `was not ready in ${readyTimeoutMs / 1000} s` : 'ended';
      throw new Error(
        `Starting a Kubernetes API server: ${name} ${what}: ${log.trim().split('\n').slice(-5).join('\n')}`,
      );
    }
    if (await isReady(dir, url, token)) return;
    await sleep(50);
  }
}

async function isReady(dir: string, url: string, token: string): Promise<boolean> {
  try {
    const config = loadKubeconfig(await writeKubeconfig(dir, 'probe', url, token));
    await config.makeApiClient(CoreV1Api).readNamespace({ name: 'default' });
    return await new Health(config).readyz({});
  } catch {
    return false;
  }
}

async function writeKubeconfig(dir: string, name: string, url: string, token: string): Promise<string> {
  const certificate = await readFile(join(dir, 'certificates', 'apiserver.crt'));
  const config = new KubeConfig();
  config.loadFromClusterAndUser(
    { name: 'test', server: url, caData: certificate.toString('base64'), skipTLSVerify: false },
    { name, token },
  );
  const path = join(dir, `${name}.kubeconfig`);
  await writeFile(path, config.exportConfig(), { mode: 0o600 });
  return path;
}

/** Returns a token of the account. */
async function makeServiceAccount(admin: KubeConfig, account: ServiceAccountOptions): Promise<string> {
  const { name, namespace = 'default', rules = [], namespaces = [], clusterRules = [] } = account;
  const core = admin.makeApiClient(CoreV1Api);
  const rbac = admin.makeApiClient(RbacAuthorizationV1Api);
  const subjects = [{ kind: 'ServiceAccount', name, namespace }];
  const apiGroup = 'rbac.authorization.k8s.io';
  await core.createNamespace({ body: { metadata: { name: namespace } } }).catch(unlessExists);
  await core.createNamespacedServiceAccount({ namespace, body: { metadata: { name } } });
  for (const place of rules.length === 0 ? [] : [namespace, ...namespaces]) {
    const metadata = { name: `${namespace}-${name}` };
    await rbac.createNamespacedRole({ namespace: place, body: { metadata, rules: [...rules] } });
    const roleRef = { apiGroup, kind: 'Role', name: metadata.name };
    await rbac.createNamespacedRoleBinding({ namespace: place, body: { metadata, roleRef, subjects } });
  }
  if (clusterRules.length > 0) {
    const metadata = { name: `${namespace}-${name}` };
    await rbac.createClusterRole({ body: { metadata, rules: [...clusterRules] } });
    const roleRef = { apiGroup, kind: 'ClusterRole', name: metadata.name };
    await rbac.createClusterRoleBinding({ body: { metadata, roleRef, subjects } });
  }
  const request = { spec: { audiences: ['https://kubernetes.default.svc'], expirationSeconds: 3600 } };
  const { status } = await core.createNamespacedServiceAccountToken({ name, namespace, body: request });
  if (status?.token === undefined)
    throw new Error(`Asking for a token of service account ${namespace}/${name}: none came.`);
  return status.token;
}

function unlessExists(error: unknown): void {
  if (!(error instanceof ApiException && error.code === 409)) throw error;
}

async function applyCrds(admin: KubeConfig): Promise<void> {
  // As they stand in the files: the client's typed calls know `default`, `x-kubernetes-…` by other names and would leave them out.
  const objects = admin.makeApiClient(CustomObjectsApi);
  const kind = { group: 'apiextensions.k8s.io', version: 'v1', plural: 'customresourcedefinitions' };
  const crds = await readCrds();
  for (const body of crds) await objects.createClusterCustomObject({ ...kind, body });
  const deadline = Date.now() + readyTimeoutMs;
  for (const { metadata } of crds) {
    for (;;) {
      const { status }: V1CustomResourceDefinition = await objects.getClusterCustomObject({
        ...kind,
        name: metadata?.name ?? '',
      });
      if (status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True')) break;
      if (Date.now() > deadline)
        throw new Error(
          `Applying ${metadata?.name}: not Established in a minute: ${JSON.stringify(status?.conditions)}`,
        );
      await sleep(50);
    }
  }
}

async function readCrds(): Promise<V1CustomResourceDefinition[]> {
  const files = (await readdir(crdFolder)).filter((file) => file.endsWith('.yaml'));
  const texts = await Promise.all(files.map((file) => readFile(join(crdFolder, file), 'utf8')));
  return texts.flatMap((text) => parseAllDocuments(text)).map((document) => document.toJS());
}
