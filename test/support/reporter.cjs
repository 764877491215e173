/** Mocha's spec reporter with the closing line that CI looks for: `N passed, N failed`. */
const { reporters } = require('mocha');

class Closing extends reporters.Spec {
  done(failures, finish) {
    const { passes = 0, pending = 0, failures: failed = 0 } = this.stats;
    process.stdout.write(`\n${passes} passed, ${failed} failed${pending > 0 ? `, ${pending} skipped` : ''}\n`);
    finish(failures);
  }
}

module.exports = Closing;
