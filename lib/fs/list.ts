/**
 * Lists directories that others may change meanwhile.
 *
 * @module
 */

import { errorKind } from "../os/error.ts";
import { isTransient, patiently, pause, TRIES } from "../os/patience.ts";
import {
  type Directory,
  type Entry,
  type EntryKind,
  isSameTime,
} from "./directory.ts";

/**
 * Lists a directory whose files somebody may just be replacing by a rename. On btrfs the
 * new file gets a place at the end, which a listing that has begun does not read: it has
 * neither the old file nor the new one (6.18; POSIX permits that). So a directory that
 * was changed is listed again.
 *
 * @throws What the OS said.
 */
export async function listWhole(
  directory: Directory,
  breathe: Breathe,
): Promise<Entry[]> {
  let before = directory.opened.changed;
  for (let tries = 0;; tries++) {
    const entries = await listSlowly(directory, breathe);
    const { changed } = patiently(() => directory.status());
    if (isSameTime(changed, before) || tries >= TRIES) return entries;
    before = changed;
  }
}

/** A pause to await if it is time for one. Throws if nobody wants the rest. */
export type Breathe = () => Promise<void> | undefined;

/**
 * Lists a directory, with pauses where it has many entries.
 *
 * @throws What the OS said, and what the pauses throw.
 */
export async function listSlowly(
  directory: Directory,
  breathe: Breathe,
  only?: EntryKind,
): Promise<Entry[]> {
  for (let tries = 0;; tries++) {
    const entries: Entry[] = [];
    let isResting = false;
    try {
      for (const piece of directory.pieces(only)) {
        for (const entry of piece) entries.push(entry);
        isResting = true;
        const rest = breathe();
        if (rest) await rest;
        isResting = false;
      }
      return entries;
    } catch (error) {
      if (isResting || tries >= TRIES || !isTransient(errorKind(error))) {
        throw error;
      }
      await pause(2 ** tries);
    }
  }
}

/** The same at one go: for few, and where nobody can wait. */
export function listWholeAtOnce(directory: Directory): Entry[] {
  let before = directory.opened.changed;
  for (let tries = 0;; tries++) {
    const entries = patiently(() => directory.list());
    const { changed } = patiently(() => directory.status());
    if (isSameTime(changed, before) || tries >= TRIES) return entries;
    before = changed;
  }
}

/** Whether nothing is in a directory. One entry is enough, of however many. */
export function isEmpty(directory: Directory): boolean {
  for (const piece of directory.pieces()) if (piece.length > 0) return false;
  return true;
}
