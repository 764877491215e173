import { expect } from 'chai';
import type { Job, Pod } from '../../src/kube/objects.ts';
import type { ErrorCode } from '../../src/support/error.ts';
import { attemptOf, orphans } from './job-attempt.ts';

const now = new Date('2026-03-01T12:00:00Z');
const ago = (seconds: number) => new Date(now.getTime() - seconds * 1000).toISOString();

/** What a cluster says of a Job and its pod, and what is made of it. Statuses as kubelet 1.34 and its Job controller write them. */
const cases: readonly {
  what: string;
  job?: NonNullable<Job['status']>;
  deleted?: boolean;
  pod?: NonNullable<Pod['status']>;
  ageSeconds?: number;
  missing?: readonly string[];
  is: 'Running' | 'Waiting' | 'Succeeded' | ErrorCode;
  isGone?: boolean;
  isRetryable?: boolean;
  says?: RegExp;
}[] = [
  { what: 'a Job without a pod yet', is: 'Running' },
  { what: 'a Job for which no pod is made', ageSeconds: 60, is: 'Waiting', says: /no pod was made for it; kubectl -n/ },
  {
    what: 'a Job for which no pod was made for long',
    ageSeconds: 601,
    is: 'Timeout',
    isGone: false,
    says: /no pod was made for it.*for 10 minutes.*service account/s,
  },
  { what: 'a pod that runs', pod: container({ running: { startedAt: ago(5) } }, 'Running'), is: 'Running' },
  {
    what: 'a Job that is being deleted',
    deleted: true,
    pod: container({ running: { startedAt: ago(5) } }, 'Running'),
    is: 'Running',
  },
  {
    what: 'a Job that is complete',
    job: condition('Complete'),
    pod: ended({ exitCode: 0 }, 'Succeeded'),
    is: 'Succeeded',
    isGone: true,
  },
  {
    what: 'a pod that succeeded, before its Job says so',
    pod: ended({ exitCode: 0 }, 'Succeeded'),
    is: 'Succeeded',
    isGone: true,
  },
  {
    what: 'a container that ended well, before its pod says so',
    pod: ended({ exitCode: 0 }, 'Running'),
    is: 'Succeeded',
    isGone: true,
  },
  {
    what: 'a container that failed, before its pod says why',
    pod: ended({ exitCode: 137 }, 'Running'),
    is: 'Running',
    isGone: false,
  },
  {
    what: 'a task that said how it failed',
    pod: ended({
      exitCode: 1,
      message: JSON.stringify({
        outcome: 'Failed',
        error: { code: 'CorruptTable', message: 'its log is cut', isRetryable: false },
        table: 'flights',
      }),
    }),
    is: 'CorruptTable',
    isGone: true,
    says: /its log is cut/,
  },
  {
    what: 'a task that was stopped from outside',
    pod: ended({
      exitCode: 1,
      message: JSON.stringify({
        outcome: 'Failed',
        error: { code: 'Cancelled', message: 'stopped', isRetryable: false },
      }),
    }),
    is: 'Crashed',
    isRetryable: true,
    says: /stopped by a signal from outside/,
  },
  {
    what: 'a container out of memory',
    job: condition('Failed', 'BackoffLimitExceeded'),
    pod: ended({ exitCode: 137, reason: 'OOMKilled' }),
    is: 'OutOfMemory',
    isRetryable: false,
    says: /task snapshot-0 \(copy flights\) needed more than its 1476395008 of memory.*spec\.execution\.memory/s,
  },
  {
    what: 'a container that was killed',
    pod: ended({ exitCode: 137, reason: 'Error' }),
    is: 'Crashed',
    isRetryable: true,
    says: /was killed/,
  },
  {
    what: 'a container that ended with other words',
    pod: ended({ exitCode: 7, reason: 'Error', message: 'panic: no' }),
    is: 'Crashed',
    isRetryable: true,
    says: /code 7; the last it said: panic: no/,
  },
  {
    what: 'an image without the program',
    pod: ended({ exitCode: 128, reason: 'StartError', message: 'exec: "parity": not found' }),
    is: 'NotFound',
    isRetryable: false,
    says: /could not be started.*image of the installation/s,
  },
  {
    what: 'a deadline',
    job: condition('Failed', 'DeadlineExceeded'),
    is: 'Timeout',
    isRetryable: false,
    says: /did not end within 60 s and was stopped; it never began to run.*spec\.execution\.timeoutSeconds/s,
  },
  {
    what: 'a deadline of a pod that ran',
    job: condition('Failed', 'DeadlineExceeded'),
    pod: ended({ exitCode: 143, startedAt: ago(70) }),
    is: 'Timeout',
    says: /did not end within 60 s and was stopped\n/,
  },
  {
    what: 'a pod that is gone',
    job: condition('Failed', 'BackoffLimitExceeded'),
    is: 'Crashed',
    isRetryable: true,
    isGone: true,
    says: /its pod is gone/,
  },
  {
    what: 'an eviction for want of memory',
    pod: { phase: 'Failed', reason: 'Evicted', message: 'The node was low on resource: memory.' },
    is: 'OutOfMemory',
    isRetryable: true,
    says: /evicted from its node: The node was low on resource: memory/,
  },
  {
    what: 'an eviction for want of disk',
    pod: {
      phase: 'Failed',
      reason: 'Evicted',
      message: 'Usage of EmptyDir volume "scratch" exceeds the limit "20Gi": ephemeral local storage',
    },
    is: 'DiskFull',
    isRetryable: true,
    says: /scratch/,
  },
  {
    what: 'a node that is drained',
    pod: {
      phase: 'Failed',
      conditions: [
        {
          type: 'DisruptionTarget',
          status: 'True',
          reason: 'EvictionByEvictionAPI',
          message: 'Eviction API: evicting',
        },
      ],
    },
    is: 'Crashed',
    isRetryable: true,
    says: /taken from its node \(EvictionByEvictionAPI\)/,
  },
  {
    what: 'an image that is being tried again',
    pod: waiting('ImagePullBackOff', 'manifest unknown'),
    ageSeconds: 60,
    is: 'Waiting',
    says: /could not be pulled: manifest unknown/,
  },
  {
    what: 'an image that is not there',
    pod: waiting('ErrImagePull', 'manifest unknown'),
    ageSeconds: 121,
    is: 'NotFound',
    isGone: false,
    says: /the image parity@sha256:1 could not be pulled.*reach its registry/s,
  },
  {
    what: 'an image that is not given to us',
    pod: waiting('ImagePullBackOff', 'pull access denied, 401 Unauthorized'),
    ageSeconds: 121,
    is: 'AccessDenied',
    says: /imagePullSecret/,
  },
  {
    what: 'a name that is no image',
    pod: waiting('InvalidImageName', 'bad'),
    ageSeconds: 0,
    is: 'NotFound',
    says: /could not be pulled/,
  },
  {
    what: 'a key that a Secret lacks, for a moment',
    pod: waiting('CreateContainerConfigError', "couldn't find key"),
    ageSeconds: 5,
    is: 'Waiting',
  },
  {
    what: 'a key that a Secret lacks',
    pod: waiting('CreateContainerConfigError', "couldn't find key k in Secret shop/s"),
    ageSeconds: 31,
    is: 'NotFound',
    says: /lacks something that it names: couldn't find key k/,
  },
  {
    what: 'a Secret that is missing',
    pod: waiting('ContainerCreating', ''),
    missing: ['lake'],
    ageSeconds: 31,
    is: 'NotFound',
    says: /the Secret shop\/lake is missing/,
  },
  { what: 'a pod that is being made', pod: waiting('ContainerCreating', ''), ageSeconds: 300, is: 'Running' },
  {
    what: 'a container that the runtime refuses',
    pod: waiting('CreateContainerError', 'context deadline exceeded'),
    ageSeconds: 31,
    is: 'Crashed',
    isRetryable: true,
    says: /could not be started/,
  },
  { what: 'a pod that waits for the room of the one before', pod: unscheduled(), ageSeconds: 9, is: 'Running' },
  {
    what: 'a pod that waits for a node',
    pod: unscheduled(),
    ageSeconds: 300,
    is: 'Waiting',
    says: /no node can take its pod: 0\/3 nodes are available: 3 Insufficient memory/,
  },
  {
    what: 'a pod that no node takes',
    pod: unscheduled(),
    ageSeconds: 601,
    is: 'Timeout',
    isRetryable: false,
    says: /Insufficient memory.*spec\.execution\.memory/s,
  },
];

