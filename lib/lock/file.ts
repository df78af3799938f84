/**
 * Locks on files, of the operating system: a process that dies holds nothing.
 *
 * @module
 */

import { CacheError, osFailure } from "../error.ts";
import type { LockHolder } from "./holder.ts";
import { log } from "../log.ts";
import {
  checkNumber,
  checkOptions,
  checkSignal,
  checkType,
} from "../os/arguments.ts";
import {
  type ErrorKind,
  errorKind,
  osErrorNumber,
  osErrorText,
} from "../os/error.ts";
import {
  type Directory,
  isSameInode,
  type OpenFile,
  type Status,
} from "../fs/directory.ts";
import { patiently } from "../os/patience.ts";

/** How long to wait for a lock by default, in milliseconds: five minutes, as uv does. */
export const DEFAULT_WAIT = 5 * 60 * 1000;

/**
 * Options for `lease()` and `guard()`.
 *
 * @category Locks
 */
export interface LockOptions {
  /**
   * How long to wait for the lock, in milliseconds; 0 tries once. A log sink is told
   * after a second, and every 30 seconds from then on, who has it.
   *
   * @default {300_000} For a build by somebody else, however long that takes, there is
   * no limit by default.
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

/**
 * Refuses invalid options, before anything is done.
 *
 * @throws {TypeError} If one has the wrong type.
 * @throws {RangeError} If `wait` is not a time.
 */
export function checkLockOptions(options: LockOptions): void {
  checkOptions(options);
  checkNumber("wait", options.wait, 0);
  checkType("purpose", options.purpose, "string");
  checkSignal(options.signal);
}

/**
 * A lock was not granted in time, or never would be, since this process runs inside what holds
 * it. Nothing was changed.
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
 *
 * @category Locks
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
   * @param by By whom, for people; by default, the first of the holders.
   */
  constructor(
    path: string,
    holders: readonly LockHolder[] = [],
    what: string = `"${path}"`,
    by: string = told(holders),
  ) {
    super(`${what} is in use${by}`, path, "locked");
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

/** The name of the file beside a directory by which it is locked. */
export function lockName(name: string): string {
  return `${name}.lock`;
}

/** How often a process that waits says so, in milliseconds, after the first second. */
const TELL_AGAIN = 30_000;

/**
 * Polls for a lock: `Deno.FsFile.lock()` can't be given up, and takes a thread.
 * From 1 ms to 100 ms between two tries, each a bit random, so that two who wait do
 * not meet for ever. After a second, it is said who has the lock.
 *
 * @param attempt Gives the lock, or `undefined` if somebody has it.
 * @param locked Called when time is up: the error that says who has it.
 */
export async function waitFor<T>(
  attempt: () => T | undefined,
  { wait = DEFAULT_WAIT, signal }: LockOptions,
  locked: () => LockedError,
): Promise<T> {
  const started = performance.now();
  let tellAt = 1000;
  for (let tries = 0;; tries++) {
    signal?.throwIfAborted();
    const lock = attempt();
    if (lock !== undefined) return lock;
    const waited = performance.now() - started;
    const left = wait - waited;
    if (left <= 0) throw locked();
    if (tries === 0) log.debug(() => `Waiting: ${locked().message}`);
    if (waited >= tellAt) {
      const seconds = Math.round(waited / 1000);
      log.warn(() => `Waiting (${seconds} s so far): ${locked().message}`);
      tellAt += TELL_AGAIN;
    }
    const pause = Math.min(100, 2 ** tries) * (0.5 + Math.random());
    await new Promise((resolve) => setTimeout(resolve, Math.min(pause, left)));
  }
}

/**
 * Tries to lock a file, once.
 *
 * A lock on a file that another one has taken the place of, or that was removed,
 * locks nothing: it is noticed, and the new file is locked. What is no regular file,
 * or a symbolic link, is an error at once.
 *
 * @param how Whether it is made if it is missing.
 * @returns What must be closed to unlock; `undefined` if somebody has the lock.
 * @throws What the OS said to the opening, or to the locking.
 */
export function attemptLock(
  parent: Directory,
  name: string,
  exclusive: boolean,
  how: "create" | "existing",
): OpenFile | undefined {
  for (let tries = 0; tries < 100; tries++) {
    const file = open(parent, name, how);
    if (!file) continue; // made and removed meanwhile
    let keep = false;
    try {
      if (!file.tryLock(exclusive)) return undefined;
      const status = patiently(() => file.status());
      keep = isStillThere(parent, name, status);
      if (keep) return file;
    } catch (error) {
      // Windows: a lock violation. EINTR, EAGAIN: the next poll.
      if (errorKind(error) === "transient" && !isOutOfFiles(error)) {
        return undefined;
      }
      throw error;
    } finally {
      if (!keep) file[Symbol.dispose]();
    }
  }
  return undefined;
}

/** ENFILE and EMFILE say nothing of the lock. */
function isOutOfFiles(error: unknown): boolean {
  const number = osErrorNumber(error);
  return Deno.build.os !== "windows" && (number === 23 || number === 24);
}

function open(
  parent: Directory,
  name: string,
  how: "create" | "existing",
): OpenFile | undefined {
  try {
    return parent.openFile(name, "lock");
  } catch (error) {
    if (errorKind(error) !== "not-found" || how === "existing") throw error;
  }
  try {
    const file = parent.openFile(name, "create", 0o600);
    share(file, parent);
    return file;
  } catch (error) {
    if (errorKind(error) === "already-exists") return undefined;
    throw error;
  }
}

/** Whoever may write beside a lock file may open it for writing. */
function share(file: OpenFile, parent: Directory): void {
  if (Deno.build.os === "windows") return;
  try {
    const mode = 0o600 | parent.status().mode & 0o666;
    if (mode !== 0o600) file.setAccess({ mode });
  } catch (error) {
    log.trace(() => `The mode of "${file.path}" stays: ${osErrorText(error)}`);
  }
}

function isStillThere(parent: Directory, name: string, locked: Status) {
  const now = patiently(() => parent.look(name));
  if (!now) return false;
  return locked.inode === undefined || isSameInode(now, locked);
}

/** What the OS says where there are no locks: flock(2), and NFS's own. */
const NO_LOCKS: ReadonlySet<ErrorKind> = new Set([
  "no-locks",
  "unsupported",
  "invalid",
]);

/** The error that something can't be locked. */
export function lockFailure(path: string, error: unknown): CacheError {
  if (error instanceof CacheError) {
    const { kind, message } = error;
    return new CacheError(
      `Cannot lock "${path}": ${message}`,
      path,
      kind,
      error,
    );
  }
  const kind = errorKind(error);
  if (!NO_LOCKS.has(kind)) {
    const hint = kind === "not-found" ? "Its parent must exist" : "";
    return osFailure("lock", path, error, hint);
  }
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
