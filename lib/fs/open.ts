/**
 * Opens directories: by descriptors where libc can be called, else by paths.
 *
 * @module
 */

import { hasLibc } from "../os/libc.ts";
import { DescriptorDirectory } from "./descriptors.ts";
import {
  type Directory,
  isSameInode,
  pathIn,
  type Status,
} from "./directory.ts";
import { PathDirectory } from "./paths.ts";

/** Opens a directory by an absolute path. Symbolic links in it are followed. */
export function openDirectory(path: string): Directory {
  return hasLibc() ? DescriptorDirectory.at(path) : PathDirectory.at(path);
}

/** Whether the directory at an absolute path is that one. */
export function isDirectoryAt(path: string, status: Status): boolean {
  try {
    using directory = openDirectory(path);
    return isSameInode(directory.status(), status);
  } catch {
    return false; // not to be looked at, so not what was looked at
  }
}

/** A name in a directory that is held open. */
export interface Place extends Disposable {
  /** The directory that it is in. */
  readonly parent: Directory;
  /** Its name there. */
  readonly name: string;
}

/**
 * Opens what an absolute path lies in.
 *
 * @throws What the OS said; the parent must exist.
 */
export function openParent(path: string): Place {
  const [folder, last] = splitPath(path);
  const parent = openDirectory(folder);
  const name = isWindows ? nameOnDisk(parent, last) : last;
  return { parent, name, [Symbol.dispose]: () => parent[Symbol.dispose]() };
}

const isWindows = Deno.build.os === "windows";
const SEPARATOR = isWindows ? /[/\\]/g : /\//g;

/**
 * Windows finds a directory in any case, and by an 8.3 name. Its locks and asides have
 * the name that it has on the disk.
 */
function nameOnDisk(parent: Directory, name: string): string {
  const path = pathIn(parent, name);
  try {
    if (name === "" || !Deno.lstatSync(path).isDirectory) return name;
    return splitPath(Deno.realPathSync(path))[1] || name;
  } catch {
    return name; // missing; or whoever opens it says why not
  }
}

/** An absolute path's parent, and its last name; of a root, an empty name. */
export function splitPath(path: string): [folder: string, name: string] {
  let cut = 0;
  for (const { index } of path.matchAll(SEPARATOR)) cut = index + 1;
  const folder = path.slice(0, cut);
  const bare = folder.replace(/[/\\]$/, "");
  // "/" and "C:\" keep their separator.
  const isRoot = bare === "" || /^[A-Za-z]:$/.test(bare);
  return [isRoot ? folder : bare, path.slice(cut)];
}