describe('what a Job and its pod come to', () => {
  for (const { what, job, deleted, pod, ageSeconds = 10, missing = [], is, isGone, isRetryable, says } of cases) {
    it(`${what}: ${is}`, () => {
      const pods = pod === undefined ? [] : [podWith(pod, ageSeconds)];
      const attempt = attemptOf(
        { job: jobWith(job, deleted === true, ageSeconds), pods, missingSecrets: missing },
        now,
      );
      const { state } = attempt ?? {};
      const error = state?.kind === 'Exited' ? state.failure?.error : undefined;
      const found =
        state?.kind === 'Running'
          ? state.waiting === undefined
            ? 'Running'
            : 'Waiting'
          : (error?.code ?? 'Succeeded');
      expect(found).to.equal(is);
      if (isGone !== undefined) expect(attempt?.isGone).to.equal(isGone);
      if (isRetryable !== undefined) expect(error?.isRetryable).to.equal(isRetryable);
      const words = state?.kind === 'Running' ? state.waiting : `${error?.message}\n${error?.advice}`;
      if (says !== undefined) expect(words).to.match(says);
      expect(attempt).to.include({ taskId: 'snapshot-0', attempt: 2 });
    });
  }

  it('is an attempt that goes on where the Job is gone and its pod is not, and says so once the node is silent', () => {
    const pod = podWith(container({ running: { startedAt: ago(5) } }, 'Running'), 60);
    const marks = { 'pipelineparity.io/task': 'snapshot-0', 'pipelineparity.io/attempt': '2' };
    const deleted = (seconds: number) => ({
      ...pod,
      metadata: { ...pod.metadata, labels: marks, deletionTimestamp: ago(seconds) },
    });
    const found = (seconds: number) => orphans([], [deleted(seconds)], now)[0];
    expect(found(5)).to.deep.include({ taskId: 'snapshot-0', attempt: 2, state: { kind: 'Running' }, isGone: false });
    expect(found(60))
      .to.have.nested.property('state.waiting')
      .that.matches(/^pod pod was deleted, and its node one/);
    expect(orphans([jobWith(undefined, false)], [deleted(60)], now)).to.deep.equal([]);
    expect(orphans([], [{ ...deleted(60), status: { phase: 'Failed' } }], now)).to.deep.equal([]);
  });

  it("is nothing for a Job that is none of a task's", () => {
    const job = jobWith(undefined, false);
    const other = { ...job, metadata: { ...job.metadata, labels: { 'pipelineparity.io/task': 'Not/One' } } };
    expect(attemptOf({ job: other, pods: [], missingSecrets: [] }, now)).to.equal(undefined);
  });
});

