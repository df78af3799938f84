#!/usr/bin/env bash
# major.sh: moves the tag that the action's users name (v0) to this release, unless it is
# a prerelease, or there is a newer release of this major version.
. scripts/release/common.sh

major=${tag%%.*}
if [[ $tag == *-* ]]; then
  echo "$tag is a prerelease: $major stays where it is"
  exit 0
fi
newest=$(git ls-remote --tags --refs origin "$major.*" | sed 's|.*refs/tags/||' |
  grep -E '^v[0-9]+\.[0-9]+\.[0-9]+$' | sort -V | tail -1)
if [ "$newest" != "$tag" ]; then
  echo "$newest is newer than $tag: $major stays where it is"
  exit 0
fi
git push --quiet origin "+HEAD:refs/tags/$major"
