/**
 * Copying a table from bucket to bucket on one endpoint against `s5cmd cp` of the same objects, both on the server's side.
 *   node bench/snapshot.ts [RUNS]      default 3 runs; 200 files of 1 MB and 10,000 files of 1 kB
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeOpaqueTable } from '../test/support/delta-table.ts';
import { startSeaweedFs } from '../test/support/seaweedfs.ts';
import { bench, cacheDir, node, print } from './support/bench.ts';
import { inTurn, measure, megabytes, ratio, wall } from './support/measure.ts';

const runs = Number(process.argv[2] ?? 3);
const s5cmd = join(cacheDir, 'peers/bin/s5cmd');
await bench('snapshot', async () => {
  const server = await startSeaweedFs();
  const folder = await mkdtemp(join(tmpdir(), 'parity-bench-snapshot-'));
  const env = {
    ...process.env,
    AWS_ACCESS_KEY_ID: server.admin.accessKeyId,
    AWS_SECRET_ACCESS_KEY: server.admin.secretAccessKey,
    AWS_REGION: 'us-east-1',
  };
  try {
    for (const [files, sizeBytes] of [
      [200, 1_000_000],
      [10_000, 1_000],
    ] as const) {
      const lake = await server.createBucket(`lake-${files}`);
      const copies = await server.createBucket(`copies-${files}`);
      const bytes = Buffer.alloc(sizeBytes, 'x');
      await writeOpaqueTable(
        join(folder, String(files), 'table'),
        new Map(Array.from({ length: files }, (_, index) => [`part-${index}.parquet`, bytes])),
      );
      const s3 = (...args: string[]) => measure([s5cmd, '--endpoint-url', server.endpoint, ...args], { env });
      await s3('cp', `${join(folder, String(files))}/`, `s3://${lake}/`);
      let copy = 0;
      const results = await inTurn(runs, {
        floor: () => s3('cp', `s3://${lake}/*`, `s3://${copies}/s5cmd-${copy++}/`),
        ours: () =>
          measure([node, 'bench/support/copy.ts', server.endpoint, lake, `s3://${copies}/parity-${copy++}`], { env }),
      });
      print(`snapshot, ${files.toLocaleString('en')} files of ${sizeBytes / 1000} kB, server side`, [
        ['copy, against `s5cmd cp`', ratio(results.ours, results.floor, wall), '≤ 1.1', megabytes(results.ours)],
      ]);
    }
  } finally {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
