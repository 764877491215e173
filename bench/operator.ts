/**
 * The operator beside a real API server with many runs: its memory while finished runs come and go, the time of a reconcile that has nothing to change, and
 * what it writes then. No kubelet: the tasks of the active runs have been started and never end.
 *   node bench/operator.ts [SECONDS] [FINISHED] [ACTIVE]      default 600 seconds, 1,000 and 50 runs
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { connect, type KubeClient } from '../src/kube/client.ts';
import { jobs } from '../src/kube/objects.ts';
import { runs } from '../src/kube/runs.ts';
import { startControlPlane } from '../test/support/control-plane.ts';
import { eventually } from '../test/support/eventually.ts';
import { freePorts } from '../test/support/free-ports.ts';
import { bench, node, print, root } from './support/bench.ts';
import { measure } from './support/measure.ts';

const [seconds = 600, finished = 1_000, active = 50] = process.argv.slice(2).map(Number);
const namespace = 'default';

await bench('operator', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'parity-bench-operator-'));
  const controlPlane = await startControlPlane();
  const kube = await connect({ kubeconfig: controlPlane.kubeconfig, requestsPerSecond: 200, burst: 400 });
  const [port = 0] = await freePorts(1);
  const options = join(folder, 'options.json');
  await writeFile(options, JSON.stringify(installation(folder)));
  try {
    // As the image runs it.
    await measure([node, 'node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--outDir', 'dist']);
    for (let number = 0; number < finished; number++) await finishedRun(kube, folder, `finished-${number}`);
    const operator = spawn(
      node,
      [
        '--max-semi-space-size=2',
        '--optimize-for-size',
        'dist/operator/main.js',
        `--options=${options}`,
        `--kubeconfig=${controlPlane.kubeconfig}`,
        `--port=${port}`,
      ],
      { cwd: root, stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, MALLOC_ARENA_MAX: '2' } },
    );
    try {
      for (let number = 0; number < active; number++) await run(kube, folder, `active-${number}`);
      await eventually(async () => {
        const { items } = await kube.listMetadata(jobs, { namespace });
        if (items.length < active) throw new Error(`${items.length} of ${active} runs have begun`);
      }, 300_000);
      await stillness(port);
      await observe(kube, folder, port, operator.pid ?? 0);
    } finally {
      operator.kill('SIGKILL');
    }
  } finally {
    kube.close();
    await controlPlane.stop();
    await rm(folder, { recursive: true, force: true });
  }
});

/** Waits for the last write that the beginning of the runs causes: that no kubelet takes their pods is said after half a minute. */
async function stillness(port: number): Promise<void> {
  for (let [waitedSeconds, stillSeconds, writes] = [0, 0, -1]; stillSeconds < 40; waitedSeconds += 5) {
    if (waitedSeconds > 300) throw new Error('the operator does not come to rest');
    await delay(5_000);
    const now = writesOf(await metrics(port));
    stillSeconds = now === writes ? stillSeconds + 5 : 0;
    writes = now;
  }
}

async function observe(kube: KubeClient, folder: string, port: number, pid: number): Promise<void> {
  const quiet = { before: await metrics(port), writes: 0 };
  await delay(30_000);
  const rest = await metrics(port);
  quiet.writes = writesOf(rest) - writesOf(quiet.before);
  const memory: number[] = [];
  for (let second = 0; second < seconds; second++) {
    await finishedRun(kube, folder, `churn-${second}`);
    if (second >= 10) await kube.delete(runs, { namespace, name: `churn-${second - 10}` });
    memory.push(await residentBytes(pid));
    await delay(1_000);
  }
  const half = memory.length >> 1;
  const peak = (part: readonly number[]) => `${Math.round(Math.max(...part) / 1e6)} MB`;
  print(`operator, ${finished} finished and ${active} active runs`, [
    ['memory at most, first half of the churn', peak(memory.slice(0, half)), '≤ 150 MB, steady', `${seconds} s`],
    ['memory at most, second half', peak(memory.slice(half)), '≤ 150 MB, steady', ''],
    ['reconciles without a change in 30 s, p99', p99(quiet.before, rest), '≤ 20 ms', ''],
    ['writes to the API in these 30 s, the Lease aside', String(quiet.writes), '0', ''],
  ]);
}

function installation(folder: string): object {
  return {
    installation: 'bench',
    namespace,
    image: `parity.example/parity@sha256:${'0'.repeat(64)}`,
    allow: { command: false, embedded: true, fileLocations: true },
    defaultWorkspace: { location: pathToFileURL(join(folder, 'workspaces')).href },
    parallelRuns: active,
  };
}

async function run(kube: KubeClient, folder: string, name: string): Promise<void> {
  const lake = pathToFileURL(join(root, 'examples/lake')).href;
  await kube.create(runs, {
    metadata: { name, namespace },
    spec: {
      snapshot: { location: lake, tables: [{ name: 'airlines', path: 'airlines', key: ['carrier'] }] },
      sources: [{ name: 'shop', engine: 'Postgres', tables: ['airlines'], kubernetes: {} }],
      pipelines: [{ name: 'candidate', reference: {} }],
      reports: { location: pathToFileURL(join(folder, 'reports')).href, formats: ['JSON'] },
    },
  });
}

/** A run as it is once everything of it is over. */
async function finishedRun(kube: KubeClient, folder: string, name: string): Promise<void> {
  await run(kube, folder, name);
  const at = new Date().toISOString().replace(/\.\d+/, '');
  const condition = (type: string, reason: string) => ({
    ...{ type, status: 'True', reason, message: 'Baseline and candidate are equal.' },
    ...{ lastTransitionTime: at, observedGeneration: 1 },
  });
  await kube.mergePatch(
    runs,
    { namespace, name },
    {
      status: {
        observedGeneration: 1,
        phase: 'Finished',
        conditions: [
          condition('Finished', 'Passed'),
          condition('Succeeded', 'Passed'),
          condition('CleanedUp', 'Completed'),
        ],
        result: { verdict: 'Passed' },
      },
    },
    { subresource: 'status' },
  );
}

type Metrics = readonly { readonly name: string; readonly labels: string; readonly value: number }[];

async function metrics(port: number): Promise<Metrics> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return [...text.matchAll(/^(\w+)(\{[^}]*\})? (\S+)$/gm)].map(([, name = '', labels = '', value]) => ({
    name,
    labels,
    value: Number(value),
  }));
}

function writesOf(all: Metrics): number {
  return all
    .filter(({ name }) => name === 'parity_api_requests_total')
    .filter(({ labels }) => /verb="(create|patch|delete)"/.test(labels) && !labels.includes('leases'))
    .reduce((sum, { value }) => sum + value, 0);
}

/** The upper edge of the histogram's bucket that 99 % of the reconciles between two moments are in. */
function p99(before: Metrics, after: Metrics): string {
  const buckets = new Map<number, number>();
  for (const [sign, all] of [
    [-1, before],
    [1, after],
  ] as const)
    for (const { name, labels, value } of all) {
      const edge = /le="([^"]+)"/.exec(labels)?.[1];
      if (name !== 'parity_reconcile_duration_seconds_bucket' || edge === undefined) continue;
      const le = edge === '+Inf' ? Number.POSITIVE_INFINITY : Number(edge);
      buckets.set(le, (buckets.get(le) ?? 0) + sign * value);
    }
  const total = buckets.get(Number.POSITIVE_INFINITY) ?? 0;
  const found = [...buckets].sort(([a], [b]) => a - b).find(([, count]) => count >= 0.99 * total);
  return `≤ ${(found?.[0] ?? Number.NaN) * 1000} ms of ${total}`;
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}
