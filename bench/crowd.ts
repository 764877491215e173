/**
 * Many runs applied at once, of which so many are carried out at a time: the order in which they begin, and how long each waits. Beside a real API server and S3; a
 * played cluster does the tasks, so that what is measured is the operator.
 *   node bench/crowd.ts [RUNS] [PARALLEL]      default 100 runs, 10 at once
 */
import { startControlPlane } from '../test/support/control-plane.ts';
import { type Crowd, carryOutCrowd } from '../test/support/crowd.ts';
import { startSeaweedFs } from '../test/support/seaweedfs.ts';
import { bench, print } from './support/bench.ts';

const [count = 100, parallel = 10] = process.argv.slice(2).map(Number);

await bench('crowd', async () => {
  const [controlPlane, s3] = await Promise.all([startControlPlane(), startSeaweedFs()]);
  try {
    const options = { controlPlane, s3, namespace: 'crowd', count, parallel, timeoutMs: 1_800_000 };
    report(await carryOutCrowd(options));
  } finally {
    await s3.stop();
    await controlPlane.stop();
  }
});

function report({ runs, mostAtOnce }: Crowd): void {
  const passed = runs.filter(({ verdict }) => verdict === 'Passed').length;
  const displaced = Math.max(...runs.map(({ place }, age) => Math.abs(place - age)));
  const waits = runs.map(({ waitedMs }) => waitedMs / 1000);
  const seconds = (value: number | undefined) => `${(value ?? Number.NaN).toFixed(1)} s`;
  const sorted = waits.toSorted((a, b) => a - b);
  const lasted = runs.map(({ lastedMs }) => lastedMs / 1000).sort((a, b) => a - b);
  // Where nobody is favoured, who is twice as far back waits twice as long.
  const overtaken = waits.filter((wait, age) => waits.slice(age + parallel).some((later) => later < wait)).length;
  print(`${count} runs at once, ${parallel} at a time`, [
    ['passed', `${passed} of ${runs.length}`, 'all', ''],
    ['carried out at once, at most', String(mostAtOnce), `≤ ${parallel}`, ''],
    ['place in the order of their age, at most away by', String(displaced), `< ${parallel}`, ''],
    [`runs that waited longer than one ${parallel} younger`, String(overtaken), '0', ''],
    [
      'wait: shortest, median, longest',
      [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)].map(seconds).join(', '),
      '',
      '',
    ],
    [
      'one run: shortest, median, longest',
      [lasted[0], lasted[lasted.length >> 1], lasted.at(-1)].map(seconds).join(', '),
      '',
      '',
    ],
  ]);
}
