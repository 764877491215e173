import type { CoreV1Event } from '@kubernetes/client-node';
import type { ResolvedSource } from '../../src/api/resolved.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type Pod, pods, resource, type Stored } from '../../src/kube/objects.ts';
import { askServer, checkVersion } from '../../src/sources/server-version.ts';
import type { Connection } from '../../src/sources/source.ts';
import { toParityError } from '../../src/support/error.ts';
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
  await publishConnection(scope, source, server.connection);
  return { state: 'Ready' };
}

/** What keeps the server's pod from running, in the words of Kubernetes; undefined where it has said nothing. */
export async function podTrouble(scope: Scope, source: ResolvedSource): Promise<string | undefined> {
  const namespace = scope.run.metadata.namespace ?? '';
  const labelSelector = `${ofRun(scope.hold.run)},${labels.source}=${source.name}`;
  const { items } = await scope.kube.list(pods, { namespace, labelSelector });
  if (items.length === 0) return await whyNoPod(scope, source, namespace);
  return items.map(troubleOf).find((trouble) => trouble !== undefined);
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
async function whyNoPod(scope: Scope, source: ResolvedSource, namespace: string): Promise<string | undefined> {
  const name = sourceName(scope.hold.run.uid, source.name);
  try {
    const fieldSelector = `involvedObject.name=${name},type=Warning`;
    const { items } = await scope.kube.list(kubeEvents, { namespace, fieldSelector });
    const last = items.at(-1);
    return last === undefined ? undefined : `${last.reason}${said(last.message)}`;
  } catch (error) {
    if (isKubeError(error, 'Forbidden')) return undefined;
    throw error;
  }
}
