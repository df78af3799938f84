/**
 * Locks that say who may do what with a directory: a lease ("in use", shared by any
 * number) and a guard (exclusive: to clear or to swap). They are locks of the
 * operating system, so a process that dies holds nothing.
 *
 * @module
 */

import {
  attemptLock,
  checkLockOptions,
  DEFAULT_WAIT,
  LockedError,
  lockFailure,
  lockName,
  type LockOptions,
  waitFor,
} from "./file.ts";
import { CircleWatch } from "./cycle.ts";
import { patienceOf, Turn } from "./fairness.ts";
import { listHolders, noteHolder } from "./holder.ts";
import { noteHeld, refuseInside } from "./inside.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import type { CacheErrorKind } from "../error.ts";
import { makeParent } from "../fs/access.ts";
import type { Directory, OpenFile } from "../fs/directory.ts";
import { openParent, type Place } from "../fs/open.ts";
import { refuseUnfinished } from "../fs/unfinished.ts";
import { kindOfError } from "../error.ts";
import { checkPath } from "../os/arguments.ts";
import { toPath } from "../os/path.ts";
import { steady } from "../os/patience.ts";

/**
 * A lock that is held until it is disposed: `using lock = await lease(dir)`.
 *
 * @category Locks
 */
export interface Lock extends Disposable {
  /** The absolute path of the directory. */
  readonly path: string;
  /** Whether nobody else holds any lock on it. */
  readonly exclusive: boolean;
}

/**
 * Takes a lease on a directory: as long as it is held, nobody clears or swaps the
 * directory. Any number of processes may hold one. A lease on a directory inside keeps
 * nobody from clearing the whole.
 *
 * While somebody waits for the guard, a new lease waits behind it, except for processes
 * that run inside `rebuild-cache use` of that directory. One that this process holds
 * already makes the next one hold back for a second only.
 *
 * The lock is the file `<dir>.lock` beside the directory, which stays when it is
 * released, and, except on Windows, the directory itself: so it also holds where the
 * same directory is reached by another mount, or where its parent can't be written.
 *
 * Needs `--allow-read` and `--allow-write` for the directory and its parent.
 *
 * @param dir The directory. It need not exist; what it lies in is made if it is missing,
 * so that the lock file has a place.
 * @param options How long to wait, and what for.
 * @returns The lease. Dispose of it when the directory is no longer used.
 * @throws {LockedError} If somebody clears or swaps it, and does not end in time.
 * @throws {CacheError} If there are no locks there (`kind` is `no-locks`), a rebuild in
 * its place has left it half (`unfinished`), or the operating system refuses.
 * @throws {TypeError | RangeError} If an argument is none that it may be.
 * @throws The signal's reason, if it is aborted.
 *
 * @example Using a cache that nobody shall clear meanwhile
 * ```ts
 * import { clearCache, lease } from "@rebuild/cache";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir({ prefix: "cache-" });
 * {
 *   using _ = await lease(dir);
 *   await assertRejects(() => clearCache(dir, { wait: 0 }));
 * }
 * assertEquals((await clearCache(dir, { wait: 0 })).outcome, "cleared");
 * ```
 *
 * @category Locks
 */
export async function lease(
  dir: string | URL,
  options: LockOptions = {},
): Promise<Lock> {
  return await lockDirectory(dir, false, options);
}

/**
 * Takes the guard of a directory: as long as it is held, nobody has a lease on it,
 * and nobody else clears or swaps it. `clearCache()` and `rebuildCache()` take it
 * themselves. Who waits for it has the next turn, however many leases there are.
 *
 * Needs `--allow-read` and `--allow-write` for the directory and its parent.
 *
 * @param dir The directory. It need not exist, but its parent must.
 * @param options How long to wait, and what for.
 * @returns The guard. Dispose of it when the work is done.
 * @throws {LockedError} If somebody uses it, and does not end in time.
 * @throws {CacheError} If there are no locks there (`kind` is `no-locks`), or the
 * operating system refuses.
 * @throws {TypeError | RangeError} If an argument is none that it may be.
 * @throws The signal's reason, if it is aborted.
 *
 * @example Changing a cache that nobody shall use meanwhile
 * ```ts
 * import { guard } from "@rebuild/cache";
 *
 * const dir = await Deno.makeTempDir({ prefix: "cache-" });
 * {
 *   using _ = await guard(dir);
 *   await Deno.writeTextFile(`${dir}/index`, "rewritten in place");
 * }
 * ```
 *
 * @category Locks
 */
export async function guard(
  dir: string | URL,
  options: LockOptions = {},
): Promise<Lock> {
  return await lockDirectory(dir, true, options);
}

async function lockDirectory(
  dir: string | URL,
  exclusive: boolean,
  options: LockOptions,
): Promise<Lock> {
  checkPath("dir", dir);
  checkLockOptions(options);
  const path = realPath(dir);
  // In a fresh home, the tool that is about to run would make it.
  if (!exclusive) makeParent(path);
  using held = new DisposableStack();
  let place: Place;
  try {
    place = held.use(openParent(path));
  } catch (error) {
    throw lockFailure(path, error);
  }
  held.use(await lockPlace(place, path, exclusive, options));
  if (!exclusive) refuseUnfinished(place, path);
  const kept = held.move();
  return { path, exclusive, [Symbol.dispose]: () => kept.dispose() };
}

/**
 * Locks a directory whose parent is held open: the file beside it, and, except
 * on Windows, the directory itself.
 *
 * @param path Its path, for errors.
 */
