#!/usr/bin/env bash
# jsr.sh: publishes the library, from a clone of its own: `deno publish` refuses a tree
# with anything else in it. A version that JSR has already stays as it is.
. scripts/release/common.sh

version=${tag#v}
if curl -fsS -o /dev/null "${JSR_URL:-https://jsr.io}/@rebuild/cache/${version}_meta.json" 2>/dev/null; then
  echo "JSR has $version already"
  exit 0
fi
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet . "$clone/tree"
cd "$clone/tree"
deno publish
