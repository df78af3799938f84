/**
 * Where a path is as good as a descriptor: in a directory that is ours alone.
 *
 * @module
 */

import { errorKind } from "../os/error.ts";
import { steady } from "../os/patience.ts";

const lstatSync = steady(Deno.lstatSync);

/**
 * Whether nobody but us (and root) can change what an absolute path without symbolic
 * links leads to: every directory from the root down to it belongs to us or root, and nobody else may
 * write to it. Of a sticky one, others may write, but not to entries of ours.
 *
 * On Windows nobody can be asked; there, what is below the user's own folders is
 * writable by the user alone unless somebody changed that.
 */
export function isOursAlone(path: string): boolean {
  return walkDown(path, (place, me) => isClosed(place, me, true));
}

/**
 * Whether nobody but us (and root) can put something else where an absolute path leads:
 * it is ours, and lies in directories that are closed to others, or sticky. Others may
 * be able to write to the directory itself.
 */
export function isFixed(path: string): boolean {
  return walkDown(path, (place, me) => {
    try {
      const { uid, isDirectory } = lstatSync(place);
      return isDirectory && me !== undefined && uid === me;
    } catch {
      return false;
    }
  });
}

/**
 * Whether nobody but us (and root) can put something else where an absolute path leads,
 * whoever it belongs to.
 */
export function staysThere(path: string): boolean {
  return isFixed(path) ||
    isOursAlone(path.slice(0, path.lastIndexOf("/")) || "/");
}

function walkDown(
  path: string,
  isGood: (last: string, me: number | undefined) => boolean,
): boolean {
  if (Deno.build.os === "windows") return true;
  const me = ownId(path);
  // From the root down: below a directory that others can change, nothing is certain.
  // By the path as it is: what a link leads to now, it need not lead to in a moment.
  for (let end = 0; end >= 0;) {
    end = path.indexOf("/", end + 1);
    if (end >= 0 && !isClosed(path.slice(0, end), me, false)) return false;
  }
  return isGood(path, me) && (path === "/" || isClosed("/", me, false));
}

function isClosed(place: string, me: number | undefined, last: boolean) {
  try {
    const { uid, mode, isDirectory } = lstatSync(place);
    if (!isDirectory || mode === null) return false;
    if (uid !== 0 && (me === undefined || uid !== me)) return false;
    const others = (mode & 0o022) !== 0;
    // The next name in a sticky directory is checked to be ours, or root's.
    return !others || ((mode & 0o1000) !== 0 && !last);
  } catch (error) {
    // Deno, which may not look above what it was granted, lets nobody lead us out of
    // that: it goes by resolved paths.
    return !last && errorKind(error) === "not-capable";
  }
}

let own: number | undefined;

/**
 * The user that we are, as file systems have it; `undefined` where that is not known:
 * `Deno.uid()` asks for a permission of its own.
 *
 * @param directory Where a file may be made to find out, if nowhere else.
 */
export function ownId(directory?: string): number | undefined {
  if (Deno.build.os === "windows") return undefined;
  const asked = { name: "sys", kind: "uid" } as const;
  // Not remembered: a program may drop its rights.
  if (Deno.permissions.querySync(asked).state === "granted") {
    return Deno.uid() ?? undefined;
  }
  if (own === undefined) {
    if (mayUse()) own = idOfNewFile();
    else if (directory !== undefined && mayUse(directory)) {
      own = idOfNewFile(directory);
    }
  }
  return own;
}

function mayUse(path?: string): boolean {
  return (["read", "write"] as const).every((name) => {
    const asked = path === undefined ? { name } : { name, path };
    return Deno.permissions.querySync(asked).state === "granted";
  });
}

/** What we make is ours. */
function idOfNewFile(dir?: string): number | undefined {
  try {
    const path = Deno.makeTempFileSync(dir === undefined ? {} : { dir });
    try {
      return Deno.lstatSync(path).uid ?? undefined;
    } finally {
      Deno.removeSync(path);
    }
  } catch {
    return undefined;
  }
}
