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
 * @param first What is done with the entries as they are listed for the first time.
 * @throws What the OS said.
 */
export async function listWhole(
  directory: Directory,
  breathe: Breathe,
  first?: FirstListing,
): Promise<Entry[]> {
  let before = directory.opened.changed;
  let listings = 0;
  const pieces = () =>
    listings++ === 0 && first ? first.pieces() : directory.pieces();
  for (let tries = 0;; tries++) {
    const entries = await readPieces(pieces, breathe);
    const { changed } = patiently(() => directory.status());
    if (isSameTime(changed, before) || tries >= TRIES) {
      if (!first || listings === 1) return entries;
      return entries.filter(({ name }) => !first.isDone(name));
    }
    before = changed;
  }
}

/** A listing that does something with the entries, and gives those that are left. */
export interface FirstListing {
  pieces(): Iterable<Entry[]>;
  /** Whether an entry was done. */
  isDone(name: string): boolean;
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
  return await readPieces(() => directory.pieces(only), breathe);
}

async function readPieces(
  pieces: () => Iterable<Entry[]>,
  breathe: Breathe,
): Promise<Entry[]> {
  for (let tries = 0;; tries++) {
    const entries: Entry[] = [];
    let isResting = false;
    try {
      for (const piece of pieces()) {
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
