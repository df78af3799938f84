#!/usr/bin/env bash
# fetch.sh: dist/fetched: what the release has, draft or not, with the right checksums.
. scripts/release/common.sh

rm -rf dist/fetched
gh release download "$tag" --dir dist/fetched
cd dist/fetched
for target in "${targets[@]}"; do
  grep -q " [ *]*$(archive_of "$target")\$" SHA256SUMS || die "SHA256SUMS does not name $target"
done
sums -c SHA256SUMS
