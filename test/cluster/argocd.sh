#!/usr/bin/env bash
# Starts Argo CD beside the node: its repository server and its application controller, as processes. Does nothing where it runs already.
# Applications live in the namespace argocd. down.sh ends it; `argocd.sh stop` ends it alone, as when Argo CD is down.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  if [ "${1:-}" = stop ]; then
    stop argocd-application-controller argocd-repo-server redis
    return
  fi
  need redis-server git
  exec 9>"$state/.lock"
  flock 9
  runs kube-apiserver || die "the node is not up: test/cluster/up.sh"
  local bin helm
  { read -r bin && read -r helm; } < <("$kit/build.sh" argocd) || die "Argo CD could not be built"
  node_kubectl get --ignore-not-found appproject default -n argocd 2>/dev/null | grep -q . || install "$bin"
  run "$bin" "$helm"
}

# install BIN: the CRDs, its own settings, and the project that its API server, which does not run here, would make.
install() {
  local manifests=$1/manifests
  node_kubectl create namespace argocd --dry-run=client -o yaml | node_kubectl apply -f - >/dev/null
  node_kubectl apply --server-side -f "$manifests/application-crd.yaml" -f "$manifests/appproject-crd.yaml" -f "$manifests/applicationset-crd.yaml" >/dev/null
  node_kubectl wait --for=condition=Established --timeout=30s crd/applications.argoproj.io crd/appprojects.argoproj.io >/dev/null
  local settings
  for settings in "$manifests"/argocd-*.yaml; do node_kubectl apply -n argocd -f "$settings" >/dev/null; done
  node_kubectl apply -f - >/dev/null <<PROJECT
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: { name: default, namespace: argocd }
spec:
  sourceRepos: ["*"]
  destinations: [{ namespace: "*", server: "*" }]
  clusterResourceWhitelist: [{ group: "*", kind: "*" }]
PROJECT
}

# run BIN HELM_BIN
run() {
  local home=$state/argocd
  mkdir -p "$home"/{tls,ssh,gpg,tmp}
  touch "$home/ssh/ssh_known_hosts"
  # A process outside the cluster that takes itself for one inside; without signatures of Git commits; what it keeps lies in our folder.
  export ARGOCD_FAKE_IN_CLUSTER=true ARGOCD_GPG_ENABLED=false KUBECONFIG=$kubeconfig PATH=$2:$PATH
  export ARGOCD_TLS_DATA_PATH=$home/tls ARGOCD_SSH_DATA_PATH=$home/ssh ARGOCD_GNUPGHOME=$home/gpg TMPDIR=$home/tmp ARGOCD_REDIS_PASSWORD=
  start redis redis-server --bind 127.0.0.1 --port 16379 --save '' --appendonly no --dir "$home"
  wait_for redis 10 redis-cli -p 16379 ping
  # The same program under two names.
  ARGOCD_BINARY_NAME=argocd-repo-server start argocd-repo-server "$1/argocd" --address 127.0.0.1 --port 18081 --metrics-address 127.0.0.1 --metrics-port 18084 \
    --redis 127.0.0.1:16379 --disable-tls --allow-oob-symlinks
  ARGOCD_BINARY_NAME=argocd-application-controller start argocd-application-controller "$1/argocd" --kubeconfig "$kubeconfig" --namespace argocd --metrics-port 18082 \
    --redis 127.0.0.1:16379 --repo-server 127.0.0.1:18081 --repo-server-plaintext --app-resync 20 --status-processors 4 --operation-processors 2
  wait_for argocd-repo-server 30 curl -fsS http://127.0.0.1:18084/healthz
  wait_for argocd-application-controller 30 curl -fsS http://127.0.0.1:18082/healthz
}

main "$@"
