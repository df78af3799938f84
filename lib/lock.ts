/**
 * Locks that say who may do what with a directory: a lease ("in use", shared by any
 * number) and a guard (exclusive: to clear or to swap). They are locks of the
 * operating system, so a process that dies holds nothing.
 *
 * @module
 */

import { CacheError, osFailure } from "./error.ts";
import { log } from "./log.ts";
import { listSiblings, removeIfThere, siblingPath } from "./names.ts";
import { type ErrorKind, errorKind, osErrorText } from "./os_error.ts";
import { basename, dirname, fromFileUrl, join, resolve } from "./path.ts";

/** How long to wait for a lock by default, in milliseconds: five minutes, as uv does. */
export const DEFAULT_WAIT = 5 * 60 * 1000;

/** Options for `lease()` and `guard()`. */
export interface LockOptions {
  /**
   * How long to wait for the lock, in milliseconds; 0 tries once.
   *
   * @default {300_000}
   */
  wait?: number;
  /** Ends the waiting: the promise is rejected with its reason. */
  signal?: AbortSignal;
  /**
   * What the lock is for. It is told, with the process, to those who wait.
   * Without it, nobody is told anything.
   */
  purpose?: string;
}

/** A lock that is held until it is disposed: `using lock = await lease(dir)`. */
export interface Lock extends Disposable {
  /** The absolute path of the directory. */
  readonly path: string;
  /** Whether nobody else holds any lock on it. */
  readonly exclusive: boolean;
}

/** Who holds a lock, for people to read. */
export interface LockHolder {
  /** Its process, on its host. */
  readonly pid: number;
  /** Its host, where Deno may know it (`--allow-sys=hostname`). */
  readonly host?: string;
  /** What it holds the lock for. */
  readonly purpose: string;
  /** Since when: an ISO 8601 date and time. */
  readonly since: string;
}

/**
 * A lock was not had in time. Nothing was changed.
 *
 * @example Going on without
 * ```ts
 * import { clearCache, LockedError } from "@rebuild/cache";
 *
 * const dir = await Deno.makeTempDir({ prefix: "cache-" });
 * try {
 *   await clearCache(dir, { wait: 0 });
 * } catch (error) {
 *   if (!(error instanceof LockedError)) throw error;
 *   console.log("In use, so not cleared:", error.holders);
 * }
 * ```
 */
export class LockedError extends CacheError {
  /** The class's name. */
  override name = "LockedError";
  /** Those who hold it and have said so. */
  readonly holders: readonly LockHolder[];

  /**
   * An error about a lock.
   *
   * @param path What is locked.
   * @param holders Those who hold it, as far as they are known.
   * @param what What is locked, for people; by default, the path.
   */
  constructor(
    path: string,
    holders: readonly LockHolder[] = [],
    what: string = `"${path}"`,
  ) {
    super(`${what} is in use${told(holders)}`, path, "locked");
    this.holders = holders;
  }
}

function told([first, ...more]: readonly LockHolder[]): string {
  if (!first) return "";
  const { pid, host, purpose, since } = first;
  const where = host ? ` on ${host}` : "";
  const others = more.length > 0 ? `, and ${more.length} more` : "";
  return ` by process ${pid}${where} (${purpose}) since ${since}${others}`;
}

/**
 * Takes a lease on a directory: as long as it is held, nobody clears or swaps the
 * directory. Any number of processes may hold one.
 *
 * The lock is the file `<dir>.lock` beside the directory, which stays when it is
 * released, and, but for Windows, the directory itself: so it also holds where the
 * same directory is reached by another mount, or where its parent can't be written.
 *
 * Needs `--allow-read` and `--allow-write` for the directory and its parent.
 *
 * @param dir The directory. It need not exist, but its parent must.
 * @param options How long to wait, and what for.
 * @returns The lease. Dispose of it when the directory is no longer used.
 * @throws {LockedError} If somebody clears or swaps it, and does not end in time.
 * @throws {CacheError} If there are no locks there (`kind` is `no-locks`), or the
 * operating system refuses.
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
 * themselves.
 *
 * Needs `--allow-read` and `--allow-write` for the directory and its parent.
 *
 * @param dir The directory. It need not exist, but its parent must.
 * @param options How long to wait, and what for.
 * @returns The guard. Dispose of it when the work is done.
 * @throws {LockedError} If somebody uses it, and does not end in time.
 * @throws {CacheError} If there are no locks there (`kind` is `no-locks`), or the
 * operating system refuses.
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
 */
export async function guard(
  dir: string | URL,
  options: LockOptions = {},
): Promise<Lock> {
  return await lockDirectory(dir, true, options);
}

/**
 * Polls for a lock: `Deno.FsFile.lock()` can't be given up, and takes a thread.
 * From 1 ms to 100 ms between two tries, each a bit random, so that two who wait do
 * not meet for ever.
 *
 * @param attempt Gives the lock, or `undefined` if somebody has it.
 * @param locked Called when time is up: the error that says who has it.
 */
