import { CacheError, kindOfError, osFailure } from "../error.ts";
import { putDirectoryLike } from "../fs/access.ts";
import type { Directory, OpenUse, Status } from "../fs/directory.ts";
import { type HeldTarget, lookAgain, openTarget } from "../fs/guard_rails.ts";
import type { Place } from "../fs/open.ts";
import { type Failure, removeTree } from "../fs/remove.ts";
import { sweepStagings } from "../fs/staging.ts";
import { markFinished } from "../fs/unfinished.ts";
import { sweepNotes } from "../lock/holder.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { type Aside, renameAside } from "./aside.ts";
import { freedBy } from "./freed.ts";
import { clearInPlace } from "./in_place.ts";
import { type ClearLock, lockToClear } from "./lock.ts";
import {
  checkClearArguments,
  type ClearOptions,
  type ClearReport,
  DEFAULT_BUSY_TIMEOUT,
} from "./options.ts";
import { asidesOf } from "./sweep.ts";

/**
 * Clears a cache directory that other processes may be using: it waits for those that
 * have a `lease()`, renames the directory aside, atomically, and deletes it there. Whoever
 * looks at its path sees the whole old tree or nothing, never half of one. Any number of
 * processes may clear the same directory at the same time, and one that is killed leaves
 * nothing except an aside, which the next clear deletes.
 *
 * Where a directory can't be renamed (a mount point; the lower layer of an
 * overlay, as in a container image; a parent that is not writable), each of its
 * entries is, and the empty directory stays.
 *
 * No symbolic link is followed and no mount is crossed. If the directory is missing,
 * there is nothing to do. A directory that somebody has a `lease()` on is not cleared
 * until it is released; the file `<dir>.lock`, by which that is known, goes again unless
 * it was there before.
 *
 * Needs `--allow-read` and `--allow-write` for the directory and its parent.
 * `--allow-env=HOME` (`USERPROFILE` on Windows) tells it the home directory; without
 * it, whatever looks like one is refused. With `--allow-ffi` on Linux it is safe
 * wherever others can write, too. A directory that something is mounted in is refused
 * before anything is touched; what is mounted there meanwhile is left as it is, and
 * reported.
 *
 * @param dir The directory.
 * @param options How to clear it.
 * @returns What was done, and what could not be removed and why.
 * @throws {CacheError} Of kind `refused` if `dir` is a root, the home directory,
 * the working directory or contains one of them, is a file, or is a symbolic
 * link without `follow`. Of another kind if the operating system permits neither
 * strategy. If the signal is aborted, its reason.
 * @throws {LockedError} If somebody uses the directory for longer than `wait`.
 * @throws {TypeError | RangeError} If an argument is invalid.
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
 * assertEquals(report.failures, []);
 * ```
 *
 * @category Directories
 */
export async function clearCache(
  dir: string | URL,
  options: ClearOptions = {},
): Promise<ClearReport> {
  checkClearArguments(dir, options);
  const {
    busyTimeout = DEFAULT_BUSY_TIMEOUT,
    follow = false,
    signal,
  } = options;
  using target = openTarget(dir, follow);
  const { path } = target;
  signal?.throwIfAborted();
  using clear = new Clear(target, { ...options, busyTimeout });
  try {
    return await (options.dryRun ? clear.preview() : clear.run());
  } catch (error) {
    if (signal?.aborted && error === signal.reason) tellLeft(path, clear.left);
    throw error;
  }
}

/** @param left What an interruption has left: the directory itself, or an aside. */
function tellLeft(path: string, left: string | undefined): void {
  if (left === path) return; // it was not touched
  log.warn(() =>
    left
      ? `"${path}" is cleared, but "${left}" still has files in it. The next clear of "${path}" deletes it`
      : `"${path}" is only partly cleared. Clear it again`
  );
}

/** How the directory was taken out of everybody's way. */
type Taken = Pick<ClearReport, "strategy" | "reason" | "stands"> & {
  readonly found: boolean;
};

class Clear implements Disposable {
  readonly #options: ClearOptions & { busyTimeout: number };
  readonly #started = performance.now();
  readonly #failures: Failure[] = [];
  readonly #held = new DisposableStack();
  readonly #path: string;
  #target: HeldTarget;
  #aside: Aside | undefined;
  /** Asides that still have something in them. */
  readonly #asides: string[] = [];
  /** What is freed; `undefined` if that is not known. */
  #freed: number | undefined;
  /** Whether the directory is still as it was, wholly. */
  #untouched = true;

