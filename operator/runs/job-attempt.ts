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
  /** How long its image may be pulled in vain, in ms. Default 120,000. */
  readonly pullPatienceMs?: number | undefined;
}

/** What a Job is called where it fails, and what helps. */
export interface JobWords {
  /** `task snapshot-0 (copy flights)` */
  readonly what: string;
  readonly advice: {
    readonly late: string;
    readonly memory: string;
    /** No node takes its pod. */
    readonly room: string;
    /** Its image is not there; the registry refuses; the image has no such program. */
    readonly image: string;
    readonly pull: string;
    readonly program: string;
  };
  /** How the container itself said that it failed, by its termination message. */
  said(message: string): TaskFailure | undefined;
  /** A container that has ended with a code, or was killed: `how`. `message` is what it left, redacted. */
  ended(how: string, code: number | undefined, message: string): TaskFailure;
}

/** Where a Job stands. */
export type JobState = Pick<Attempt, 'state' | 'isGone' | 'startedAt' | 'endedAt'>;

/** A pull that fails may be a registry that restarts: so long it may go on, in ms. */
const pullPatienceMs = 120_000;
/** A Secret that is missing may be on its way. */
const configPatienceMs = 30_000;
/** A cluster that grows takes minutes to do so. */
const schedulePatienceMs = 600_000;
const lasting = `(for ${schedulePatienceMs / 60_000} minutes)`;
/** Where there is little room, a pod waits a moment for that of the one before. */
const roomMs = 10_000;
/** The Job controller makes pods at once, unless something keeps it from doing so. */
const noPodMs = 30_000;
/** Past its grace a pod that was deleted is gone, unless its node is silent. */
const silenceMs = 30_000;

/** Where the attempt of a task's Job stands. undefined for a Job that is none of a task. */
export function attemptOf(seen: JobSeen, now: Date): Attempt | undefined {
  const { job } = seen;
  const taskId = job.metadata.labels?.[labels.task] ?? '';
  const attempt = Number(job.metadata.labels?.[labels.attempt]);
  if (!isTaskId(taskId) || !Number.isSafeInteger(attempt) || attempt < 1) return undefined;
  return { taskId, attempt, ...jobState(seen, taskWords(job), now) };
}

/**
 * Where a Job stands, and how it failed in words that say what to do. What comes to no end by itself (an image that can't be pulled, a pod that no
 * node takes) is given some time and is then an end.
 */
export function jobState(seen: JobSeen, words: JobWords, now: Date): JobState {
  const { job, pods } = seen;
  const about = { startedAt: startOf(seen) };
  const isGone = pods.every(isOver);
  // Whoever has it deleted has it begun again, or wants nothing of it any more.
  if (job.metadata.deletionTimestamp !== undefined) return { ...about, state: { kind: 'Running' }, isGone: false };
  if (hasCondition(job, 'Complete') || (pods.length > 0 && pods.every(hasSucceeded)))
    return { ...about, ...endOf(seen), state: { kind: 'Exited' }, isGone };
  if (hasCondition(job, 'Failed') || (pods.length > 0 && pods.every(isOver)))
    return { ...about, ...endOf(seen), state: { kind: 'Exited', failure: failureOf(seen, words) }, isGone };
  const stuck = stuckFor(seen, words, now);
  if (stuck === undefined) return { ...about, state: { kind: 'Running' }, isGone: false };
  if ('failure' in stuck) return { ...about, state: { kind: 'Exited', failure: stuck.failure }, isGone: false };
  return { ...about, state: { kind: 'Running', waiting: stuck.waiting }, isGone: false };
}

