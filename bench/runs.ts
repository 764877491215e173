/**
 * Whole runs, after set-up: the flights example (twice: the fingerprint has to be the same), and a run over 500 tables of 1,000 rows.
 *   node bench/runs.ts [TABLES] [ROWS]      default 500 and 1,000
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bench, cacheDir, folderFor, parity, print } from './support/bench.ts';
import { largest, type Measured, measure } from './support/measure.ts';

const tables = Number(process.argv[2] ?? 500);
const rows = Number(process.argv[3] ?? 1_000);
await bench('runs', async () => {
  const first = await wholeRun('examples/flights/run.yaml');
  const second = await wholeRun('examples/flights/run.yaml');
  if (first.fingerprint !== second.fingerprint) throw new Error('two runs of the flights example differ');

  const folder = folderFor(`tables-${tables}-${rows}`);
  const complete = join(folder, '.complete');
  if (!existsSync(complete)) {
    const python = join(cacheDir, 'python/bin/python');
    await measure([python, 'bench/support/many_tables.py', folder, String(tables), String(rows)]);
    await measure(['touch', complete]);
  }
  const many = await wholeRun(join(folder, 'run.yaml'));
  print('whole runs', [
    ['flights example', seconds(first.measured), '≤ 60 s', all(first.measured)],
    ['flights example again, same fingerprint', seconds(second.measured), '≤ 60 s', all(second.measured)],
    [`${tables} tables of ${rows} rows`, seconds(many.measured), '≤ 180 s, ≤ 1 GB', all(many.measured)],
  ]);
});

/** One run that passes, with what it came to. */
async function wholeRun(manifest: string): Promise<{ measured: Measured; fingerprint: string }> {
  const reports = await mkdtemp(join(tmpdir(), 'parity-bench-reports-'));
  try {
    const measured = await parity(['run', manifest, '--json', '--reports', reports]);
    const result = measured.stdout
      .trimEnd()
      .split('\n')
      .map((line): { type?: string; fingerprint?: string } => JSON.parse(line))
      .find(({ type }) => type === 'Result');
    if (typeof result?.fingerprint !== 'string') throw new Error(`${manifest} gave no fingerprint`);
    return { measured, fingerprint: result.fingerprint };
  } finally {
    await rm(reports, { recursive: true, force: true });
  }
}

function seconds({ wallSeconds }: Measured): string {
  return `${wallSeconds.toFixed(0)} s`;
}

function all(measured: Measured): string {
  return `${largest([measured], ({ treeBytes }) => treeBytes)} MB in all processes`;
}
