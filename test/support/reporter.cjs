/**
 * Mocha's spec reporter with the closing line that CI looks for, `N passed, N failed`, and before it what is to be looked at although it fails nothing: the tests
 * that passed at their second attempt only, and what a test left open. The process ends after the closing line whatever is open: a forgotten socket is
 * a defect, a CI job that never ends a worse one.
 */
const { writeFileSync } = require('node:fs');
const { reporters, Runner } = require('mocha');

/** How long what is being closed may take. */
const graceMs = 3000;

class Closing extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    this.first = new Map();
    runner.on(Runner.constants.EVENT_TEST_RETRY, (test, error) => this.first.set(test.fullTitle(), error));
    runner.on(Runner.constants.EVENT_TEST_FAIL, (test) => this.first.delete(test.fullTitle()));
    // Mocha would end at once, and leave its servers running: what has begun ends, and tidies up. Asked again, it is at once.
    for (const signal of ['SIGINT', 'SIGTERM']) {
      const onSignal = () => {
        // A command line that runs in this process, and is meant.
        if (process.listenerCount(signal) > 1) return;
        process.off(signal, onSignal);
        process.stdout.write(`\n${signal}: ending after this test\n`);
        this.isInterrupted = true;
        runner.abort();
      };
      process.on(signal, onSignal);
    }
  }

  async done(failures, finish) {
    const { passes = 0, pending = 0, failures: failed = 0 } = this.stats;
    if (this.first.size > 0) process.stdout.write(`\n${this.first.size} passed at the second attempt only:\n`);
    for (const [title, error] of this.first)
      process.stdout.write(`\n  ${title}\n    ${error.stack ?? error.message}\n`);
    const open = await leftOpen();
    if (open.length > 0) process.stdout.write(`\nleft open by the tests: ${open.join(', ')}\n`);
    // Part of the tests says nothing of all.
    if (this.isInterrupted) process.exit(130);
    // One of several runs: scripts/test.sh adds them up, says once more what failed, and closes.
    const results = process.env.PARITY_TEST_RESULTS;
    if (results !== undefined) {
      writeFileSync(`${results}/failures`, this.failures.map(inShort).join(''));
      writeFileSync(`${results}/counts`, `${passes} ${failed} ${pending}\n`);
    } else process.stdout.write(`\n${passes} passed, ${failed} failed${pending > 0 ? `, ${pending} skipped` : ''}\n`);
    finish(failures);
    process.exit(Math.min(failures, 255));
  }
}

/** A failed test with the beginning of its error: often only the end of a CI job's output is at hand. */
function inShort(test) {
  const error = String(test.err?.stack ?? test.err?.message ?? test.err);
  return `  ${test.fullTitle()}\n    ${error.slice(0, 600).replaceAll('\n', '\n    ')}\n`;
}

/** What keeps the process from ending after a moment, by kind; not its own output. */
async function leftOpen() {
  for (let waitedMs = 0; ; waitedMs += 50) {
    const open = process.getActiveResourcesInfo().filter((kind) => !own.has(kind));
    // The pause below is a timer of its own, which is not running here.
    if (open.length === 0 || waitedMs >= graceMs) return open;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const own = new Set([
  'TTYWrap',
  'PipeWrap',
  'FSReqCallback',
  'FSReqPromise',
  'CloseReq',
  'Immediate',
  'SignalWrap',
  'WriteWrap',
]);

module.exports = Closing;
