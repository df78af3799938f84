import { type Directory, inodeKey, type Status } from "./directory.ts";

/** What a tree takes, in bytes. */
export interface Weight {
  /** Content, each file counted once. */
  readonly bytes: number;
  /**
   * What the file system gets back when the tree goes: the blocks of directories, and of
   * files that have no name elsewhere. At most: blocks that a clone shares stay in use.
   */
  readonly freed: number;
}

/**
 * Weighs an entry and all below it. No symbolic link is followed, no mount crossed.
 *
 * @throws What the OS said.
 */
export function weigh(parent: Directory, name: string): Weight {
  let [bytes, freed] = [0, 0];
  const names = new NamesMet();
  const count = (status: Status) => {
    const { links, size, allocated = size } = status;
    const met = names.count(status) ?? 1;
    if (met === 1) bytes += size;
    if (met === links) freed += allocated;
  };
  const walk = (directory: Directory) => {
    freed += directory.opened.allocated ?? 0;
    const below: string[] = [];
    for (const { name, kind } of directory.list()) {
      if (kind === "directory") below.push(name);
      else if (kind === "file") {
        const status = directory.look(name);
        if (status) count(status);
      }
    }
    for (const name of below) {
      using inner = directory.open(name);
      walk(inner);
    }
  };
  const top = parent.look(name);
  if (top?.kind === "directory") {
    using directory = parent.open(name);
    walk(directory);
  } else if (top?.kind === "file") count(top);
  return { bytes, freed };
}

/** Counts in a walk how many names of each inode it has met. */
export class NamesMet {
  readonly #met = new Map<string, number>();

  /** With this one; `undefined` where one inode can't be told from another. */
  count(status: Status): number | undefined {
    if (status.links <= 1) return 1;
    const inode = inodeKey(status);
    if (inode === undefined) return undefined;
    const met = (this.#met.get(inode) ?? 0) + 1;
    this.#met.set(inode, met);
    return met;
  }
}
