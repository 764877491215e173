import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent } from 'node:http';
import { Agent, type AgentOptions, type RequestOptions } from 'node:https';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import { env } from '../support/env.ts';
import { ParityError } from '../support/error.ts';
import { registerSecret } from '../support/log.ts';

/** Where an API server is and how to be let in. */
export interface ClusterAccess {
  readonly server: URL;
  /** The context's namespace, or the pod's own. */
  readonly namespace: string;
  /** What a request needs beside its path: agent, TLS and the headers that authenticate it. Tokens that rotate are read again each minute. */
  requestOptions(): Promise<RequestOptions>;
  /** Forgets a token that was kept: the server has refused it. */
  forgetToken(): void;
  /** Closes idle connections. */
  close(): void;
}

export interface AccessOptions {
  /** A kubeconfig file. Default: `KUBECONFIG`, then the pod's service account, then `~/.kube/config`. */
  readonly kubeconfig?: string;
  /** Default: the kubeconfig's current context. */
  readonly context?: string;
}

const serviceAccount = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * The access that a kubeconfig or the pod's service account gives. Throws `BadUsage` where there is neither or the kubeconfig
 * lacks something.
 *
 * Certificates, tokens, token files and passwords are read here. Credential plugins, OpenID Connect and proxies are left to the
 * Kubernetes client, which is loaded only for them: it costs 85 MB.
 */
export async function clusterAccess(options: AccessOptions = {}): Promise<ClusterAccess> {
  const files = kubeconfigFiles(options);
  if (files === undefined) return inClusterAccess();
  const config = merged(files);
  const chosen = chosenContext(config, options.context, files);
  if (chosen.user.exec === undefined && chosen.user['auth-provider'] === undefined && !chosen.cluster['proxy-url'])
    return fileAccess(chosen);
  return clientAccess(config, chosen);
}

/** The files to read, or undefined for the pod's own service account. */
function kubeconfigFiles(options: AccessOptions): readonly string[] | undefined {
  if (options.kubeconfig !== undefined) return [options.kubeconfig];
  const named = env.kubeconfig()?.split(delimiter).filter(Boolean) ?? [];
  if (named.length > 0) return named;
  if (env.kubernetesServer() !== undefined && existsSync(join(serviceAccount, 'token'))) return undefined;
  const own = join(homedir(), '.kube', 'config');
  if (existsSync(own)) return [own];
  throw new ParityError('BadUsage', 'no Kubernetes cluster is known', {
    advice: 'Set KUBECONFIG, or put a kubeconfig at ~/.kube/config.',
  });
}

/** A kubeconfig as far as it is read here. */
interface KubeConfigFile {
  readonly 'current-context'?: string;
  readonly clusters?: readonly { readonly name: string; readonly cluster: ClusterEntry }[];
  readonly users?: readonly { readonly name: string; readonly user: UserEntry }[];
  readonly contexts?: readonly { readonly name: string; readonly context: ContextEntry }[];
}

interface ClusterEntry {
  readonly server?: string;
  readonly 'certificate-authority'?: string;
  readonly 'certificate-authority-data'?: string;
  readonly 'insecure-skip-tls-verify'?: boolean;
  readonly 'tls-server-name'?: string;
  readonly 'proxy-url'?: string;
}

interface UserEntry {
  readonly 'client-certificate'?: string;
  readonly 'client-certificate-data'?: string;
  readonly 'client-key'?: string;
  readonly 'client-key-data'?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly username?: string;
  readonly password?: string;
  readonly as?: string;
  readonly exec?: { readonly command?: string };
  readonly 'auth-provider'?: unknown;
}

interface ContextEntry {
  readonly cluster: string;
  readonly user?: string;
  readonly namespace?: string;
}

interface Chosen {
  readonly name: string;
  readonly cluster: ClusterEntry & { readonly server: string };
  readonly user: UserEntry;
  readonly namespace: string;
}

