/**
 * Both ends of a link: the cached file or tree, and where it is to be.
 *
 * @module
 */

import { CacheError, kindOfError } from "../error.ts";
import {
  type Directory,
  isSameInode,
  pathIn,
  type Status,
} from "../fs/directory.ts";
import { isDirectoryAt, openParent, type Place } from "../fs/open.ts";
import { refuseUnfinished } from "../fs/unfinished.ts";
import { lockItself } from "../lock/directory.ts";
import { DEFAULT_WAIT, LockedError, lockName, waitFor } from "../lock/file.ts";
import { patienceOf, Turn } from "../lock/fairness.ts";
import { listHolders } from "../lock/holder.ts";
import { refuseInside } from "../lock/inside.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { placeOnDevice } from "../os/mounts.ts";
import { dirname } from "../os/path.ts";
import { isWithin } from "../os/within.ts";
import { LinkError, linkFailure, STANDS_THERE } from "./error.ts";
import type { LinkTreeOptions } from "./options.ts";

/** Where something is to be. */
export interface Destination extends Place {
  readonly path: string;
  /** What stands there. */
  readonly existing: Status | undefined;
}

/** What a cache wants of a link, beyond what its user asks for. */
export interface Watch {
  /** What must stand at the destination to be replaced: nothing else is. */
  readonly expected?: Status | undefined;
  /** Whether the destination's parents are made, but for a dry run. */
  readonly makesParents?: boolean;
  /** Called with what is finished, just before it gets its place. */
  readonly onFinished?: (
    it: Pick<Place, "parent" | "name">,
  ) => Promise<void> | void;
}

/** Whether something may be replaced. */
export function isExpected(
  standing: Status | undefined,
  { expected }: Watch,
): boolean {
  return !expected ||
    (standing !== undefined && isSameInode(standing, expected));
}

/** Opens the parent of a destination, which must exist, and looks at what stands there. */
export function openDestination(path: string, source: string): Destination {
  try {
    using held = new DisposableStack();
    const { parent, name } = held.use(openParent(path));
    const existing = name === "" ? parent.status() : parent.look(name);
    const kept = held.move();
    return {
      parent,
      name,
      path,
      existing,
      [Symbol.dispose]: () => kept.dispose(),
    };
  } catch (error) {
    throw linkFailure(`Cannot look at "${path}"`, source, path, error);
  }
}

/** Something stands where something was to be put. */
class Taken extends LinkError {}

/** The error that something stands there. */
export function taken(source: string, destination: string): LinkError {
  return new Taken(
    `Cannot link "${source}" to "${destination}": ${STANDS_THERE}`,
    source,
    destination,
    "already-exists",
  );
}

/** How often who was outrun looks again at what stands there now. */
const TRIES = 5;

/**
 * Links; and again, if somebody has put something there meanwhile and `ifExists` says
 * what to do then.
 */
export async function unlessOutrun<T>(
  ifExists: LinkTreeOptions["ifExists"],
  link: () => Promise<T>,
): Promise<T> {
  for (let tries = 1;; tries++) {
    try {
      return await link();
    } catch (error) {
      const decides = ifExists !== undefined && ifExists !== "error";
      if (!(error instanceof Taken) || !decides || tries >= TRIES) throw error;
    }
  }
}

/**
 * Opens a tree to read it, so that nobody clears or rebuilds it meanwhile.
 *
 * @param path Without symbolic links.
 */
export async function leaseSource(
  path: string,
  options: Pick<LinkTreeOptions, "signal" | "wait">,
): Promise<Directory> {
  using place = openParent(path);
  const { parent, name } = place;
  using turn = new Turn(parent, name);
  const mayPass = patienceOf(parent, name, options.wait ?? DEFAULT_WAIT);
  await waitFor(
    () => mayPass() || !turn.isTaken() || undefined,
    options,
    () => new LockedError(path, listHolders(parent, name)),
  );
  const open = () => name === "" ? parent.again() : parent.open(name, "named");
  const directory = await openLocked(open, false, path, options);
  try {
    if (name !== "") refuseUnfinished(place, path);
    return directory;
  } catch (error) {
    directory[Symbol.dispose]();
    throw error;
  }
}

