#!/usr/bin/env bash
# publish.sh: the draft, which was tried, becomes the release.
. scripts/release/common.sh

gh release edit "$tag" --draft=false
