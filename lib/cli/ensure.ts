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
import { linkAny } from "./link.ts";
import { openStore } from "./store.ts";

/** `rebuild-cache ensure KEY DST -- COMMAND…` */
export async function run(call: Call<typeof ENSURE>): Promise<number> {
  const { key, dst, json, ifExists } = call.values;
  return await untilSignalled(async (signal) => {
    const cache = openStore(call, signal);
    // Before a command that may take long.
    if (ifExists === "error") checkFree(dst);
    if (ifExists === "replace") checkReplaceable(dst);
    const { entry, built } = await cache.ensure(
      key,
      (at) => runBuild(call.run, at, { signal, toStderr: json }),
    );
    using _ = entry;
    const { result, text } = await linkAny(entry.path, dst, call, {
      signal,
      entry,
    });
    report(
      call,
      { outcome: built ? "built" : "hit", link: result },
      () => built ? `Built ${printable(key)}. ${text}` : text,
    );
    return EXIT.done;
  }, `: nothing was put under "${printable(key)}"`);
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
