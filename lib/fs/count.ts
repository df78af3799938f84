/**
 * Counts what is in a directory.
 *
 * @module
 */

import { type Directory, type OpenUse, pathIn } from "./directory.ts";
import { openParent } from "./open.ts";
import { type Failure, failureOf } from "./remove.ts";

/** What a tree has in it. */
export interface Content {
  /** Entries that are no directories. */
  readonly files: number;
  /** Directories, without the tree's own. */
  readonly directories: number;
  /** The first thing that could not be read; what it has in it is not counted. */
  readonly failure: Failure | undefined;
}

/** Levels that are held open at once. What lies deeper is not counted. */
const HELD = 200;

/** Counts what is below a directory. No symbolic link is followed, no mount crossed. */
export function count(path: string): Content {
  let [files, directories] = [0, 0];
  let failure: Failure | undefined;
  const stack: { directory: Directory; below: string[] }[] = [];
  const enter = (parent: Directory, name: string, use?: OpenUse) => {
    try {
      if (stack.length >= HELD) throw new Error("it is too deep");
      const directory = parent.open(name, use);
      const below: string[] = [];
      stack.push({ directory, below });
      for (const { name, kind } of directory.list()) {
        if (kind === "directory") below.push(name);
        else files++;
      }
      directories += below.length;
    } catch (error) {
      failure ??= failureOf(pathIn(parent, name), error);
    }
  };
  using place = openParent(path);
  enter(place.parent, place.name, "named");
  for (let top; (top = stack.at(-1));) {
    const name = top.below.pop();
    if (name !== undefined) enter(top.directory, name);
    else stack.pop()!.directory[Symbol.dispose]();
  }
  return { files, directories, failure };
}
