#!/usr/bin/env bash
# check.sh: the tag, deno.json, CHANGELOG.md are about one version.
. scripts/release/common.sh

deno run -R scripts/release/versions.ts "$tag"
