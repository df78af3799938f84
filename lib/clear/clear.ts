import { CacheError, osFailure } from "../error.ts";
import { clearTarget, type Target } from "../fs/guard_rails.ts";
import { guard } from "../lock/directory.ts";
import { log } from "../log.ts";
import { siblingName, siblingPath } from "../fs/names.ts";
import { type ErrorKind, errorKind, osErrorText } from "../os/error.ts";
import { mayPass } from "../os/patience.ts";
import { join } from "../os/path.ts";
import { sweepStagings } from "../old/staging.ts";
import { deleteAsides } from "./delete_asides.ts";
import {
  type ClearOptions,
  type ClearReport,
  DEFAULT_BUSY_TIMEOUT,
} from "./options.ts";
import { removeTree } from "../old/remove.ts";
import { Budget, type Failure, removeEntry } from "../old/remove_carefully.ts";
import { makeDirectoryLike } from "../old/make_like.ts";
import { listAsides } from "./sweep.ts";

/**
 * Clears a cache directory without breaking a process that uses it: it is
 * renamed aside at one stroke, and deleted there. A process that reads it sees
 * the whole old tree or nothing, never half of one. Any number of processes may
 * clear the same directory at the same time, and one that is killed leaves
 * nothing but an aside, which the next clear deletes.
 *
 * Where a directory can't be renamed (a mount point; the lower layer of an
 * overlay, as in a container image; a parent that is not writable), each of its
 * entries is, and the empty directory stays.
 *
 * No symbolic link is followed. A missing directory is nothing to do. A directory
 * that somebody has a `lease()` on is not cleared until it is released; the
 * file `<dir>.lock`, by which that is known, stays beside it.
 *
 * Needs `--allow-read` and `--allow-write` for the directory and its parent. With
 * `--allow-env=HOME` (`USERPROFILE` on Windows) it refuses to clear the home
 * directory; with `--allow-all` on Linux, a directory that something is mounted
 * in.
 *
 * @param dir The directory.
 * @param options How to clear it.
 * @returns What was done, and what could not be removed and why.
 * @throws {CacheError} Of kind `refused` if `dir` is a root, the home directory,
 * the working directory or contains one of them, is a file, or is a symbolic
 * link without `follow`. Of kind `interrupted` if the signal was aborted; its
 * `path` is the aside that is left, if there is one. Of another kind if the
 * operating system permits neither strategy.
 * @throws {LockedError} If somebody uses the directory for longer than `wait`.
 *
 * @example Clearing a cache
 * ```ts
 * import { clearCache } from "@rebuild/cache";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir({ prefix: "cache-" });
 * await Deno.writeTextFile(`${dir}/entry`, "cached");
 *
 * const report = await clearCache(dir);
 *
 * assertEquals(report.outcome, "cleared");
 * assertEquals(report.left, []);
 * ```
 */
export async function clearCache(
  dir: string | URL,
  options: ClearOptions = {},
): Promise<ClearReport> {
  const {
    busyTimeout = DEFAULT_BUSY_TIMEOUT,
    follow = false,
    signal,
  } = options;
  const target = clearTarget(dir, follow);
  if (signal?.aborted) throw interrupted(target.path, target.path, signal);
  const clear = new Clear(target, { ...options, busyTimeout });
  try {
    return options.dryRun ? clear.preview() : await clear.run();
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) throw error;
    throw interrupted(target.path, clear.aside, signal);
  }
}

function interrupted(
  path: string,
  aside: string | undefined,
  signal: AbortSignal,
): CacheError {
  const message = aside === path
    ? `Interrupted: "${path}" was not touched`
    : aside
    ? `Interrupted: "${path}" is cleared, but "${aside}" still has files in it. The next clear of "${path}" deletes it`
    : `Interrupted: "${path}" is only partly cleared. Clear it again`;
  return new CacheError(message, aside ?? path, "interrupted", signal.reason);
}

/**
 * Why a directory can't be renamed although its entries may be removed: a mount
 * point is busy; an overlay's lower directory is cross-device (overlayfs without
 * `redirect_dir`, as in container images); the parent is not writable, full, or
 * read-only; its name leaves no room for a suffix.
 */
const CLEAR_IN_PLACE: ReadonlySet<ErrorKind> = new Set([
  "busy",
  "cross-device",
  "permission",
  "read-only",
  "no-space",
  "name-too-long",
  "unsupported",
  "invalid",
  "transient",
]);

