import type { KubeClient } from '../../kube/client.ts';
import { isKubeError } from '../../kube/error.ts';
import { type Pod, pods } from '../../kube/objects.ts';
import { labels, titleAnnotation } from '../../kube/runs.ts';
import { Mirror, objectsOf } from '../../kube/watch.ts';
import { clean } from '../../report/terminal.ts';
import { isTaskId, taskId } from '../../run/task-id.ts';
import type { TaskId, TaskSummary } from '../../run/types.ts';
import type { ErrorCode } from '../../support/error.ts';
import { delay } from '../../support/retry.ts';
import type { Progress } from '../../tasks/task.ts';
import type { ShownEvent } from '../live.ts';
import { parseTaskLine } from '../task-lines.ts';
import { parseTerminationMessage } from '../termination-log.ts';
import type { Cluster } from './access.ts';

/** One attempt of a task, as its pod shows it. */
export interface TaskPod {
  readonly name: string;
  readonly uid: string;
  readonly taskId: TaskId;
  readonly title: string;
  readonly attempt: number;
  readonly startedAt: string;
  /** A pod of a pipeline's own Job, by which a task that syncs begins: its log is the pipeline's, and its end not the task's. */
  readonly isPipeline: boolean;
  readonly state: /** `note` says what a pod that does not run waits for. */
    | { readonly kind: 'Waiting'; readonly note: string | undefined }
    | { readonly kind: 'Running' }
    | { readonly kind: 'Succeeded'; readonly endedAt: string; readonly summary: TaskSummary }
    | { readonly kind: 'Failed'; readonly endedAt: string; readonly code: ErrorCode; readonly message: string };
}

/** Selects the pods of a run's tasks. */
export function podsOfRun(uid: string): string {
  return `${labels.runUid}=${uid},${labels.task}`;
}

/** Logs that are followed at a time: enough to see progress, few enough for the API server. */
const mostLogs = 16;
const logPauseMs = 5000;
/** A task that says nothing for longer is listened to anew. */
const logIdleMs = 10 * 60_000;

export interface FollowedTasks {
  /** Tells that those which were seen to run have ended well: the run has gone on before their nodes said so. */
  finish(): void;
  stop(): Promise<void>;
}

/**
 * Tells of the tasks of a run as their pods come and go, with the progress in their logs. What the account may not see is left out:
 * `onBlind` hears why, once.
 */
export function followTasks(
  { client, namespace }: Cluster,
  uid: string,
  emit: (event: ShownEvent) => void,
  onBlind: (error: Error) => void,
): FollowedTasks {
  const stop = new AbortController();
  const shown = new Map<string, { pod: TaskPod; log: AbortController | undefined }>();
  const keys = new Map<string, string>();
  const logs = { open: 0, areReadable: true };
  const mirror = new Mirror({
    source: objectsOf(client, pods, { namespace, labelSelector: podsOfRun(uid) }),
    keep: taskPodOf,
    logLevel: 'debug',
    onChange: (key) => see(mirror.get(key), key),
    hooks: {
      onRestart: (error) => {
        if (!isKubeError(error, 'Forbidden', 'NoSuchKind', 'Invalid')) return;
        void mirror.stop();
        onBlind(error);
      },
    },
  });
  const see = (pod: TaskPod | undefined, key: string) => {
    const known = shown.get(keys.get(key) ?? '');
    if (pod === undefined || (known !== undefined && known.pod.uid !== pod.uid)) {
      known?.log?.abort();
      if (known !== undefined && isOpen(known.pod)) emit(vanished(known.pod));
      keys.delete(key);
    }
    if (pod === undefined) return;
    keys.set(key, pod.uid);
    const entry = shown.get(pod.uid) ?? { pod, log: undefined };
    const before = shown.has(pod.uid) ? entry.pod : undefined;
    shown.set(pod.uid, entry);
    entry.pod = pod;
    // What was over before anybody looked is in the counts.
    if (before === undefined && !isOpen(pod) && !mirror.hasSynced) return;
    for (const event of changes(before, pod)) emit(event);
    if (!isOpen(pod)) entry.log?.abort();
    if (pod.state.kind === 'Running' && entry.log === undefined && logs.open < mostLogs && logs.areReadable) {
      entry.log = new AbortController();
      logs.open++;
      const signal = AbortSignal.any([entry.log.signal, stop.signal]);
      void progressOf(client, namespace, pod, signal, emit)
        .catch(() => {
          logs.areReadable = false;
        })
        .finally(() => {
          logs.open--;
        });
    }
  };
  mirror.start();
  return {
    finish: () => {
      for (const { pod } of shown.values()) {
        if (!isOpen(pod) || pod.isPipeline) continue;
        const ended: TaskPod = { ...pod, state: { kind: 'Succeeded', endedAt: new Date().toISOString(), summary: {} } };
        for (const event of changes(pod, ended)) emit(event);
      }
    },
    stop: async () => {
      stop.abort();
      await mirror.stop();
    },
  };
}

/** The attempt that a pod is; a pod of ours that is no task's is one all the same, under its own name. */
export function taskPodOf(pod: Pod): TaskPod {
  const { name, uid, creationTimestamp, labels: marks = {}, annotations = {} } = pod.metadata;
  const label = marks[labels.task] ?? '';
  const id = isTaskId(label) ? label : taskId(name);
  const ended = pod.status?.containerStatuses?.[0]?.state?.terminated;
  return {
    name,
    uid,
    taskId: id,
    title: annotations[titleAnnotation] ?? id,
    attempt: Number(marks[labels.attempt] ?? '1') || 1,
    startedAt: ended?.startedAt ?? pod.status?.startTime ?? creationTimestamp,
    isPipeline: marks[labels.execution] !== undefined,
    state: stateOf(pod),
  };
}

