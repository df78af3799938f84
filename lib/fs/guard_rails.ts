/**
 * Paths that are never cleared. Everything here happens before anything is
 * touched; what is refused is a {@linkcode CacheError} of kind `refused`.
 *
 * @module
 */

import { CacheError, osFailure } from "../error.ts";
import { log } from "../log.ts";
import { listMounts } from "../os/mounts.ts";
import { errorKind } from "../os/error.ts";
import { dirname, fromFileUrl, resolve } from "../os/path.ts";
import { isWithin } from "../os/within.ts";

/** A directory that may be cleared. */
export interface Target {
  /** Its absolute path; where a symbolic link was followed, that of the target. */
  readonly path: string;
  /** What `lstat` said of it; absent where there is nothing at `path`. */
  readonly info?: Deno.FileInfo;
}

/**
 * Checks what the user named, and refuses what must not be cleared: a root, the
 * home directory, the working directory and whatever they lie in; a file; a
 * symbolic link unless `follow`; a directory that something is mounted in.
 *
 * @param path What the user named.
 * @param follow Whether a symbolic link stands for the directory it leads to.
 * @throws {CacheError} Of kind `refused`, or what the OS said to a look at it.
 */
export function clearTarget(path: string | URL, follow = false): Target {
  const named = path instanceof URL ? fromFileUrl(path) : path;
  if (named === "") {
    refuse(named, "the path is empty", "Name a directory");
  }
  if (named.includes("\0")) {
    refuse(named, "the path has a NUL character in it", "Name a directory");
  }
  if (/^~([/\\]|$)/.test(named)) {
    refuse(
      named,
      "the shell did not put the home directory in the tilde's place",
      'Leave it unquoted, or, if a folder is called "~", say "./~"',
    );
  }
  let target = resolve(named);
  let info = look(target);
  if (info?.isSymlink) {
    const link = target;
    target = realPath(link);
    if (!follow) {
      refuse(
        named,
        `it is a symbolic link to "${target}"`,
        "Name that directory, or add --follow (follow: true) to clear it through the link",
      );
    }
    info = look(target);
  }
  if (dirname(target) === target) {
    refuse(
      named,
      "it is the root of a file system",
      "Name the cache directory itself",
    );
  }
  if (!info) return { path: target };
  if (!info.isDirectory) {
    refuse(named, "it is not a directory", "Name the cache directory itself");
  }
  for (const [what, where] of placesToKeep()) {
    if (contains(info, where)) {
      refuse(
        named,
        `it is, or contains, ${what} "${where}"`,
        "Name the cache directory itself",
      );
    }
  }
  const mounted = mountedBelow(target);
  if (mounted) {
    refuse(
      named,
      `"${mounted}" inside it is a mount point, so its content lies on another file system`,
      "Unmount it, or clear that directory first and name what lies beside it",
    );
  }
  return { path: target, info };
}

function refuse(path: string, why: string, mend: string): never {
  throw new CacheError(
    `Cannot clear "${path}": ${why}. ${mend}`,
    path,
    "refused",
  );
}

function look(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    const kind = errorKind(error);
    if (kind === "not-found") return undefined;
    if (kind === "not-directory") {
      refuse(path, "a part of the path is a file", "Name a directory");
    }
    if (kind === "name-too-long") {
      refuse(path, "the path is too long", "Name a directory");
    }
    throw osFailure("look at", path, error);
  }
}

function realPath(link: string): string {
  try {
    return Deno.realPathSync(link);
  } catch (error) {
    if (errorKind(error) === "not-found") {
      refuse(
        link,
        "it is a symbolic link to where nothing is",
        "Remove the link, or name a directory",
      );
    }
    throw osFailure("follow", link, error);
  }
}

/** The directories that no clear may take away, itself or what it lies in. */
function* placesToKeep(): Generator<[what: string, where: string]> {
  yield ["the working directory", Deno.cwd()];
  const variable = Deno.build.os === "windows" ? "USERPROFILE" : "HOME";
  // Asked first, because Deno would stop and ask the user on a terminal.
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  const home = state === "granted" ? Deno.env.get(variable) : undefined;
  if (home) yield ["the home directory", home];
  else log.debug(() => `The home directory is not known: ${variable} is unset`);
}

/**
 * Whether `where` is the directory `info`, or lies in it. By device and inode,
 * so that neither case, nor links, nor a second mount of it matter.
 */
function contains(info: Deno.FileInfo, where: string): boolean {
  let place: string;
  try {
    place = Deno.realPathSync(where);
  } catch {
    return false; // a home that does not exist can't be lost
  }
  for (;;) {
    if (isSame(info, place)) return true;
    const parent = dirname(place);
    if (parent === place) return false;
    place = parent;
  }
}

function isSame(info: Deno.FileInfo, place: string): boolean {
  try {
    const { dev, ino } = Deno.statSync(place);
    return ino !== null && dev === info.dev && ino === info.ino;
  } catch {
    return false; // not to be looked at, so not what was looked at
  }
}

/**
 * The first mount point below `path`. Its content belongs to another file
 * system, which a rename of `path` would carry along and a removal would empty.
 *
 * Where the mount table is not known, a mount point shows up as busy when it is
 * to be removed.
 */
function mountedBelow(path: string): string | undefined {
  const mounts = listMounts();
  if (!mounts) return undefined;
  let real: string;
  try {
    real = Deno.realPathSync(path);
  } catch {
    return undefined; // gone: a peer clears it, too
  }
  return mounts.find(({ point }) => point !== real && isWithin(point, real))
    ?.point;
}
