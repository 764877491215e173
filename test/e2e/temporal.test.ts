import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';
import { BUGS } from '../../src/api/generated/enums.ts';
import { expectFound, runWith } from '../support/mutant-runs.ts';
import { Place, root, startJobs } from '../support/runs.ts';
import { type RunningWorker, startTemporal, startWorkerProcess, type TemporalServer } from '../support/temporal.ts';

describe('a pipeline behind Temporal', function () {
  this.timeout(900_000);
  let server: TemporalServer;

  before(async () => {
    server = await startTemporal();
  });

  after(async () => {
    await server?.stop();
  });

  it('that is the example passes, in full and incrementally, and leaves nothing', async () => {
    const worker = startExample(server.address);
    const place = await Place.open();
    try {
      const manifest = join(root, 'examples/temporal/run.yaml');
      const address = `spec.pipelines[candidate].temporal.address=${server.address}`;
      const result = await place.parity(['run', manifest, '--reports', place.reports, '--set', address]);
      expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
      const { comparisons } = await place.report();
      expect(comparisons.map(({ outcome }) => outcome)).to.deep.equal(Array.from({ length: 12 }, () => 'Equal'));
      await place.expectNothingLeft();
    } finally {
      worker.kill('SIGKILL');
      await place.close();
    }
  });

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
function startExample(address: string): ChildProcess {
  return spawn(process.execPath, [join(root, 'examples/temporal/worker.ts')], {
    env: { ...process.env, TEMPORAL_ADDRESS: address },
    stdio: 'ignore',
  });
}