/** One kubeconfig of several files: of two entries of one name the first file's counts, as for kubectl. */
function merged(files: readonly string[]): KubeConfigFile {
  const all = files.map(read);
  const current = all.map((file) => file['current-context']).find(Boolean);
  return {
    clusters: all.flatMap((file) => file.clusters ?? []),
    users: all.flatMap((file) => file.users ?? []),
    contexts: all.flatMap((file) => file.contexts ?? []),
    ...(current === undefined ? {} : { 'current-context': current }),
  };
}

function read(file: string): KubeConfigFile {
  let config: KubeConfigFile | null;
  try {
    config = parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new ParityError('BadUsage', `reading the kubeconfig ${file}: ${String(error)}`, {
      subject: file,
      cause: error,
    });
  }
  if (typeof config !== 'object' || config === null) throw unusable(file, 'it is no kubeconfig');
  const folder = dirname(file);
  return {
    ...config,
    clusters: (config.clusters ?? []).map(({ name, cluster }) => ({ name, cluster: clusterIn(folder, cluster ?? {}) })),
    users: (config.users ?? []).map(({ name, user }) => ({ name, user: userIn(folder, user ?? {}) })),
  };
}

/** The entry with paths that don't depend on the kubeconfig's folder. */
function clusterIn(folder: string, cluster: ClusterEntry): ClusterEntry {
  const ca = cluster['certificate-authority'];
  return { ...cluster, ...(ca === undefined ? {} : { 'certificate-authority': resolve(folder, ca) }) };
}

function userIn(folder: string, user: UserEntry): UserEntry {
  const { 'client-certificate': cert, 'client-key': key, tokenFile: token } = user;
  return {
    ...user,
    ...(cert === undefined ? {} : { 'client-certificate': resolve(folder, cert) }),
    ...(key === undefined ? {} : { 'client-key': resolve(folder, key) }),
    ...(token === undefined ? {} : { tokenFile: resolve(folder, token) }),
  };
}

function chosenContext(config: KubeConfigFile, wanted: string | undefined, files: readonly string[]): Chosen {
  const file = files.join(delimiter);
  const name = wanted ?? config['current-context'];
  if (name === undefined || name === '') throw unusable(file, 'it has no current context');
  const context = config.contexts?.find((entry) => entry.name === name)?.context;
  if (context === undefined) throw unusable(file, `it has no context "${name}"`);
  const cluster = config.clusters?.find((entry) => entry.name === context.cluster)?.cluster;
  if (cluster?.server === undefined) throw unusable(file, `it has no cluster "${context.cluster}" with a server`);
  const user = config.users?.find((entry) => entry.name === context.user)?.user;
  if (user === undefined && context.user !== undefined) throw unusable(file, `it has no user "${context.user}"`);
  return {
    name,
    cluster: { ...cluster, server: cluster.server },
    user: user ?? {},
    namespace: context.namespace ?? 'default',
  };
}

function unusable(file: string, why: string): ParityError {
  return new ParityError('BadUsage', `the kubeconfig ${file} can't be used: ${why}`, {
    subject: file,
    advice: 'Look at it with `kubectl config view`, or name another one in KUBECONFIG.',
  });
}

function fileAccess({ cluster, user, namespace }: Chosen): ClusterAccess {
  const token = user.tokenFile === undefined ? constantToken(user.token) : tokenFile(user.tokenFile);
  return plainAccess({
    server: new URL(cluster.server),
    namespace,
    tls: tlsOptions(cluster, user),
    headers: async () => ({ ...(await authorization(user, token)), ...impersonation(user) }),
    forgetToken: token.forget,
  });
}