export async function waitFor<T>(
  attempt: () => T | undefined,
  { wait = DEFAULT_WAIT, signal }: LockOptions,
  locked: () => LockedError,
): Promise<T> {
  const deadline = performance.now() + wait;
  for (let tries = 0;; tries++) {
    signal?.throwIfAborted();
    const lock = attempt();
    if (lock !== undefined) return lock;
    const left = deadline - performance.now();
    if (left <= 0) throw locked();
    if (tries === 0) log.debug(() => `Waiting: ${locked().message}`);
    const pause = Math.min(100, 2 ** tries) * (0.5 + Math.random());
    await new Promise((resolve) => setTimeout(resolve, Math.min(pause, left)));
  }
}

async function lockDirectory(
  dir: string | URL,
  exclusive: boolean,
  options: LockOptions,
): Promise<Lock> {
  const path = realPath(dir);
  const { purpose, wait = DEFAULT_WAIT } = options;
  const started = performance.now();
  const files = await waitFor(
    () => {
      const waited = performance.now() - started;
      return attemptDirectory(
        path,
        exclusive,
        mannersOf(exclusive, waited, wait),
      );
    },
    options,
    () => new LockedError(path, listHolders(path)),
  );
  const note = noteHolder(path, purpose, exclusive);
  return {
    path,
    exclusive,
    [Symbol.dispose]() {
      note?.[Symbol.dispose]();
      for (const file of files.splice(0).reverse()) file.close();
    },
  };
}

/** The path by which everybody locks it, whatever symbolic link leads there. */
function realPath(dir: string | URL): string {
  const path = dir instanceof URL ? fromFileUrl(dir) : resolve(dir);
  try {
    return Deno.realPathSync(path);
  } catch {
    return path; // does not exist: then its name is what is locked
  }
}

