/**
 * What a cluster costs beside the tasks themselves: `scripts/test.sh bench/cluster.ts`, on the cluster of test/cluster/README.md. Prints its table in Markdown.
 * Times in a cluster are whole seconds, so each row is a sum over a run, or a mean.
 */
import { jobs, type Pod } from '../src/kube/objects.ts';
import { labels, type RunObject } from '../src/kube/runs.ts';
import { eventually } from '../test/support/eventually.ts';
import { type Release, testRelease } from '../test/support/release.ts';
import { Place } from '../test/support/runs.ts';

describe('a run on a cluster, measured', function () {
  this.timeout(900_000);
  this.retries(0);
  let release: Release;
  const rows: string[] = [];

  before(async () => {
    release = await testRelease();
  });
  after(() => {
    process.stdout.write(`\n| work | to reach | measured |\n|---|---|---|\n${rows.join('\n')}\n`);
  });

  it('beside its tasks', async () => {
    const spec = { ...release.spec(['airlines', 'planes']), cleanup: { policy: 'Never' } };
    const { metadata } = await release.apply('measured', spec);
    const run = await release.until('measured', 'Finished');
    const tasks = await eventually(async () => {
      const own = await release.podsOf(metadata.uid);
      const found = own.filter((pod) => pod.metadata.labels?.[labels.task] !== undefined);
      // The run goes on, and ends, before a node has said of a container that it has ended.
      if (found.flatMap(intervalOf).some(Number.isNaN)) throw new Error('some task has not ended');
      return found;
    }, 30_000);
    const { items } = await release.kube.list(jobs, { labelSelector: `${labels.runUid}=${metadata.uid}` });
    const createdAt = new Map(items.map((job) => [taskOf(job), Date.parse(job.metadata.creationTimestamp)]));
    const startUps = tasks.map((pod) => intervalOf(pod)[0] - (createdAt.get(taskOf(pod)) ?? Number.NaN));
    const mean = startUps.reduce((sum, ms) => sum + ms, 0) / startUps.length;
    rows.push(row(`from a task's Job to its process, mean of ${tasks.length}`, '≤ 3 s', mean));

    const onCluster = lasted(run) - covered(tasks.map(intervalOf));
    const alone = await besideTasks();
    rows.push(
      row('a run on the cluster, time in which no task runs, its source being brought up included', '', onCluster),
    );
    rows.push(row('the same less that of `parity run`', '≤ 15 s', onCluster - alone));
    await timeDeletion('a finished run with all that it made', 'measured');
  });

  it('until it is gone', async () => {
    await release.apply('cut-off', release.spec(['airlines', 'planes']));
    await release.untilRun('cut-off', 240_000, ({ status }) => status?.phase === 'Syncing');
    await timeDeletion('a run whose pipeline is under way, its pods’ grace included', 'cut-off');
  });

  async function timeDeletion(what: string, name: string): Promise<void> {
    const { metadata } = await release.untilRun(name, 1_000, () => true);
    const from = performance.now();
    await release.delete(name);
    await release.untilGone(name);
    await release.untilNothingLeft(metadata.uid);
    rows.push(row(`\`kubectl delete\` of ${what}, until nothing is left`, '≤ 30 s', performance.now() - from));
  }

  /** The same run by the CLI on this machine: its time, in ms, in which no task runs. */
  async function besideTasks(): Promise<number> {
    const place = await Place.open();
    try {
      const { accessKeyId, secretAccessKey } = release.cluster.s3;
      for (const name of ['lake', 'reports']) await place.secret(name, { accessKeyId, secretAccessKey });
      const { sources, reports: _, ...spec } = release.spec(['airlines', 'planes']);
      const embedded = sources.map(({ name, engine, tables, columns }) => ({
        name,
        engine,
        tables,
        columns,
        embedded: {},
      }));
      const file = await place.manifest({ ...spec, sources: embedded });
      const from = performance.now();
      const tasks: Interval[] = [];
      const { ended } = place.start(['run', file, '--json', '--reports', place.reports], (event) => {
        if (event.type !== 'TaskFinished' || event.task.input.kind === 'provision') return;
        const to = Date.parse(event.time);
        tasks.push([to - event.durationMs, to]);
      });
      const { exitCode, stderr } = await ended;
      if (exitCode !== 0) throw new Error(stderr);
      return performance.now() - from - covered(tasks);
    } finally {
      await place.close();
    }
  }
});

type Interval = readonly [from: number, to: number];

function intervalOf(pod: Pod): Interval {
  const ended = pod.status?.containerStatuses?.[0]?.state?.terminated;
  return [Date.parse(ended?.startedAt ?? ''), Date.parse(ended?.finishedAt ?? '')];
}

/** Time, in ms, in which at least one of them goes on. */
function covered(intervals: readonly Interval[]): number {
  let [sum, until] = [0, 0];
  for (const [from, to] of intervals.toSorted(([a], [b]) => a - b)) {
    sum += Math.max(0, to - Math.max(from, until));
    until = Math.max(until, to);
  }
  return sum;
}

function lasted({ metadata, status }: RunObject): number {
  return Date.parse(status?.completionTime ?? '') - Date.parse(metadata.creationTimestamp);
}

function taskOf({ metadata }: Pick<Pod, 'metadata'>): string {
  return `${metadata.labels?.[labels.task]}/${metadata.labels?.[labels.attempt]}`;
}

function row(work: string, goal: string, ms: number): string {
  return `| ${work} | ${goal} | ${(ms / 1000).toFixed(1)} s |`;
}
