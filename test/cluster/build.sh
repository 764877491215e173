#!/usr/bin/env bash
# Builds the programs of a real Kubernetes from their Go modules, once: what is in the cache already is not built again.
#   test/cluster/build.sh control-plane    etcd, kube-apiserver, kube-controller-manager    (about 5 minutes on 2 cores)
#   test/cluster/build.sh node             the same, kubelet, kube-proxy, kube-scheduler, kubectl, CoreDNS    (3 more)
#   test/cluster/build.sh argocd           Argo CD and Helm    (6 more)
#   test/cluster/build.sh helm             only Helm
#   test/cluster/build.sh --where PART     builds nothing; fails if something of PART is not built yet
# Prints, a line each, the folders that the programs are in; each is named by the content of what it was built from.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
helm_version=v3.22.0

main() {
  local build=make
  [ "${1:-}" != --where ] || { build=find_built && shift; }
  case ${1:-} in
    control-plane) kubernetes "$build" etcd kube-apiserver kube-controller-manager ;;
    node)
      kubernetes "$build" etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl
      "$build" dns "$(folder_of dns)" coredns .
      ;;
    argocd)
      "$build" argocd "$(folder_of argocd)" argocd github.com/argoproj/argo-cd/v3/cmd \
        "-X github.com/argoproj/argo-cd/v3/common.version=$(version_of argocd github.com/argoproj/argo-cd/v3)"
      helm "$build"
      [ "$build" = find_built ] || copy_argocd_manifests >&2
      ;;
    helm) helm "$build" ;;
    *) die "usage: test/cluster/build.sh [--where] control-plane|node|argocd|helm" ;;
  esac
}

# kubernetes make|find_built PROGRAM…
kubernetes() {
  local build=$1 program package version stamp folder
  version=$(version_of kubernetes k8s.io/kubernetes)
  folder=$(folder_of kubernetes)
  # Without a version of its own the API server would call itself v0.0.0, and clients would believe it.
  stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1"
  stamp+=" -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version") -X k8s.io/client-go/pkg/version.gitVersion=$version"
  for program in "${@:2}"; do
    package=k8s.io/kubernetes/cmd/$program
    [ "$program" != etcd ] || package=go.etcd.io/etcd/server/v3
    "$build" kubernetes "$folder" "$program" "$package" "$stamp" >/dev/null
  done
  echo "$folder"
}

# Its CRDs and settings, which lie beside its source.
copy_argocd_manifests() {
  local folder source
  folder=$(folder_of argocd)
  [ ! -e "$folder/manifests" ] || return 0
  source=$(cd "$kit/go/argocd" && go list -m -f '{{.Dir}}' github.com/argoproj/argo-cd/v3)
  rm -rf "$folder/.manifests"
  mkdir "$folder/.manifests"
  cp --no-preserve=mode "$source"/manifests/crds/*-crd.yaml "$source"/manifests/base/config/*.yaml "$folder/.manifests"
  mv "$folder/.manifests" "$folder/manifests"
}

helm() {
  local folder=$cache/cluster-helm-$helm_version
  if [ "$1" = find_built ]; then
    find_built helm "$folder" helm
  else
    [ -x "$folder/helm" ] || { say "building helm $helm_version" && go_env GOBIN="$folder" go install -trimpath -ldflags '-s -w' "helm.sh/helm/v3/cmd/helm@$helm_version" >&2; }
    echo "$folder"
  fi
}

# make MODULE FOLDER PROGRAM PACKAGE [LDFLAGS]: one program; a second build of the same waits for the first.
make() {
  local module=$1 folder=$2 program=$3 package=$4 ldflags="-s -w ${5:-}" unfinished
  mkdir -p "$folder"
  (
    flock 9
    [ ! -x "$folder/$program" ] || exit 0
    say "building $program"
    unfinished=$(mktemp -d "$folder/.building-XXXXXX")
    trap 'rm -rf "$unfinished"' EXIT
    cd "$kit/go/$module"
    go_env go build -mod=readonly -trimpath -ldflags "$ldflags" -o "$unfinished/$program" "$package" >&2 ||
      die "$program could not be built; see above. Go 1.24 or later is needed ($(command -v go || echo 'none is installed')), and Go modules (GOPROXY=$(go env GOPROXY))"
    mv "$unfinished/$program" "$folder/$program"
  ) 9>"$folder/.lock"
  echo "$folder"
}

find_built() {
  local folder=$2 program=$3
  [ -x "$folder/$program" ] || die "$program is not built yet (no $folder/$program)"
  echo "$folder"
}

# No cgo: the programs then run in any image, and no C compiler is needed.
go_env() {
  env CGO_ENABLED=0 GOFLAGS=-buildvcs=false "$@"
}

folder_of() {
  echo "$cache/cluster-$1-$(content_key "$kit/go/$1")"
}

version_of() {
  awk -v module="$2" '$1 == module { print $2; exit } $2 == module { print $3; exit }' "$kit/go/$1/go.mod"
}

main "$@"
