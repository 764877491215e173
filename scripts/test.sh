#!/usr/bin/env bash
# Runs the tests (all, or the files given) with the project's own Node. No test run at all is a failure. A test that fails is tried once more (servers,
# clocks and a busy machine are part of most); what passed only then is listed at the end.
# All of them are two lanes of runs side by side: most tests wait for servers most of the time. The node of the first run goes with it, for it costs a
# third of a core even where nothing runs on it. What the second lane says is printed when the first has ended.
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

# In the first lane, so that both take as long.
long=test/integration/temporal.test.ts
runs=(cluster servers parts)
for name in "${runs[@]}"; do mkdir "$scratch/$name"; done
# A run of a lane, whose result is for the end to judge.
counted() { PARITY_TEST_RESULTS=$scratch/$1 mocha_run "$@" </dev/null; }
# Groups of their own: else what they start would not hear Ctrl-C when a test sends it.
set -m
{
  trap 'exit 130' INT TERM
  code=0
  counted cluster 'test/{cluster,e2e/cluster}/**/*.test.ts' || code=$?
  counted servers 'test/e2e/*.test.ts' 'test/faults/**/*.test.ts' $long || code=$?
  exit $code
} &
first=$!
counted parts '{src,operator}/**/*.test.ts' 'test/!(cluster|e2e|faults)/**/*.test.ts' --ignore $long >"$scratch/parts/out" 2>&1 &
second=$!
set +m

# Ctrl-C, or out of CI's time: the tests tidy up, and what the second lane has said is worth reading. Asked again, they end at once.
interrupted() {
  trap 'kill -KILL -- -"$first" -"$second" 2>/dev/null || true' INT TERM
  kill -INT -- -"$first" -"$second" 2>/dev/null || true
  wait || true
  cat "$scratch/parts/out"
  exit 130
}
trap interrupted INT TERM

codes=0
wait "$first" || codes=$?
wait "$second" || codes=$?
cat "$scratch/parts/out"
for name in "${runs[@]}"; do
  # Killed, or ended before its last test: no count is a failure, whatever the exit code says.
  [ -s "$scratch/$name/counts" ] || { echo "the tests of '$name' ended without a result" && echo '0 1 0' >"$scratch/$name/counts"; }
done
read -r passed failed skipped < <(cat "$scratch"/*/counts | awk '{ p += $1; f += $2; s += $3 } END { print p, f, s }')
[ "$failed" = 0 ] || printf '\nfailed:\n%s\n\n' "$(cat "$scratch"/*/failures 2>/dev/null)"
[ "$skipped" = 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && exit "$codes"
exit 1
