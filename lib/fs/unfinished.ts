/**
 * The note that a directory is being rebuilt in its own place: `<name>.unfinished`
 * beside it. Whoever finds it when nobody is at work knows that what stands there is
 * half: the rebuild failed or was killed.
 *
 * @module
 */

import { CacheError, osFailure } from "../error.ts";
import { log } from "../log.ts";
import { type ErrorKind, errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { type Directory, pathIn, type Status } from "./directory.ts";
import { removeQuietly } from "./names.ts";
import type { Place } from "./swap.ts";
import { ownId } from "./trust.ts";

function noteOf(name: string): string {
  return `${name}.unfinished`;
}

/**
 * Refuses to use what a rebuild in its place has left half. To be called under a lease.
 *
 * @param path Its path, for errors.
 * @throws {CacheError} Of kind `unfinished`.
 */
export function refuseUnfinished(place: Place, path: string): void {
  if (!isUnfinished(place, path)) return;
  const note = pathIn(place.parent, noteOf(place.name));
  throw new CacheError(
    `"${path}" is unfinished: a rebuild in its place failed or was killed ("${note}" says so). Rebuild or clear it`,
    path,
    "unfinished",
  );
}

/** Whether there is a note of one who may change what stands there. */
export function isUnfinished(place: Place, path: string): boolean {
  const { parent, name } = place;
  try {
    const note = patiently(() => parent.look(noteOf(name)));
    if (!note) return false;
    const standing = patiently(() => parent.look(name));
    // Whoever makes it anew does not make it half.
    if (!standing) markFinished(place);
    return standing !== undefined && isBelieved(note, standing.uid, parent);
  } catch (error) {
    throw osFailure("look at", path, error);
  }
}

/** In a sticky directory anybody may plant a note. */
function isBelieved(note: Status, owner: number, parent: Directory): boolean {
  if (note.kind !== "file") return false;
  const me = ownId();
  return me === undefined || [me, 0, owner].includes(note.uid) ||
    (parent.status().mode & 0o1000) === 0;
}

/** Why there can be no note beside a directory that can be rebuilt. */
const NO_NOTE: ReadonlySet<ErrorKind> = new Set([
  "permission",
  "read-only",
  "no-space",
  "name-too-long",
]);

/**
 * Notes that a directory is being rebuilt in its place. To be called under its guard.
 *
 * @param path Its path, for errors.
 * @throws {CacheError} If something else has the note's name.
 */
export function markUnfinished(place: Place, path: string): void {
  const { parent, name } = place;
  const note = noteOf(name);
  try {
    patiently(() => parent.openFile(note, "create", 0o644))[Symbol.dispose]();
  } catch (error) {
    const kind = errorKind(error);
    if (kind === "already-exists") {
      if (isUnfinished(place, path)) return; // it was before
      throw new CacheError(
        `Cannot rebuild "${path}" in place: "${
          pathIn(parent, note)
        }" is not the note of a rebuild. Remove it`,
        path,
        "refused",
        error,
      );
    }
    if (!NO_NOTE.has(kind)) throw osFailure("rebuild", path, error);
    log.warn(() =>
      `If this rebuild of "${path}" is killed, nobody will know that it is half: ${
        osErrorText(error)
      }`
    );
  }
}

/** Removes the note: what stands there is whole, or gone. To be called under its guard. */
export function markFinished({ parent, name }: Place): void {
  try {
    const note = noteOf(name);
    if (parent.look(note)?.kind === "file") removeQuietly(parent, note);
  } catch (error) {
    log.debug(() => `"${name}" stays unfinished: ${osErrorText(error)}`);
  }
}
