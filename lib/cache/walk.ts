/**
 * Goes through a tree in the cache: every directory of it, held open, no symbolic link
 * followed, no mount crossed.
 *
 * @module
 */

import { CacheError } from "../error.ts";
import { type Directory, type Entry, pathIn } from "../fs/directory.ts";
import { type Breathe, listWhole } from "../fs/list.ts";
import { patiently } from "../os/patience.ts";
import { failure } from "./root.ts";

/**
 * What can't be kept in a cache: it is no file, directory or symbolic link, or it is
 * too deep.
 */
export class NotKept extends CacheError {}

/** A descriptor is held for each level, and no system takes a path that is deeper. */
const DEEPEST = 1000;

/** A directory of a tree. */
export interface Visited {
  readonly directory: Directory;
  /** Below the tree: `""`, `/a/b`. */
  readonly path: string;
  /** What is in it, by name, in an order that depends on nothing else. */
  readonly entries: readonly Entry[];
}

/**
 * Visits a directory, then those below it, in the order of their names.
 *
 * @param breathe Gives pauses where a directory has many entries.
 * @param visit Called with each directory.
 * @param leave Called after all that is below it was visited.
 * @throws {CacheError} If a directory can't be read.
 */
export async function walk(
  parent: Directory,
  name: string,
  breathe: Breathe,
  visit: (visited: Visited) => Promise<void> | void,
  leave?: (directory: Directory) => void,
): Promise<void> {
  const stack: { directory: Directory; path: string; below: string[] }[] = [];
  const enter = async (parent: Directory, name: string, path: string) => {
    if (stack.length >= DEEPEST) {
      const at = `${stack[0]!.directory.path}${path.slice(0, 100)}…`;
      throw new NotKept(
        `Cannot keep "${at}": it is deeper than ${DEEPEST} directories`,
        at,
        "refused",
      );
    }
    const directory = opened(parent, name);
    const below: string[] = [];
    stack.push({ directory, path, below });
    const entries = await listed(directory, breathe);
    for (let i = entries.length - 1; i >= 0; i--) {
      const { name, kind } = entries[i]!;
      if (kind === "directory") below.push(name);
    }
    const visiting = visit({ directory, path, entries });
    if (visiting) await visiting;
  };
  try {
    await enter(parent, name, "");
    while (stack.length > 0) {
      const { directory, path, below } = stack.at(-1)!;
      const next = below.pop();
      if (next !== undefined) {
        await enter(directory, next, `${path}/${next}`);
        continue;
      }
      leave?.(directory);
      stack.pop();
      directory[Symbol.dispose]();
    }
  } finally {
    for (const { directory } of stack) directory[Symbol.dispose]();
  }
}

function opened(parent: Directory, name: string): Directory {
  try {
    return patiently(() => parent.open(name));
  } catch (error) {
    throw failure("read", pathIn(parent, name), error);
  }
}

async function listed(
  directory: Directory,
  breathe: Breathe,
): Promise<Entry[]> {
  let isOver = false; // nobody wants it any more: that is no failure to read
  const turn = () => {
    const pause = breathe();
    return pause?.catch((reason) => {
      isOver = true;
      throw reason;
    });
  };
  try {
    const entries = await listWhole(directory, turn);
    return entries.sort((a, b) => a.name < b.name ? -1 : 1);
  } catch (error) {
    if (isOver) throw error;
    throw failure("read", directory.path, error);
  }
}
