import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';
import { BUGS } from '../../src/api/generated/enums.ts';
import { expectFound, runWith } from '../support/mutant-runs.ts';
import { Place, root, smallSpec, startJobs } from '../support/runs.ts';
import { type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';
import { type RunningWorker, startTemporal, startWorkerProcess, type TemporalServer } from '../support/temporal.ts';

describe('a pipeline behind Temporal', function () {
  this.timeout(900_000);
  let server: TemporalServer;
  let s3: SeaweedFs;
  let example: ChildProcess;

  before(async () => {
    [server, s3] = await Promise.all([startTemporal(), startSeaweedFs()]);
    example = startExample(server.address, s3);
  });

  after(async () => {
    example?.kill('SIGKILL');
    await s3?.stop();
    await server?.stop();
  });

  describe('that is the example', () => {
    let end: ReturnType<typeof startJobs<void>>;

    before(() => {
      end = startJobs(
        2,
        new Map([
          ['folders', passesInFolders],
          ['bucket', passesInBucket],
        ]),
      );
    });

    it('passes, in full and incrementally, and leaves nothing', () => end('folders'));

    it('lands in a bucket too, where the workspace is one, and leaves nothing there', () => end('bucket'));
  });

  async function passesInFolders(): Promise<void> {
    const manifest = join(root, 'examples/temporal/run.yaml');
    const address = `spec.pipelines[candidate].temporal.address=${server.address}`;
    await passes(12, async ({ reports }) => [manifest, '--reports', reports, '--set', address]);
  }

  async function passesInBucket(): Promise<void> {
    await passes(2, async (place) => {
      await place.secret('workspace', { ...s3.admin });
      const temporal = { address: server.address, taskQueue: 'warehouse-syncs', workflowType: 'syncTable' };
      return [
        await place.manifest({
          ...smallSpec(['airlines']),
          workspace: { location: 's3://', endpoint: s3.endpoint, secretRef: { name: 'workspace' } },
          pipelines: [{ name: 'candidate', temporal }],
        }),
      ];
    });
    expect(await s3.buckets(), 'buckets').to.deep.equal([]);
  }

  async function passes(comparisons: number, argsOf: (place: Place) => Promise<readonly string[]>): Promise<void> {
    const place = await Place.open();
    try {
      const result = await place.parity(['run', ...(await argsOf(place))]);
      expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
      const report = await place.report();
      const outcomes = report.comparisons.map(({ outcome }) => outcome);
      expect(outcomes).to.deep.equal(Array.from({ length: comparisons }, () => 'Equal'));
      await place.expectNothingLeft();
    } finally {
      await place.close();
    }
  }

  describe('with a bug', () => {
    const bugs = BUGS.filter((bug) => bug !== 'None');
    const queue = 'mutants';
    let worker: RunningWorker;
    let end: ReturnType<typeof startJobs<Awaited<ReturnType<typeof runWith>>>>;

    before(async () => {
      worker = await startWorkerProcess(server.address, queue);
      const pipelineOf = (bug: string): object => ({
        temporal: {
          ...{ address: server.address, taskQueue: queue, workflowType: 'reference' },
          args: JSON.stringify(['{{request}}', bug]),
        },
      });
      end = startJobs(2, new Map(bugs.map((bug) => [bug, () => runWith(bug, pipelineOf)] as const)));
    });

    after(async () => {
      await worker?.stop();
    });

    for (const bug of bugs)
      it(`${bug} is found as it is without Temporal`, async () => {
        expectFound(bug, await end(bug));
      });
  });
});

/** The worker of the example, as its manifest says to start it. */
function startExample(address: string, { admin }: SeaweedFs): ChildProcess {
  return spawn(process.execPath, [join(root, 'examples/temporal/worker.ts')], {
    env: {
      ...process.env,
      TEMPORAL_ADDRESS: address,
      AWS_ACCESS_KEY_ID: admin.accessKeyId,
      AWS_SECRET_ACCESS_KEY: admin.secretAccessKey,
    },
    stdio: 'ignore',
  });
}
