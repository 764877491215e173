#!/usr/bin/env bash
# Runs the tests (all, or the files given) with the project's own Node. No test run at all is a failure. A test that fails is tried once more (servers,
# clocks and a busy machine are part of most); what passed only then is listed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/node_modules/.bin:$PATH
# A state folder of the tests' own: a test never sees or removes the developer's runs.
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
[ $# -gt 0 ] || set -- 'src/**/*.test.ts' 'operator/**/*.test.ts' 'test/**/*.test.ts'
PARITY_STATE_DIR=$state/state node node_modules/mocha/bin/mocha.js --fail-zero --retries 1 --reporter test/support/reporter.cjs "$@"
