/**
 * Copying a table from bucket to bucket on one endpoint against `s5cmd cp` of the same objects, both on the server's side.
 *   node bench/snapshot.ts [RUNS [FILES…]]      default 3 runs; 1,000 files of 1 MB, then 10,000 files of 1 kB; FILES: so many files of 1 kB
 * Ours is the snapshot task as a run starts it: a process that reads its input and the table's log, copies, compares what arrived, records.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeOpaqueTable } from '../test/support/delta-table.ts';
import { startSeaweedFs } from '../test/support/seaweedfs.ts';
import { bench, cacheDir, print } from './support/bench.ts';
import { type Copying, snapshotTask } from './support/copy.ts';
import { cpu, inTurn, largest, type Measured, measure, median, ratio, serverCpu, wall } from './support/measure.ts';

const [runs = 3, ...counts] = process.argv.slice(2).map(Number);
const s5cmd = join(cacheDir, 'peers/bin/s5cmd');
const shapes = [
  [1_000, 1_000_000],
  [10_000, 1_000],
] as const;
await bench('snapshot', async () => {
  const server = await startSeaweedFs();
  const folder = await mkdtemp(join(tmpdir(), 'parity-bench-snapshot-'));
  const { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY } = server.admin;
  Object.assign(process.env, { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION: 'us-east-1' });
  const s3 = (...args: string[]) => measure([s5cmd, '--endpoint-url', server.endpoint, ...args]);
  /** Puts a table of so many files into a bucket of its own, whose name it returns. */
  const upload = async (files: number, sizeBytes: number) => {
    const lake = await server.createBucket(`lake-${files}-${sizeBytes}`);
    const bytes = Buffer.alloc(sizeBytes, 'x');
    const names = Array.from({ length: files }, (_, index) => [`part-${index}.parquet`, bytes] as const);
    await writeOpaqueTable(join(folder, lake, 'table'), new Map(names));
    await s3('cp', `${join(folder, lake)}/`, `s3://${lake}/`);
    return lake;
  };
  try {
    const copies = await server.createBucket('copies');
    let copy = 0;
    /** CPU that the server took for a copy: with the client's, what is left of wall time where other work shares the machine. */
    const serverSeconds = new Map<Measured, number>();
    const withServer = (made: () => Promise<Measured>) => async () => {
      const before = await serverCpu(server.pid);
      const measured = await made();
      serverSeconds.set(measured, (await serverCpu(server.pid)) - before);
      return measured;
    };
    const allCpu = (measured: Measured) => cpu(measured) + (serverSeconds.get(measured) ?? 0);
    const floor = (lake: string) => withServer(() => s3('cp', `s3://${lake}/*`, `s3://${copies}/s5cmd-${copy++}/`));
    const ours = (lake: string) =>
      withServer(() => {
        const copying: Copying = { endpoint: server.endpoint, from: lake, to: `s3://${copies}/parity-${copy++}` };
        return snapshotTask(copying);
      });
    for (const [files, sizeBytes] of counts.length > 0 ? counts.map((count) => [count, 1_000] as const) : shapes) {
      const [lake, one] = [await upload(files, sizeBytes), await upload(1, files + sizeBytes)];
      const found = await inTurn(runs, {
        floor: floor(lake),
        ours: ours(lake),
        floorOne: floor(one),
        oursOne: ours(one),
      });
      const more = (all: readonly Measured[], alone: readonly Measured[]) =>
        all.map((measured, index) => ({
          ...measured,
          wallSeconds: measured.wallSeconds - (alone[index]?.wallSeconds ?? 0),
        }));
      print(`snapshot, ${files.toLocaleString('en')} files of ${sizeBytes / 1000} kB, server side`, [
        ['copy, against `s5cmd cp`', ratio(found.ours, found.floor, wall), '≤ 1.1', memory(found.ours, found.floor)],
        [
          'the same without what one file takes',
          ratio(more(found.ours, found.oursOne), more(found.floor, found.floorOne), wall),
          '',
          '',
        ],
        ["CPU, the server's included", ratio(found.ours, found.floor, allCpu), '', ''],
        ['CPU of the two clients', ratio(found.ours, found.floor, cpu), '', ''],
        ['one file, seconds', `${seconds(found.oursOne)} against ${seconds(found.floorOne)}`, '', ''],
      ]);
    }
  } finally {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
});

function seconds(measured: readonly Measured[]): string {
  return median(measured.map(wall)).toFixed(2);
}

function memory(a: readonly Measured[], b: readonly Measured[]): string {
  return `${largest(a, (m) => m.peakBytes)} MB against ${largest(b, (m) => m.peakBytes)} MB`;
}
