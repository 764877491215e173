/** Every benchmark, one after another: `node bench/run.ts`. Each prints its table in Markdown; an hour on two cores. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const benchmarks = [
  ['compare.ts', '1000000'],
  ['compare.ts', '10000000'],
  ['rehydrate.ts', '10000000'],
  ['snapshot.ts'],
  ['runs.ts'],
  ['operator.ts'],
] as const;

for (const [file, ...args] of benchmarks) {
  const { status } = spawnSync(process.execPath, [join(import.meta.dirname, file), ...args], { stdio: 'inherit' });
  if (status !== 0) process.exitCode = 1;
}
