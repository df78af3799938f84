/**
 * Directories that are never cleared or replaced. Everything here happens before
 * anything is touched; what is refused is a {@linkcode CacheError} of kind `refused`.
 *
 * @module
 */

import { CacheError, kindOfError, osFailure } from "../error.ts";
import { fromFileUrl, toPath } from "../os/path.ts";
import { listMounts } from "../os/mounts.ts";
import { patiently } from "../os/patience.ts";
import { isWithin } from "../os/within.ts";
import { type Directory, isSameInode, type Status } from "./directory.ts";
import {
  hasSettings,
  homes,
  looksLikeHome,
  systemPlaces,
  workingDirectory,
} from "./homes.ts";
import { isDirectoryAt, openParent, type Place, splitPath } from "./open.ts";
import { mountedBelow } from "./remove.ts";

/** A directory that may be cleared. */
export interface Target {
  /** Its absolute path; where a symbolic link was followed, that of the target. */
  readonly path: string;
  /** What is known of it; absent where there is nothing at `path`. */
  readonly status?: Status | undefined;
}

/** A directory that may be cleared, held open together with what it lies in. */
export interface HeldTarget extends Target, Disposable {
  /** Where it is; absent where there is not even a parent. */
  readonly place?: Place | undefined;
  /** The directory itself; absent where there is nothing at `path`. */
  readonly directory?: Directory | undefined;
}

/**
 * Checks what the user named, and refuses what must not be cleared: a root, the
 * home directory of anybody, the working directory and whatever they lie in; a file; a
 * symbolic link unless `follow`; a directory that something is mounted in.
 *
 * @param path What the user named.
 * @param follow Whether a symbolic link stands for the directory it leads to.
 * @throws {CacheError} Of kind `refused`, or what the OS said to a look at it.
 */
export function clearTarget(path: string | URL, follow = false): Target {
  using target = openTarget(path, follow);
  return { path: target.path, status: target.status };
}

/** What {@linkcode clearTarget} does, with what was checked held open. */
export function openTarget(path: string | URL, follow = false): HeldTarget {
  const named = path instanceof URL ? fromFileUrl(path) : path;
  const target = resolve(named);
  const held = openAt(target);
  if (held.status?.kind !== "symlink") return check(held, named);
  held[Symbol.dispose]();
  const real = realPath(target);
  if (!follow) {
    refuse(
      named,
      `it is a symbolic link to "${real}"`,
      "Name that directory, or add --follow (follow: true) to clear it through the link",
    );
  }
  return check(openAt(real), named);
}

/**
 * Looks at a place again, since whoever had its lock may have changed it, and checks
 * what stands there now.
 */
export function lookAgain(place: Place, path: string): HeldTarget {
  return check(openIn(place, path, []), path);
}

/** Whether something is still the directory that was checked, whatever its name is now. */
export function isWhatWasChecked(
  now: Status,
  { status, directory }: Pick<HeldTarget, "status" | "directory">,
): boolean {
  if (!status || !directory) return false;
  if (status.inode === undefined || isSameInode(now, status)) return true;
  try {
    // Some file systems number what is renamed anew.
    return isSameInode(now, directory.status());
  } catch {
    return false; // known by its old path only
  }
}

/**
 * Checks that what stands at a place may be replaced: no home directory, nor the working
 * directory, nor what contains one of them, no mount point, nor what has one inside.
 *
 * @param path The path of the place, for errors.
 * @returns What stands there; `undefined` if there is nothing.
 * @throws {CacheError} Of kind `refused`.
 */
export function refuseToReplace(
  parent: Directory,
  name: string,
  path: string,
): Status | undefined {
  const status = parent.look(name);
  if (status?.kind !== "directory") return status;
  let directory: Directory;
  try {
    directory = parent.open(name);
  } catch (error) {
    if (kindOfError(error) !== "mount") throw osFailure("open", path, error);
    refuse(path, "it is a mount point", "Name what lies in it", "replace");
  }
  using _ = directory;
  const now = directory.status();
  checkDirectory(directory, now, path, "replace");
  return now;
}

/** What is refused, in words. */
type Verb = "clear" | "replace";

function refuse(
  path: string,
  why: string,
  mend: string,
  verb: Verb = "clear",
): never {
  throw new CacheError(
    `Cannot ${verb} "${path}": ${why}. ${mend}`,
    path,
    "refused",
  );
}

/** The absolute path of what the user named. */
function resolve(named: string): string {
  if (named === "") refuse(named, "the path is empty", "Name a directory");
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
  try {
    return toPath(named);
  } catch (error) {
    if (error instanceof CacheError) throw error;
    // A ".." behind nothing, or a working directory that was deleted.
    throw osFailure("find", named, error);
  }
}

