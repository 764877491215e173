import { parseTaskArguments } from '../../src/cli/task-arguments.ts';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type Job, jobs, type StatefulSet, statefulSets } from '../../src/kube/objects.ts';
import { labels } from '../../src/kube/runs.ts';
import { Mirror, objectsOf } from '../../src/kube/watch.ts';
import { openStore } from '../../src/lake/open.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { readInput, readRunRecord, recordSuccess } from '../../src/tasks/records.ts';
import type { TaskOutput } from '../../src/tasks/task.ts';
import type { S3Keys, SeaweedFs } from './seaweedfs.ts';

export interface PlayedOptions {
  readonly kubeconfig: string;
  readonly s3: Pick<SeaweedFs, 'endpoint' | 'admin'>;
  /** Asked once for each Job; false: its task goes on until somebody ends it. */
  readonly carriesOut: (namespace: string, taskId: string) => boolean;
}

/**
 * Plays the kubelet and Kubernetes' controllers for an API server that has none: the task of each Job is carried out at once, without work but with its result
 * recorded in the workspace, and each StatefulSet is ready.
 */
export async function playCluster(options: PlayedOptions): Promise<AsyncDisposable> {
  const kube = await connect({ kubeconfig: options.kubeconfig, requestsPerSecond: 500, burst: 500 });
  const taken = new Set<string>();
  const works = new Set<Promise<void>>();
  const once = (uid: string, work: () => Promise<void>) => {
    if (taken.has(uid)) return;
    taken.add(uid);
    const done: Promise<void> = work()
      // It was deleted while it was being played, with its workspace.
      .catch((error: unknown) => {
        process.stderr.write(`playing the cluster: ${String(error)}\n`);
      })
      .finally(() => {
        works.delete(done);
      });
    works.add(done);
  };
  const jobMirror: Mirror<Job, Job> = new Mirror({
    source: objectsOf(kube, jobs),
    keep: (job) => job,
    onChange: (key) => {
      const job = jobMirror.get(key);
      if (job === undefined || job.metadata.deletionTimestamp !== undefined || taken.has(job.metadata.uid)) return;
      const isDone = options.carriesOut(job.metadata.namespace ?? '', job.metadata.labels?.[labels.task] ?? '');
      once(job.metadata.uid, async () => {
        if (isDone) await carryOut(kube, job, options.s3);
      });
    },
  });
  const setMirror: Mirror<StatefulSet, StatefulSet> = new Mirror({
    source: objectsOf(kube, statefulSets),
    keep: (set) => set,
    onChange: (key) => {
      const set = setMirror.get(key);
      if (set !== undefined) once(set.metadata.uid, () => becomeReady(kube, set));
    },
  });
  const mirrors = [jobMirror, setMirror];
  for (const mirror of mirrors) mirror.start();
  return {
    [Symbol.asyncDispose]: async () => {
      await Promise.all(mirrors.map((mirror) => mirror.stop()));
      await Promise.all(works);
      kube.close();
    },
  };
}

async function carryOut(kube: KubeClient, job: Job, s3: PlayedOptions['s3']): Promise<void> {
  const [, ...argv] = job.spec?.template.spec?.containers[0]?.args ?? [];
  // Not through the operator's own proxy: what tasks write is none of its writes. A pipeline's own Job has nothing to leave.
  if (job.metadata.labels?.[labels.execution] === undefined) await recordResult(argv, s3);
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const condition = (type: string) => ({ type, status: 'True', lastProbeTime: now, lastTransitionTime: now });
  const conditions = [condition('SuccessCriteriaMet'), condition('Complete')];
  const status = { startTime: now, completionTime: now, succeeded: 1, uncountedTerminatedPods: {}, conditions };
  await kube.mergePatch(jobs, job.metadata, { status }, { subresource: 'status' }).catch(unlessGone);
}

/** What a task leaves in its workspace that has found nothing wrong. `s3` is where that is, unless it is a folder. */
export async function recordResult(argv: readonly string[], s3?: PlayedOptions['s3']): Promise<void> {
  const { id, workspace } = parseTaskArguments(argv);
  const store =
    s3 === undefined
      ? await openStore(workspace)
      : await openStore({ location: workspace.location, endpoint: s3.endpoint }, keysOf(s3.admin));
  try {
    await recordSuccess(store, id, await resultOf(store, id));
  } finally {
    store.close();
  }
}

async function resultOf(store: ObjectStore, id: string): Promise<Pick<Succeeded, 'summary' | 'detail'>> {
  const { input, spec } = await readInput(store, id);
  switch (input.kind) {
    case 'resolve': {
      const counts = { version: 1, baseVersion: null, rows: 1, sizeBytes: 1, copyBytes: 1, files: 1 };
      const tables = spec.snapshot.tables.map(({ name }) => ({ name, ...counts }));
      return { summary: { tables: tables.length }, detail: { tables } };
    }
    case 'report': {
      const { verdict, message } = await readRunRecord(store);
      return { summary: {}, detail: { verdict, message } };
    }
    case 'compare':
    case 'query':
      return { summary: { differences: 0 }, detail: {} };
    default:
      return { summary: { rows: 1 }, detail: {} };
  }
}

type Succeeded = Extract<TaskOutput, { readonly outcome: 'Succeeded' }>;

async function becomeReady(kube: KubeClient, { metadata }: StatefulSet): Promise<void> {
  const status = { replicas: 1, readyReplicas: 1 };
  await kube.mergePatch(statefulSets, metadata, { status }, { subresource: 'status' }).catch(unlessGone);
}

/** Keys as a Secret holds them. */
export function keysOf({ accessKeyId, secretAccessKey }: S3Keys): Readonly<Record<string, string>> {
  return { accessKeyId, secretAccessKey };
}

function unlessGone(error: unknown): void {
  if (!isKubeError(error, 'NotFound')) throw error;
}
