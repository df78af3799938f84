/**
 * Lists directories that others may change meanwhile.
 *
 * @module
 */

import { patiently, TRIES } from "../os/patience.ts";
import { type Directory, type Entry, isSameTime } from "./directory.ts";

/**
 * Lists a directory whose files somebody may just be replacing by a rename. On btrfs the
 * new file gets a place at the end, which a listing that has begun does not read: it has
 * neither the old file nor the new one (6.18; POSIX permits that). So a directory that
 * was changed is listed again.
 *
 * @throws What the OS said.
 */
export function listWhole(directory: Directory): Entry[] {
  let before = directory.opened.changed;
  for (let tries = 0;; tries++) {
    const entries = patiently(() => directory.list());
    const { changed } = patiently(() => directory.status());
    if (isSameTime(changed, before) || tries >= TRIES) return entries;
    before = changed;
  }
}