function stateOf(pod: Pod): TaskPod['state'] {
  const { phase, containerStatuses = [], conditions = [], message, reason } = pod.status ?? {};
  const [container] = containerStatuses;
  const ended = container?.state?.terminated;
  const endedAt = ended?.finishedAt ?? new Date().toISOString();
  const end = parseTerminationMessage(ended?.message ?? '');
  // The pod's own phase follows a second later.
  switch (phase === 'Running' && ended?.exitCode === 0 ? 'Succeeded' : phase) {
    case 'Succeeded':
      return { kind: 'Succeeded', endedAt, summary: end?.outcome === 'Succeeded' ? end.summary : {} };
    case 'Failed': {
      const why = ended?.reason ?? reason ?? 'Error';
      if (end?.outcome === 'Failed')
        return { kind: 'Failed', endedAt, code: end.error.code, message: end.error.message };
      const isPipeline = pod.metadata.labels?.[labels.execution] !== undefined;
      const code = why === 'OOMKilled' ? 'OutOfMemory' : isPipeline ? 'PipelineFailed' : 'Crashed';
      const exit = `its container ended with exit code ${ended?.exitCode ?? '?'} (${why})`;
      return { kind: 'Failed', endedAt, code, message: message ?? exit };
    }
    case 'Running':
      return { kind: 'Running' };
    default: {
      const waiting = container?.state?.waiting;
      const unscheduled = conditions.find(({ type, status }) => type === 'PodScheduled' && status === 'False');
      const cause = unscheduled ?? (waiting?.reason === 'ContainerCreating' ? undefined : waiting);
      return {
        kind: 'Waiting',
        note: cause?.reason === undefined ? undefined : `${cause.reason}: ${cause.message ?? ''}`,
      };
    }
  }
}

function isOpen({ state }: TaskPod): boolean {
  return state.kind === 'Waiting' || state.kind === 'Running';
}

function* changes(before: TaskPod | undefined, pod: TaskPod): Generator<ShownEvent> {
  const time = new Date().toISOString();
  const { attempt, state, startedAt } = pod;
  const task = { id: pod.taskId, title: pod.title };
  if (before === undefined) yield { time: startedAt, type: 'TaskStarted', task, attempt };
  if (before?.state.kind === state.kind && state.kind !== 'Waiting') return;
  switch (state.kind) {
    case 'Running':
      return;
    case 'Waiting':
      if (state.note !== undefined)
        yield { time, type: 'TaskProgress', taskId: task.id, progress: { note: state.note } };
      return;
    case 'Succeeded':
      if (pod.isPipeline) {
        yield { time, type: 'TaskProgress', taskId: task.id, progress: { note: `Job of pod ${pod.name} has ended` } };
        return;
      }
      yield {
        time,
        type: 'TaskFinished',
        task,
        attempt,
        durationMs: between(startedAt, state.endedAt),
        summary: state.summary,
      };
      return;
    case 'Failed': {
      const error = { code: state.code, message: state.message, isRetryable: false };
      const durationMs = between(startedAt, state.endedAt);
      yield { time, type: 'TaskFailed', task, attempt, durationMs, error, willRetry: false };
      return;
    }
  }
}

/** A pod that was deleted before it ended: the run was cancelled or suspended, or its node drained. */
function vanished(pod: TaskPod): ShownEvent {
  return {
    time: new Date().toISOString(),
    type: 'TaskFailed',
    task: { id: pod.taskId, title: pod.title },
    attempt: pod.attempt,
    durationMs: between(pod.startedAt, new Date().toISOString()),
    error: { code: 'Cancelled', message: 'its pod was deleted', isRetryable: false },
    willRetry: false,
  };
}

function between(from: string, to: string): number {
  return Math.max(0, Date.parse(to) - Date.parse(from)) || 0;
}

/** Passes on the progress that a running pod logs, until the signal. Throws where the account may not read logs. */
async function progressOf(
  client: KubeClient,
  namespace: string,
  pod: TaskPod,
  signal: AbortSignal,
  emit: (event: ShownEvent) => void,
): Promise<void> {
  const path = `${logPath(namespace, pod.name)}?follow=true&tailLines=20`;
  while (!signal.aborted) {
    try {
      for await (const text of client.follow(path, `following the log of pod ${namespace}/${pod.name}`, {
        idleMs: logIdleMs,
        signal,
      })) {
        const progress = pod.isPipeline ? noteOf(text) : progressIn(text);
        if (progress === undefined) continue;
        emit({ time: new Date().toISOString(), type: 'TaskProgress', taskId: pod.taskId, progress });
      }
    } catch (error) {
      if (isKubeError(error, 'Forbidden')) throw error;
    }
    // Its end is told by the pod; a log that was cut is opened again.
    await delay(logPauseMs, signal).catch(() => undefined);
  }
}

function progressIn(text: string): Progress | undefined {
  const line = parseTaskLine(text);
  return line?.type === 'progress' ? line.progress : undefined;
}

/** Whatever a pipeline says. */
function noteOf(text: string): Progress | undefined {
  const note = clean(text).trim().slice(0, 200);
  return note === '' ? undefined : { note };
}

/** The path of a pod's log. */
export function logPath(namespace: string, pod: string): string {
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/log`;
}
