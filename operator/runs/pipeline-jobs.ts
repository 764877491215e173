import type { JobPipelineSpec, ResolvedSpec } from '../../src/api/resolved.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type Job, jobs, type Pod, pods } from '../../src/kube/objects.ts';
import { openStore } from '../../src/lake/open.ts';
import { executionIds } from '../../src/pipelines/contract.ts';
import { type EndedJob, endedJobKey, isJobPipeline } from '../../src/pipelines/job.ts';
import { isTaskId } from '../../src/run/task-id.ts';
import type { Task, TaskId } from '../../src/run/types.ts';
import { ParityError, toParityError } from '../../src/support/error.ts';
import { redactError } from '../../src/support/log.ts';
import { ensureSecret } from './connections.ts';
import { attemptKey, isOver, type JobSeen, type JobState, jobState, orphans } from './job-attempt.ts';
import { byAge, createJob, deleteJobs, missingSecrets, stillThere } from './jobs.ts';
import { storageKeys } from './memory.ts';
import { labels, ofRun } from './names.ts';
import { executionLabel, pipelineJob, type SyncTask } from './pipeline-job.ts';
import { executionsOfJob, protectSecrets } from './pipeline-job-secrets.ts';
import { failureInSync, syncingOf, wordsOf } from './pipeline-job-words.ts';
import type { Attempt, Removed, Scope, TaskExecutor, TaskFailure } from './types.ts';

/**
 * Carries tasks out as `tasks` does; but an attempt of a task that syncs a `job` pipeline begins with that pipeline's Jobs. They are made and followed here, because
 * nothing else of the run may talk to the cluster; once they have ended well, the task itself looks at what has landed.
 */
export class PipelineJobs implements TaskExecutor {
  readonly #tasks: TaskExecutor;

  constructor(tasks: TaskExecutor) {
    this.#tasks = tasks;
  }

  async observe(scope: Scope): Promise<readonly Attempt[]> {
    const begun = await this.#tasks.observe(scope);
    if (!hasJobs(scope.hold.spec)) return begun;
    const seen = await list(scope);
    const byAttempt = Map.groupBy(seen.jobs, attemptKey);
    const known = new Map(begun.map((attempt) => [`${attempt.taskId}/${attempt.attempt}`, attempt]));
    const attempts = [...byAttempt].map(async ([key, own]) => {
      const later = known.get(key);
      // Its Jobs had ended well: what it comes to now is the task's to say.
      if (later !== undefined) return { ...later, startedAt: earliest(own) };
      return await observeJobs(scope, own, seen);
    });
    const inSteps = [
      ...(await Promise.all(attempts)).filter((attempt) => attempt !== undefined),
      ...orphans(seen.jobs, seen.pods, scope.now()).filter(({ taskId, attempt }) => !known.has(`${taskId}/${attempt}`)),
    ];
    return [...begun.filter(({ taskId, attempt }) => !byAttempt.has(`${taskId}/${attempt}`)), ...inSteps];
  }

  async start(scope: Scope, task: Task, attempt: number): Promise<TaskFailure | undefined> {
    const sync = syncOf(scope.hold.spec, task);
    if (sync !== undefined) {
      const step = await carryOut(scope, sync.task, sync.pipeline, attempt);
      if (step !== 'Done') return step === 'Running' ? undefined : step;
    }
    return await this.#tasks.start(scope, task, attempt);
  }

  async stop(scope: Scope, taskIds: readonly TaskId[] | 'all'): Promise<Removed> {
    const stopped = await this.#tasks.stop(scope, taskIds);
    if (!hasJobs(scope.hold.spec)) return stopped;
    const seen = await list(scope);
    const isMeant = ({ metadata }: Job | Pod) =>
      taskIds === 'all' || taskIds.some((id) => id === metadata.labels?.[labels.task]);
    const left = seen.jobs.filter(isMeant);
    await deleteJobs(scope, left);
    const own = stillThere(
      left,
      seen.pods.filter((pod) => isMeant(pod) && !isOver(pod)),
    );
    return stopped.isGone ? own : stopped;
  }

  /** What has ended well is on record before its Job goes: it is not carried out again. */
  async end(scope: Scope, attempts: readonly Attempt[]): Promise<void> {
    await this.#tasks.end(scope, attempts);
    if (attempts.length === 0 || !hasJobs(scope.hold.spec)) return;
    const meant = new Set(attempts.map(({ taskId, attempt }) => `${taskId}/${attempt}`));
    const seen = await list(scope);
    const own = seen.jobs.filter((job) => meant.has(attemptKey(job)));
    const states = await Promise.all(own.map((job) => stateOf(scope, job, seen)));
    await record(
      scope,
      own.filter((_, index) => hasSucceeded(states[index])),
    );
    await deleteJobs(
      scope,
      own.filter((_, index) => !isFailure(states[index]) || states[index]?.isGone !== true),
    );
  }
}

