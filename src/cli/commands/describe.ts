import { isKubeError } from '../../kube/error.ts';
import { type KubeObject, pods, resource } from '../../kube/objects.ts';
import { labels, type RunObject } from '../../kube/runs.ts';
import { align, clean } from '../../report/terminal.ts';
import { bytes, count, duration, number } from '../../report/words.ts';
import { type Cluster, type ClusterFlags, openCluster, runNameOf } from '../cluster/access.ts';
import { failureLines, resultRows } from '../cluster/attend.ts';
import { isPickedUp, readRun } from '../cluster/follow.ts';
import { podsOfRun, type TaskPod, taskPodOf } from '../cluster/task-pods.ts';
import type { Io } from './io.ts';

export interface DescribeFlags extends ClusterFlags {
  readonly json?: boolean;
}

/** `parity describe`: where a run stands, its conditions, its tasks' pods and its latest events. Returns 0 whatever the verdict. */
export async function describeCommand(run: string, flags: DescribeFlags, io: Io): Promise<number> {
  const name = runNameOf(run);
  const cluster = await openCluster(flags);
  try {
    const object = await readRun(cluster, name);
    const [tasks, events] = await Promise.all([tasksOf(cluster, object), eventsOf(cluster, object)]);
    if (flags.json === true)
      io.out(`${JSON.stringify({ run: object, tasks: tasks ?? null, events: events ?? null })}\n`);
    else io.out(text(object, tasks, events, io));
    return 0;
  } finally {
    cluster.client.close();
  }
}

/** An Event of the core API, as far as it is shown. */
interface RunEventObject extends KubeObject {
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly note?: string;
  readonly lastTimestamp?: string | null;
  readonly eventTime?: string | null;
  readonly count?: number;
}

const events = resource<RunEventObject>('', 'v1', 'events', 'Event');
const mostEvents = 20;
const mostTasks = 40;

/** Undefined where the account may not list pods. */
async function tasksOf({ client, namespace }: Cluster, run: RunObject): Promise<readonly TaskPod[] | undefined> {
  return await visible(async () => {
    const found = await client.list(pods, { namespace, labelSelector: podsOfRun(run.metadata.uid) });
    return found.items.map(taskPodOf).sort((a, b) => a.startedAt.localeCompare(b.startedAt));
  });
}

async function eventsOf({ client, namespace }: Cluster, run: RunObject) {
  return await visible(async () => {
    const found = await client.list(events, { namespace, fieldSelector: `involvedObject.uid=${run.metadata.uid}` });
    return [...found.items].sort((a, b) => timeOf(a).localeCompare(timeOf(b))).slice(-mostEvents);
  });
}

/** A description of less is better than none. */
async function visible<T>(read: () => Promise<T>): Promise<T | undefined> {
  return await read().catch((error: unknown) => {
    if (isKubeError(error, 'Forbidden')) return undefined;
    throw error;
  });
}

function timeOf(event: RunEventObject): string {
  return event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp;
}

function text(
  run: RunObject,
  tasks: readonly TaskPod[] | undefined,
  told: readonly RunEventObject[] | undefined,
  io: Io,
): string {
  const { paint } = io;
  const section = (name: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : ['', paint('bold', name), ...lines.map((line) => `  ${line}`)];
  const lines = [
    ...align(facts(run), new Set()),
    ...section('Conditions', conditions(run)),
    ...section('Result', align(resultRows(run.status?.result), new Set())),
    ...section('Failures', failureLines(run)),
    ...section('Tasks', tasks === undefined ? ['they are not shown to this account'] : taskLines(tasks)),
    ...section('Events', told === undefined ? ['they are not shown to this account'] : eventLines(told)),
  ];
  return `${lines.join('\n')}\n`;
}

function facts(run: RunObject): string[][] {
  const { metadata, spec, status } = run;
  const { pending = 0, running = 0, succeeded = 0, failed = 0 } = status?.tasks ?? {};
  const tables = status?.snapshot?.tables;
  const phase = metadata.deletionTimestamp === undefined ? (status?.phase ?? 'Pending') : 'being deleted';
  return [
    ['Name', clean(metadata.name)],
    ['Namespace', metadata.namespace ?? ''],
    ['UID', metadata.uid],
    ...(metadata.labels?.[labels.installation] === undefined
      ? []
      : [['Installation', clean(metadata.labels[labels.installation] ?? '')]]),
    ...(spec.planRef === undefined ? [] : [['Plan', clean(spec.planRef.name)]]),
    ['Created', `${metadata.creationTimestamp} (${ago(metadata.creationTimestamp)})`],
    ...(status?.startTime === undefined ? [] : [['Started', status.startTime]]),
    ...(status?.completionTime === undefined ? [] : [['Finished', status.completionTime]]),
    ['Phase', isPickedUp(run) ? clean(phase) : `${clean(phase)}: no operator has picked it up yet`],
    ...(status?.tasks === undefined
      ? []
      : [
          [
            'Tasks',
            `${number(succeeded)} done, ${number(running)} running, ${number(pending)} pending, ${number(failed)} failed`,
          ],
        ]),
    ...(tables?.count === undefined
      ? []
      : [
          [
            'Snapshot',
            `${count(tables.count, 'table')}, ${count(tables.rows ?? 0, 'row')}, ${bytes(tables.bytes ?? 0)}`,
          ],
        ]),
  ];
}

function conditions({ status }: RunObject): string[] {
  const rows = (status?.conditions ?? []).map(({ type, status: holds, reason, message }) => [
    type,
    holds,
    clean(reason),
    clean(message),
  ]);
  return align(rows, new Set());
}

function taskLines(tasks: readonly TaskPod[]): string[] {
  const rows = tasks.slice(-mostTasks).map(({ taskId, attempt, state, name }) => {
    const said = 'message' in state ? state.message : 'note' in state ? (state.note ?? '') : '';
    return [taskId, `attempt ${attempt}`, state.kind, name, clean(said)];
  });
  const rest = tasks.length - rows.length;
  return [...(rest > 0 ? [`${number(rest)} earlier ones are not shown`] : []), ...align(rows, new Set())];
}

function eventLines(told: readonly RunEventObject[]): string[] {
  const rows = told.map((event) => [
    ago(timeOf(event)),
    event.type ?? '',
    clean(event.reason ?? ''),
    clean(event.message ?? event.note ?? ''),
  ]);
  return align(rows, new Set());
}

function ago(time: string): string {
  return `${duration(Math.max(0, Date.now() - Date.parse(time)) / 1000)} ago`;
}
