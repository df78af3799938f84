import type { Failure } from "../fs/remove.ts";
import { checkLockOptions, type LockOptions } from "../lock/file.ts";
import { checkPath, checkType } from "../os/arguments.ts";

/**
 * Options for `rebuildCache()`.
 *
 * @category Directories
 */
export interface RebuildOptions extends LockOptions {
  /**
   * Whether to build in the directory's own place, which is cleared first, all under
   * its guard: for what can't be told where to build. Then there is no old cache to
   * keep when the build fails.
   *
   * @default {false}
   */
  inPlace?: boolean;
  /**
   * Shares one result with those who ask with the same text (what is built from what,
   * say) before its build begins. Nobody gets what began to be built before they
   * asked. Without it, every call builds.
   *
   * A rebuild that is shared is noted in the lock file, so there is no sharing where
   * others may write that file but not the cache: in a sticky directory.
   */
  share?: string;
  /**
   * Whether the build may leave its directory empty. Otherwise that is an error,
   * since somebody most likely forgot to say where to build.
   *
   * @default {false}
   */
  allowEmpty?: boolean;
  /**
   * Whether to take the locks: one that lets one rebuild of the directory run at a
   * time, and the guard, when the new cache takes the old one's place.
   *
   * @default {true}
   */
  lock?: boolean;
  /**
   * Whether a symbolic link stands for the directory it leads to.
   *
   * @default {false}
   */
  follow?: boolean;
}

/**
 * What a `build` of `rebuildCache()` is told beside where to build.
 *
 * @category Directories
 */
export interface BuildContext {
  /** Aborted when the call's `signal` is: then nobody needs what is built any more. */
  readonly signal: AbortSignal;
}

/**
 * Calls what was given to build something. If the call is aborted, it rejects with the
 * signal's reason, however the build ends then.
 */
export async function untilAborted(
  signal: AbortSignal = new AbortController().signal,
  build: (context: BuildContext) => unknown,
): Promise<void> {
  try {
    await build({ signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  signal.throwIfAborted();
}

/** Fills a directory. */
export type Build = (
  staging: string,
  context: BuildContext,
) => void | Promise<void>;

/**
 * What `rebuildCache()` did.
 *
 * @category Directories
 */
export interface RebuildReport {
  /** The absolute path of the directory. */
  readonly path: string;
  /** `shared`: somebody else built it, for this call too, while this call waited. */
  readonly outcome: "rebuilt" | "shared";
  /** Whether an old cache was replaced. */
  readonly replaced: boolean;
  /** Whether the new one took the old one's place without an instant in between. */
  readonly exchanged: boolean;
  /** What of the old cache could not be removed, and why. The next run tries again. */
  readonly failures: readonly Failure[];
  /** Milliseconds in all. */
  readonly durationMs: number;
}

/**
 * Refuses invalid arguments, before anything is done. (An empty path is refused
 * like others that are never cleared.)
 *
 * @throws {TypeError} If one has the wrong type.
 * @throws {RangeError} If a number is too small.
 */
export function checkRebuildArguments(
  dir: unknown,
  build: unknown,
  options: RebuildOptions,
): void {
  if (dir !== "") checkPath("dir", dir);
  if (build === undefined) {
    throw new TypeError("build must be a function, not undefined");
  }
  checkType("build", build, "function");
  checkLockOptions(options);
  for (const name of ["inPlace", "allowEmpty", "lock", "follow"] as const) {
    checkType(name, options[name], "boolean");
  }
  checkType("share", options.share, "string");
  if (options.share !== undefined && options.lock === false) {
    throw new TypeError("share needs the lock that lock: false leaves out");
  }
}
