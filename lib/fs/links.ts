/**
 * Symbolic links (and Windows' junctions, which know absolute paths only) of a tree that
 * was made in one place and stands in another.
 *
 * @module
 */

import { errorKind } from "../os/error.ts";
import { isAbsolute, join } from "../os/path.ts";
import { type Breath, patiently } from "../os/patience.ts";
import { isWithin } from "../os/within.ts";
import { changeNames } from "./access.ts";
import { type Directory, pathIn } from "./directory.ts";
import { type Breathe, listSlowly } from "./list.ts";

const isWindows = Deno.build.os === "windows";
const SEPARATOR = isWindows ? /[/\\]/ : /\//;

/** Where a tree is, and where it will be. */
export interface Move {
  /** The paths by which it is known now. */
  readonly from: readonly string[];
  /** Its path then. */
  readonly to: string;
}

/**
 * What a link would say that leads into its own tree by the path that this has now, to
 * lead there wherever the tree stands. `undefined` for any other link.
 *
 * @param folder The link's directory below the tree: `""`, `/a/b`.
 * @param trees The tree's paths.
 */
export function relativeText(
  text: string,
  folder: string,
  trees: readonly string[],
): string | undefined {
  const path = isWindows ? text.replace(/^\\\\\?\\(?=[A-Za-z]:)/, "") : text;
  if (!isAbsolute(path)) return undefined;
  const tree = trees.find((it) => isWithin(path, it));
  if (tree === undefined) return undefined;
  const parts = (path: string) =>
    path.split(SEPARATOR).filter((it) => it !== "" && it !== ".");
  const names = parts(path.slice(tree.length));
  if (names.includes("..")) return undefined; // it may lead out again
  const folders = parts(folder);
  while (folders.length > 0 && folders[0] === names[0]) {
    folders.shift();
    names.shift();
  }
  const way = [...folders.map(() => ".."), ...names];
  return way.join(isWindows ? "\\" : "/") || ".";
}

/**
 * Makes a symbolic link; on Windows, where its user may make none (without Developer
 * Mode: error 1314), a junction if it leads to a directory.
 *
 * @param at The path that the directory will have: a junction's way begins there.
 */
export function makeLink(
  directory: Directory,
  name: string,
  text: string,
  leadsToDirectory: boolean,
  at: string = directory.path,
): void {
  const junction = isWindows && leadsToDirectory ? join(at, text) : undefined;
  patiently(() => directory.symlink(text, name, junction));
}

/** Whether a link leads to a directory, which Windows must be told. */
export function leadsToDirectory(directory: Directory, name: string): boolean {
  if (!isWindows) return false;
  try {
    return Deno.statSync(pathIn(directory, name)).isDirectory;
  } catch {
    return false;
  }
}

/**
 * Lets the links of a directory that lead into its own tree by an absolute path lead to
 * where the tree will be.
 *
 * @param names The links' names.
 * @param folder The directory below the tree.
 * @throws What the OS said.
 */
export function moveLinks(
  directory: Directory,
  names: readonly string[],
  folder: string,
  { from, to }: Move,
): void {
  for (const name of names) {
    const text = patiently(() => directory.readLink(name));
    const moved = relativeText(text, folder, from);
    if (moved === undefined) continue;
    const leads = leadsToDirectory(directory, name);
    const at = folder.split("/").filter(Boolean).reduce(join, to);
    changeNames(directory, () => {
      patiently(() => directory.remove(name));
      makeLink(directory, name, moved, leads, at);
    });
  }
}

/** Each level is held open. What lies deeper has links as it was built with them. */
const DEEPEST = 200;

/**
 * Does that in all directories of a tree.
 *
 * @throws What the OS said; what the pauses throw.
 */
export async function moveLinksBelow(
  tree: Directory,
  breath: Breath,
  move: Move,
): Promise<void> {
  const breathe = () => breath.due();
  const stack: { directory: Directory; folder: string; below: string[] }[] = [];
  const enter = async (directory: Directory, folder: string) => {
    const below: string[] = [];
    stack.push({ directory, folder, below });
    const links: string[] = [];
    for (const { name, kind } of await listed(directory, breathe)) {
      if (kind === "directory") below.push(name);
      else if (kind === "symlink") links.push(name);
    }
    if (directory.safe) moveLinks(directory, links, folder, move);
  };
  try {
    await enter(tree.again(), "");
    for (let top; (top = stack.at(-1)) !== undefined;) {
      const { directory, folder, below } = top;
      const name = below.pop();
      if (name === undefined) stack.pop()!.directory[Symbol.dispose]();
      else {
        if (stack.length >= DEEPEST) continue;
        const inner = unlessClosed(() => directory.open(name));
        if (inner) await enter(inner, `${folder}/${name}`);
      }
    }
  } finally {
    for (const { directory } of stack) directory[Symbol.dispose]();
  }
}

async function listed(directory: Directory, breathe: Breathe) {
  try {
    return await listSlowly(directory, breathe);
  } catch (error) {
    if (errorKind(error) !== "permission") throw error;
    return []; // closed even to its builder
  }
}

function unlessClosed<T>(call: () => T): T | undefined {
  try {
    return patiently(call);
  } catch (error) {
    if (errorKind(error) !== "permission") throw error;
    return undefined;
  }
}
