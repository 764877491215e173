import { createHash } from 'node:crypto';
import { canonicalJson } from '../../src/api/json.ts';
import { memoryPlan, runtimeArguments } from '../../src/cli/driver/memory.ts';
import { formatTaskArguments } from '../../src/cli/task-arguments.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type Draft, type Job, jobs, type Pod, pods, secrets } from '../../src/kube/objects.ts';
import { titleAnnotation } from '../../src/kube/runs.ts';
import type { Task, TaskId } from '../../src/run/types.ts';
import { ParityError } from '../../src/support/error.ts';
import { taskTitle } from '../../src/tasks/title.ts';
import { secretsOfTask } from './credentials.ts';
import { attemptKey, attemptOf, isCreating, isOver, type JobSeen, orphans } from './job-attempt.ts';
import { isOfRun, jobName, labels, ofRun, ownedBy, runLabels } from './names.ts';
import type { Attempt, Removed, Scope, TaskExecutor } from './types.ts';

/** Digest of what the Job carries out: one of another digest is not adopted. */
export const inputAnnotation = 'pipelineparity.io/input-digest';
/** Room for what a task keeps beside it, in bytes: spilled rows, files on their way. */
const scratchBytes = 20 * 2 ** 30;
/** What a thread asks its node for: it waits for stores and databases half of the time, and takes more where there is more. */
const requestedMillicores = 500;
/** Pods take their time to stop: the task ends itself a little earlier. */
export const graceSeconds = 10;

/** Tasks as Jobs, one for each attempt. Kubernetes carries them out; what they came to lies in the workspace. */
export class JobExecutor implements TaskExecutor {
  readonly #pullPatienceMs: JobSeen['pullPatienceMs'];

  constructor({ pullPatienceMs }: Pick<JobSeen, 'pullPatienceMs'> = {}) {
    this.#pullPatienceMs = pullPatienceMs;
  }

