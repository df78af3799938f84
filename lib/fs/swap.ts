/**
 * Puts a finished tree where another one stands.
 *
 * @module
 */

import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { type Directory, pathIn } from "./directory.ts";
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
    if (moved) patiently(() => parent.rename(aside.name, parent, name));
    throw error;
  }
  return { old: moved ? aside : undefined, exchanged: false };
}

function renameIfThere({ parent, name }: Place, to: string): boolean {
  try {
    patiently(() => parent.rename(name, parent, to));
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
