#!/usr/bin/env bash
# Installs the floors and peers that the benchmarks compare with, into the cache: psql and mariadb clients, s5cmd, reladiff, datacompy.
set -euo pipefail
cd "$(dirname "$0")"
../scripts/setup.sh test
cache=${PARITY_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pipeline-parity}
missing=()
command -v psql >/dev/null || missing+=(postgresql-client)
command -v mariadb >/dev/null || missing+=(mariadb-client)
command -v go >/dev/null || missing+=(golang-go)
[ ${#missing[@]} -eq 0 ] || { [ "$(id -u)" = 0 ] || sudo=sudo; ${sudo:-} apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
key=$(cat requirements.txt s5cmd/go.sum | sha256sum | cut -c1-12)
peers=$cache/peers-$key
[ -e "$peers/.complete" ] || {
  rm -rf "$peers"
  python3 -m venv "$peers"
  "$peers/bin/pip" install -q --disable-pip-version-check -r requirements.txt
  (cd s5cmd && GOFLAGS=-mod=mod go build -o "$peers/bin/s5cmd" github.com/peak/s5cmd/v2)
  touch "$peers/.complete"
}
ln -sfn "$peers" "$cache/peers"
