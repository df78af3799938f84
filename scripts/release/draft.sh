#!/usr/bin/env bash
# draft.sh: makes a draft of dist/packed, or fills the one that an earlier run has left.
# What is published already stays as it is: somebody may have it.
. scripts/release/common.sh

if ! state=$(gh release view "$tag" --json isDraft --jq .isDraft 2>dist/view.txt); then
  # Any other failure says nothing of what is there.
  grep -q 'release not found' dist/view.txt || die "$(cat dist/view.txt)"
  state=none
fi
case $state in
  false)
    echo "$tag is published already, and stays as it is"
    exit 0
    ;;
  none)
    set --
    [[ $tag != *-* ]] || set -- --prerelease
    gh release create "$tag" --draft --verify-tag --title "$tag" --notes-file dist/notes.md "$@"
    ;;
esac
gh release upload "$tag" dist/packed/* --clobber
