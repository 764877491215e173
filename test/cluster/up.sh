#!/usr/bin/env bash
# Brings up a Kubernetes of one node on this Debian machine, as root and without a container engine, and prints the path of its kubeconfig.
#   export KUBECONFIG=$(test/cluster/up.sh)
#   test/cluster/up.sh --is-up              only says by its exit code whether it is up
# Builds what is missing first. Does nothing where it is up already. Programs write into logs/ of the state folder; down.sh ends them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  if [ "${1:-}" = --is-up ]; then
    is_up
    return
  fi
  [ "$(id -u)" = 0 ] || die "a node needs root"
  need containerd ctr runc ip iptables conntrack openssl buildah
  [ -x /usr/lib/cni/bridge ] || die "missing: /usr/lib/cni/bridge. Install what the cluster needs with: scripts/setup.sh cluster"
  mkdir -p "$state"
  exec 9>"$state/.lock"
  flock 9
  local bin dns pause
  { read -r bin && read -r dns; } < <("$kit/build.sh" node) || die "the node's programs could not be built"
  pause=$("$kit/images.sh" pause)
  if ! is_up; then
    "$kit/down.sh" --locked
    bridge
    certificates
    control_plane "$bin"
    container_runtime
    node "$bin" "$dns" "$pause"
  fi
  echo "$kubeconfig"
}

is_up() {
  local name
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy coredns; do runs $name || return 1; done
}

# Where pods meet this machine.
bridge() {
  ip link add parity0 type bridge 2>/dev/null || ip link show parity0 >/dev/null || die "no bridge parity0 could be made"
  # An address of its own, as its IP would have it. Else it has that of one of its ports, and when that pod ends the others send what is for this machine to
  # nobody for up to a minute, until their neighbour tables are refreshed.
  ip link set parity0 address 0a:58:0a:58:00:01
  ip addr replace $node_ip/24 dev parity0
  ip link set parity0 up
}

# A cluster's worth of certificates, made anew each time: nothing of an earlier cluster is believed.
certificates() {
  local pki=$state/pki
  rm -rf "$pki"
  mkdir -p -m 700 "$pki"
  new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$pki/$1.key"; }
  new_key service-accounts
  new_key ca
  openssl req -x509 -new -key "$pki/ca.key" -out "$pki/ca.crt" -days 365 -subj /CN=parity-cluster
  # certificate NAME SUBJECT ALTERNATIVE_NAMES
  certificate() {
    new_key "$1"
    openssl req -new -key "$pki/$1.key" -subj "$2" |
      openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 365 -out "$pki/$1.crt" 2>/dev/null \
        -extfile <(printf 'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s' "$3")
  }
  certificate apiserver /CN=kube-apiserver "IP:127.0.0.1,IP:$node_ip,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  local name
  while read -r name subject; do
    certificate "$name" "$subject" "DNS:$name,IP:$node_ip"
    kubeconfig_of "$name" >"$pki/$name.kubeconfig"
  done <<USERS
admin /O=system:masters/CN=admin
kube-controller-manager /CN=system:kube-controller-manager
kube-scheduler /CN=system:kube-scheduler
kube-proxy /CN=system:kube-proxy
kubelet /O=system:nodes/CN=system:node:node
USERS
}

kubeconfig_of() {
  cat <<CONFIG
apiVersion: v1
kind: Config
clusters: [{ name: parity, cluster: { server: "https://$node_ip:16443", certificate-authority-data: $(base64 -w0 "$state/pki/ca.crt") } }]
users: [{ name: $1, user: { client-certificate-data: $(base64 -w0 "$state/pki/$1.crt"), client-key-data: $(base64 -w0 "$state/pki/$1.key") } }]
contexts: [{ name: parity, context: { cluster: parity, user: $1 } }]
current-context: parity
CONFIG
}

