#!/usr/bin/env bash
# Builds the project's image from the Dockerfile with buildah, unless the same content was built before, and prints its name.
#   test/cluster/image.sh             builds it
#   test/cluster/image.sh --import    and brings it to the node
set -euo pipefail
. "$(dirname "$0")/lib.sh"
inputs=(Dockerfile .dockerignore package.json package-lock.json tsconfig.json tsconfig.build.json LICENSE argocd/sources bin crds operator src)

main() {
  need buildah
  local base key image archive certificates=/etc/ssl/certs/ca-certificates.crt
  base=$("$kit/images.sh" node)
  key=$(cd "$repository" && content_key "${inputs[@]}")
  image=local.parity/parity:$key
  archive=$cache/cluster-images/parity-$key.tar
  (
    flock 8
    [ ! -e "$archive" ] || exit 0
    say "building the image $image"
    # The certificates that this machine believes, where the packages come through a proxy of its own.
    buildah_here bud -q --force-rm --layers --isolation chroot --build-arg "NODE_IMAGE=docker-archive:$base" --volume "$certificates:$certificates:ro" -t "$image" "$repository" >&2 ||
      die "the image could not be built; see above"
    rm -f "$cache/cluster-images/.parity.tar"
    buildah_here push -q "$image" "docker-archive:$cache/cluster-images/.parity.tar:$image" >&2
    mv "$cache/cluster-images/.parity.tar" "$archive"
    forget_old
  ) 8>"$cache/cluster-images/.lock-parity"
  [ "${1:-}" != --import ] || import "$archive" "$image"
  echo "$image"
}

# A gigabyte each. The last six stay, because another checkout may be using its own.
forget_old() {
  local old
  for old in $(ls -t "$cache/cluster-images"/parity-*.tar | tail -n +7); do
    rm -f "$old"
    old=local.parity/parity:$(basename "$old" .tar | cut -d- -f2)
    buildah_here rmi "$old" >/dev/null 2>&1 || true
    ! runs containerd || node_ctr images rm "$old" >/dev/null 2>&1 || true
  done
}

main "$@"
