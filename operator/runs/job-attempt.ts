import { parseTerminationMessage } from '../../src/cli/termination-log.ts';
import type { Job, Pod } from '../../src/kube/objects.ts';
import { labels, titleAnnotation } from '../../src/kube/runs.ts';
import { isTaskId } from '../../src/run/task-id.ts';
import { ParityError } from '../../src/support/error.ts';
import { redact, redactError } from '../../src/support/log.ts';
import type { Attempt, TaskFailure } from './types.ts';

/** What is known of the Job of one attempt. */
export interface JobSeen {
  readonly job: Job;
  readonly pods: readonly Pod[];
  /** Secrets that its pod mounts and that are not there. */
  readonly missingSecrets: readonly string[];
}

/** A pull that fails may be a registry that restarts: so long it may go on, in ms. */
const pullPatienceMs = 120_000;
/** A Secret that is missing may be on its way. */
const configPatienceMs = 30_000;
/** A cluster that grows takes minutes to do so. */
const schedulePatienceMs = 600_000;

/**
 * Where the attempt of a Job stands, and how it failed in words that say what to do. What comes to no end by itself (an image that can't be pulled, a pod that no
 * node takes) is given some time and is then an end. undefined for a Job that is none of a task.
 */
export function attemptOf(seen: JobSeen, now: Date): Attempt | undefined {
  const { job, pods } = seen;
  const taskId = job.metadata.labels?.[labels.task] ?? '';
  const attempt = Number(job.metadata.labels?.[labels.attempt]);
  if (!isTaskId(taskId) || !Number.isSafeInteger(attempt) || attempt < 1) return undefined;
  const about = { taskId, attempt, startedAt: startOf(seen) };
  const isGone = pods.every(isOver);
  // Whoever has it deleted has it begun again, or wants nothing of it any more.
  if (job.metadata.deletionTimestamp !== undefined) return { ...about, state: { kind: 'Running' }, isGone: false };
  if (hasCondition(job, 'Complete') || (pods.length > 0 && pods.every(({ status }) => status?.phase === 'Succeeded')))
    return { ...about, ...endOf(seen), state: { kind: 'Exited' }, isGone };
  if (hasCondition(job, 'Failed') || (pods.length > 0 && pods.every(isOver)))
    return { ...about, ...endOf(seen), state: { kind: 'Exited', failure: failureOf(seen) }, isGone };
  const stuck = stuckFor(seen, now);
  if (stuck === undefined) return { ...about, state: { kind: 'Running' }, isGone: false };
  if ('failure' in stuck) return { ...about, state: { kind: 'Exited', failure: stuck.failure }, isGone: false };
  return { ...about, state: { kind: 'Running', waiting: stuck.waiting }, isGone: false };
}