/** A task says itself how it failed. */
function taskWords({ metadata }: Job): JobWords {
  const title = metadata.annotations?.[titleAnnotation];
  const what = `task ${metadata.labels?.[labels.task]}${title === undefined ? '' : ` (${title})`}`;
  return {
    what,
    advice: {
      late: 'Give it more time with spec.execution.timeoutSeconds.',
      memory: 'Raise spec.execution.memory, or lower spec.execution.threads.',
      room: 'Give the cluster more room, or lower spec.execution.memory, threads or parallelism.',
      image: 'See that the image exists and that nodes reach its registry; the installation names it.',
      pull: 'Give the installation an imagePullSecret that the registry accepts.',
      program: 'See that the image of the installation is one of this project.',
    },
    said: (message) => {
      const said = parseTerminationMessage(message);
      if (said?.outcome !== 'Failed') return undefined;
      // Nobody here asked it to stop: the Job would be gone.
      if (said.error.code === 'Cancelled') return crashed(`${what} was stopped by a signal from outside`);
      return { error: redactError(said.error), ...(said.table === undefined ? {} : { table: said.table }) };
    },
    ended: (how, _, message) => {
      const last = message.trim().slice(-300);
      return crashed(`${what}: its container ${how}${last === '' ? '' : `; the last it said: ${last}`}`);
    },
  };
}

/** Attempts whose Job is gone and whose pod is not: on a node that is lost it may go on, and write, for as long as nobody says that it has ended. */
export function orphans(jobs: readonly Job[], pods: readonly Pod[], now: Date): readonly Attempt[] {
  const known = new Set(jobs.map(attemptKey));
  const left = pods.filter((pod) => !isOver(pod) && !known.has(attemptKey(pod)));
  return [...Map.groupBy(left, attemptKey).values()].flatMap((own) => {
    const [first] = own;
    const taskId = first?.metadata.labels?.[labels.task] ?? '';
    if (first === undefined || !isTaskId(taskId)) return [];
    const attempt = Number(first.metadata.labels?.[labels.attempt]);
    const startedAt = new Date(first.metadata.creationTimestamp);
    const silent = own.find(({ metadata }) => now.getTime() - Date.parse(metadata.deletionTimestamp ?? '') > silenceMs);
    const waiting = silent === undefined ? {} : { waiting: endless(silent) };
    return [{ taskId, attempt, startedAt, state: { kind: 'Running', ...waiting }, isGone: false }];
  });
}

function endless({ metadata, spec }: Pod): string {
  const { namespace, name } = metadata;
  return `pod ${name} was deleted, and its node ${spec?.nodeName ?? ''} does not say that it has ended: it may still write; if the node is gone for good, kubectl -n ${namespace} delete pod ${name} --force`;
}

/** `snapshot-0/1`: of a task, and of its attempt. */
export function attemptKey({ metadata }: Job | Pod): string {
  return `${metadata.labels?.[labels.task]}/${metadata.labels?.[labels.attempt]}`;
}

/** Whether nothing in the pod runs any more. */
export function isOver(pod: Pod): boolean {
  return pod.status?.phase === 'Failed' || hasSucceeded(pod);
}

/**
 * Also when its containers have ended well and the kubelet has not said so of the pod, which takes it a second more. Containers that failed say less than
 * their pod will: who took it from its node, and why.
 */
function hasSucceeded({ spec, status }: Pod): boolean {
  const ended = (status?.containerStatuses ?? []).filter(({ state }) => state?.terminated?.exitCode === 0);
  return status?.phase === 'Succeeded' || (ended.length > 0 && ended.length === spec?.containers.length);
}

/** Whether the pod has a node but its containers can't begin: then a Secret that it mounts may be missing. */
export function isCreating(pod: Pod): boolean {
  return pod.status?.phase === 'Pending' && pod.spec?.nodeName !== undefined && !hasStarted(pod);
}

function failureOf(seen: JobSeen, words: JobWords): TaskFailure {
  const pod = seen.pods.at(-1);
  const { what } = words;
  const failed = seen.job.status?.conditions?.find(({ type, status }) => type === 'Failed' && status === 'True');
  if (failed?.reason === 'DeadlineExceeded' || pod?.status?.reason === 'DeadlineExceeded') return tooLate(seen, words);
  if (pod === undefined)
    return crashed(`${what}: its pod is gone (${failed?.message ?? 'it was deleted'})`, 'See the Events of its node.');
  return takenAway(what, pod) ?? endedByItself(words, pod, seen);
}

