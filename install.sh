#!/bin/sh
# Installs the rebuild-cache binary, without root:
#
#   curl -fsSL https://github.com/rebuild-cache/rebuild-cache/releases/latest/download/install.sh | sh
#   … | sh -s -- --version 0.1.0 --to ~/bin
#   … | sh -s -- --uninstall
#
# --version VERSION, REBUILD_CACHE_VERSION   such as 0.1.0 (default: the latest)
# --to FOLDER, REBUILD_CACHE_INSTALL         where to put it (default: ~/.local/bin)
# --uninstall                                removes it from there
# REBUILD_CACHE_RELEASES                     another place to download from
#
# A newer version that is there is replaced by an older one only if that was asked for.
set -eu

repository=rebuild-cache/rebuild-cache
releases=${REBUILD_CACHE_RELEASES:-https://github.com/$repository/releases}

main() { # the whole text has come before anything of it runs
  version=${REBUILD_CACHE_VERSION:-latest}
  folder=${REBUILD_CACHE_INSTALL-}
  uninstall=
  while [ $# -gt 0 ]; do
    case $1 in
      --version | --to) [ $# -gt 1 ] || die "$1 needs a value" ;;
    esac
    case $1 in
      --version) version=$2 && shift ;;
      --version=*) version=${1#*=} ;;
      --to) folder=$2 && shift ;;
      --to=*) folder=${1#*=} ;;
      --uninstall) uninstall=yes ;;
      *) die "unknown argument $1: --version VERSION, --to FOLDER or --uninstall" ;;
    esac
    shift
  done
  if [ -z "$folder" ]; then
    [ -n "${HOME-}" ] || die "HOME is not set: say where with --to"
    folder=$HOME/.local/bin
  fi
  version=${version#v}
  case $version in
    *[!0-9A-Za-z.+-]* | '') die "\"$version\" is not a version" ;;
  esac
  if [ -n "$uninstall" ]; then remove; else install; fi
}

die() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

remove() {
  [ -e "$folder/rebuild-cache" ] || die "there is no $folder/rebuild-cache: say where with --to"
  [ -n "$(version_of "$folder/rebuild-cache")" ] ||
    die "$folder/rebuild-cache does not say that it is rebuild-cache: nothing was removed"
  rm -f "$folder/rebuild-cache" || die "cannot remove $folder/rebuild-cache"
  printf 'Removed %s\n' "$folder/rebuild-cache"
  printf 'Caches stay where they are\n'
}

install() {
  archive=rebuild-cache-$(target).tar.gz
  case $version in
    latest) from=$releases/latest/download ;;
    *) from=$releases/download/v$version ;;
  esac
  tools
  temporary=$(mktemp -d) || die "cannot make a temporary folder"
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
  attested "$temporary/rebuild-cache"
  chmod 755 "$temporary/rebuild-cache"
  has=$(version_of "$temporary/rebuild-cache")
  [ -n "$has" ] || die "the binary does not run on this machine (on Linux it needs glibc 2.27 or newer, and a temporary folder in which programs may run): nothing was installed"

  old=$(version_of "$folder/rebuild-cache")
  if [ "$version" = latest ] && [ -n "$old" ] && older "$has" "$old"; then
    printf 'rebuild-cache %s is installed, which is newer than %s: it stays. To have the older one, say --version %s\n' "$old" "$has" "$has"
    return
  fi
  mkdir -p "$folder" || die "cannot make $folder: say where with --to"
  # Beside its place, then renamed: a process that runs the old one keeps it.
  new=$folder/.rebuild-cache.$$
  cp "$temporary/rebuild-cache" "$new" || die "cannot write to $folder: say where with --to"
  chmod 755 "$new"
  mv -f "$new" "$folder/rebuild-cache"
  new=
  printf 'Installed %s (%s%s)\n' "$folder/rebuild-cache" "$has" "${old:+, was $old}"
  case :$PATH: in
    *:"$folder":*) ;;
    *) printf 'Add %s to your PATH\n' "$folder" ;;
  esac
}

# The target of this machine.
target() {
  deno="Where Deno runs, \"deno install -g -A -n rebuild-cache jsr:@rebuild/cache/cli\" does, too"
  case $(uname -s) in
    Linux) system=unknown-linux-gnu ;;
    Darwin) system=apple-darwin ;;
    MINGW* | MSYS* | CYGWIN*) die "on Windows, use install.ps1" ;;
    *) die "there is no binary for $(uname -s), only for Linux, macOS and Windows. $deno" ;;
  esac
  case $(uname -m) in
    x86_64 | amd64) machine=x86_64 ;;
    aarch64 | arm64) machine=aarch64 ;;
    *) die "there is no binary for $(uname -m), only for x86_64 and aarch64. $deno" ;;
  esac
  # A shell under Rosetta says x86_64.
  if [ "$system $machine" = 'apple-darwin x86_64' ] &&
    [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" = 1 ]; then
    machine=aarch64
  fi
  if [ "$system" = unknown-linux-gnu ] && ldd --version 2>&1 | grep -qi musl; then
    die "there is no binary for musl (Alpine), only for glibc. Use an image such as debian:stable-slim"
  fi
  printf '%s-%s\n' "$machine" "$system"
}

# What downloads and checks.
tools() {
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
}

# Where GitHub's command is there and logged in, it must know who built the binary.
attested() {
  command -v gh >/dev/null || return 0
  gh auth status >/dev/null 2>&1 || return 0
  gh attestation verify --help >/dev/null 2>&1 || return 0 # an old one
  gh attestation verify "$1" --repo "$repository" >"$temporary/attestation" 2>&1 ||
    die "gh attestation verify: $(tail -1 "$temporary/attestation"): nothing was installed"
  printf 'Attested: built by a workflow of %s\n' "$repository"
}

# The version of a binary, if it is one of ours that runs.
version_of() {
  [ -x "$1" ] || return 0
  "$1" --version 2>/dev/null | sed -nE '1s/^rebuild-cache ([0-9]+\.[0-9]+\.[0-9]+[^ ]*).*/\1/p'
}

# Whether a version is older than another. What has a suffix comes before what has none.
older() {
  awk -v a="$1" -v b="$2" 'BEGIN {
    m = split(a, x, /[.-]/); n = split(b, y, /[.-]/)
    for (i = 1; i <= 3; i++) if (x[i] + 0 != y[i] + 0) exit !(x[i] + 0 < y[i] + 0)
    if (m == 3 || n == 3) exit !(m > n)
    for (i = 4; i <= m || i <= n; i++) if (x[i] != y[i]) exit !(x[i] < y[i])
    exit 1
  }'
}

main "$@"
