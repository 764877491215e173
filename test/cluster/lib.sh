# What the kit's scripts share: where things lie, how programs are started and stopped, how the scripts complain. Sourced, not run.
kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$kit/../.." && pwd)
cache=${PARITY_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pipeline-parity}
# The node's own: images, logs, certificates, what runs. There is one node on a machine.
state=$cache/cluster
kubeconfig=$state/pki/admin.kubeconfig
# The node, and how pods reach this machine.
node_ip=10.88.0.1
containerd_socket=$state/containerd.sock

# Where scripts/setup.sh puts Go on a machine that has none, and where its own installer does.
export PATH=$cache/go/bin:$PATH:/usr/local/go/bin:/usr/sbin

say() { echo "cluster: $*" >&2; }

die() {
  say "$*"
  exit 1
}

need() {
  local program missing=()
  for program in "$@"; do command -v "$program" >/dev/null || missing+=("$program"); done
  [ ${#missing[@]} -eq 0 ] || die "missing: ${missing[*]}. Install what the cluster needs with: scripts/setup.sh cluster"
}

# The first 12 digits of a digest over the names and contents of the files below the folders and files given; tests go into no build.
content_key() {
  local path
  for path in "$@"; do
    [ -e "$path" ] || die "$path is missing from the checkout"
    (cd "$(dirname "$path")" && find "$(basename "$path")" -type f ! -name "*.test.ts" -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum)
  done | sha256sum | cut -c1-12
}

# start NAME PROGRAM ARGUMENT…: in the background, unless it runs already; its log is logs/NAME.log.
start() {
  local name=$1
  ! runs "$name" || return 0
  mkdir -p "$state/run" "$state/logs"
  # Without this script's lock, which would be held as long as the program runs.
  setsid nohup "${@:2}" >"$state/logs/$name.log" 2>&1 </dev/null 9>&- &
  echo "$! $(started_at $!)" >"$state/run/$name.pid"
}

# Whether the program that start NAME started runs. A process id may have been given to another since: the time of its start tells.
runs() {
  local pid=0 when=
  read -r pid when 2>/dev/null <"$state/run/$1.pid" || return 1
  [ -n "$when" ] && [ "$(started_at "$pid")" = "$when" ]
}

# Clock ticks after boot; nothing for a process that is dead, even if nobody has asked yet how it died. (The name in parentheses may hold spaces.)
started_at() {
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'
}

# stop NAME…: asks each to end, and ends it after five seconds.
stop() {
  local name tries
  for name in "$@"; do
    ! runs "$name" || kill "$(cut -d' ' -f1 "$state/run/$name.pid")" 2>/dev/null || true
  done
  for name in "$@"; do
    for tries in {1..50}; do
      runs "$name" || break
      sleep 0.1
    done
    ! runs "$name" || kill -KILL "$(cut -d' ' -f1 "$state/run/$name.pid")" 2>/dev/null || true
    rm -f "$state/run/$name.pid"
  done
}

# wait_for NAME SECONDS COMMAND…: until the command succeeds; an error with NAME's last words where it never does, or NAME has ended.
wait_for() {
  local name=$1 deadline=$((SECONDS + $2))
  until "${@:3}" >/dev/null 2>&1; do
    runs "$name" || die "$name has ended: $(last_words "$name")"
    [ $SECONDS -lt $deadline ] || die "$name: not ready after $2 s ($*): $(last_words "$name")"
    sleep 0.1
  done
}

last_words() {
  tail -n 5 "$state/logs/$1.log" 2>/dev/null || echo "it has no log in $state/logs"
}

node_ctr() {
  ctr --address "$containerd_socket" --namespace k8s.io "$@"
}

# node_program NAME ARGUMENT…: one of the programs that build.sh node has built.
node_program() {
  local bin
  read -r bin < <("$kit/build.sh" --where node)
  "$bin/$1" "${@:2}"
}

node_kubectl() {
  node_program kubectl --kubeconfig "$kubeconfig" "$@"
}

# Its storage is the kit's own.
buildah_here() {
  buildah --root "$cache/cluster-buildah/root" --runroot "$cache/cluster-buildah/run" --storage-driver overlay "$@"
}

# import ARCHIVE IMAGE: to the node's containerd, unless this very archive was imported before.
import() {
  local stamp
  stamp=$state/containerd/imported-$(basename "$1" .tar)
  runs containerd || die "the node is not up: test/cluster/up.sh"
  [ -e "$stamp" ] && node_ctr images ls -q name=="$2" | grep -q . && return
  node_ctr images import "$1" >/dev/null || die "$2 could not be imported: $(last_words containerd)"
  touch "$stamp"
}