/**
 * Opens a directory by its name and locks it; again, until the name still leads to it:
 * whoever had the lock may have put another one there.
 *
 * @param open What it is now; `undefined` ends it.
 */
export async function openLocked<T extends Directory | undefined>(
  open: () => T,
  exclusive: boolean,
  path: string,
  options: Pick<LinkTreeOptions, "signal" | "wait">,
): Promise<T> {
  for (;;) {
    const directory = open();
    if (!directory) return directory;
    let keep = false;
    try {
      await lockDirectoryItself(directory, exclusive, path, options);
      using now = open();
      keep = now !== undefined && (now.opened.inode === undefined ||
        isSameInode(now.opened, directory.opened));
      if (keep) return directory;
    } finally {
      if (!keep) directory[Symbol.dispose]();
    }
  }
}

/** Refuses to read what others can exchange for links to anything. */
export function refuseUnsafe(source: Directory, destination: string): void {
  if (source.safe) return;
  throw new LinkError(
    `Cannot link "${source.path}": other users can change it. Grant --allow-ffi, or use a directory of your own`,
    source.path,
    destination,
    "refused",
  );
}

/**
 * Waits for the lock on a directory itself, and makes no file for it: who clears or
 * rebuilds takes that, too. Where directories can't be locked, nothing is waited for.
 */
async function lockDirectoryItself(
  directory: Directory,
  exclusive: boolean,
  path: string,
  { signal, wait = DEFAULT_WAIT }: Pick<LinkTreeOptions, "signal" | "wait">,
): Promise<void> {
  if (Deno.build.os === "windows") return;
  const holders = () => {
    try {
      using place = openParent(path);
      return listHolders(place.parent, place.name);
    } catch {
      return [];
    }
  };
  await waitFor(
    () => {
      if (lockItself(directory, exclusive) !== "busy") return true;
      using place = openParent(path);
      refuseInside(place.parent, lockName(place.name), exclusive, path);
      return undefined;
    },
    signal ? { signal, wait } : { wait },
    () => new LockedError(path, holders()),
  );
}

/** Refuses to put a tree into itself, or itself into it, by whatever mount that is. */
export function refuseNested(
  source: Directory,
  { parent, path, existing }: Destination,
): void {
  const [here, there] = [onDevice(source.path), onDevice(parent.path)];
  const nested = here !== undefined && there !== undefined &&
      isWithin(there, here) ||
    isWithin(path, source.path) || isWithin(source.path, path) ||
    liesIn(parent.path, source.opened) ||
    (existing?.kind === "directory" && liesIn(source.path, existing));
  if (!nested) return;
  throw new LinkError(
    `Cannot link "${source.path}" to "${path}": one is inside the other`,
    source.path,
    path,
    "refused",
  );
}

/** Where a path lies on its file system: a bind mount of a part leads there, too. */
function onDevice(path: string): string | undefined {
  try {
    return placeOnDevice(Deno.realPathSync(path));
  } catch {
    return undefined;
  }
}

/** Whether a path is, or lies in, that directory. */
function liesIn(path: string, status: Status): boolean {
  if (status.inode === undefined) return false;
  let at = path;
  try {
    at = Deno.realPathSync(path);
  } catch (error) {
    // One that can't be looked at (a network drive) is gone up by its name.
    if (errorKind(error) === "not-found") return false;
  }
  for (;;) {
    if (isDirectoryAt(at, status)) return true;
    const parent = dirname(at);
    if (parent === at) return false;
    at = parent;
  }
}

/** What a link says to an error that is not a link's own. */
export function asLinkError(
  error: unknown,
  source: string,
  destination: string,
): LinkError {
  const said = error instanceof CacheError ? error.cause ?? error : error;
  return new LinkError(
    `Cannot link "${source}" to "${destination}": ${osErrorText(said)}`,
    source,
    destination,
    kindOfError(error),
    error,
  );
}

/** The path of what is at a place. */
export function pathOf({ parent, name }: Pick<Place, "parent" | "name">) {
  return pathIn(parent, name);
}