/** Whether nothing in the pod runs any more. */
export function isOver({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

/** Whether the pod has a node but its containers can't begin: then a Secret that it mounts may be missing. */
export function isCreating(pod: Pod): boolean {
  return pod.status?.phase === 'Pending' && pod.spec?.nodeName !== undefined && !hasStarted(pod);
}

function failureOf(seen: JobSeen): TaskFailure {
  const pod = seen.pods.at(-1);
  const what = nameOf(seen);
  const failed = seen.job.status?.conditions?.find(({ type, status }) => type === 'Failed' && status === 'True');
  if (failed?.reason === 'DeadlineExceeded' || pod?.status?.reason === 'DeadlineExceeded') return tooLate(seen);
  if (pod === undefined)
    return crashed(`${what}: its pod is gone (${failed?.message ?? 'it was deleted'})`, 'See the Events of its node.');
  return takenAway(what, pod) ?? endedByItself(what, pod, seen);
}

function tooLate(seen: JobSeen): TaskFailure {
  const seconds = seen.job.spec?.activeDeadlineSeconds ?? 0;
  const began = seen.pods.some(hasStarted) ? '' : '; it never began to run';
  return failure('Timeout', `${nameOf(seen)} did not end within ${seconds} s and was stopped${began}`, {
    advice: 'Give it more time with spec.execution.timeoutSeconds.',
  });
}

/** The node or the cluster took the pod away: on another node it may well end. */
function takenAway(what: string, { status }: Pod): TaskFailure | undefined {
  const disrupted = status?.conditions?.find(({ type, status }) => type === 'DisruptionTarget' && status === 'True');
  const said = redact(status?.message ?? disrupted?.message ?? '');
  if (status?.reason === 'Evicted') {
    const code = /memory/i.test(said) ? 'OutOfMemory' : /ephemeral|disk/i.test(said) ? 'DiskFull' : 'Crashed';
    const advice =
      code === 'DiskFull'
        ? 'Give nodes more ephemeral storage, or lower spec.execution.parallelism.'
        : 'Give nodes more room, or lower spec.execution.parallelism or memory.';
    return failure(code, `${what}: its pod was evicted from its node: ${said}`, { advice, isRetryable: true });
  }
  if (disrupted === undefined && status?.reason !== 'NodeLost' && status?.reason !== 'Shutdown') return undefined;
  const why = disrupted?.reason ?? status?.reason;
  return crashed(
    `${what}: its pod was taken from its node (${why}): ${said}`,
    'See the Events of the pod and its node.',
  );
}

function endedByItself(what: string, pod: Pod, { job }: JobSeen): TaskFailure {
  const ended = pod.status?.containerStatuses?.[0]?.state?.terminated;
  const memory = job.spec?.template.spec?.containers[0]?.resources?.limits?.memory;
  if (ended?.reason === 'OOMKilled') {
    const bound = typeof memory === 'string' ? ` its ${memory} of` : '';
    return failure('OutOfMemory', `${what} needed more than${bound} memory and was ended`, {
      advice: 'Raise spec.execution.memory, or lower spec.execution.threads.',
    });
  }
  const said = parseTerminationMessage(ended?.message ?? '');
  if (said?.outcome === 'Failed') {
    // Nobody here asked it to stop: the Job would be gone.
    if (said.error.code === 'Cancelled') return crashed(`${what} was stopped by a signal from outside`);
    return { error: redactError(said.error), ...(said.table === undefined ? {} : { table: said.table }) };
  }
  if (ended?.reason === 'StartError' || ended?.reason === 'ContainerCannotRun') {
    return failure('NotFound', `${what}: its container could not be started: ${redact(ended.message ?? '')}`, {
      advice: 'See that the image of the installation is one of this project.',
    });
  }
  const how =
    ended === undefined ? 'ended' : ended.exitCode === 137 ? 'was killed' : `ended with code ${ended.exitCode}`;
  const words = redact((ended?.message ?? '').trim().slice(-300));
  return crashed(`${what}: its container ${how}${words === '' ? '' : `; the last it said: ${words}`}`);
}

/** What keeps a pod from running, and since when it is too long. */
function stuckFor(
  seen: JobSeen,
  now: Date,
): { readonly waiting: string } | { readonly failure: TaskFailure } | undefined {
  const pod = seen.pods.find((pod) => !isOver(pod));
  if (pod === undefined || hasStarted(pod)) return undefined;
  const what = nameOf(seen);
  const ageMs = now.getTime() - Date.parse(pod.metadata.creationTimestamp);
  const given = (patienceMs: number, waiting: string, end: TaskFailure) =>
    ageMs < patienceMs ? { waiting } : { failure: end };
  const unscheduled = pod.status?.conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False');
  if (unscheduled !== undefined) {
    const said = `${what}: no node can take its pod: ${redact(unscheduled.message ?? unscheduled.reason ?? '')}`;
    const advice = 'Give the cluster more room, or lower spec.execution.memory, threads or parallelism.';
    return given(
      schedulePatienceMs,
      said,
      failure('Timeout', `${said} (for ${schedulePatienceMs / 60_000} minutes)`, { advice }),
    );
  }
  const [missing] = seen.missingSecrets;
  if (missing !== undefined) {
    const said = `${what}: the Secret ${pod.metadata.namespace}/${missing} is missing`;
    return given(
      configPatienceMs,
      said,
      failure('NotFound', said, { advice: 'Make it again, and start another run.', subject: missing }),
    );
  }
  const waiting = pod.status?.containerStatuses?.[0]?.state?.waiting;
  const said = redact(waiting?.message ?? '');
  switch (waiting?.reason) {
    case 'InvalidImageName':
    case 'ErrImageNeverPull':
      return { failure: unpulled(what, pod, said) };
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'RegistryUnavailable':
    case 'ImageInspectError':
      return given(pullPatienceMs, unpulled(what, pod, said).error.message, unpulled(what, pod, said));
    case 'CreateContainerConfigError': {
      const text = `${what}: its container lacks something that it names: ${said}`;
      const advice = 'Make what is missing (a Secret, a key of it), and start another run.';
      return given(configPatienceMs, text, failure('NotFound', text, { advice }));
    }
    case 'CreateContainerError':
    case 'RunContainerError': {
      const text = `${what}: its container could not be started: ${said}`;
      return given(configPatienceMs, text, crashed(text, 'See the Events of the pod.'));
    }
    default:
      return undefined;
  }
}

function unpulled(what: string, pod: Pod, said: string): TaskFailure {
  const image = pod.spec?.containers[0]?.image ?? '';
  const isDenied = /unauthori[sz]ed|denied|authentication|403|401/i.test(said);
  return failure(isDenied ? 'AccessDenied' : 'NotFound', `${what}: the image ${image} could not be pulled: ${said}`, {
    advice: isDenied
      ? 'Give the installation an imagePullSecret that the registry accepts.'
      : 'See that the image exists and that nodes reach its registry; the installation names it.',
    subject: image,
  });
}

function hasStarted(pod: Pod): boolean {
  const state = pod.status?.containerStatuses?.[0]?.state;
  return state?.running !== undefined || state?.terminated !== undefined;
}

function hasCondition({ status }: Job, wanted: string): boolean {
  return status?.conditions?.some(({ type, status }) => type === wanted && status === 'True') === true;
}

function startOf({ job, pods }: JobSeen): Date {
  const state = pods.at(-1)?.status?.containerStatuses?.[0]?.state;
  return new Date(state?.running?.startedAt ?? state?.terminated?.startedAt ?? job.metadata.creationTimestamp);
}

function endOf({ job, pods }: JobSeen): { readonly endedAt: Date } | object {
  const failed = job.status?.conditions?.find(({ type }) => type === 'Failed')?.lastTransitionTime;
  const at =
    pods.at(-1)?.status?.containerStatuses?.[0]?.state?.terminated?.finishedAt ?? job.status?.completionTime ?? failed;
  return at === undefined ? {} : { endedAt: new Date(at) };
}

/** `task snapshot-0 (copy flights)` */
function nameOf({ job }: JobSeen): string {
  const title = job.metadata.annotations?.[titleAnnotation];
  return `task ${job.metadata.labels?.[labels.task]}${title === undefined ? '' : ` (${title})`}`;
}

function crashed(message: string, advice?: string): TaskFailure {
  return failure('Crashed', message, { isRetryable: true, ...(advice === undefined ? {} : { advice }) });
}

function failure(
  code: ParityError['code'],
  message: string,
  options: { readonly advice?: string; readonly subject?: string; readonly isRetryable?: boolean },
): TaskFailure {
  return { error: new ParityError(code, message, options).toJSON() };
}