/** Why there can be no file beside a directory, although the directory can be used. */
const NO_FILE_BESIDE: ReadonlySet<ErrorKind> = new Set([
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
 * @returns What must be closed to unlock; `undefined` if somebody has the lock.
 */
function attemptDirectory(
  path: string,
  exclusive: boolean,
  manners: Manners,
): Deno.FsFile[] | undefined {
  const held: Deno.FsFile[] = [];
  let refusal: unknown;
  try {
    const beside = attemptLock(`${path}.lock`, exclusive, "create", manners);
    if (!beside) return undefined;
    held.push(beside);
  } catch (error) {
    if (!NO_FILE_BESIDE.has(errorKind(error))) throw lockFailure(path, error);
    refusal = error;
  }
  if (Deno.build.os !== "windows") {
    try {
      const itself = attemptLock(path, exclusive, "directory");
      if (!itself) {
        held.forEach((file) => file.close());
        return undefined;
      }
      held.push(itself);
    } catch (error) {
      // Not there yet; not to be read; NFS locks no directory.
      log.trace(() => `"${path}" is not locked itself: ${osErrorText(error)}`);
    }
  }
  if (held.length > 0) return held;
  throw lockFailure(path, refusal);
}

/**
 * Leases that follow each other closely would keep a guard away for ever. So who waits
 * for a guard asks for a turn, and who wants a lease holds back for a second at most;
 * a guard that waits longer asks for a second in ten, so that a lease of hours costs
 * others little.
 *
 * It is asked by the lock file's times, which nothing else changes: modified in 1970,
 * read just now.
 */
type Manners = "insist" | "yield" | undefined;

function mannersOf(
  exclusive: boolean,
  waited: number,
  wait: number,
): Manners {
  if (exclusive) return waited % 10_000 < 1000 ? "insist" : undefined;
  return waited < Math.min(1000, wait / 2) ? "yield" : undefined;
}

function askForTurn(file: Deno.FsFile): void {
  try {
    file.utimeSync(new Date(), 0);
  } catch (error) {
    log.trace(() => `Nobody is asked for a turn: ${osErrorText(error)}`);
  }
}

/** For so long a turn is held free, in milliseconds: longer than who waits for it sleeps. */
const TURN = 200;

function isAskedForTurn(file: Deno.FsFile): boolean {
  const { atime, mtime } = file.statSync();
  return mtime?.getTime() === 0 && atime !== null &&
    Math.abs(Date.now() - atime.getTime()) < TURN;
}

/** What it takes to get at the file that is locked. */
type How = "create" | "existing" | "directory";

/**
 * Tries to lock a file, once.
 *
 * A lock on a file that another one has taken the place of, or that was removed,
 * locks nothing: it is noticed, and the new file is locked.
 *
 * @returns What must be closed to unlock; `undefined` if somebody has the lock.
 * @throws What the OS said to the opening, or to the locking.
 */
export function attemptLock(
  path: string,
  exclusive: boolean,
  how: How,
  manners?: Manners,
): Deno.FsFile | undefined {
  for (let tries = 0; tries < 100; tries++) {
    const file = open(path, how);
    if (!file) continue; // made and removed meanwhile
    let keep = false;
    try {
      if (!file.tryLockSync(exclusive)) {
        if (manners === "insist") askForTurn(file);
        return undefined;
      }
      if (manners === "yield" && isAskedForTurn(file)) return undefined;
      keep = isStillAt(path, file);
      if (keep) return file;
    } catch (error) {
      // Windows: a lock violation. EINTR, EAGAIN: the next poll.
      if (errorKind(error) === "transient") return undefined;
      throw error;
    } finally {
      if (!keep) file.close();
    }
  }
  return undefined;
}

function open(path: string, how: How): Deno.FsFile | undefined {
  if (how === "directory") return Deno.openSync(path);
  try {
    // NFS locks exclusively only what is open for writing.
    return Deno.openSync(path, { read: true, write: true });
  } catch (error) {
    const kind = errorKind(error);
    if (kind === "permission" || kind === "read-only") {
      try {
        return Deno.openSync(path); // another user's: can be locked all the same
      } catch {
        throw error;
      }
    }
    if (kind !== "not-found" || how === "existing") throw error;
  }
  try {
    const options = { read: true, write: true, createNew: true };
    const file = Deno.openSync(path, options);
    share(path);
    return file;
  } catch (error) {
    if (errorKind(error) === "already-exists") return undefined;
    throw error;
  }
}

/** Whoever may write beside a lock file may open it for writing. */
function share(path: string): void {
  if (Deno.build.os === "windows") return;
  try {
    const { mode } = Deno.statSync(dirname(path));
    Deno.chmodSync(path, 0o600 | (mode ?? 0) & 0o666);
  } catch (error) {
    log.trace(() => `The mode of "${path}" stays: ${osErrorText(error)}`);
  }
}

function isStillAt(path: string, file: Deno.FsFile): boolean {
  try {
    const [now, locked] = [Deno.statSync(path), file.statSync()];
    return now.ino === locked.ino && now.dev === locked.dev;
  } catch (error) {
    if (errorKind(error) === "not-found") return false;
    throw error;
  }
}

/** What the OS says where there are no locks: flock(2), and NFS's own. */
const NO_LOCKS: ReadonlySet<ErrorKind> = new Set([
  "no-locks",
  "unsupported",
  "invalid",
]);

/** The error that something can't be locked. */
export function lockFailure(path: string, error: unknown): CacheError {
  const kind = errorKind(error);
  if (!NO_LOCKS.has(kind)) return osFailure("lock", path, error);
  const hint = "Say --no-lock (lock: false) if nobody else uses it";
  return new CacheError(
    `Cannot lock "${path}": its file system has no locks (${
      osErrorText(error)
    }). ${hint}`,
    path,
    "no-locks",
    error,
  );
}

/**
 * Writes down who holds a lock, beside what it guards. For people only: nothing is
 * decided by it.
 *
 * @param path What is guarded.
 * @param exclusive Whether nobody else holds the lock, so that notes which are there are
 * those of processes that died.
 * @returns What removes the note. None without a purpose.
 */
export function noteHolder(
  path: string,
  purpose: string | undefined,
  exclusive: boolean,
): Disposable | undefined {
  if (exclusive) holderFiles(path).forEach(removeIfThere);
  if (purpose === undefined) return undefined;
  const file = siblingPath(path, "holder");
  const host = hostName();
  const holder: LockHolder = {
    pid: Deno.pid,
    ...host !== undefined && { host },
    purpose,
    since: new Date().toISOString(),
  };
  try {
    Deno.writeTextFileSync(file, JSON.stringify(holder), { createNew: true });
  } catch (error) {
    log.debug(() => `Nobody is told who holds "${path}": ${error}`);
  }
  return { [Symbol.dispose]: () => removeIfThere(file) };
}

function hostName(): string | undefined {
  // Asked first, because Deno would stop and ask the user on a terminal.
  const { state } = Deno.permissions.querySync({
    name: "sys",
    kind: "hostname",
  });
  return state === "granted" ? Deno.hostname() : undefined;
}

function holderFiles(path: string): string[] {
  const parent = dirname(path);
  try {
    return listSiblings(parent, basename(path), "holder")
      .map((name) => join(parent, name));
  } catch {
    return [];
  }
}

/** Who says to hold a lock, the first one first. */
export function listHolders(path: string): LockHolder[] {
  const holders: LockHolder[] = [];
  for (const file of holderFiles(path)) {
    try {
      const holder: LockHolder = JSON.parse(Deno.readTextFileSync(file));
      if (typeof holder.pid === "number" && !isDead(holder)) {
        holders.push(holder);
      }
    } catch {
      // Released meanwhile, or half written.
    }
  }
  return holders.sort((a, b) => a.since < b.since ? -1 : 1);
}

/** Whether a process of this host is known to be gone. */
function isDead({ pid, host }: LockHolder): boolean {
  if (host === undefined || host !== hostName()) return false;
  if (Deno.permissions.querySync({ name: "run" }).state !== "granted") {
    return false;
  }
  try {
    Deno.kill(pid, 0);
    return false;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}
