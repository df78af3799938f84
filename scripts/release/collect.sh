#!/usr/bin/env bash
# collect.sh: completes dist/packed, which has the archives of all targets, to what a
# release has: installers, SBOM, checksums; and dist/notes.md.
. scripts/release/common.sh

for target in "${targets[@]}"; do
  [ -s "dist/packed/$(archive_of "$target")" ] || die "there is no archive for $target"
done
cp install.sh install.ps1 dist/packed
deno run -R scripts/release/sbom.ts >dist/packed/rebuild-cache.cdx.json
rm -f dist/packed/SHA256SUMS
(cd dist/packed && sums -- * >../SHA256SUMS)
mv dist/SHA256SUMS dist/packed
deno run -R scripts/release/versions.ts --notes "$tag" >dist/notes.md
