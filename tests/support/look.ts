/** What stands somewhere, written down: so that a test can say "nothing changed". */

import { assertEquals } from "@std/assert";

/** What is seen of one entry, in one line. */
export type Seen = Record<string, string>;

/**
 * Looks at everything below a path, itself included, and follows nothing. Mounts
 * are entered. Left out is what a reader changes: times of access, and inode
 * numbers, which FUSE gives anew.
 */
export function look(path: string): Seen {
  const seen: Seen = {};
  visit(path, ".", seen);
  return seen;
}

function visit(path: string, name: string, seen: Seen): void {
  let info: Deno.FileInfo;
  try {
    info = Deno.lstatSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    seen[name] = "nothing";
    return;
  }
  const { mode, uid, gid, size, nlink, mtime } = info;
  const who = `${((mode ?? 0) & 0o7777).toString(8)} ${uid}:${gid}`;
  const when = mtime?.toISOString();
  if (info.isSymlink) {
    seen[name] = `link ${Deno.readLinkSync(path)} ${uid}:${gid}`;
  } else if (info.isDirectory) {
    seen[name] = `directory ${who} ${when}`;
    for (const entry of Deno.readDirSync(path)) {
      visit(`${path}/${entry.name}`, `${name}/${entry.name}`, seen);
    }
  } else if (info.isFile) {
    const text = JSON.stringify(Deno.readTextFileSync(path));
    seen[name] = `file ${who} ${nlink} names ${when} ${size} ${text}`;
  } else {
    seen[name] = `special ${who}`;
  }
}

/** Looks now, and gives what compares it with how it is later. */
export function unchanged(...paths: string[]): (after: string) => void {
  const before = paths.map(look);
  return (after) => {
    for (const [i, path] of paths.entries()) {
      assertEquals(look(path), before[i], `"${path}" has changed, ${after}`);
    }
  };
}

/** All paths below one, without following anything. */
export function* everyPath(path: string): Generator<string> {
  yield path;
  if (!Deno.lstatSync(path).isDirectory) return;
  for (const { name } of Deno.readDirSync(path)) {
    yield* everyPath(`${path}/${name}`);
  }
}

/** The first path below `root` that ends so; there must be one. */
export function pathIn(root: string, end: string): string {
  for (const path of everyPath(root)) if (path.endsWith(end)) return path;
  throw new Error(`There is nothing in "${root}" that ends with "${end}"`);
}