class Clear {
  #target: Target;
  readonly #options: ClearOptions & { busyTimeout: number };
  readonly #started = performance.now();
  readonly #left: Failure[] = [];
  /** Where the content was put, once it is out of the way. */
  aside: string | undefined;

  constructor(target: Target, options: ClearOptions & { busyTimeout: number }) {
    this.#target = target;
    this.#options = options;
    // What an interruption would find now: everything as it was.
    this.aside = target.path;
  }

  async run(): Promise<ClearReport> {
    const { path } = this.#target;
    const { defer = false, busyTimeout, signal } = this.#options;
    const { found, ...how } = await this.#takeAway();
    const goneMs = performance.now() - this.#started;
    const asides: string[] = [];
    if (this.aside && defer) asides.push(this.aside);
    else if (this.aside) {
      const { onProgress } = this.#options;
      const failures = await removeTree(this.aside, {
        busyTimeout,
        signal,
        onProgress,
      });
      this.#left.push(...failures);
      if (failures.length > 0) asides.push(this.aside);
      else log.debug(() => `Deleted "${this.aside}"`);
    }
    const swept = defer ? [] : await this.#sweep(asides);
    return {
      path,
      outcome: this.#left.length > 0
        ? "incomplete"
        : found
        ? "cleared"
        : "absent",
      ...how,
      left: this.#left,
      swept,
      asides,
      goneMs,
      durationMs: performance.now() - this.#started,
    };
  }