/** Opens what a path lies in, and, if it is a directory, what stands there. */
function openAt(path: string): HeldTarget {
  const [, name] = splitPath(path);
  if (name === "") {
    refuse(
      path,
      "it is the root of a file system",
      "Name the cache directory itself",
    );
  }
  let place: Place;
  try {
    place = patiently(() => openParent(path));
  } catch (error) {
    if (kindOfError(error) === "not-found") {
      return { path, [Symbol.dispose]() {} };
    }
    return refuseOrFail(path, error);
  }
  return openIn(place, path, [place]);
}

function openIn(
  place: Place,
  path: string,
  owned: readonly Disposable[],
): HeldTarget {
  using held = new DisposableStack();
  for (const it of owned) held.use(it);
  let status: Status | undefined;
  let directory: Directory | undefined;
  try {
    const { parent, name } = place;
    status = patiently(() => parent.look(name));
    if (status?.kind === "directory") {
      const opened = patiently(() => parent.open(name, "named"));
      directory = held.use(opened);
      status = patiently(() => opened.status());
    }
  } catch (error) {
    if (kindOfError(error) !== "not-found") refuseOrFail(path, error);
    status = undefined; // gone between the look and the opening
  }
  const kept = held.move();
  return {
    path,
    place,
    status,
    directory,
    [Symbol.dispose]: () => kept.dispose(),
  };
}

function refuseOrFail(path: string, error: unknown): never {
  switch (kindOfError(error)) {
    case "not-directory":
      return refuse(path, "a part of the path is a file", "Name a directory");
    case "name-too-long":
      return refuse(path, "the path is too long", "Name a directory");
    default:
      throw osFailure("look at", path, error);
  }
}

function realPath(link: string): string {
  try {
    return Deno.realPathSync(link);
  } catch (error) {
    if (kindOfError(error) === "not-found") {
      refuse(
        link,
        "it is a symbolic link to where nothing is",
        "Remove the link, or name a directory",
      );
    }
    throw osFailure("follow", link, error);
  }
}

/** @returns What it was given. What is refused is not held any more. */
function check(target: HeldTarget, named: string): HeldTarget {
  try {
    const { status, directory } = target;
    if (status?.kind === "symlink") {
      refuse(named, "it is a symbolic link", "Name a directory");
    }
    if (status && status.kind !== "directory") {
      refuse(named, "it is not a directory", "Name the cache directory itself");
    }
    if (directory && status) checkDirectory(directory, status, named, "clear");
    return target;
  } catch (error) {
    target[Symbol.dispose]();
    throw error;
  }
}

function checkDirectory(
  directory: Directory,
  status: Status,
  named: string,
  verb: Verb,
): void {
  const mend = "Name the cache directory itself";
  const real = realPathOf(directory);
  const rooms = new Rooms(status, real);
  const kept: [what: string, where: string][] = [];
  const here = workingDirectory();
  if (here !== undefined) kept.push(["the working directory", here]);
  for (const home of homes()) kept.push(["the home directory", home]);
  for (const it of systemPlaces()) kept.push(["what the system needs,", it]);
  for (const [what, where] of kept) {
    if (rooms.contain(where)) {
      refuse(named, `it is, or contains, ${what} "${where}"`, mend, verb);
    }
  }
  if (looksLikeHome(directory, real)) {
    refuse(named, "it looks like somebody's home directory", mend, verb);
  }
  if (hasSettings(real)) {
    refuse(named, "programs keep a user's settings in it", mend, verb);
  }
  if (!directory.fixed && !listMounts()) {
    refuse(
      named,
      "other users can put something else in its place, and nobody can tell " +
        "what is mounted in it",
      "Grant --allow-ffi, or use a directory of your own",
      verb,
    );
  }
  const mounted = mountedBelow(directory, real);
  if (mounted !== undefined) {
    refuse(
      named,
      `"${mounted}" inside it is a mount point, so its content lies on another file system`,
      `Unmount it, or ${verb} that directory first and name what lies beside it`,
      verb,
    );
  }
}

/** The path of a directory without symbolic links, wherever it is now. */
export function realPathOf(directory: Directory): string {
  try {
    return Deno.realPathSync(directory.pinned(".") ?? directory.path);
  } catch {
    return directory.path; // gone, or not to be looked at: then by its name
  }
}

/**
 * Whether a directory is another one, or contains it: by device and inode, so that
 * neither case, nor links, nor a second mount of it matter, and by the real path.
 */
class Rooms {
  readonly #status: Status;
  readonly #real: string;
  /** What was looked at, and is something else. */
  readonly #others = new Set<string>();

  constructor(status: Status, real: string) {
    this.#status = status;
    this.#real = real;
  }

  contain(where: string): boolean {
    let place: string;
    try {
      place = Deno.realPathSync(where);
    } catch (error) {
      // A home that does not exist can't be lost; one that can't be looked at can.
      if (kindOfError(error) === "not-found") return false;
      place = where;
    }
    if (isWithin(place, this.#real)) return true;
    while (!this.#others.has(place)) {
      if (isDirectoryAt(place, this.#status)) return true;
      this.#others.add(place);
      const [parent] = splitPath(place);
      if (parent === "") return false;
      place = parent;
    }
    return false;
  }
}
