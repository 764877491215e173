import type { CoreV1Event } from '@kubernetes/client-node';
import type { DeployedServer, ResolvedSource } from '../../src/api/resolved.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type ObjectName, type Pod, pods, resource, type Stored, secrets } from '../../src/kube/objects.ts';
import { askServer, checkVersion } from '../../src/sources/server-version.ts';
import type { Connection } from '../../src/sources/source.ts';
import { ParityError, toParityError } from '../../src/support/error.ts';
import { publishConnection } from './connections.ts';
import { labels, ofRun, sourceName } from './names.ts';
import type { Scope, SourceState } from './types.ts';

/** Where a source's address is reached from this process. In a cluster it is the address itself. */
export type Reach = (connection: Connection) => Connection | Promise<Connection>;

/** A server that should be there by now is waited for without alarm for so long. */
const patienceMs = 60_000;

/**
 * Ready if the server answers a query, is of the version asked for, and its connection is laid down for the tasks. `Failed` where it is another version;
 * `Stalled` with what it said where it lets nobody in, or where nobody answers for a minute.
 */
export async function askWhetherReady(
  scope: Scope,
  source: ResolvedSource,
  server: { readonly connection: Connection; readonly createdAt: Date },
  reach: Reach,
): Promise<SourceState> {
  const since = server.createdAt;
  let version: string;
  try {
    version = await askServer(source.engine, await reach(server.connection));
  } catch (error) {
    const { message, isRetryable } = toParityError(error);
    const isLate = !isRetryable || scope.now().getTime() - since.getTime() > patienceMs;
    return {
      state: isLate ? 'Stalled' : 'Progressing',
      message: `it runs, but does not answer yet: ${message}`,
      since,
    };
  }
  try {
    checkVersion(source, version);
  } catch (error) {
    return { state: 'Failed', error: toParityError(error) };
  }
  const found = await podsOf(scope, source);
  await publishConnection(scope, source, server.connection);
  await notePods(scope, source, found);
  return { state: 'Ready' };
}

/**
 * Whether the server's data are still what was loaded: without a volume they go with the pod, and the one that takes its place is empty. Nothing of a later
 * task would say so as clearly as this.
 */
export async function keepData(scope: Scope, source: ResolvedSource, server: DeployedServer): Promise<SourceState> {
  if (server.size !== undefined) return { state: 'Ready' };
  const [secret, now] = await Promise.all([scope.kube.find(secrets, nameOf(scope, source)), podsOf(scope, source)]);
  const before = secret?.metadata.annotations?.[podAnnotation];
  if (before === undefined || before === '' || now.some(({ metadata }) => before.split(',').includes(metadata.uid)))
    return { state: 'Ready' };
  const error = new ParityError(
    'NotFound',
    `the ${source.engine} server of source "${source.name}" lost its data: its pod is gone`,
    {
      subject: source.name,
      advice: `It was evicted, or its node was lost. With size the data lie on a volume of their own; start another run.`,
    },
  );
  return { state: 'Failed', error };
}

/** On the Secret of the connection: the pods that held the data when the server became ready, by uid. */
const podAnnotation = 'pipelineparity.io/server-pods';

async function notePods(scope: Scope, source: ResolvedSource, found: readonly Pod[]): Promise<void> {
  const uids = found.map(({ metadata }) => metadata.uid).join(',');
  const name = nameOf(scope, source);
  const { metadata } = await scope.kube.get(secrets, name);
  if (metadata.annotations?.[podAnnotation] === uids) return;
  await scope.kube.mergePatch(secrets, name, { metadata: { annotations: { [podAnnotation]: uids } } });
}

async function podsOf(scope: Scope, source: ResolvedSource): Promise<readonly Pod[]> {
  const labelSelector = `${ofRun(scope.hold.run)},${labels.source}=${source.name}`;
  return (await scope.kube.list(pods, { namespace: scope.hold.namespace, labelSelector })).items;
}

function nameOf({ hold }: Scope, source: ResolvedSource): ObjectName {
  return { namespace: hold.namespace, name: sourceName(hold.run.uid, source.name) };
}

/** What keeps the server's pod from running, in the words of Kubernetes; undefined where it has said nothing. */
export async function podTrouble(scope: Scope, source: ResolvedSource): Promise<string | undefined> {
  const found = await podsOf(scope, source);
  if (found.length === 0) return await whyNoPod(scope, source);
  for (const pod of found) {
    const trouble = troubleOf(pod);
    if (trouble !== undefined) return `${trouble}${await whyNoVolume(scope, pod)}`;
  }
  return undefined;
}

/** The scheduler says only that a claim has no volume; why is in an Event of the claim. */
async function whyNoVolume(scope: Scope, { metadata, spec, status }: Pod): Promise<string> {
  const isPlaced = spec?.nodeName !== undefined || status?.phase !== 'Pending';
  const claims = isPlaced ? [] : (spec?.volumes ?? []).flatMap((volume) => volume.persistentVolumeClaim ?? []);
  for (const { claimName } of claims) {
    const about = `involvedObject.kind=PersistentVolumeClaim,involvedObject.name=${claimName}`;
    const last = (await eventsOf(scope, metadata.namespace, about)).at(-1);
    if (last !== undefined) return `; its claim ${claimName}: ${last.reason}${said(last.message)}`;
  }
  return '';
}

function troubleOf(pod: Pod): string | undefined {
  const { name } = pod.metadata;
  for (const { state, lastState } of pod.status?.containerStatuses ?? []) {
    const reason = state?.waiting?.reason;
    // These two are the ordinary way up.
    if (reason !== undefined && reason !== 'ContainerCreating' && reason !== 'PodInitializing') {
      const ended = lastState?.terminated;
      const lastWords = ended === undefined ? '' : `; it ended with ${ending(ended)}`;
      return `pod ${name}: ${reason}${said(state?.waiting?.message)}${lastWords}`;
    }
    if (state?.terminated !== undefined) return `pod ${name} ended with ${ending(state.terminated)}`;
  }
  const unscheduled = pod.status?.conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False');
  return unscheduled === undefined ? undefined : `pod ${name}: ${unscheduled.reason}${said(unscheduled.message)}`;
}

function ending(ended: { readonly exitCode: number; readonly reason?: string; readonly message?: string }): string {
  const isNamed = ended.reason !== undefined && ended.reason !== 'Error';
  return `${isNamed ? `${ended.reason} (exit code ${ended.exitCode})` : `exit code ${ended.exitCode}`}${said(ended.message)}`;
}

function said(message: string | undefined): string {
  const text = message?.trim() ?? '';
  return text === '' ? '' : `: ${text.slice(-500)}`;
}

type KubeEvent = Stored<CoreV1Event>;
const kubeEvents = resource<KubeEvent>('', 'v1', 'events', 'Event');

/** A quota, a policy or a webhook that refuses the pod is named only in an Event of what would have made it. */
async function whyNoPod(scope: Scope, source: ResolvedSource): Promise<string | undefined> {
  const { namespace, name } = nameOf(scope, source);
  const last = (await eventsOf(scope, namespace, `involvedObject.name=${name},type=Warning`)).at(-1);
  return last === undefined ? undefined : `${last.reason}${said(last.message)}`;
}

/** None where the operator may not see Events. */
async function eventsOf({ kube }: Scope, namespace: string | undefined, fieldSelector: string) {
  try {
    return (await kube.list(kubeEvents, { ...(namespace === undefined ? {} : { namespace }), fieldSelector })).items;
  } catch (error) {
    if (isKubeError(error, 'Forbidden')) return [];
    throw error;
  }
}
