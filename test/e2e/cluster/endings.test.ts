import { expect } from 'chai';
import { namespaces } from '../../../src/kube/objects.ts';
import { type RunObject, runs } from '../../../src/kube/runs.ts';
import { type Release, testRelease } from '../../support/release.ts';
import { startJobs } from '../../support/runs.ts';

/** The phases of a run, each with the kind of deletion that a run in it is given. */
const phases = [
  ['Resolving', 'Foreground'],
  ['Copying', 'Background'],
  ['Rehydrating', 'Foreground'],
  ['Syncing', 'Background'],
  ['Comparing', 'Foreground'],
  ['Finished', 'Background'],
] as const;
type Phase = (typeof phases)[number][0];

const cancelled: readonly Phase[] = ['Copying', 'Rehydrating', 'Syncing', 'Comparing'];

describe('the end of a run on a cluster, in every phase', function () {
  this.timeout(900_000);
  let release: Release;
  let ended: (name: string) => Promise<RunObject>;

  before(async () => {
    release = await testRelease();
    const jobs = new Map([
      ...phases.map(([phase, how]) => [`deleted-${phase}`, () => deleteIn(phase, how)] as const),
      ...cancelled.map((phase) => [`cancelled-${phase}`, () => cancelIn(phase)] as const),
      ['deleted-with-its-namespace', deleteNamespace] as const,
    ]);
    ended = startJobs(3, jobs);
  });

  for (const [phase, how] of phases) {
    it(`leaves nothing when it is deleted while ${phase}, in the ${how.toLowerCase()}`, async () => {
      const { metadata } = await ended(`deleted-${phase}`);
      expect(await release.left(metadata.uid)).to.deep.equal([]);
    });
  }

  for (const phase of cancelled) {
    it(`says Cancelled, writes its report and leaves nothing else when it is cancelled while ${phase}`, async () => {
      const run = await ended(`cancelled-${phase}`);
      expect(await release.report(run)).to.include({ verdict: 'Cancelled' });
      expect(await release.left(run.metadata.uid)).to.deep.equal([]);
    });
  }

  it('leaves nothing when its whole namespace is deleted', async function () {
    // The namespace that the release serves is gone after the first attempt.
    this.retries(0);
    const { metadata } = await ended('deleted-with-its-namespace');
    expect(await release.left(metadata.uid)).to.deep.equal([]);
  });

  async function deleteIn(phase: Phase, how: 'Foreground' | 'Background'): Promise<RunObject> {
    const name = `deleted-${phase.toLowerCase()}`;
    // What its end has not removed, its deletion has to.
    const run = await start(name, phase, 'Never');
    await release.delete(name, how);
    await release.untilGone(name);
    await release.untilNothingLeft(run.metadata.uid);
    return run;
  }

  async function cancelIn(phase: Phase): Promise<RunObject> {
    const name = `cancelled-${phase.toLowerCase()}`;
    await start(name, phase, 'Always');
    await release.kube.mergePatch(runs, { namespace: release.runs, name }, { spec: { cancel: true } });
    const run = await release.until(name, 'CleanedUp');
    expect(run.status?.result, JSON.stringify(run.status)).to.include({ verdict: 'Cancelled' });
    expect(run.status?.conditions?.find(({ type }) => type === 'Succeeded')).to.include({
      status: 'False',
      reason: 'Cancelled',
    });
    await release.untilNothingLeft(run.metadata.uid);
    return run;
  }

  async function deleteNamespace(): Promise<RunObject> {
    const namespace = release.doomed;
    const name = 'doomed';
    const { metadata } = await release.apply(name, release.spec(['airlines'], { isFullOnly: true }), namespace);
    const run = await release.untilRun(name, 240_000, isIn('Rehydrating'), namespace);
    await release.kube.delete(namespaces, { name: namespace });
    await release.untilGone(name, 240_000, namespace);
    await release.untilNothingLeft(metadata.uid);
    return run;
  }

  async function start(name: string, phase: Phase, policy: 'Always' | 'Never'): Promise<RunObject> {
    await release.apply(name, { ...release.spec(['airlines'], { isFullOnly: true }), cleanup: { policy } });
    return await release.untilRun(name, 240_000, isIn(phase));
  }
});

function isIn(phase: Phase): (run: RunObject) => boolean {
  return ({ status }) => {
    if (status?.phase !== phase && status?.phase === 'Finished')
      throw new Error(`it has ended: ${JSON.stringify(status)}`);
    return status?.phase === phase;
  };
}