  constructor(
    target: HeldTarget,
    options: ClearOptions & { busyTimeout: number },
  ) {
    this.#target = target;
    this.#path = target.path;
    this.#options = options;
  }

  [Symbol.dispose](): void {
    this.#held.dispose();
  }

  /** What an interruption would find now: the directory as it was, or an aside. */
  get left(): string | undefined {
    return this.#untouched ? this.#path : this.#aside?.path;
  }

  async run(): Promise<ClearReport> {
    const { defer = false } = this.#options;
    const owner = this.#target.status?.uid;
    const { found, ...how } = await this.#takeAway();
    const goneMs = performance.now() - this.#started;
    if (this.#aside && defer) this.#asides.push(this.#aside.path);
    else {
      if (how.strategy === "rename") await this.#weighAside();
      await this.#deleteAside();
    }
    const swept = defer ? [] : await this.#sweep(owner, how.stands);
    return {
      path: this.#path,
      outcome: this.#failures.length > 0
        ? "incomplete"
        : found
        ? "cleared"
        : "absent",
      ...how,
      ...this.#freedBytes(),
      failures: this.#failures,
      swept,
      asides: this.#asides,
      goneMs,
      durationMs: performance.now() - this.#started,
    };
  }

  /** Nothing, unless all that was weighed is gone. */
  #freedBytes(): Pick<ClearReport, "freedBytes"> {
    const isKnown = this.#freed !== undefined && !this.#options.defer &&
      this.#failures.length === 0;
    return isKnown ? { freedBytes: this.#freed! } : {};
  }

  async preview(): Promise<ClearReport> {
    const { path, status, directory } = this.#target;
    if (directory) await this.#weigh(directory, "use");
    return {
      path,
      outcome: status ? "would-clear" : "absent",
      stands: status !== undefined || this.#options.recreate === true,
      ...this.#freedBytes(),
      failures: [],
      swept: asidesOf(this.#target, status?.uid).map(({ path }) => path),
      asides: [],
      goneMs: 0,
      durationMs: performance.now() - this.#started,
    };
  }

  /** Takes the directory out of everybody's way, under its guard. */
  async #takeAway(): Promise<Taken> {
    const { recreate = false, lock = true } = this.#options;
    const { place, status } = this.#target;
    if (!place) {
      if (!recreate) return this.#nothing();
      const error = new Deno.errors.NotFound("Its parent does not exist");
      throw osFailure("make", this.#path, error);
    }
    if (recreate) refuseUnsafe(this.#target);
    // What is not there needs no lock, which would leave a file beside it.
    const locks = lock && (status !== undefined || recreate);
    using turn = locks ? await this.#lock(place) : undefined;
    // Of a clear that was killed when it had taken the directory away. (Who has the
    // lock knows that all notes are of the dead.)
    if (!turn) sweepNotes(place.parent, place.name);
    if (turn) this.#target = this.#held.use(lookAgain(place, this.#path));
    const taken = await this.#takeAwayHeld(place);
    if (this.#failures.length === 0) markFinished(place);
    turn?.removeFile();
    return taken;
  }

  async #lock(place: Place): Promise<ClearLock | undefined> {
    try {
      return await lockToClear(place, this.#path, this.#options);
    } catch (error) {
      // Cleared meanwhile, together with what it lies in: lookAgain() says so.
      if (kindOfError(error) === "not-found" && !this.#options.recreate) {
        using now = lookAgain(place, this.#path);
        if (!now.status) return { removeFile() {}, [Symbol.dispose]() {} };
      }
      throw error;
    }
  }

  #nothing(): Taken {
    this.#untouched = false;
    return { found: false, stands: false };
  }

  async #takeAwayHeld(place: Place): Promise<Taken> {
    const { recreate = false, defer = false } = this.#options;
    const { status, directory } = this.#target;
    let taken = this.#nothing();
    if (status && directory) {
      this.#untouched = true;
      const { aside, refusal } = await renameAside(
        place,
        this.#target,
        this.#options,
      );
      this.#aside = aside;
      if (refusal) {
        refuseInPlace(this.#target, refusal);
        await this.#weigh(directory, "use");
      }
      const found = refusal !== undefined || this.#aside !== undefined;
      const strategy = refusal ? "in-place" : "rename";
      taken = {
        ...taken,
        found,
        ...found && { strategy },
        ...refusal !== undefined && { reason: osErrorText(refusal) },
      };
      this.#untouched = false;
      if (refusal) {
        log.debug(() =>
          `Cannot rename "${this.#path}" aside (${
            osErrorText(refusal)
          }), so clearing it in place`
        );
        const stands = await this.#clearInPlace(
          place,
          directory,
          recreate || defer,
        );
        taken = { ...taken, stands };
      }
    }
    if (!recreate || taken.stands) return taken;
    await this.#recreate(place, status);
    return { ...taken, stands: true };
  }

  /** Empties the directory where it stands. @returns Whether it still stands. */
  async #clearInPlace(
    { parent, name }: Place,
    directory: Directory,
    keep: boolean,
  ): Promise<boolean> {
    const { aside, failures } = await clearInPlace(directory, this.#options);
    this.#failures.push(...failures);
    this.#aside = aside;
    if (keep || this.#failures.length > 0) return true;
    await this.#deleteAside();
    if (this.#failures.length > 0) return true;
    try {
      parent.removeDirectory(name);
      return false;
    } catch (error) {
      log.debug(() =>
        `"${this.#path}" stays, empty: it cannot be removed (${
          osErrorText(error)
        })`
      );
      return errorKind(error) !== "not-found";
    }
  }

  async #weighAside(): Promise<void> {
    if (!this.#aside || !this.#options.weigh) return;
    try {
      using directory = this.#aside.parent.open(this.#aside.name, "doomed");
      await this.#weigh(directory, "doomed");
    } catch (error) {
      this.#options.signal?.throwIfAborted();
      log.debug(() => `What is freed is not known: ${osErrorText(error)}`);
    }
  }

  async #weigh(directory: Directory, use: OpenUse): Promise<void> {
    const { weigh, signal } = this.#options;
    if (weigh) this.#freed = await freedBy(directory, use, signal);
  }

  async #deleteAside(): Promise<void> {
    if (!this.#aside) return;
    const { parent, name, path, expected } = this.#aside;
    const { busyTimeout, signal, onProgress } = this.#options;
    const failures = await removeTree(parent, name, {
      busyTimeout,
      signal,
      onProgress,
      expected,
    });
    this.#failures.push(...failures);
    this.#aside = undefined;
    if (failures.length > 0) this.#asides.push(path);
    else log.debug(() => `Deleted "${path}"`);
  }

  /** Makes the directory again; on a file system that is full, what was in it goes first. */
  async #recreate({ parent, name }: Place, like?: Status): Promise<void> {
    const make = () => {
      try {
        putDirectoryLike(parent, name, like);
      } catch (error) {
        if (kindOfError(error) !== "already-exists") throw error;
        log.debug(() => `"${this.#path}" stands again: somebody else made it`);
      }
    };
    try {
      make();
    } catch (error) {
      if (!this.#aside) throw error;
      await this.#deleteAside();
      make();
    }
  }

  /** Deletes the asides and stagings of dead runs. That one can't be deleted is no failure of this clear. */
  async #sweep(owner: number | undefined, stands: boolean): Promise<string[]> {
    const { place, directory } = this.#target;
    const { busyTimeout, signal } = this.#options;
    if (!place) return [];
    const swept: string[] = [];
    try {
      const inside = stands ? directory : undefined;
      const asides = asidesOf({ place, directory: inside }, owner);
      swept.push(...await sweepStagings(place.parent, place.name, owner));
      for (const { path, remove } of asides) {
        if (this.#asides.includes(path)) continue;
        const failures = await remove(busyTimeout, signal);
        const [first] = failures;
        if (first) {
          log.warn(() =>
            `Cannot delete all of "${path}", which an earlier run left: ` +
            `${failures.length} left, such as "${first.path}": ${first.message}`
          );
        } else {
          swept.push(path);
          log.debug(() => `Deleted "${path}", which an earlier run left`);
        }
      }
    } catch (error) {
      signal?.throwIfAborted();
      log.debug(() => `No sweep: ${error}`);
    }
    return swept;
  }
}

/** What is cleared where it stands is listed by its path, which could lead elsewhere. */
function refuseInPlace({ path, directory }: HeldTarget, why: unknown): void {
  if (!directory || directory.fixed) return;
  throw new CacheError(
    `Cannot clear "${path}": it can't be renamed (${osErrorText(why)}), and ` +
      "other users can put something else in its place. " +
      "Grant --allow-ffi, or use a directory of your own",
    path,
    "refused",
  );
}

/** Its mode and owner could be given to something else, which others put there. */
function refuseUnsafe({ path, place, directory }: HeldTarget): void {
  if (!directory || directory.safe || place?.parent.safe) return;
  throw new CacheError(
    `Cannot make "${path}" again: other users can change what it lies in. ` +
      "Grant --allow-ffi, or use a directory of your own",
    path,
    "refused",
  );
}
