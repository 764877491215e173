#!/usr/bin/env bash
# Ends what up.sh and argocd.sh started, and only that; pods end with it. Images and built programs stay in the cache; nothing else is left.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  [ -d "$state" ] || return 0
  if [ "${1:-}" != --locked ]; then
    exec 9>"$state/.lock"
    flock 9
  fi
  # Who would start pods again goes first.
  stop argocd-application-controller argocd-repo-server redis coredns kube-proxy kubelet kube-scheduler kube-controller-manager
  ! runs containerd || end_pods
  stop containerd kube-apiserver etcd
  unmount
  remove_network
  rm -rf "$state"/{etcd,pki,kubelet,pod-logs,cni,cni-addresses,containerd-state,run,argocd}
}

end_pods() {
  local task container
  for task in $(node_ctr tasks ls -q); do node_ctr tasks kill -s KILL "$task" 2>/dev/null || true; done
  for container in $(node_ctr containers ls -q); do
    # A task that was killed takes a moment to be gone.
    node_ctr tasks rm -f "$container" >/dev/null 2>&1 || true
    node_ctr containers rm "$container" >/dev/null 2>&1 || say "container $container could not be removed"
  done
}

# Deepest first.
unmount() {
  awk -v folder="$state/" 'index($2, folder) == 1 { print $2 }' /proc/self/mounts | sort -r | xargs -r -n1 umount ||
    die "something below $state is still mounted (see /proc/self/mounts); what uses it?"
}

remove_network() {
  ip link show parity0 >/dev/null 2>&1 || return 0
  ip link delete parity0
  # It calls unreachable what it need not remove.
  node_program kube-proxy --cleanup >/dev/null 2>&1 || say "kube-proxy could not remove its iptables rules"
  # What the kubelet made of its own, which nobody else removes.
  local table chain
  for chain in INPUT OUTPUT; do iptables -D $chain -j KUBE-FIREWALL 2>/dev/null || true; done
  for table in filter mangle nat; do
    for chain in KUBE-FIREWALL KUBE-KUBELET-CANARY KUBE-IPTABLES-HINT; do
      { iptables -t $table -F $chain && iptables -t $table -X $chain; } 2>/dev/null || true
    done
  done
}

main "$@"
