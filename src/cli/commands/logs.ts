import { isKubeError } from '../../kube/error.ts';
import { pods } from '../../kube/objects.ts';
import { clean } from '../../report/terminal.ts';
import { ParityError } from '../../support/error.ts';
import { type Cluster, type ClusterFlags, openCluster, runNameOf } from '../cluster/access.ts';
import { readRun } from '../cluster/follow.ts';
import { logPath, podsOfRun, type TaskPod, taskPodOf } from '../cluster/task-pods.ts';
import { parseTaskLine } from '../task-lines.ts';
import type { Io } from './io.ts';

export interface LogsFlags extends ClusterFlags {
  readonly task?: string;
  readonly progress?: boolean;
}

/**
 * `parity logs`: what the pods of a run's tasks have logged so far, oldest first. Throws `NotFound` where there is no such task, or no
 * pod is left. Returns 0.
 */
export async function logsCommand(run: string, flags: LogsFlags, io: Io): Promise<number> {
  const name = runNameOf(run);
  const cluster = await openCluster(flags);
  try {
    const found = await podsOf(cluster, name);
    const wanted = flags.task === undefined ? found : found.filter(({ taskId }) => taskId === flags.task);
    if (wanted.length === 0) throw nothing(name, cluster.namespace, flags.task, found);
    for (const pod of wanted) {
      for (const line of await linesOf(cluster, pod, flags.progress === true)) {
        const mark = flags.task === undefined ? `${pod.taskId}/${pod.attempt} ` : '';
        io.out(`${mark}${clean(line)}\n`);
      }
    }
    return 0;
  } finally {
    cluster.client.close();
  }
}

async function podsOf(cluster: Cluster, name: string): Promise<readonly TaskPod[]> {
  const { client, namespace } = cluster;
  const { uid } = (await readRun(cluster, name)).metadata;
  const found = await client.list(pods, { namespace, labelSelector: podsOfRun(uid) });
  return found.items.map(taskPodOf).sort((a, b) => a.startedAt.localeCompare(b.startedAt));
}

/** Lines of progress are many, and say nothing once the task is over. A pod that never ran has no log. */
async function linesOf(cluster: Cluster, pod: TaskPod, withProgress: boolean): Promise<readonly string[]> {
  const { client, namespace } = cluster;
  try {
    const text = await client.text(logPath(namespace, pod.name), `reading the log of pod ${namespace}/${pod.name}`);
    const lines = text.split('\n').filter((line) => line !== '');
    return withProgress ? lines : lines.filter((line) => parseTaskLine(line)?.type !== 'progress');
  } catch (error) {
    if (isKubeError(error, 'NotFound')) return ['(its pod is gone)'];
    if (isKubeError(error, 'Invalid')) return [`(there is no log: ${error.message})`];
    throw error;
  }
}

function nothing(name: string, namespace: string, task: string | undefined, found: readonly TaskPod[]): ParityError {
  const ids = [...new Set(found.map(({ taskId }) => taskId))];
  const what = task === undefined ? `run ${name} has no pods` : `run ${name} has no pod of a task ${task}`;
  return new ParityError('NotFound', `${what} in namespace ${namespace}`, {
    subject: name,
    advice:
      ids.length === 0
        ? 'Pods are removed when what they recorded is safe; what failed is in: parity describe and the report.'
        : `There are: ${ids.join(', ')}`,
  });
}
