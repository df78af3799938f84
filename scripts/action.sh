#!/usr/bin/env bash
#
# What action.yml does, with its inputs as INPUT_…:
#
#   action.sh install   installs the binary, and puts it on the PATH of later steps
#   action.sh ensure    gets INPUT_KEY to INPUT_PATH, and tells the outputs
#   action.sh command   runs INPUT_COMMAND for `ensure`, in a directory to fill
set -euo pipefail
# On Windows, $0 and $PWD are those of Git's bash.
self=$(cd "$(dirname "$0")" && pwd)/action.sh
windows=
[ "${RUNNER_OS-}" != Windows ] || windows=yes

die() {
  echo "::error::rebuild-cache: $*" >&2
  exit 2
}

# A path as every program takes it, with forward slashes also on Windows.
path_of() {
  local path=$1
  # Nobody expands a tilde in an input of an action.
  case $path in
    \~ | \~/*) path=${HOME:?}${path#\~} ;;
  esac
  if [ -n "$windows" ]; then cygpath -m "$path"; else printf '%s\n' "$path"; fi
}

install_binary() {
  local folder=${RUNNER_TEMP:?}/rebuild-cache-bin
  # Empty is not set.
  [ -z "${INPUT_VERSION-}" ] || export REBUILD_CACHE_VERSION=$INPUT_VERSION
  [ -z "${INPUT_RELEASES-}" ] || export REBUILD_CACHE_RELEASES=$INPUT_RELEASES
  export REBUILD_CACHE_INSTALL=$folder
  if [ -n "$windows" ]; then
    pwsh -NoProfile -File "$(path_of "$(dirname "$self")/../install.ps1")"
  else
    sh "$(dirname "$self")/../install.sh"
  fi
  printf '%s\n' "$folder" >>"$GITHUB_PATH"
}

variable_of() { printf 'INPUT_%s\n' "$1" | tr '[:lower:]-' '[:upper:]_'; }

# A value of the JSON that ensure prints, where it is a text; or nothing.
value_of() {
  sed -nE 's/.*"'"$1"'": *"(([^"\\]|\\.)*)".*/\1/p' <<<"$2" | head -1 | sed -E 's/\\(["\\\/])/\1/g'
}

# A value may have anything in it, except for what we draw by chance.
output() {
  local end=end-$RANDOM$RANDOM$RANDOM
  printf '%s<<%s\n%s\n%s\n' "$1" "$end" "$2" "$end" >>"$GITHUB_OUTPUT"
}

ensure_key() {
  [ -n "${INPUT_PATH-}" ] || die "key needs path: where is it needed?"
  [ -n "${INPUT_COMMAND-}" ] || die "key needs command: what builds it?"
  local flags=() name variable line
  for name in hash fallback; do
    variable=$(variable_of "$name")
    while IFS= read -r line; do
      [ -z "${line//[[:space:]]/}" ] || flags+=("--$name=$line")
    done <<<"${!variable-}"
  done
  for name in mode if-exists bucket max-size max-age; do
    variable=$(variable_of "$name")
    [ -z "${!variable-}" ] || flags+=("--$name=${!variable}")
  done
  [ -z "${INPUT_ROOT-}" ] || flags+=("--dir=$(path_of "$INPUT_ROOT")")
  local shell=bash code=0 json outcome matched
  # By its name, Windows may find another bash.
  [ -z "$windows" ] || shell=$(cygpath -m "${BASH%.exe}.exe")
  json=$(rebuild-cache ensure --json ${flags[@]+"${flags[@]}"} "$INPUT_KEY" \
    "$(path_of "$INPUT_PATH")" -- "$shell" "$(path_of "$self")" command) || code=$?
  printf '%s\n' "$json"
  if [ "$code" != 0 ]; then
    output cache-hit false
    return "$code"
  fi
  outcome=$(value_of outcome "$json")
  matched=$(value_of matchedKey "$json")
  [ "$outcome" != hit ] || [ -n "$matched" ] || matched=$(value_of key "$json")
  [ "$outcome" != built ] || matched=
  if [ "$outcome" = hit ]; then output cache-hit true; else output cache-hit false; fi
  output matched-key "$matched"
  output outcome "$outcome"
}

# {} is replaced here, and not by rebuild-cache: bash would take the backslashes of a
# path of Windows, and the blanks of any, for its own.
run_command() {
  local out quoted
  out=$(path_of "${REBUILD_CACHE_OUT:-${REBUILD_CACHE_DIR:?}}")
  quoted=$(printf %q "$out")
  # In newer ones a & in it would stand for what is replaced.
  shopt -u patsub_replacement 2>/dev/null || true
  exec bash -eo pipefail -c "${INPUT_COMMAND//\{\}/$quoted}" >&2
}

case ${1-} in
  install) install_binary ;;
  ensure) ensure_key ;;
  command) run_command ;;
  *) die "action.sh install, ensure or command" ;;
esac
