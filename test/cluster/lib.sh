# What the kit's scripts share: where things lie, and how they complain. Sourced, not run.
kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$kit/../.." && pwd)
cache=${PARITY_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pipeline-parity}
# Where scripts/setup.sh puts Go on a machine that has none, and where its own installer does.
export PATH=$cache/go/bin:$PATH:/usr/local/go/bin:/usr/sbin

say() { echo "cluster: $*" >&2; }

die() {
  say "$*"
  exit 1
}

# The first 12 digits of a digest over the names and contents of the files below the folders and files given.
content_key() {
  local path
  for path in "$@"; do
    [ -e "$path" ] || die "$path is missing from the checkout"
    (cd "$(dirname "$path")" && find "$(basename "$path")" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
  done | sha256sum | cut -c1-12
}
