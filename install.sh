#!/bin/sh
# Installs the rebuild-cache binary, without root:
#
#   curl -fsSL https://github.com/rebuild-cache/rebuild-cache/releases/latest/download/install.sh | sh
#
# REBUILD_CACHE_VERSION   a version, such as 0.1.0 (default: the latest)
# REBUILD_CACHE_INSTALL   where to put it (default: ~/.local/bin)
# REBUILD_CACHE_RELEASES  another place to download from
set -eu

releases=${REBUILD_CACHE_RELEASES:-https://github.com/rebuild-cache/rebuild-cache/releases}
version=${REBUILD_CACHE_VERSION:-latest}
folder=${REBUILD_CACHE_INSTALL:-${HOME:?HOME is not set: say where with REBUILD_CACHE_INSTALL}/.local/bin}

die() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

case $(uname -s) in
  Linux) system=unknown-linux-gnu ;;
  Darwin) system=apple-darwin ;;
  *) die "there is no binary for $(uname -s). On Windows, use install.ps1" ;;
esac
case $(uname -m) in
  x86_64 | amd64) machine=x86_64 ;;
  aarch64 | arm64) machine=aarch64 ;;
  *) die "there is no binary for $(uname -m)" ;;
esac
if [ "$system" = unknown-linux-gnu ] && ldd --version 2>&1 | grep -qi musl; then
  die "there is no binary for musl (Alpine): it needs glibc"
fi
archive=rebuild-cache-$machine-$system.tar.gz
case $version in
  latest) from=$releases/latest/download ;;
  *) from=$releases/download/v${version#v} ;;
esac

if command -v curl >/dev/null; then
  get() { curl -fsSL --retry 2 --connect-timeout 20 -o "$2" "$1"; }
elif command -v wget >/dev/null; then
  get() { wget -q -T 20 -O "$2" "$1"; }
else
  die "it needs curl or wget"
fi
if command -v sha256sum >/dev/null; then
  sum() { sha256sum "$1" | cut -d' ' -f1; }
elif command -v shasum >/dev/null; then
  sum() { shasum -a 256 "$1" | cut -d' ' -f1; }
else
  die "it needs sha256sum or shasum to check what it downloads"
fi

temporary=$(mktemp -d)
new=
trap 'rm -rf "$temporary" ${new:+"$new"}' EXIT
trap 'exit 130' INT HUP TERM
get "$from/SHA256SUMS" "$temporary/SHA256SUMS" ||
  die "cannot download $from/SHA256SUMS: no network, or no such version"
get "$from/$archive" "$temporary/$archive" || die "cannot download $from/$archive"
wanted=$(awk -v name="$archive" '$2 == name || $2 == "*" name { print $1 }' "$temporary/SHA256SUMS")
[ -n "$wanted" ] || die "SHA256SUMS does not name $archive: nothing was installed"
found=$(sum "$temporary/$archive")
[ "$found" = "$wanted" ] ||
  die "$archive is not what it should be (SHA-256 $found, not $wanted): nothing was installed"

tar -xzf "$temporary/$archive" -C "$temporary" rebuild-cache || die "cannot unpack $archive"
mkdir -p "$folder" || die "cannot make $folder: say where with REBUILD_CACHE_INSTALL"
# Beside its place, then renamed: a process that runs the old one keeps it.
new=$folder/.rebuild-cache.$$
cp "$temporary/rebuild-cache" "$new" || die "cannot write to $folder: say where with REBUILD_CACHE_INSTALL"
chmod 755 "$new"
mv -f "$new" "$folder/rebuild-cache"
new=
printf 'Installed %s\n' "$folder/rebuild-cache"
case :$PATH: in
  *:"$folder":*) ;;
  *) printf 'Add %s to your PATH\n' "$folder" ;;
esac