export async function lockPlace(
  { parent, name }: Pick<Place, "parent" | "name">,
  path: string,
  exclusive: boolean,
  options: LockOptions,
): Promise<Disposable> {
  const { purpose, wait = DEFAULT_WAIT } = options;
  const file = lockName(name);
  using turn = new Turn(parent, name);
  using circle = new CircleWatch(parent, name, file, exclusive);
  const mayPass = patienceOf(parent, name, wait);
  let isBehind = false;
  const locks = await waitFor(
    () => {
      isBehind = !mayPass() && turn.isTaken();
      const locks = isBehind
        ? undefined
        : attemptDirectory(parent, name, path, exclusive);
      if (locks) return locks;
      refuseInside(parent, file, exclusive, path);
      circle.check(path);
      if (exclusive && !isBehind && wait > 0) turn.take();
      return undefined;
    },
    options,
    () =>
      new LockedError(path, listHolders(parent, name), whatIs(path, isBehind)),
  );
  const note = noteHolder(parent, name, purpose, exclusive);
  const held = noteHeld(parent, file, exclusive);
  return {
    [Symbol.dispose]() {
      held[Symbol.dispose]();
      note?.[Symbol.dispose]();
      for (const lock of locks.splice(0).reverse()) lock[Symbol.dispose]();
    },
  };
}

function whatIs(path: string, isBehind: boolean): string {
  const which = isBehind ? ", which somebody waits to clear or rebuild," : "";
  return `"${path}"${which}`;
}

/** A file that is locked until it is disposed. */
export interface HeldFile extends Disposable {
  /** The file, open for reading and writing where that is permitted. */
  readonly file: OpenFile;
}

/**
 * Waits for the exclusive lock on a file that is held for long, by default until it is
 * had, and says who holds it.
 *
 * @param name The file's name, `….lock`. It is made if it is missing.
 * @param about What it is about, for errors.
 * @param what What it is for, to tell people in whose way it is.
 */
export async function holdFile(
  parent: Directory,
  name: string,
  about: string,
  what: string,
  options: LockOptions,
): Promise<HeldFile> {
  const guarded = name.replace(/\.lock$/, "");
  using circle = new CircleWatch(parent, guarded, name, true);
  const file = await waitFor(
    () => {
      const file = attempt(parent, name, about);
      if (file) return file;
      refuseInside(parent, name, true, about, what);
      circle.check(about, what);
      return undefined;
    },
    { wait: Infinity, ...options },
    () => new LockedError(about, listHolders(parent, guarded), what),
  );
  const note = noteHolder(parent, guarded, options.purpose, true);
  const held = noteHeld(parent, name, true);
  return {
    file,
    [Symbol.dispose]() {
      held[Symbol.dispose]();
      note?.[Symbol.dispose]();
      file[Symbol.dispose]();
    },
  };
}

function attempt(parent: Directory, name: string, about: string) {
  try {
    return attemptLock(parent, name, true, "create");
  } catch (error) {
    throw lockFailure(about, error);
  }
}

/** The path by which everybody locks it, whatever symbolic link leads there. */
function realPath(dir: string | URL): string {
  const path = toPath(dir);
  try {
    return steady(Deno.realPathSync)(path);
  } catch {
    return path; // does not exist: then its name is what is locked
  }
}

/** Why there can be no file beside a directory, although the directory can be used. */
const NO_FILE_BESIDE: ReadonlySet<CacheErrorKind> = new Set([
  "permission",
  "not-capable",
  "read-only",
  "no-space",
  "name-too-long",
]);

/**
 * Tries to lock the file beside a directory, and the directory itself. The second
 * is what tells of those who come by another mount, or may not write beside it;
 * besides, systemd-tmpfiles spares a directory that is locked.
 *
 * @returns What must be disposed to unlock; `undefined` if somebody has the lock.
 */
function attemptDirectory(
  parent: Directory,
  name: string,
  path: string,
  exclusive: boolean,
): Disposable[] | undefined {
  const held: Disposable[] = [];
  let refusal: unknown;
  try {
    const beside = attemptLock(parent, lockName(name), exclusive, "create");
    if (!beside) return undefined;
    held.push(beside);
  } catch (error) {
    if (!NO_FILE_BESIDE.has(kindOfError(error))) throw lockFailure(path, error);
    refusal = error;
  }
  if (Deno.build.os !== "windows") {
    let itself: Directory | undefined;
    try {
      itself = parent.open(name, "named");
      if (!itself.tryLock(exclusive)) {
        for (const lock of [itself, ...held]) lock[Symbol.dispose]();
        return undefined;
      }
      held.push(itself);
    } catch (error) {
      itself?.[Symbol.dispose]();
      // Not there yet; not to be read; NFS locks no directory.
      log.trace(() => `"${path}" is not locked itself: ${osErrorText(error)}`);
    }
  }
  if (held.length > 0) return held;
  throw lockFailure(path, refusal);
}

/** Tries to lock a directory itself. Not on Windows, nor on NFS, where a directory can't be locked. */
export function lockItself(
  directory: Directory,
  exclusive: boolean,
): "locked" | "busy" | "none" {
  if (Deno.build.os === "windows") return "none";
  try {
    return directory.tryLock(exclusive) ? "locked" : "busy";
  } catch (error) {
    log.trace(() => `Not locked: ${directory.path}: ${osErrorText(error)}`);
    return "none";
  }
}
