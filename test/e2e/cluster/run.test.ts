import { expect } from 'chai';
import { type Release, testRelease } from '../../support/release.ts';

describe('a run on a cluster, with the operator that Helm installed', function () {
  this.timeout(600_000);
  let release: Release;

  before(async () => {
    release = await testRelease();
  });

  it('is carried out by Jobs, passes, and leaves nothing but its report', async () => {
    const { metadata } = await release.apply('smallest', release.spec(['airlines']));
    const ended = await release.until('smallest', 'Finished');
    expect(ended.status?.result, JSON.stringify(ended.status)).to.include({ verdict: 'Passed', differences: 0 });
    const clean = await release.until('smallest', 'CleanedUp');
    expect(clean.status?.phase).to.equal('Finished');
    await release.untilNothingLeft(metadata.uid);
    await release.delete('smallest');
    await release.untilGone('smallest');
    const report = await release.report(ended);
    expect(report).to.include({ verdict: 'Passed', fingerprint: ended.status?.result?.fingerprint });
  });
});