  /** Takes the directory out of everybody's way, under its guard. */
  async #takeAway(): Promise<
    Pick<ClearReport, "strategy" | "reason" | "stands"> & { found: boolean }
  > {
    const { recreate = false, defer = false, lock = true } = this.#options;
    const { path } = this.#target;
    // What is not there needs no lock, which would leave a file beside it.
    const locks = lock && (this.#target.info !== undefined || recreate);
    using held = locks ? await guard(path, this.#options) : undefined;
    // Whoever had the lock may have changed it.
    if (held) this.#target = clearTarget(path);
    let refusal: unknown;
    let stands = false;
    let found = this.#target.info !== undefined;
    if (!found) this.aside = undefined;
    else {
      refusal = await this.#renameAside();
      found = refusal !== undefined || this.aside !== undefined;
    }
    if (refusal) {
      log.debug(() =>
        `Cannot rename "${path}" aside (${
          osErrorText(refusal)
        }), so clearing it in place`
      );
      stands = await this.#clearInPlace(recreate || defer);
    }
    if (recreate && !stands) {
      makeDirectoryLike(path, this.#target.info);
      stands = true;
    }
    return {
      found,
      ...found && { strategy: refusal ? "in-place" : "rename" },
      ...refusal !== undefined && { reason: osErrorText(refusal) },
      stands,
    };
  }

  preview(): ClearReport {
    const { path, info } = this.#target;
    return {
      path,
      outcome: info ? "would-clear" : "absent",
      stands: info !== undefined || this.#options.recreate === true,
      left: [],
      swept: listAsides(path),
      asides: [],
      goneMs: 0,
      durationMs: performance.now() - this.#started,
    };
  }

  /**
   * Renames the directory aside, trying again while it is only busy for a moment
   * (Windows: a scanner's handle).
   *
   * @returns The error, when it can't be renamed but may be cleared in place.
   */
  async #renameAside(): Promise<unknown> {
    const { path } = this.#target;
    const aside = siblingPath(path, "stale");
    const budget = new Budget(this.#options.busyTimeout, this.#options.signal);
    for (let tries = 0;; tries++) {
      try {
        Deno.renameSync(path, aside);
        this.aside = aside;
        log.debug(() => `Renamed "${path}" to "${aside}"`);
        return undefined;
      } catch (error) {
        const kind = errorKind(error);
        if (kind === "not-found") {
          log.debug(() => `"${path}" is gone: somebody else cleared it`);
          this.aside = undefined;
          return undefined;
        }
        // POSIX says busy of mount points only, and those don't pass.
        const passes = mayPass(kind) &&
          (kind !== "busy" || Deno.build.os === "windows");
        if (passes && await budget.wait(tries)) continue;
        if (CLEAR_IN_PLACE.has(kind)) return error;
        throw osFailure("rename aside", path, error, "Nothing was cleared");
      }
    }
  }

  /**
   * Empties the directory where it stands. Each subdirectory is renamed at one
   * stroke into an aside inside; a file is removed at one stroke anyway (and on an
   * overlay's lower layer, a rename would copy it first).
   *
   * @returns Whether the directory still stands.
   */
  async #clearInPlace(keep: boolean): Promise<boolean> {
    const { path } = this.#target;
    const { busyTimeout, signal } = this.#options;
    const budget = new Budget(busyTimeout, signal);
    let aside: string | undefined = join(path, siblingName("", "stale"));
    let entries: Deno.DirEntry[];
    this.aside = undefined;
    try {
      entries = [...Deno.readDirSync(path)];
    } catch (error) {
      if (errorKind(error) === "not-found") return false;
      throw osFailure("list", path, error, "Nothing was cleared");
    }
    try {
      Deno.mkdirSync(aside, { mode: 0o700 });
    } catch (error) {
      log.debug(() => `Cannot make "${aside}": ${osErrorText(error)}`);
      aside = undefined;
    }
    for (const { name, isDirectory } of entries) {
      signal?.throwIfAborted();
      const entry = join(path, name);
      if (!isDirectory) {
        const failure = await removeEntry(entry, budget);
        if (failure) this.#left.push(failure);
      } else if (!aside || !moveInto(aside, entry, name)) {
        this.#left.push(...await removeTree(entry, { busyTimeout, signal }));
      }
    }
    this.aside = aside;
    this.#left.push(...unspeakable(path, entries));
    if (keep || this.#left.length > 0) return true;
    return this.#removeEmptied();
  }

  /** Removes the directory that was emptied in place, where that is possible. */
  async #removeEmptied(): Promise<boolean> {
    const { path } = this.#target;
    const { busyTimeout, signal } = this.#options;
    if (this.aside) {
      this.#left.push(...await removeTree(this.aside, { busyTimeout, signal }));
      if (this.#left.length > 0) return true;
      this.aside = undefined;
    }
    try {
      Deno.removeSync(path);
      return false;
    } catch (error) {
      log.debug(() =>
        `"${path}" stays, empty: it cannot be removed (${osErrorText(error)})`
      );
      return errorKind(error) !== "not-found";
    }
  }

  /** Deletes the asides and stagings of dead runs. That one can't be deleted is no failure of this clear. */
  async #sweep(own: readonly string[]): Promise<string[]> {
    const { path } = this.#target;
    const { busyTimeout, signal } = this.#options;
    const swept: string[] = [];
    let asides: string[];
    try {
      asides = listAsides(path);
      swept.push(...await sweepStagings(path));
    } catch (error) {
      log.debug(() => `No sweep: ${error}`);
      return swept;
    }
    for (const aside of asides) {
      if (own.includes(aside)) continue;
      const failures = await deleteAsides([aside], busyTimeout, signal);
      const [first] = failures;
      if (first) {
        log.warn(() =>
          `Cannot delete all of "${aside}", which an earlier run left: ` +
          `${failures.length} left, such as "${first.path}": ${first.message}`
        );
      } else {
        swept.push(aside);
        log.debug(() => `Deleted "${aside}", which an earlier run left`);
      }
    }
    return swept;
  }
}

/** Moves a subdirectory into the aside inside. Whether that was possible. */
function moveInto(aside: string, entry: string, name: string): boolean {
  try {
    Deno.renameSync(entry, join(aside, name));
    return true;
  } catch (error) {
    if (errorKind(error) === "not-found") return true;
    log.debug(() =>
      `Cannot move "${entry}" into "${aside}" (${osErrorText(error)}), ` +
      `so deleting it where it is`
    );
    return false;
  }
}

/** Entries that no path leads to, since their names are not valid UTF-8. */
function unspeakable(
  path: string,
  listed: readonly Deno.DirEntry[],
): Failure[] {
  if (!listed.some(({ name }) => name.includes("\uFFFD"))) return [];
  return [...Deno.readDirSync(path)]
    .filter(({ name }) => name.includes("\uFFFD"))
    .map(({ name }) => ({
      path: join(path, name),
      kind: "invalid",
      message: "Deno cannot name it, since its name is not valid UTF-8: " +
        "remove it with another tool",
    }));
}