function tooLate(seen: JobSeen, { what, advice }: JobWords): TaskFailure {
  const seconds = seen.job.spec?.activeDeadlineSeconds ?? 0;
  const began = seen.pods.some(hasStarted) ? '' : '; it never began to run';
  return failure('Timeout', `${what} did not end within ${seconds} s and was stopped${began}`, {
    advice: advice.late,
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

function endedByItself(words: JobWords, pod: Pod, { job }: JobSeen): TaskFailure {
  const { what, advice } = words;
  const ended = pod.status?.containerStatuses?.[0]?.state?.terminated;
  const memory = job.spec?.template.spec?.containers[0]?.resources?.limits?.memory;
  if (ended?.reason === 'OOMKilled') {
    const bound = typeof memory === 'string' ? ` its ${memory} of` : '';
    return failure('OutOfMemory', `${what} needed more than${bound} memory and was ended`, {
      advice: advice.memory,
    });
  }
  const said = words.said(ended?.message ?? '');
  if (said !== undefined) return said;
  if (ended?.reason === 'StartError' || ended?.reason === 'ContainerCannotRun') {
    return failure('NotFound', `${what}: its container could not be started: ${redact(ended.message ?? '')}`, {
      advice: advice.program,
    });
  }
  const how =
    ended === undefined ? 'ended' : ended.exitCode === 137 ? 'was killed' : `ended with code ${ended.exitCode}`;
  return words.ended(how, ended?.exitCode, redact(ended?.message ?? ''));
}

/** What keeps a pod from running, and since when it is too long. */
function stuckFor(
  seen: JobSeen,
  words: JobWords,
  now: Date,
): { readonly waiting: string } | { readonly failure: TaskFailure } | undefined {
  const { what, advice } = words;
  const pod = seen.pods.find((pod) => !isOver(pod));
  if (pod !== undefined && hasStarted(pod)) return undefined;
  const ageMs = now.getTime() - Date.parse((pod ?? seen.job).metadata.creationTimestamp);
  const given = (patienceMs: number, waiting: string, end: TaskFailure) =>
    ageMs < patienceMs ? { waiting } : { failure: end };
  if (pod === undefined) {
    if (ageMs < noPodMs) return undefined;
    const { namespace, name } = seen.job.metadata;
    const said = `${what}: no pod was made for it; kubectl -n ${namespace} describe job ${name} says why`;
    const help = 'A service account that is missing, a quota or a policy of the namespace keeps pods from being made.';
    return given(schedulePatienceMs, said, failure('Timeout', `${said} ${lasting}`, { advice: help }));
  }
  const unscheduled = pod.status?.conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False');
  if (unscheduled !== undefined) {
    if (ageMs < roomMs) return undefined;
    const said = `${what}: no node can take its pod: ${redact(unscheduled.message ?? unscheduled.reason ?? '')}`;
    return given(schedulePatienceMs, said, failure('Timeout', `${said} ${lasting}`, { advice: advice.room }));
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
      return { failure: unpulled(words, pod, said) };
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'RegistryUnavailable':
    case 'ImageInspectError':
      return given(
        seen.pullPatienceMs ?? pullPatienceMs,
        unpulled(words, pod, said).error.message,
        unpulled(words, pod, said),
      );
    case 'CreateContainerConfigError': {
      const text = `${what}: its container lacks something that it names: ${said}`;
      const help = 'Make what is missing (a Secret, a key of it), and start another run.';
      return given(configPatienceMs, text, failure('NotFound', text, { advice: help }));
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

function unpulled({ what, advice }: JobWords, pod: Pod, said: string): TaskFailure {
  const image = pod.spec?.containers[0]?.image ?? '';
  const isDenied = /unauthori[sz]ed|denied|authentication|403|401/i.test(said);
  return failure(isDenied ? 'AccessDenied' : 'NotFound', `${what}: the image ${image} could not be pulled: ${said}`, {
    advice: isDenied ? advice.pull : advice.image,
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
