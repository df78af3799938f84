#!/usr/bin/env bash
# test.sh BINARY [TEST…]: the smoke test, and every test that runs the command line
# (or only the named ones), with this binary.
. scripts/release/common.sh

binary=$1
shift
[ -f "$binary" ] || binary=$binary.exe
[ "${RUNNER_OS-}" != macOS ] || codesign -v "$binary"
deno run -A scripts/smoke.ts "$binary"
# Once more with the mount, which only root can make.
[ "${RUNNER_OS-}" != Linux ] || sudo "$(command -v deno)" run -A scripts/smoke.ts "$binary"
if [ $# = 0 ]; then
  while IFS= read -r file; do
    set -- "$@" "$file"
  done < <(grep -rlE '\b(cliCommand|runCli|Peer\.cli|runBounded|endsOf)\b' tests --include='*_test.ts' | sort)
fi
REBUILD_CACHE_BIN=$binary deno test -A --no-check "$@"