/** The pipeline of a sync whose executions are Jobs. */
function syncOf(spec: ResolvedSpec, task: Task): { task: SyncTask; pipeline: JobPipelineSpec } | undefined {
  const { input } = task;
  if (input.kind !== 'sync') return undefined;
  const pipeline = spec.pipelines.find(({ name }) => name === input.pipeline);
  return isJobPipeline(pipeline) ? { task: { ...task, input }, pipeline } : undefined;
}

function hasJobs({ pipelines }: ResolvedSpec): boolean {
  return pipelines.some(isJobPipeline);
}

interface Seen {
  readonly jobs: readonly Job[];
  readonly pods: readonly Pod[];
  podsOf(job: Job): readonly Pod[];
}

/** Jobs of the run's pipelines with their pods; those after these, as in jobs.ts. */
async function list({ kube, hold }: Scope, taskId?: TaskId): Promise<Seen> {
  const task = taskId === undefined ? '' : `,${labels.task}=${taskId}`;
  const selection = { namespace: hold.namespace, labelSelector: `${ofRun(hold.run)},${labels.execution}${task}` };
  const ownJobs = (await kube.list(jobs, selection)).items;
  const ownPods = (await kube.list(pods, selection)).items.toSorted(byAge);
  const key = ({ metadata }: Job | Pod) =>
    `${metadata.labels?.[labels.execution]}/${metadata.labels?.[labels.attempt]}`;
  const byJob = Map.groupBy(ownPods, key);
  return { jobs: ownJobs, pods: ownPods, podsOf: (job) => byJob.get(key(job)) ?? [] };
}

async function stateOf(scope: Scope, job: Job, seen: Seen): Promise<JobState> {
  const own = seen.podsOf(job);
  const about: JobSeen = { job, pods: own, missingSecrets: await missingSecrets(scope, own) };
  return jobState(about, wordsOf(job), scope.now());
}

function hasSucceeded(found: JobState | undefined): boolean {
  return found?.state.kind === 'Exited' && found.state.failure === undefined;
}

/** Also where it would never come to an end by itself. */
function isFailure(found: JobState | undefined): boolean {
  return found?.state.kind === 'Exited' && found.state.failure !== undefined;
}

/** An attempt of which there is no more yet than its pipeline's Jobs. */
async function observeJobs(scope: Scope, own: readonly Job[], seen: Seen): Promise<Attempt | undefined> {
  const [first] = own;
  const taskId = first?.metadata.labels?.[labels.task] ?? '';
  if (first === undefined || !isTaskId(taskId)) return undefined;
  const attempt = attemptOf(first);
  const about = { taskId, attempt, startedAt: earliest(own) };
  if (own.some((job) => seen.podsOf(job).some(({ status }) => status?.phase === 'Failed'))) await protect(scope, first);
  const states = await Promise.all(own.map((job) => stateOf(scope, job, seen)));
  const failed = states.findIndex(isFailure);
  const failure = failureIn(own[failed], states[failed]) ?? tooLate(scope, first, about.startedAt, states);
  if (failure !== undefined) {
    const endedAt = states[failed]?.endedAt;
    // One of several has failed: the others are of no more use, and are ended first.
    const isGone =
      states.every(({ state, isGone }) => state.kind === 'Exited' && isGone) &&
      seen.pods.every((pod) => attemptKey(pod) !== attemptKey(first) || isOver(pod));
    return { ...about, ...(endedAt === undefined ? {} : { endedAt }), state: { kind: 'Exited', failure }, isGone };
  }
  const [waiting] = states.flatMap(({ state }) => (state.kind === 'Running' ? (state.waiting ?? []) : []));
  const state = { kind: 'Running', ...(waiting === undefined ? {} : { waiting }) } as const;
  return { ...about, state, isInSteps: true, isGone: false };
}

async function protect(scope: Scope, job: Job): Promise<void> {
  const { pipeline, source } = syncingOf(job);
  const spec = scope.hold.spec.pipelines.find(({ name }) => name === pipeline);
  if (isJobPipeline(spec)) await protectSecrets(scope, spec, source);
}

function failureIn(job: Job | undefined, found: JobState | undefined): TaskFailure | undefined {
  if (job === undefined || found?.state.kind !== 'Exited' || found.state.failure === undefined) return undefined;
  return failureInSync(syncingOf(job), found.state.failure);
}

/** Jobs that wait for one another may each end in time, and all of them not. */
function tooLate(scope: Scope, job: Job, since: Date, states: readonly JobState[]): TaskFailure | undefined {
  const { timeoutSeconds } = scope.hold.spec.execution;
  const isLate = scope.now().getTime() - since.getTime() > timeoutSeconds * 1000;
  if (!isLate || states.every(hasSucceeded)) return undefined;
  const { pipeline, source } = syncingOf(job);
  const error = new ParityError('Timeout', `its Jobs did not all end within ${timeoutSeconds} s`, {
    advice: 'Raise spec.execution.parallelism, or give it more time with spec.execution.timeoutSeconds.',
  });
  return failureInSync({ pipeline, source, execution: '' }, { error: error.toJSON() });
}

