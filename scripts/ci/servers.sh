#!/bin/sh
# Gets the servers that the tests of remotes start, by their names:
#
#   scripts/ci/servers.sh bazel-remote gofakes3 versitygw nginx
#
# into ${REBUILD_CACHE_TOOLS:-~/.cache/rebuild-cache-tools}/servers, each a program that is
# whole or not there. What is there, or on the PATH, is left as it is. It needs go (on the
# PATH or in /usr/local/go/bin) and its module proxy; nginx comes from Debian's packages.
# bazel-remote and versitygw take minutes.
set -eu

tools=${REBUILD_CACHE_TOOLS:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/rebuild-cache-tools}
servers=$tools/servers
new=

die() { printf 'scripts/ci/servers.sh: %s\n' "$*" >&2; exit 1; }
tidy() { [ -z "$new" ] || { chmod -R u+w "$new"; rm -rf "$new"; }; }
trap tidy EXIT
trap 'exit 1' HUP INT TERM

# Whether it is on the PATH. Debian keeps nginx where ordinary users do not look.
known() { PATH=$PATH:/usr/sbin command -v "$1" >/dev/null 2>&1; }

# Fails, and then shows the end of what the command said in one line.
quietly() {
  "$@" >"$new/log" 2>&1 || die "cannot get $name: $(tail -n 1 "$new/log")"
}

use_go() {
  PATH=$PATH:/usr/local/go/bin
  command -v go >/dev/null 2>&1 || die "cannot get $name: there is no go"
  CGO_ENABLED=0
  GOBIN=$new
  export CGO_ENABLED GOBIN
}

# Not by `go install`, which asks the proxy for lists of versions.
get_bazel_remote() {
  use_go
  (cd "$new" && go mod download -json github.com/buchgr/bazel-remote/v2@v2.6.1 >module.json 2>/dev/null) ||
    die "cannot get $name: $(sed -n 's/^.*"Error": //p' "$new/module.json")"
  source=$(sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p' "$new/module.json")
  [ -d "$source" ] || die "cannot get $name: go says not where its source is"
  cp -R "$source" "$new/source"
  chmod -R u+w "$new/source"
  quietly sh -c "cd \"\$1/source\" && go build -buildvcs=false -o \"\$1/bazel-remote\" ." sh "$new"
}

get_gofakes3() {
  use_go
  quietly go install github.com/johannesboyne/gofakes3/cmd/gofakes3@v1.2.0
}

get_versitygw() {
  use_go
  quietly go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
}

# The program alone: no service is set up, and nobody has to be root.
get_nginx() {
  if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
    die "cannot get nginx: it is taken from Debian's packages only"
  fi
  quietly sh -c "cd \"\$1\" && { apt-get -qq download nginx || { apt-get -qq update && apt-get -qq download nginx; }; }" sh "$new"
  quietly sh -c "dpkg-deb -x \"\$1\"/nginx_*.deb \"\$1/root\" && mv \"\$1/root/usr/sbin/nginx\" \"\$1/nginx\"" sh "$new"
  quietly "$new/nginx" -V
  grep -q http_dav_module "$new/log" || die "cannot get nginx: it has no dav module"
}

[ $# -gt 0 ] || die "name the servers: bazel-remote gofakes3 versitygw nginx"
mkdir -p "$servers"
for name in "$@"; do
  case $name in
    bazel-remote | gofakes3 | versitygw | nginx) ;;
    *) die "no such server: $name" ;;
  esac
  if [ -x "$servers/$name" ] || known "$name"; then continue; fi
  new=$(mktemp -d "$servers/new.XXXXXX")
  case $name in
    bazel-remote) get_bazel_remote ;;
    gofakes3) get_gofakes3 ;;
    versitygw) get_versitygw ;;
    nginx) get_nginx ;;
  esac
  mv "$new/$name" "$servers/$name"
  tidy
  new=
done
