import { osFailure } from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { type HeldTarget, openTarget } from "../fs/guard_rails.ts";
import { findSiblings } from "../fs/names.ts";
import type { Failure } from "../fs/remove.ts";
import { errorKind } from "../os/error.ts";
import { deleteAside } from "./delete_asides.ts";
import {
  checkClearArguments,
  type ClearOptions,
  DEFAULT_BUSY_TIMEOUT,
} from "./options.ts";

/**
 * Deletes the asides that earlier clears of a directory left: of runs that were
 * killed, or that deferred it. The directory itself is not touched. What only has an
 * aside's name (a symbolic link, a file, somebody else's directory) is none.
 *
 * Needs `--allow-read` and `--allow-write` for the directory's parent.
 *
 * @param dir The directory that was cleared. It need not exist.
 * @param options `signal` and `busyTimeout` of {@linkcode ClearOptions}.
 * @returns What could not be removed, and why.
 * @throws {CacheError} If the directory's parent can't be listed.
 * @throws {TypeError | RangeError} If an argument is none that it may be.
 * @throws The signal's reason, if it is aborted.
 *
 * @example Clearing now, deleting later
 * ```ts
 * import { clearCache, sweepAsides } from "@rebuild/cache";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir({ prefix: "cache-" });
 * await clearCache(dir, { defer: true });
 * // … the cache is gone: go on with what matters …
 * assertEquals(await sweepAsides(dir), []);
 * ```
 *
 * @category Directories
 */
export async function sweepAsides(
  dir: string | URL,
  options: Pick<ClearOptions, "signal" | "busyTimeout"> = {},
): Promise<Failure[]> {
  checkClearArguments(dir, options);
  const { busyTimeout = DEFAULT_BUSY_TIMEOUT, signal } = options;
  signal?.throwIfAborted();
  using target = openTarget(dir, true);
  const failures: Failure[] = [];
  for (const aside of asidesOf(target, target.status?.uid)) {
    failures.push(...await aside.remove(busyTimeout, signal));
  }
  return failures;
}

/** What an earlier clear left. */
export interface Aside {
  /** Its path, for people. */
  readonly path: string;
  /** Removes it, and says what could not be removed. */
  remove(busyTimeout: number, signal?: AbortSignal): Promise<Failure[]>;
}

/**
 * The asides beside a directory, and those that a clear in place left inside: ours,
 * and the owner's.
 *
 * @throws {CacheError} If they can't be listed.
 */
export function asidesOf(
  { place, directory }: Pick<HeldTarget, "place" | "directory">,
  owner: number | undefined,
): Aside[] {
  return [
    ...place ? asidesIn(place.parent, place.name, owner) : [],
    ...directory ? asidesIn(directory, "", owner) : [],
  ];
}

/** The paths of what {@linkcode asidesOf} finds, for a process that deletes them. */
export function listAsides(path: string, owner?: number): string[] {
  using target = openTarget(path);
  return asidesOf(target, owner).map(({ path }) => path);
}

function asidesIn(
  parent: Directory,
  name: string,
  owner: number | undefined,
): Aside[] {
  try {
    return findSiblings(parent, name, "stale", owner).map((aside) => ({
      path: pathIn(parent, aside),
      remove: (busyTimeout, signal) =>
        deleteAside(parent, aside, { busyTimeout, signal, owner }),
    }));
  } catch (error) {
    if (errorKind(error) === "not-found") return [];
    throw osFailure("list", parent.path, error);
  }
}
