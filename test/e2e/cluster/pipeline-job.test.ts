import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { configMaps } from '../../../src/kube/objects.ts';
import type { RunObject } from '../../../src/kube/runs.ts';
import { type Release, testRelease } from '../../support/release.ts';
import { root, startJobs } from '../../support/runs.ts';

describe('a pipeline that is a Job, on a cluster', function () {
  this.timeout(600_000);
  let release: Release;
  let done: (name: string) => Promise<RunObject>;

  before(async () => {
    release = await testRelease();
    const program = await readFile(join(root, 'test/support/job-pipeline.ts'), 'utf8');
    const metadata = { name: 'warehouse-sync', namespace: release.runs };
    await release.kube.create(configMaps, { metadata, data: { 'sync.ts': program } });
    done = startJobs(
      2,
      new Map([
        ['synced', () => carriedOut('synced', 'None')],
        ['dropped', () => carriedOut('dropped', 'DropsRows')],
      ]),
    );
  });

  it('reads the source’s pod and lands on S3, in full and then what is new: the run passes', async () => {
    const { status } = await done('synced');
    expect(status?.result, JSON.stringify(status)).to.include({ verdict: 'Passed', differences: 0 });
    expect(status?.result?.tables).to.include({ matched: 2, differing: 0 });
  });

  it('that loses rows makes the run Failed, which names the table', async () => {
    const run = await done('dropped');
    expect(run.status?.result?.verdict, JSON.stringify(run.status)).to.equal('Failed');
    expect(run.status?.conditions?.find(({ type }) => type === 'Finished')?.message).to.match(/airlines/);
    const [airlines, ...others] = (await release.report(run)).comparisons;
    expect(airlines).to.deep.include({ table: 'airlines', outcome: 'Different' });
    expect(airlines?.rows).to.include({ missing: 1, extra: 0, changed: 0 });
    expect(others).to.deep.equal([]);
  });

  /** The run with its verdict, once nothing is left of it. */
  async function carriedOut(name: string, behaviour: 'None' | 'DropsRows'): Promise<RunObject> {
    const { metadata } = await release.apply(name, spec(behaviour));
    const ended = await release.until(name, 'Finished');
    await release.until(name, 'CleanedUp');
    await release.untilNothingLeft(metadata.uid);
    await release.delete(name);
    await release.untilGone(name);
    return ended;
  }

  function spec(behaviour: 'None' | 'DropsRows') {
    const job = {
      image: release.cluster.image,
      command: ['node', '/project/sync.ts'],
      args: [behaviour],
      mounts: [{ path: '/project', configMapRef: { name: 'warehouse-sync' } }],
    };
    const outputs = { format: 'Parquet' as const, secretRef: { name: 'lake' } };
    return release.spec(['airlines'], {
      isFullOnly: behaviour !== 'None',
      more: { pipelines: [{ name: 'candidate', job, outputs }] },
    });
  }
});
