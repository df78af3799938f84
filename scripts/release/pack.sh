#!/usr/bin/env bash
# pack.sh TARGET: dist/packed/rebuild-cache-TARGET.tar.gz (.zip for Windows), with the
# binary, its manual page, completions, and what there is to read.
. scripts/release/common.sh

target=$1
binary=$(binary_of "$target")
folder=dist/$target/pack
rm -rf "$folder"
mkdir -p "$folder/completions" dist/packed
for shell in bash zsh fish powershell; do
  "$binary" completions "$shell" >"$folder/completions/rebuild-cache.$shell"
done
"$binary" man >"$folder/rebuild-cache.1"
cp "$binary" README.md LICENSE CHANGELOG.md "$folder"
archive=$PWD/dist/packed/$(archive_of "$target")
rm -f "$archive"
cd "$folder"
case $archive in
  *.zip) 7z a "$archive" ./* >/dev/null ;;
  *) tar -czf "$archive" -- * ;;
esac
