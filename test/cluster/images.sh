#!/usr/bin/env bash
# Makes container images from Debian packages, for a machine that reaches no image registry. Each is made once, and found by what it was made from.
#   test/cluster/images.sh pause | node | postgres | mariadb      makes it, and prints the archive it lies in
#   test/cluster/images.sh --import NAME…                         makes them, brings them to the node, and prints the images' names
# Users' clusters take the official images: nothing here is part of what is delivered.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
debian=bookworm

main() {
  need buildah mmdebstrap
  if [ "${1:-}" != --import ]; then
    archive_of "$@"
    return
  fi
  local name archive image
  for name in "${@:2}"; do
    archive=$(archive_of "$name")
    import "$archive" "$(image_of "$name")"
    image_of "$name"
  done
}

image_of() {
  case $1 in
    pause) echo local.parity/pause:1 ;;
    node) echo "local.parity/node:$(node_version)" ;;
    postgres) echo local.parity/postgres:15 ;;
    mariadb) echo local.parity/mariadb:10.11 ;;
    *) die "usage: test/cluster/images.sh [--import] pause|node|postgres|mariadb" ;;
  esac
}

archive_of() {
  local name=$1 image archive work
  image=$(image_of "$name")
  archive=$cache/cluster-images/$name-$(recipe "$name" | sha256sum | cut -c1-12).tar
  mkdir -p "$cache/cluster-images"
  (
    flock 8
    [ ! -e "$archive" ] || exit 0
    say "making the image $image"
    work=$(mktemp -d "$cache/cluster-images/.making-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    "make_$name" "$work"
    buildah_here bud -q --no-cache --force-rm --isolation chroot -t "$image" "$work" >/dev/null
    buildah_here push -q "$image" "docker-archive:$work/image.tar:$image" >/dev/null
    buildah_here rmi "$image" >/dev/null
    rm -f "$cache/cluster-images/$name-"*.tar
    mv "$work/image.tar" "$archive"
  ) 8>"$cache/cluster-images/.lock"
  echo "$archive"
}

# All that an image is made from, but for the day's Debian packages.
recipe() {
  declare -f "make_$1" root_file_system
  case $1 in
    pause) content_key "$kit/go/pause" ;;
    node) node_version ;;
  esac
}

make_pause() {
  (cd "$kit/go/pause" && CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$1/pause" .)
  printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$1/Dockerfile"
}

# In place of the official node:VERSION-bookworm-slim: the Node of this checkout's packages, and an npm with all that it needs, which a distribution's own is not.
make_node() {
  npm install --prefix "$1/packages" --no-audit --no-fund --ignore-scripts --loglevel=error npm@11.19.1 >/dev/null
  root_file_system "$1" libstdc++6,ca-certificates
  cp "$repository/node_modules/node/bin/node" "$1/node"
  mv "$1/packages/node_modules/npm" "$1/npm"
  cat >"$1/Dockerfile" <<'DOCKERFILE'
FROM scratch
ADD root.tar /
COPY node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && node --version && npm --version
CMD ["node"]
DOCKERFILE
}

# The uid that a StatefulSet runs it as is in /etc/passwd, or initdb refuses.
make_postgres() {
  root_file_system "$1" postgresql-15
  cat >"$1/Dockerfile" <<'DOCKERFILE'
FROM scratch
ADD root.tar /
RUN usermod -u 999 postgres && groupmod -g 999 postgres && mkdir -p /var/run/postgresql && chown 999:999 /var/run/postgresql && ln -s /usr/lib/postgresql/15/bin/* /usr/local/bin/
USER 999:999
DOCKERFILE
}

make_mariadb() {
  root_file_system "$1" mariadb-server
  cat >"$1/Dockerfile" <<'DOCKERFILE'
FROM scratch
ADD root.tar /
RUN usermod -u 999 mysql && groupmod -g 999 mysql && mkdir -p /run/mysqld && chown 999:999 /run/mysqld && mariadbd --version
USER 999:999
DOCKERFILE
}

root_file_system() {
  mmdebstrap --quiet --variant=essential --include="$2" $debian "$1/root.tar" || die "mmdebstrap could not make a Debian $debian with $2"
}

node_version() {
  "$repository/node_modules/node/bin/node" --version 2>/dev/null || die "no Node in node_modules: run scripts/setup.sh test"
}

main "$@"