/**
 * Takes the executions of a sync a step further: starts those that nothing carries out yet, a few at a time. `Done`: all of them have ended well.
 * What an earlier attempt has brought to a good end is not done again.
 */
async function carryOut(
  scope: Scope,
  task: SyncTask,
  pipeline: JobPipelineSpec,
  attempt: number,
): Promise<'Done' | 'Running' | TaskFailure> {
  const seen = await list(scope, task.id);
  const states = new Map<Job, JobState>();
  for (const job of seen.jobs) states.set(job, await stateOf(scope, job, seen));
  if (seen.jobs.some((job) => attemptOf(job) === attempt && isFailure(states.get(job)))) return 'Running';
  const wanted: number[] = [];
  const done: Job[] = [];
  let busy = 0;
  for (const [index, id] of executionIds(pipeline, task.input, scope.hold.run.uid).entries()) {
    const label = executionLabel(id);
    const own = seen.jobs.filter(({ metadata }) => metadata.labels?.[labels.execution] === label);
    const ended = own.find((job) => hasSucceeded(states.get(job)));
    const lives = seen.pods.some((pod) => pod.metadata.labels?.[labels.execution] === label && !isOver(pod));
    if (ended !== undefined) done.push(ended);
    else if (lives || own.some((job) => !isFailure(states.get(job)))) busy += 1;
    else wanted.push(index);
  }
  const missing = await notRecorded(scope, task, pipeline, wanted);
  const room = Math.max(0, scope.hold.spec.execution.parallelism - busy);
  const failure = await begin(scope, task, pipeline, attempt, missing.slice(0, room));
  if (busy + missing.length > 0) return failure ?? 'Running';
  await record(scope, done);
  return 'Done';
}

/** Makes the Jobs of these executions; why that can't be done, where trying again would not help. */
async function begin(
  scope: Scope,
  task: SyncTask,
  pipeline: JobPipelineSpec,
  attempt: number,
  indices: readonly number[],
): Promise<TaskFailure | undefined> {
  if (indices.length === 0) return undefined;
  try {
    const { executions, secrets } = await executionsOfJob(scope, pipeline, task);
    for (const execution of indices.flatMap((index) => executions[index] ?? [])) {
      const { job, keys } = pipelineJob(scope, pipeline, task, execution, secrets, attempt);
      const { name } = job.metadata;
      await ensureSecret(scope, name, keys, { [labels.execution]: executionLabel(execution.id) });
      if (!(await createJob(scope, job))) continue;
      const message = `Job ${name} carries out ${execution.id}`;
      scope.log.info(message, { pipeline: pipeline.name });
      scope.events.record(scope.run, { type: 'Normal', reason: 'PipelineJobCreated', message });
    }
    return undefined;
  } catch (error) {
    // What else the API server says of it may pass.
    if (scope.signal.aborted || (isKubeError(error) && !isKubeError(error, 'Invalid'))) throw error;
    const { source } = task.input;
    return failureInSync(
      { pipeline: pipeline.name, source, execution: '' },
      { error: redactError(toParityError(error).toJSON()) },
    );
  }
}

/** Those of the executions that are not on record as ended well. */
async function notRecorded(
  scope: Scope,
  task: SyncTask,
  pipeline: JobPipelineSpec,
  indices: readonly number[],
): Promise<readonly number[]> {
  if (indices.length === 0) return [];
  const ids = executionIds(pipeline, task.input, scope.hold.run.uid);
  const store = await openStore(scope.hold.workspace.storage, storageKeys(scope.hold));
  try {
    const found = await Promise.all(indices.map((index) => store.head(endedJobKey(ids[index] ?? ''))));
    return indices.filter((_, at) => found[at] === undefined);
  } finally {
    store.close();
  }
}

/** Puts executions that have ended well on record in the workspace: the task that follows will not do without. */
async function record({ hold, now }: Scope, ended: readonly Job[]): Promise<void> {
  if (ended.length === 0) return;
  const store = await openStore(hold.workspace.storage, storageKeys(hold));
  try {
    for (const { metadata, status } of ended) {
      const id = metadata.annotations?.[labels.execution];
      if (id === undefined) continue;
      const endedAt = status?.completionTime ?? now().toISOString();
      const about: EndedJob = { job: metadata.name, uid: metadata.uid, endedAt };
      await store.putIfAbsent(endedJobKey(id), JSON.stringify(about));
    }
  } finally {
    store.close();
  }
}

function attemptOf(object: Job | Pod | undefined): number {
  return Number(object?.metadata.labels?.[labels.attempt] ?? '1');
}

function earliest(own: readonly Job[]): Date {
  return new Date(Math.min(...own.map(({ metadata }) => Date.parse(metadata.creationTimestamp))));
}
