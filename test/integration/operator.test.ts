import { expect } from 'chai';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { Installation } from '../support/operator.ts';
import { smallSpec } from '../support/runs.ts';

describe('the operator, with tasks as processes beside it', function () {
  this.timeout(240_000);
  let controlPlane: ControlPlane;
  let installation: Installation;

  before(async () => {
    controlPlane = await startControlPlane();
  });
  after(() => controlPlane?.stop());
  beforeEach(async () => {
    installation = await Installation.open(controlPlane);
  });
  afterEach(() => installation.close());

  it('carries the flights example out: passed, reported, cleaned up, nothing left', async () => {
    await installation.start();
    await installation.apply('flights', smallSpec(['planes', 'airlines']));
    const ended = await installation.until('flights', 'Finished');
    expect(ended.status?.result).to.include({ verdict: 'Passed', differences: 0 });
    const clean = await installation.until('flights', 'CleanedUp');
    expect(clean.status?.phase).to.equal('Finished');
    expect(await installation.leftovers()).to.deep.equal([]);
  });
});
