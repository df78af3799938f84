/**
 * Puts a finished tree where another one stands.
 *
 * @module
 */

import { CacheError, kindOfError } from "../error.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { type Directory, pathIn, type Status } from "./directory.ts";
import { siblingName } from "./names.ts";

/** An entry of a directory that is held open. */
export interface Place {
  /** What it is in. */
  readonly parent: Directory;
  /** Its name there. */
  readonly name: string;
}

/** Where the old tree is now. */
export interface Swapped {
  /** For somebody to delete it; `undefined` if nothing stood there. */
  readonly old: Place | undefined;
  /** Whether there was no instant without a tree. */
  readonly exchanged: boolean;
}

/**
 * Puts `tree` at `destination`, in the place of what stands there.
 *
 * By one exchange where the OS has it and Deno may call it (`--allow-ffi`): then
 * there is always a tree. Otherwise by two renames, the first of which puts the old
 * one aside: between them, an instant, there is none. If the second fails, the first
 * is undone; if the process is killed between them, there is none until the next
 * rebuild, as after a clear.
 *
 * @throws What the OS said. What stood there stands there then, unless the first
 * rename could not be undone: then the error names where it is.
 */
export function swap(tree: Place, destination: Place): Swapped {
  if (exchange(tree, destination)) return { old: tree, exchanged: true };
  const { parent, name } = destination;
  const aside = { parent, name: siblingName(name, "stale") };
  const moved = renameIfThere(destination, aside.name);
  try {
    patiently(() => tree.parent.rename(tree.name, parent, name));
  } catch (error) {
    if (moved) putBack(aside, name, error);
    throw error;
  }
  return { old: moved ? aside : undefined, exchanged: false };
}

/** What stood there, and where it is now. */
export interface Replaced extends Omit<Swapped, "old"> {
  readonly old: Place & { readonly expected: Status } | undefined;
}

/**
 * Swaps, unless what stands there is not what may be replaced. That is seen when it
 * was moved, since before that somebody could still put something else there.
 *
 * @param refusal The error for what may not be.
 * @throws What {@linkcode swap} throws; the refusal, or what the OS said to the look:
 * then both are where they were. {@linkcode NotPutBack} if they could not be put there.
 */
export function swapKnown(
  tree: Place,
  destination: Place,
  isKnown: (standing: Status) => boolean,
  refusal: () => Error,
): Replaced {
  const { old, exchanged } = swap(tree, destination);
  if (!old) return { old, exchanged };
  try {
    const expected = patiently(() => old.parent.look(old.name));
    if (!expected || !isKnown(expected)) throw refusal();
    return { old: { ...old, expected }, exchanged };
  } catch (error) {
    swapBack(tree, destination, old, error);
    throw error;
  }
}

/**
 * Gives an entry a name that nothing has.
 *
 * @throws What the OS said; of kind `already-exists` if something has that name.
 */
export function moveToFree(from: Place, { parent, name }: Place): void {
  try {
    patiently(() => from.parent.rename(from.name, parent, name, "new"));
  } catch (error) {
    const kind = errorKind(error);
    if (kind !== "invalid" && kind !== "unsupported") throw error;
    // No such call on this file system: a look must do.
    if (parent.look(name)) {
      throw new Deno.errors.AlreadyExists(`Something is at "${name}"`);
    }
    patiently(() => from.parent.rename(from.name, parent, name));
  }
}

/** What stood at a place stands beside it now: an aside that is no garbage. */
export class NotPutBack extends CacheError {}

/** @throws {NotPutBack} That says where it is, if it can't be put back. */
function putBack(aside: Place, name: string, why: unknown): void {
  const { parent } = aside;
  try {
    patiently(() => parent.rename(aside.name, parent, name));
  } catch (error) {
    throw notPutBack(aside, { parent, name }, why, error);
  }
}

/** Gives what could not be put back a name by which nobody sweeps it, and says which. */
function notPutBack(
  old: Place,
  { parent, name }: Place,
  why: unknown,
  error: unknown,
): NotPutBack {
  const [path, kept] = [pathIn(parent, name), siblingName(name, "kept")];
  let where = pathIn(parent, kept);
  let mend = "";
  try {
    patiently(() => old.parent.rename(old.name, parent, kept));
  } catch (error) {
    log.debug(() => `"${old.name}" keeps its name: ${osErrorText(error)}`);
    where = pathIn(old.parent, old.name);
    mend = ". Move it before the next run deletes it";
  }
  const reason = why instanceof CacheError
    ? "it is not what was to be replaced"
    : osErrorText(why);
  return new NotPutBack(
    `Cannot replace "${path}": ${reason}. What stood there is "${where}" now, and could not be put back: ${
      osErrorText(error)
    }${mend}`,
    path,
    kindOfError(why),
    why,
  );
}

/**
 * Puts both back, whatever stands at the destination now.
 *
 * @throws {NotPutBack} That says where what stood there is, if it can't be put back.
 */
function swapBack(
  tree: Place,
  destination: Place,
  old: Place,
  why: unknown,
): void {
  let ours: Place | undefined;
  try {
    ours = swap(old, destination).old;
  } catch (error) {
    throw notPutBack(old, destination, why, error);
  }
  if (!ours || ours === tree) return; // exchanged both times
  const { parent, name } = ours;
  try {
    patiently(() => parent.rename(name, tree.parent, tree.name));
  } catch (error) {
    log.debug(() => `Left to a sweep: "${name}": ${osErrorText(error)}`);
  }
}

function renameIfThere({ parent, name }: Place, to: string): boolean {
  const rename = () => parent.rename(name, parent, to);
  try {
    // Windows: tried again by who called, with pauses (untilLetGo).
    if (Deno.build.os === "windows") rename();
    else patiently(rename);
    log.debug(() => `Renamed "${pathIn(parent, name)}" to "${to}"`);
    return true;
  } catch (error) {
    if (errorKind(error) === "not-found") return false;
    throw error;
  }
}

/** Exchanges two entries by one call. False where that can't be, or one is missing. */
function exchange(a: Place, b: Place): boolean {
  try {
    a.parent.rename(a.name, b.parent, b.name, "exchange");
    log.debug(() =>
      `Exchanged "${pathIn(a.parent, a.name)}" and "${
        pathIn(b.parent, b.name)
      }"`
    );
    return true;
  } catch (error) {
    // Whatever it is, two renames will say it again, or work.
    log.debug(() => `No exchange: ${osErrorText(error)}`);
    return false;
  }
}