/** Access over connections that are kept and used again. */
export function plainAccess(to: {
  readonly server: URL;
  readonly namespace: string;
  readonly tls?: AgentOptions;
  readonly headers?: () => Promise<Readonly<Record<string, string>>>;
  readonly forgetToken?: () => void;
}): ClusterAccess {
  // An idle connection is closed by us before the server does it (90 s), or the next request runs into the closing.
  const options = { ...to.tls, keepAlive: true, keepAliveMsecs: 30_000, timeout: 60_000 };
  const agent = to.server.protocol === 'http:' ? new HttpAgent(options) : new Agent(options);
  return {
    server: to.server,
    namespace: to.namespace,
    requestOptions: async () => ({ agent, headers: { ...(await to.headers?.()) } }),
    forgetToken: to.forgetToken ?? (() => {}),
    close: () => agent.destroy(),
  };
}

function tlsOptions(cluster: ClusterEntry, user: UserEntry): AgentOptions {
  const ca = bytes(cluster['certificate-authority'], cluster['certificate-authority-data']);
  const cert = bytes(user['client-certificate'], user['client-certificate-data']);
  const key = bytes(user['client-key'], user['client-key-data']);
  const servername = cluster['tls-server-name'];
  if (key !== undefined) registerSecret(key.toString());
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(servername === undefined ? {} : { servername }),
    ...(cluster['insecure-skip-tls-verify'] === true ? { rejectUnauthorized: false } : {}),
  };
}

function bytes(file: string | undefined, data: string | undefined): Buffer | undefined {
  if (data !== undefined && data !== '') return Buffer.from(data, 'base64');
  if (file === undefined || file === '') return undefined;
  try {
    return readFileSync(file);
  } catch (error) {
    throw unusable(file, String(error));
  }
}

async function authorization(user: UserEntry, token: Token): Promise<Readonly<Record<string, string>>> {
  const bearer = await token.read();
  if (bearer !== undefined) return { authorization: `Bearer ${bearer}` };
  if (user.username === undefined) return {};
  registerSecret(user.password ?? '');
  return { authorization: `Basic ${Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')}` };
}

function impersonation(user: UserEntry): Readonly<Record<string, string>> {
  return user.as === undefined ? {} : { 'impersonate-user': user.as };
}

interface Token {
  read(): Promise<string | undefined>;
  forget(): void;
}

function constantToken(token: string | undefined): Token {
  if (token !== undefined) registerSecret(token);
  return { read: async () => token, forget: () => {} };
}

/** A token that the kubelet renews in its file. */
function tokenFile(path: string): Token {
  const keptMs = 60_000;
  let kept: { readonly token: string; readonly readAt: number } | undefined;
  return {
    read: async () => {
      if (kept !== undefined && performance.now() - kept.readAt < keptMs) return kept.token;
      const token = (await readFile(path, 'utf8')).trim();
      registerSecret(token);
      kept = { token, readAt: performance.now() };
      return token;
    },
    forget: () => {
      kept = undefined;
    },
  };
}

function inClusterAccess(): ClusterAccess {
  const server = env.kubernetesServer();
  if (server === undefined) throw new ParityError('BadUsage', 'this process runs in no Kubernetes pod');
  const namespace = readFileSync(join(serviceAccount, 'namespace'), 'utf8').trim();
  const ca = readFileSync(join(serviceAccount, 'ca.crt'));
  const token = tokenFile(join(serviceAccount, 'token'));
  return plainAccess({
    server: new URL(server),
    namespace,
    tls: { ca },
    headers: () => authorization({}, token),
    forgetToken: token.forget,
  });
}

/** Access by the Kubernetes client's own credential plugins and proxies. */
async function clientAccess(config: KubeConfigFile, { name, cluster, namespace }: Chosen): Promise<ClusterAccess> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const client = new KubeConfig();
  client.loadFromString(stringify(config));
  client.setCurrentContext(name);
  return {
    server: new URL(cluster.server),
    namespace,
    requestOptions: async () => {
      const options: RequestOptions = {};
      await client.applyToHTTPSOptions(options);
      return options;
    },
    // The client keeps a plugin's token until the time that the plugin gave it.
    forgetToken: () => {},
    close: () => {},
  };
}
