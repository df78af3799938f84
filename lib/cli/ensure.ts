import type { Cache } from "../cache/cache.ts";
import type { Ensured } from "../cache/entry.ts";
import { runBuild } from "./child.ts";
import { EXIT, report, untilSignalled } from "./ending.ts";
import type { Call, ENSURE } from "./flags.ts";
import { CacheError, osFailure } from "../error.ts";
import { errorKind } from "../os/error.ts";
import { dirname, toPath } from "../os/path.ts";
import { printable } from "../os/text.ts";
import { refuseToReplace } from "../fs/guard_rails.ts";
import { openParent } from "../fs/open.ts";
import { STANDS_THERE } from "../link/ends.ts";
import { linkAny, unlessDamaged } from "./link.ts";
import { openStore } from "./store.ts";

/** What is damaged is built again, so often. */
const TRIES = 2;

/** `rebuild-cache ensure KEY DST -- COMMAND…` */
export async function run(call: Call<typeof ENSURE>): Promise<number> {
  const { key, dst, json, ifExists, allowEmpty } = call.values;
  return await untilSignalled(async (signal) => {
    const cache = openStore(call, signal);
    // Before a command that may take long.
    if (ifExists === "error") checkFree(dst);
    if (ifExists === "replace") checkReplaceable(dst);
    const build = (at: string) =>
      runBuild(call.run, at, { signal, toStderr: json });
    for (let tries = 0;; tries++) {
      using entry = await ensure(cache, key, build, allowEmpty);
      const { outcome } = entry;
      const linking = linkAny(entry.path, dst, call, { signal, entry });
      const linked = await (tries < TRIES ? unlessDamaged(linking) : linking);
      if (!linked) continue; // its key is a miss now
      const { result, text } = linked;
      report(
        call,
        { outcome, link: result },
        () => outcome === "built" ? `Built ${printable(key)}. ${text}` : text,
      );
      return EXIT.done;
    }
  }, `: nothing was put under "${printable(key)}"`);
}

/** With words of the command line for what is empty. */
async function ensure(
  cache: Cache,
  key: string,
  build: (at: string) => Promise<void>,
  allowEmpty: boolean,
): Promise<Ensured> {
  try {
    return await cache.ensure(key, build, { allowEmpty });
  } catch (error) {
    if (!(error instanceof CacheError) || error.kind !== "empty") throw error;
    throw new CacheError(
      `COMMAND wrote nothing: nothing was put under "${
        printable(key)
      }". It must write to the directory that {} stands for in its arguments (or REBUILD_CACHE_OUT); else say --allow-empty`,
      error.path,
      "empty",
    );
  }
}

/** What stands in the way, or is missing, is said before the command is run. */
function checkFree(dst: string): void {
  const path = toPath(dst);
  const parent = dirname(path);
  const [why, kind] = isThere(path)
    ? [STANDS_THERE, "already-exists"] as const
    : isThere(parent)
    ? []
    : [`"${parent}" does not exist`, "not-found"] as const;
  if (!why) return;
  throw new CacheError(`Cannot put anything at "${dst}": ${why}`, path, kind);
}

/** What must never be replaced is refused before the command is run. */
function checkReplaceable(dst: string): void {
  const path = toPath(dst);
  if (!isThere(path)) return;
  using place = openParent(path);
  refuseToReplace(place.parent, place.name, path);
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    const kind = errorKind(error);
    if (kind === "not-found" || kind === "not-directory") return false;
    throw osFailure("look at", path, error);
  }
}
