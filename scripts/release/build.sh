#!/usr/bin/env bash
# build.sh TARGET: makes the binary, on its own kind of machine, and asks it its version.
# With all permissions: it deletes and runs what the user names. Without the code cache,
# which lies in a shared folder under a name that others can guess.
. scripts/release/common.sh

target=$1
binary=$(binary_of "$target")
mkdir -p "dist/$target"
deno compile -A --no-code-cache --frozen --target "$target" --output "$binary" cli.ts
deno run -R scripts/release/versions.ts "$tag" "$("$binary" --version)"
# What is attested, beside where it was built.
deno run -R scripts/release/sbom.ts >dist/sbom.cdx.json