  async observe(scope: Scope): Promise<readonly Attempt[]> {
    const { jobs, pods, podsOf } = await list(scope);
    const now = scope.now();
    const attempts = jobs.map(async (job) => {
      const own = podsOf(job);
      const seen = { job, pods: own, missingSecrets: await missingSecrets(scope, own) };
      return attemptOf({ ...seen, pullPatienceMs: this.#pullPatienceMs }, now);
    });
    return [...(await Promise.all(attempts)).filter((attempt) => attempt !== undefined), ...orphans(jobs, pods, now)];
  }

  async start(scope: Scope, task: Task, attempt: number): Promise<undefined> {
    await createJob(scope, draftOf(scope, task, attempt));
  }

  async stop(scope: Scope, taskIds: readonly TaskId[] | 'all'): Promise<Removed> {
    const { jobs, pods } = await list(scope);
    const isMeant = ({ metadata }: Job | Pod) =>
      taskIds === 'all' || taskIds.some((id) => id === metadata.labels?.[labels.task]);
    const [left, alive] = [jobs.filter(isMeant), pods.filter((pod) => isMeant(pod) && !isOver(pod))];
    await deleteJobs(scope, left);
    return stillThere(left, alive);
  }

  async end(scope: Scope, attempts: readonly Attempt[]): Promise<void> {
    if (attempts.length === 0) return;
    const names = new Set(attempts.map(({ taskId, attempt }) => jobName(scope.hold.run.uid, taskId, attempt)));
    const { jobs } = await list(scope);
    await deleteJobs(
      scope,
      jobs.filter(({ metadata }) => names.has(metadata.name)),
    );
  }
}

async function list({ kube, hold }: Scope) {
  // A source's server and a pipeline's Jobs carry the run's marks too, and are no task.
  const selection = {
    namespace: hold.namespace,
    labelSelector: `${ofRun(hold.run)},${labels.task},!${labels.execution}`,
  };
  // Pods after Jobs: a Job that has ended is then seen with the pod that it ended by, never with an older state of it.
  const ownJobs = await kube.list(jobs, selection);
  const ownPods = await kube.list(pods, selection);
  const byAttempt = Map.groupBy(ownPods.items.toSorted(byAge), attemptKey);
  return { jobs: ownJobs.items, pods: ownPods.items, podsOf: (job: Job) => byAttempt.get(attemptKey(job)) ?? [] };
}

/** Creates a Job of the run; one that is there is the same by its marks and its digest, or `AccessDenied` is thrown. Whether it was made now. */
export async function createJob({ kube, hold }: Scope, draft: Draft<Job>): Promise<boolean> {
  try {
    await kube.create(jobs, draft);
    return true;
  } catch (error) {
    if (!isKubeError(error, 'AlreadyExists')) throw error;
  }
  const { namespace = '', name, annotations } = draft.metadata;
  const found = await kube.find(jobs, { namespace, name });
  const isSame = found?.metadata.annotations?.[inputAnnotation] === annotations?.[inputAnnotation];
  if (found === undefined || (isOfRun(found, hold.run) && isSame)) return false;
  throw new ParityError('AccessDenied', `the Job ${namespace}/${name} is there already and is not this run's`, {
    advice: 'Nothing was changed. Remove it, and start another run.',
  });
}

/** What of Jobs that were deleted is still there. */
export function stillThere(left: readonly Job[], alive: readonly Pod[]): Removed {
  const names = [
    ...left.map(({ metadata }) => `Job ${metadata.name}`),
    ...alive.map(({ metadata }) => `pod ${metadata.name}`),
  ];
  const more = names.length > 3 ? ` and ${names.length - 3} more` : '';
  return { isGone: names.length === 0, waitingFor: `${names.slice(0, 3).join(', ')}${more}` };
}

/** The cluster's collector then takes their pods. */
export async function deleteJobs({ kube }: Scope, found: readonly Job[]): Promise<void> {
  for (const { metadata } of found) {
    const { namespace = '', name, uid, deletionTimestamp } = metadata;
    if (deletionTimestamp !== undefined) continue;
    await kube.delete(jobs, { namespace, name }, { uid }).catch((error: unknown) => {
      // Another one has its name by now: that one is not meant.
      if (!isKubeError(error, 'Conflict')) throw error;
    });
  }
}

/** Secrets that a pod mounts and that keep it from beginning. Nothing in a pod's status names them. */
export async function missingSecrets({ kube, hold, now }: Scope, own: readonly Pod[]): Promise<readonly string[]> {
  const pod = own.find(isCreating);
  if (pod === undefined || now().getTime() - Date.parse(pod.metadata.creationTimestamp) < 10_000) return [];
  const names = (pod.spec?.volumes ?? []).flatMap(({ secret }) => secret?.secretName ?? []);
  const found = await Promise.all(names.map((name) => kube.find(secrets, { namespace: hold.namespace, name })));
  return names.filter((_, index) => found[index] === undefined);
}

function draftOf(scope: Scope, task: Task, attempt: number): Draft<Job> {
  const { hold, run } = scope;
  const own = { ...runLabels(hold.run), [labels.task]: task.id, [labels.attempt]: String(attempt) };
  const title = { [titleAnnotation]: taskTitle(task) };
  const { specDigest, image } = hold;
  const about = canonicalJson({ input: task.input, specDigest, image, attempt });
  return {
    metadata: {
      name: jobName(hold.run.uid, task.id, attempt),
      namespace: hold.namespace,
      labels: own,
      annotations: { ...title, [inputAnnotation]: createHash('sha256').update(about).digest('hex') },
      ownerReferences: [ownedBy(run)],
    },
    spec: {
      backoffLimit: 0,
      activeDeadlineSeconds: task.timeoutSeconds,
      template: { metadata: { labels: own, annotations: title }, spec: podSpec(scope, task, attempt) },
    },
  };
}

/** A pod that may do nothing but its task: no token, no root, no capability, nothing of its image that it could write to. */
function podSpec({ hold, options }: Scope, task: Task, attempt: number) {
  const mounted = secretsOfTask(task, hold.spec, hold.run.uid);
  const { memoryBytes, threads } = hold.spec.execution;
  const { killBytes } = memoryPlan(memoryBytes);
  const args = formatTaskArguments({
    id: task.id,
    workspace: hold.workspace.storage,
    scratch: `/scratch/${task.id}-${attempt}`,
    attempt,
    secretFolders: ['/secrets'],
    terminationLog: '/dev/termination-log',
  });
  return {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: graceSeconds,
    ...(options.taskServiceAccount === undefined ? {} : { serviceAccountName: options.taskServiceAccount }),
    imagePullSecrets: options.imagePullSecrets.map((name) => ({ name })),
    nodeSelector: { ...options.nodeSelector },
    tolerations: options.tolerations.map((toleration) => ({ ...toleration })),
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'task',
        image: hold.image,
        args: ['task', ...args],
        env: [
          { name: 'NODE_OPTIONS', value: runtimeArguments(task.input.kind, memoryBytes).join(' ') },
          { name: 'HOME', value: '/tmp' },
          { name: 'TMPDIR', value: '/tmp' },
        ],
        // Beside the data: the runtime and the engine's code, as on one machine.
        resources: {
          requests: { cpu: `${threads * requestedMillicores}m`, memory: String(killBytes) },
          limits: { memory: String(killBytes) },
        },
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
        volumeMounts: [
          { name: 'scratch', mountPath: '/scratch' },
          { name: 'tmp', mountPath: '/tmp' },
          ...mounted.map(({ name }, index) => ({
            name: `secret-${index}`,
            mountPath: `/secrets/${name}`,
            readOnly: true,
          })),
        ],
      },
    ],
    volumes: [
      { name: 'scratch', emptyDir: { sizeLimit: String(scratchBytes) } },
      { name: 'tmp', emptyDir: { sizeLimit: String(2 ** 30) } },
      ...mounted.map(({ secretName }, index) => ({ name: `secret-${index}`, secret: { secretName } })),
    ],
  };
}

export function byAge(a: Pod, b: Pod): number {
  return a.metadata.creationTimestamp < b.metadata.creationTimestamp ? -1 : 1;
}
