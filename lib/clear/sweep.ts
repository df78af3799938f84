import { osFailure } from "../error.ts";
import { clearTarget } from "../fs/guard_rails.ts";
import { listSiblings } from "../fs/names.ts";
import { errorKind } from "../os/error.ts";
import { basename, dirname, join } from "../os/path.ts";
import { deleteAsides } from "./delete_asides.ts";
import { type ClearOptions, DEFAULT_BUSY_TIMEOUT } from "./options.ts";
import type { Failure } from "../old/remove_carefully.ts";

/**
 * Deletes the asides that earlier clears of a directory left: of runs that were
 * killed, or that deferred it. The directory itself is not touched.
 *
 * Needs `--allow-read` and `--allow-write` for the directory's parent.
 *
 * @param dir The directory that was cleared. It need not exist.
 * @param options `signal` and `busyTimeout` of {@linkcode ClearOptions}.
 * @returns What could not be removed, and why.
 * @throws {CacheError} If the directory's parent can't be listed.
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
 */
export async function sweepAsides(
  dir: string | URL,
  options: Pick<ClearOptions, "signal" | "busyTimeout"> = {},
): Promise<Failure[]> {
  const { path } = clearTarget(dir, true);
  const { busyTimeout = DEFAULT_BUSY_TIMEOUT, signal } = options;
  const asides = listAsides(path);
  return await deleteAsides(asides, busyTimeout, signal);
}

/** The asides beside a directory, and those that a clear in place left inside. */
export function listAsides(path: string): string[] {
  return [...asidesIn(dirname(path), basename(path)), ...asidesIn(path, "")];
}

function asidesIn(parent: string, name: string): string[] {
  try {
    return listSiblings(parent, name, "stale").map((it) => join(parent, it));
  } catch (error) {
    const kind = errorKind(error);
    if (kind === "not-found" || kind === "not-directory") return [];
    throw osFailure("list", parent, error);
  }
}
