#!/usr/bin/env bash
# Tests a pipeline in a cluster from any CI system: makes a run of a plan (or of a manifest), waits for its end, brings the reports
# here, and ends with the run's exit code: 0 passed, 1 the data differ, 2 the test could not be carried out, 3 cancelled, 64 bad usage.
#
#   PARITY_PLAN=warehouse-syncs PARITY_NAMESPACE=data examples/ci/parity-ci.sh
#
# PARITY_PLAN        name of a PipelineParityPlan in the cluster; or
# PARITY_MANIFEST    file with a PipelineParityRun (and its plan, if it has one)
# PARITY_SET         fields to set, one spec.field=value a line
# PARITY_PATHS       folders and files, one a line: nothing is run unless one of them differs from PARITY_BASE
# PARITY_BASE        what to compare with (default: origin/main)
# PARITY_NAME        name of the run (default: made of plan, commit and PARITY_BUILD)
# PARITY_BUILD       what tells this build from another of the same commit (default: the CI system's id, or the time)
# PARITY_NAMESPACE   namespace of the run (default: the kubeconfig's)
# PARITY_REPORTS     folder that the reports are brought to (default: parity-reports)
# PARITY_ENDPOINT    S3-compatible server of the reports, where the cluster knows it by another address
# PARITY_TIMEOUT     longest wait, e.g. 90m (default: 24h); it ends the waiting with 2, not the run
# PARITY_COMMAND     how parity is called (default: npx --yes pipeline-parity)
# KUBECONFIG         as for kubectl. The account needs `edit` on runs and, to show tasks, `view` in the namespace.
#
# A build that is cancelled (SIGINT or SIGTERM) cancels the run.
set -euo pipefail

main() {
  local name code=0 arguments=()
  [ -n "${PARITY_PLAN:-}" ] || [ -n "${PARITY_MANIFEST:-}" ] || usage "set PARITY_PLAN or PARITY_MANIFEST"
  [ -z "${PARITY_PLAN:-}" ] || [ -z "${PARITY_MANIFEST:-}" ] || usage "set one of PARITY_PLAN and PARITY_MANIFEST"
  if ! is_touched; then
    echo "Nothing under test has changed since ${PARITY_BASE:-origin/main}."
    output verdict Skipped
    return 0
  fi
  name=$(run_name)
  output name "$name"
  arguments=(run "${PARITY_MANIFEST:--}" --cluster --name "$name" --reports "${PARITY_REPORTS:-parity-reports}")
  [ -z "${PARITY_NAMESPACE:-}" ] || arguments+=(--namespace "$PARITY_NAMESPACE")
  [ -z "${PARITY_ENDPOINT:-}" ] || arguments+=(--endpoint "$PARITY_ENDPOINT")
  [ -z "${PARITY_TIMEOUT:-}" ] || arguments+=(--timeout "$PARITY_TIMEOUT")
  while IFS= read -r line; do
    [ -z "${line// /}" ] || arguments+=(--set "$line")
  done <<<"${PARITY_SET:-}"
  run_parity "${arguments[@]}" || code=$?
  output verdict "$(verdict_of "$code")"
  return "$code"
}

# Passes signals on, and waits until parity has really ended: it cancels the run before it goes.
run_parity() {
  local command pid code=0
  read -ra command <<<"${PARITY_COMMAND:-npx --yes pipeline-parity}"
  if [ -n "${PARITY_PLAN:-}" ]; then
    plan_run | "${command[@]}" "$@" &
  else
    "${command[@]}" "$@" &
  fi
  pid=$!
  trap 'kill -TERM "$pid" 2>/dev/null || true' INT TERM
  while :; do
    code=0
    wait "$pid" || code=$?
    kill -0 "$pid" 2>/dev/null || break
  done
  trap - INT TERM
  return "$code"
}

# A run that takes everything from its plan. Its name is given on the command line.
plan_run() {
  cat <<YAML
apiVersion: pipelineparity.io/v1alpha1
kind: PipelineParityRun
metadata: { name: from-ci }
spec:
  planRef: { name: "$PARITY_PLAN" }
YAML
}

# A name that no other build has, of the letters that Kubernetes allows.
run_name() {
  local of commit build
  [ -z "${PARITY_NAME:-}" ] || { echo "$PARITY_NAME" && return; }
  of=${PARITY_PLAN:-$(basename "${PARITY_MANIFEST%.*}")}
  commit=$(git rev-parse --short=8 HEAD 2>/dev/null || echo none)
  build=${PARITY_BUILD:-${GITHUB_RUN_ID:+$GITHUB_RUN_ID-${GITHUB_RUN_ATTEMPT:-1}}}
  build=${build:-${CI_PIPELINE_ID:-${BUILD_ID:-${BUILDKITE_BUILD_NUMBER:-$(date -u +%Y%m%d%H%M%S)}}}}
  printf '%s-%s-%s' "${of:0:30}" "$commit" "$build" | tr '[:upper:]' '[:lower:]' | tr -c 'a-z0-9' '-' | sed 's/^-*//; s/-*$//' | cut -c 1-63
}

is_touched() {
  local paths=()
  while IFS= read -r line; do
    [ -z "${line// /}" ] || paths+=("$line")
  done <<<"${PARITY_PATHS:-}"
  [ ${#paths[@]} -gt 0 ] || return 0
  # What cannot be compared is tested.
  git rev-parse --verify --quiet "${PARITY_BASE:-origin/main}^{commit}" >/dev/null || return 0
  ! git diff --quiet "${PARITY_BASE:-origin/main}...HEAD" -- "${paths[@]}"
}

verdict_of() {
  case $1 in
    0) echo Passed ;;
    1) echo Failed ;;
    3) echo Cancelled ;;
    *) echo Errored ;;
  esac
}

# For later steps of a GitHub job.
output() {
  [ -z "${GITHUB_OUTPUT:-}" ] || echo "$1=$2" >>"$GITHUB_OUTPUT"
}

usage() {
  echo "parity-ci: $1; see the head of $0" >&2
  exit 64
}

main
