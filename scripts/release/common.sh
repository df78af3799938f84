# What the steps of a release share. Sourced from the root of the repository by each of
# them, which also says: -e, -u, -o pipefail.
# shellcheck shell=bash disable=SC2034

set -euo pipefail

# The tag of the release, as GitHub gives it.
tag=${GITHUB_REF_NAME:?the tag, such as v0.1.0}

targets=(
  x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu
  x86_64-apple-darwin aarch64-apple-darwin
  x86_64-pc-windows-msvc aarch64-pc-windows-msvc
)

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# The binary of a target.
binary_of() {
  case $1 in
    *-windows-*) echo "dist/$1/rebuild-cache.exe" ;;
    *) echo "dist/$1/rebuild-cache" ;;
  esac
}

# What a target's is downloaded as.
archive_of() {
  case $1 in
    *-windows-*) echo "rebuild-cache-$1.zip" ;;
    *) echo "rebuild-cache-$1.tar.gz" ;;
  esac
}

# macOS has no sha256sum.
sums() {
  if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}