function jobWith(status: Job['status'], isDeleted: boolean, ageSeconds = 20): Job {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      ...meta('job', ageSeconds),
      labels: { 'pipelineparity.io/task': 'snapshot-0', 'pipelineparity.io/attempt': '2' },
      annotations: { 'pipelineparity.io/title': 'copy flights' },
      ...(isDeleted ? { deletionTimestamp: ago(1) } : {}),
    },
    spec: {
      activeDeadlineSeconds: 60,
      template: { spec: { containers: [{ name: 'task', resources: { limits: { memory: '1476395008' } } }] } },
    },
    ...(status === undefined ? {} : { status }),
  };
}

function podWith(status: NonNullable<Pod['status']>, ageSeconds: number): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: meta('pod', ageSeconds),
    spec: { nodeName: 'one', containers: [{ name: 'task', image: 'parity@sha256:1' }] },
    status,
  };
}

function meta(name: string, ageSeconds: number) {
  return { name, namespace: 'shop', uid: 'u', resourceVersion: '1', creationTimestamp: ago(ageSeconds) };
}

function condition(type: string, reason = ''): NonNullable<Job['status']> {
  return { conditions: [{ type, status: 'True', reason, message: 'Job has failed', lastTransitionTime: ago(1) }] };
}

type ContainerState = NonNullable<NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number]['state']>;

function container(state: ContainerState, phase: string): NonNullable<Pod['status']> {
  const about = { name: 'task', image: 'i', imageID: '', ready: false, restartCount: 0 };
  return { phase, containerStatuses: [{ ...about, state }] };
}

function ended(terminated: NonNullable<ContainerState['terminated']>, phase = 'Failed'): NonNullable<Pod['status']> {
  return container({ terminated: { finishedAt: ago(1), ...terminated } }, phase);
}

function waiting(reason: string, message: string): NonNullable<Pod['status']> {
  return container({ waiting: { reason, message } }, 'Pending');
}

function unscheduled(): NonNullable<Pod['status']> {
  const message = '0/3 nodes are available: 3 Insufficient memory.';
  return {
    phase: 'Pending',
    conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message }],
  };
}
