/**
 * Who may do what with a directory that is made in another one's place.
 *
 * @module
 */

import { osFailure } from "../error.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { type Directory, pathIn, type Status } from "./directory.ts";
import { isEmpty } from "./list.ts";
import { removeQuietly, siblingName } from "./names.ts";
import { openDirectory, splitPath } from "./open.ts";
import { moveToFree } from "./swap.ts";
import { ownId } from "./trust.ts";

/**
 * Makes what a path lies in where it is missing, as every tool does for its cache.
 *
 * @throws {CacheError} If it can't be made.
 */
export function makeParent(path: string): void {
  const [folder] = splitPath(path);
  try {
    openDirectory(folder)[Symbol.dispose]();
  } catch (error) {
    if (errorKind(error) !== "not-found") return; // who opens it says so
    try {
      Deno.mkdirSync(folder, { recursive: true });
    } catch (error) {
      throw osFailure("make", folder, error);
    }
  }
}

/**
 * Makes an empty directory with the owner, group and mode of another, as far as this
 * user may give them.
 *
 * @param like What it shall be like; without it, it is like any that this user makes.
 * @param path What it is for, for messages.
 * @throws {CacheError} If it can't be made; of kind `already-exists` if it is there.
 */
export function makeDirectoryLike(
  parent: Directory,
  name: string,
  like?: Status,
  path: string = pathIn(parent, name),
): void {
  try {
    // Never wider than the other one, not even for an instant.
    patiently(() => parent.make(name, like && 0o700));
  } catch (error) {
    throw osFailure("make", path, error);
  }
  if (!like || isWindows) return;
  try {
    using made = patiently(() => parent.open(name));
    setAccessLike(made, like, path);
  } catch (error) {
    removeQuietly(parent, name);
    throw osFailure("make", path, error);
  }
}

/**
 * What {@linkcode makeDirectoryLike} does, so that the directory is there at once with
 * all that it has: whoever is killed meanwhile leaves none that only he can use.
 *
 * @throws {CacheError} If it can't be made; of kind `already-exists` if it is there.
 */
export function putDirectoryLike(
  parent: Directory,
  name: string,
  like?: Status,
): void {
  const path = pathIn(parent, name);
  if (!like || isWindows) return makeDirectoryLike(parent, name, like);
  const own = siblingName(name, "partial");
  makeDirectoryLike(parent, own, like, path);
  try {
    moveToFree({ parent, name: own }, { parent, name });
  } catch (error) {
    removeQuietly(parent, own);
    if (errorKind(error) !== "not-found") throw osFailure("make", path, error);
    // A sweep took it for a dead one's.
    makeDirectoryLike(parent, name, like);
  }
}

const isWindows = Deno.build.os === "windows";

/**
 * Gives an empty directory of ours another one's access. By a descriptor: others may
 * have exchanged it since it was made, and what they put there must not get it.
 */
function setAccessLike(made: Directory, like: Status, path: string): void {
  const { uid, gid, mode: now } = made.opened;
  const me = ownId();
  const isOurs = made.safe && (me === undefined || uid === me) &&
    patiently(() => isEmpty(made));
  if (!isOurs) {
    log.warn(() =>
      `"${path}" was made without the mode and owner that it had: other users can change what it lies in`
    );
    return;
  }
  let { mode } = like;
  const hasOwner = uid === like.uid || attempt(made, { uid: like.uid });
  if (!hasOwner) mode &= ~0o4000;
  if (gid !== like.gid && !attempt(made, { gid: like.gid })) {
    // What the group might is nothing to another group, unless everybody might.
    const everybody = mode & 0o7;
    mode = (mode & ~0o2070) | (mode & (everybody << 3));
    log.warn(() => `"${path}" was made without the group that it had`);
  }
  if (mode === now && uid === like.uid && gid === like.gid) return;
  try {
    patiently(() => made.setAccess({ mode })); // after the group, which takes setgid away
  } catch (error) {
    if (errorKind(error) !== "unsupported") throw error;
    log.warn(() =>
      `"${path}" was made without the mode that it had: ${osErrorText(error)}`
    );
  }
}

/** Replaces names in a directory, whose mode and times stay. */
export function changeNames(directory: Directory, call: () => void): void {
  const { mode, accessed, modified } = directory.status();
  const closed = !isWindows && (mode & 0o300) !== 0o300;
  if (closed) directory.setAccess({ mode: mode | 0o300 });
  try {
    call();
  } finally {
    directory.setAccess({ ...closed && { mode }, accessed, modified });
  }
}

function attempt(
  made: Directory,
  access: { uid?: number; gid?: number },
): boolean {
  try {
    made.setAccess(access);
    return true;
  } catch (error) {
    log.debug(() => `"${made.path}": ${osErrorText(error)}`);
    return false;
  }
}
