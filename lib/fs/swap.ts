/**
 * Puts a finished tree where another one stands.
 *
 * @module
 */

import { CacheError, osFailure } from "../error.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { type Directory, pathIn, type Status } from "./directory.ts";
import { parseSiblingName, siblingName } from "./names.ts";

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
 * then both are where they were.
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
    swapBack(tree, destination, old);
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
    const [path, kept] = [pathIn(parent, name), keep(aside)];
    const where = pathIn(parent, kept ?? aside.name);
    throw new NotPutBack(
      `Cannot replace "${path}": ${
        osErrorText(why)
      }. What stood there is "${where}" now, and could not be put back: ${
        osErrorText(error)
      }${kept ? "" : ". Move it before the next run deletes it"}`,
      path,
      errorKind(why),
      why,
    );
  }
}

/** Gives an aside a name by which nobody sweeps it. */
function keep({ parent, name }: Place): string | undefined {
  const kept = siblingName(parseSiblingName(name)!.stem, "kept");
  try {
    patiently(() => parent.rename(name, parent, kept));
    return kept;
  } catch (error) {
    log.debug(() => `"${name}" keeps its name: ${osErrorText(error)}`);
    return undefined;
  }
}

/** Puts both back, whatever stands at the destination now. */
function swapBack(tree: Place, destination: Place, old: Place): void {
  let ours: Place | undefined;
  try {
    ours = swap(old, destination).old;
  } catch (error) {
    const path = pathIn(destination.parent, destination.name);
    throw osFailure("put back what stood at", path, error);
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