control_plane() {
  local bin=$1 pki=$state/pki
  rm -rf "$state/etcd"
  start etcd "$bin/etcd" --data-dir "$state/etcd" --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
    --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 --initial-cluster default=http://127.0.0.1:12380
  start kube-apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:12379 --secure-port=16443 --advertise-address=$node_ip \
    --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/service-accounts.key" --service-account-signing-key-file="$pki/service-accounts.key" \
    --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP
  # Its own certificate is asked for, so a server that somebody else left on the port is not mistaken for this one.
  wait_for kube-apiserver 60 node_kubectl get --raw /readyz
  start kube-controller-manager "$bin/kube-controller-manager" --kubeconfig="$pki/kube-controller-manager.kubeconfig" --bind-address=127.0.0.1 --secure-port=20257 \
    --service-account-private-key-file="$pki/service-accounts.key" --root-ca-file="$pki/ca.crt" --use-service-account-credentials=true --leader-elect=false
  start kube-scheduler "$bin/kube-scheduler" --kubeconfig="$pki/kube-scheduler.kubeconfig" --bind-address=127.0.0.1 --secure-port=20259 --leader-elect=false
}

container_runtime() {
  mkdir -p "$state/cni"
  rm -rf "$state/cni-addresses"
  cat >"$state/cni/10-bridge.conflist" <<CONFIG
{
  "cniVersion": "1.0.0",
  "name": "parity",
  "plugins": [
    { "type": "bridge", "bridge": "parity0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
      "ipam": { "type": "host-local", "dataDir": "$state/cni-addresses", "ranges": [[{ "subnet": "10.88.0.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }] } },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
CONFIG
  cat >"$state/containerd.toml" <<CONFIG
version = 2
root = "$state/containerd"
state = "$state/containerd-state"
[grpc]
  address = "$containerd_socket"
[plugins."io.containerd.grpc.v1.cri"]
  # Where CAP_SYS_RESOURCE is missing, no pod would start without it.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  sandbox_image = "local.parity/pause:1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/cni"
CONFIG
  start containerd containerd --config "$state/containerd.toml"
  wait_for containerd 30 node_ctr version
}

# node BIN DNS_BIN PAUSE_ARCHIVE
node() {
  local bin=$1 dns=$2 pki=$state/pki
  node_ctr images import "$3" >/dev/null || die "the pause image could not be imported: $(last_words containerd)"
  echo 'nameserver 127.0.0.1' >"$state/resolv.conf"
  cat >"$state/kubelet.yaml" <<CONFIG
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
# Bound to the address that the API server knows, or logs would come back empty.
address: $node_ip
port: 20250
healthzPort: 20248
cgroupDriver: cgroupfs
failSwapOn: false
failCgroupV1: false
enforceNodeAllocatable: [none]
containerRuntimeEndpoint: unix://$containerd_socket
authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: $pki/ca.crt } }
authorization: { mode: Webhook }
tlsCertFile: $pki/kubelet.crt
tlsPrivateKeyFile: $pki/kubelet.key
# The disk is the developer's: nothing is evicted or collected because it is nearly full.
evictionHard: { memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1% }
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
podLogsDir: $state/pod-logs
resolvConf: $state/resolv.conf
clusterDomain: cluster.local
clusterDNS: [$node_ip]
CONFIG
  start kubelet "$bin/kubelet" --config="$state/kubelet.yaml" --kubeconfig="$pki/kubelet.kubeconfig" --root-dir="$state/kubelet" --hostname-override=node --node-ip=$node_ip
  start kube-proxy "$bin/kube-proxy" --kubeconfig="$pki/kube-proxy.kubeconfig" --cluster-cidr=10.88.0.0/24 --proxy-mode=iptables --hostname-override=node \
    --bind-address=127.0.0.1 --healthz-bind-address=127.0.0.1:20256 --metrics-bind-address=127.0.0.1:20249 --conntrack-max-per-core=0
  cat >"$state/Corefile" <<CONFIG
cluster.local:53 {
  bind $node_ip
  errors
  kubernetes cluster.local {
    kubeconfig $kubeconfig parity
  }
  cache 5
}
CONFIG
  start coredns "$dns/coredns" -conf "$state/Corefile"
  wait_for kubelet 60 node_kubectl wait --for=condition=Ready node/node --timeout=1s
  wait_for kube-controller-manager 30 node_kubectl get serviceaccount default
}

main "$@"
