import { checkNumber, checkPath, checkType } from "../os/arguments.ts";
import { checkLockOptions, type LockOptions } from "../lock/file.ts";
import type { Failure } from "../fs/remove.ts";

/**
 * Options for `clearCache()`.
 *
 * @category Directories
 */
export interface ClearOptions extends LockOptions {
  /**
   * Whether to take the directory's guard first, so that nothing is cleared that
   * somebody has a lease on. It is held until the directory is gone.
   *
   * @default {true}
   */
  lock?: boolean;
  /**
   * Whether to put an empty directory in its place, with the old one's mode and
   * owner. Without `--allow-ffi`, that is refused where others can change what the
   * directory lies in.
   *
   * @default {false}
   */
  recreate?: boolean;
  /**
   * Whether a symbolic link stands for the directory it leads to. The link
   * stays; the directory is cleared.
   *
   * @default {false}
   */
  follow?: boolean;
  /**
   * Whether to return as soon as the directory is gone, and leave its content
   * aside. `sweepAsides()`, or the next clear, deletes it.
   *
   * @default {false}
   */
  defer?: boolean;
  /**
   * Whether to look only: nothing is changed, and the report says what would be.
   *
   * @default {false}
   */
  dryRun?: boolean;
  /**
   * Whether to find out what is freed, which takes a quarter to half as long again, since
   * each file must be looked at.
   *
   * @default {false}
   */
  weigh?: boolean;
  /**
   * How long busy things are tried again, in milliseconds, all together.
   *
   * @default {5000}
   */
  busyTimeout?: number;
  /**
   * Stops the clear: the promise is rejected with its reason. Before the directory is
   * renamed aside, nothing has happened; afterwards it is gone, and some of it may be
   * left aside, for the next clear.
   */
  signal?: AbortSignal;
  /**
   * Called after each directory that is deleted, where they are deleted one by one (on
   * some file systems the whole tree is deleted by one call), and now and then while what
   * is left is deleted entry by entry.
   */
  onProgress?: (progress: ClearProgress) => void;
}

/**
 * How far the deletion of what `clearCache()` put aside is.
 *
 * @category Directories
 */
export interface ClearProgress {
  /** Directories that are deleted, with all below them; later, entries. */
  readonly done: number;
  /** How many there are. */
  readonly total: number;
}

/**
 * What `clearCache()` did.
 *
 * @category Directories
 */
export interface ClearReport {
  /** The absolute path of the directory; of a followed link, its target. */
  readonly path: string;
  /**
   * `cleared`; `absent`: there was nothing; `incomplete`: something is left, and
   * `failures` says what and why; `would-clear`: a dry run.
   */
  readonly outcome: "cleared" | "absent" | "incomplete" | "would-clear";
  /**
   * `rename`: the directory was renamed aside, atomically; `in-place`: it could
   * not be, so each of its entries was. Not there when nothing was cleared.
   */
  readonly strategy?: "rename" | "in-place";
  /** Why it was done in place: what the operating system said to the rename. */
  readonly reason?: string;
  /** Whether an empty directory stands at `path` at the end. */
  readonly stands: boolean;
  /**
   * What the file system got back, in bytes on the disk: of files that have no other
   * name. In a dry run, what it would get back. Only with `weigh`; not known, and so not
   * there, where something could not be read or removed, or is deferred.
   */
  readonly freedBytes?: number;
  /** What could not be removed, and why. */
  readonly failures: readonly Failure[];
  /** Asides and stagings of earlier runs that were deleted, or in a dry run (asides) would be. */
  readonly swept: readonly string[];
  /** Asides that still have files in them: deferred, or not to be removed. */
  readonly asides: readonly string[];
  /** Milliseconds until the directory was gone, or was empty. */
  readonly goneMs: number;
  /** Milliseconds in all. */
  readonly durationMs: number;
}

/** How long busy things are tried again by default, in milliseconds. */
export const DEFAULT_BUSY_TIMEOUT = 5000;

/**
 * Refuses invalid arguments, before anything is done. (An empty path is refused
 * like others that are never cleared.)
 *
 * @throws {TypeError} If one has the wrong type.
 * @throws {RangeError} If a number is too small.
 */
export function checkClearArguments(
  dir: unknown,
  options: ClearOptions,
): void {
  if (dir !== "") checkPath("dir", dir);
  checkLockOptions(options);
  for (
    const name of [
      "lock",
      "recreate",
      "follow",
      "defer",
      "dryRun",
      "weigh",
    ] as const
  ) checkType(name, options[name], "boolean");
  checkType("onProgress", options.onProgress, "function");
  checkNumber("busyTimeout", options.busyTimeout, 0);
}
