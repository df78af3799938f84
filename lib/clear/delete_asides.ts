/**
 * Deletes asides, and nothing else: what a `--background` clear leaves to a
 * detached process. It runs as `deno run -A delete_asides.ts ASIDE…`, without a
 * configuration, an import map or a package; a compiled binary calls
 * {@linkcode deleteAsides} itself.
 *
 * @module
 */

import { log } from "../log.ts";
import { parseSiblingName } from "../fs/names.ts";
import { removeTree } from "../old/remove.ts";
import type { Failure } from "../old/remove_carefully.ts";

/**
 * Deletes each aside. A path whose name is not an aside's is left alone: a slip
 * in whoever calls this must not cost a directory.
 *
 * @returns What could not be removed.
 */
export async function deleteAsides(
  asides: readonly string[],
  busyTimeout: number,
  signal?: AbortSignal,
): Promise<Failure[]> {
  const failures: Failure[] = [];
  for (const aside of asides) {
    const name = aside.split(Deno.build.os === "windows" ? /[\\/]/ : "/").at(
      -1,
    );
    if (parseSiblingName(name ?? "")?.kind !== "stale") {
      log.warn(() => `Not an aside, so left alone: "${aside}"`);
      continue;
    }
    failures.push(...await removeTree(aside, { busyTimeout, signal }));
  }
  return failures;
}

if (import.meta.main) await deleteAsides(Deno.args, 60_000);
