#!/usr/bin/env bash
# Runs the tests (all, or the files given) with the project's own Node. No test run at all is a failure. A test that fails is tried once more (servers,
# clocks and a busy machine are part of most); what passed only then is listed at the end.
# All of them are two runs side by side: most tests wait for servers most of the time. What the second says is printed when the first has ended.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/node_modules/.bin:$PATH
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# mocha_run NAME FILE…: with a state folder of its own, so that a test never sees or removes the developer's runs, or the other run's.
mocha_run() {
  local name=$1
  shift
  PARITY_STATE_DIR=$scratch/$name/state node node_modules/mocha/bin/mocha.js --fail-zero --retries 1 --reporter test/support/reporter.cjs "$@"
}

if [ $# -gt 0 ]; then
  mocha_run given "$@"
  exit
fi

mkdir "$scratch/servers" "$scratch/parts"
# Groups of their own: else what they start would not hear Ctrl-C when a test sends it.
set -m
PARITY_TEST_RESULTS=$scratch/servers mocha_run servers 'test/{cluster,e2e,faults}/**/*.test.ts' </dev/null &
servers=$!
PARITY_TEST_RESULTS=$scratch/parts mocha_run parts '{src,operator}/**/*.test.ts' 'test/!(cluster|e2e|faults)/**/*.test.ts' \
  </dev/null >"$scratch/parts/out" 2>&1 &
parts=$!
set +m

# Ctrl-C, or out of CI's time: the tests tidy up, and what the second run has said is worth reading. Asked again, they end at once.
interrupted() {
  trap 'kill -KILL -- -"$servers" -"$parts" 2>/dev/null || true' INT TERM
  kill -INT -- -"$servers" -"$parts" 2>/dev/null || true
  wait || true
  cat "$scratch/parts/out"
  exit 130
}
trap interrupted INT TERM

codes=0
for name in servers parts; do
  code=0
  wait "${!name}" || code=$?
  [ $name = servers ] || cat "$scratch/parts/out"
  # Killed, or ended before its last test: no count is a failure, whatever the exit code says.
  [ -s "$scratch/$name/counts" ] || { echo "the tests of '$name' ended with exit code $code and no result"; echo '0 1 0' >"$scratch/$name/counts"; }
  codes=$((codes | code))
done
read -r passed failed skipped < <(cat "$scratch"/{servers,parts}/counts | awk '{ p += $1; f += $2; s += $3 } END { print p, f, s }')
[ "$failed" = 0 ] || printf '\nfailed:\n%s\n\n' "$(cat "$scratch"/{servers,parts}/failures 2>/dev/null)"
[ "$skipped" = 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && exit "$codes"
exit 1
