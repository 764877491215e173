/**
 * Mocha's spec reporter with the closing line that CI looks for, `N passed, N failed`, and before it the tests that passed at their second attempt only:
 * they are defects, of the test or of what it tests, and are there to be looked at.
 */
const { reporters, Runner } = require('mocha');

class Closing extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    this.first = new Map();
    runner.on(Runner.constants.EVENT_TEST_RETRY, (test, error) => this.first.set(test.fullTitle(), error));
    runner.on(Runner.constants.EVENT_TEST_FAIL, (test) => this.first.delete(test.fullTitle()));
  }

  done(failures, finish) {
    const { passes = 0, pending = 0, failures: failed = 0 } = this.stats;
    if (this.first.size > 0) process.stdout.write(`\n${this.first.size} passed at the second attempt only:\n`);
    for (const [title, error] of this.first)
      process.stdout.write(`\n  ${title}\n    ${error.stack ?? error.message}\n`);
    process.stdout.write(`\n${passes} passed, ${failed} failed${pending > 0 ? `, ${pending} skipped` : ''}\n`);
    finish(failures);
  }
}

module.exports = Closing;
