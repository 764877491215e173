import { expect } from 'chai';
import { BUGS, type Bug } from '../../src/api/generated/enums.ts';
import { expectFound, findings, full, incremental, type MutantEnd, runWith } from '../support/mutant-runs.ts';

/** Two at once: the runs are short, and mostly wait for one another's processes to start. */
const lanes = 2;

describe('a run of a pipeline with a bug', function () {
  this.timeout(600_000);
  const bugs = BUGS.filter((bug) => bug !== 'None');
  const ends = new Map<Bug, MutantEnd>();

  before(async () => {
    const waiting = [...bugs];
    const lane = async (): Promise<void> => {
      for (let bug = waiting.shift(); bug !== undefined; bug = waiting.shift()) ends.set(bug, await runWith(bug));
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  });

  for (const bug of bugs) {
    const { table, step, class: name, rows, column, rule } = findings[bug];
    const where = column === undefined ? table : `${table}.${column}`;
    it(`${bug}: fails with ${rows} ${name} in ${where} by ${rule}`, () => {
      expectFound(bug, ends.get(bug) ?? expect.fail('it has not run'));
    });

    it(`${bug}: the terminal names ${where} and ${rule}`, () => {
      const { stdout } = ends.get(bug)?.result ?? expect.fail('it has not run');
      for (const word of [table, column ?? '', rule]) expect(stdout).to.include(word);
      expect(stdout.trimEnd().split('\n').at(-1)).to.match(/^Failed {2}run: /);
    });

    if (step === incremental) {
      it(`${bug}: is not there after the full sync`, () => {
        const { report } = ends.get(bug) ?? expect.fail('it has not run');
        const before = report.comparisons.filter((one) => one.step === full);
        expect(before).to.not.have.length(0);
        expect(before.map(({ outcome }) => outcome)).to.deep.equal(before.map(() => 'Equal'));
      });
    }
  }
});
