import { CommandFailed, runBuild } from "./child.ts";
import { ENSURE } from "./commands.ts";
import { type Parsed, UsageError } from "./flags.ts";
import { NothingBuilt } from "../cache/archive.ts";
import { CacheError, osFailure } from "../error.ts";
import { errorKind } from "../os/error.ts";
import { dirname, toPath } from "../os/path.ts";
import { printable } from "../os/text.ts";
import { refuseToReplace } from "../fs/guard_rails.ts";
import { openParent } from "../fs/open.ts";
import { STANDS_THERE } from "../link/ends.ts";
import { linkAny, unlessDamaged } from "./link.ts";
import { untilSignal } from "./signals.ts";
import { fail, report, untilInterrupted } from "./ending.ts";
import { keyAndPath, openStore } from "./store.ts";

/** What is damaged is built again, so often. */
const TRIES = 2;

/** `rebuild-cache ensure KEY DST -- COMMAND…` */
export async function ensureCommand(parsed: Parsed): Promise<number> {
  const [key, dst] = keyAndPath(parsed, ENSURE.usage);
  const { run } = parsed;
  if (!run) {
    throw new UsageError(`ensure takes a command behind --: ${ENSURE.usage}`);
  }
  using signals = untilSignal();
  const { signal } = signals;
  const json = parsed.count("json") > 0;
  const cache = openStore(parsed, signal);
  // Before a command that may take long.
  const [ifExists = "error"] = parsed.values("if-exists");
  if (ifExists === "error") checkFree(dst);
  if (ifExists === "replace") checkReplaceable(dst);
  return await untilInterrupted(signals, parsed, async () => {
    try {
      for (let tries = 0;; tries++) {
        using entry = await cache.ensure(
          key,
          (at) => runBuild(run, at, { signal, toStderr: json }),
          { allowEmpty: parsed.count("allow-empty") > 0 },
        );
        const { outcome } = entry;
        const linking = linkAny(entry.path, dst, parsed, signal, entry);
        const linked = tries < TRIES
          ? await unlessDamaged(linking)
          : await linking;
        if (!linked) continue; // its key is a miss now
        const { result, text } = linked;
        report(
          parsed,
          { outcome, link: result },
          () => outcome === "built" ? `Built ${printable(key)}. ${text}` : text,
        );
        return 0;
      }
    } catch (error) {
      if (error instanceof NothingBuilt) {
        const { path, kind } = error;
        throw new CacheError(
          `COMMAND wrote nothing: nothing was put under "${
            printable(key)
          }". It must write to the directory that {} stands for in its arguments (or REBUILD_CACHE_DIR); else say --allow-empty`,
          path,
          kind,
        );
      }
      if (!(error instanceof CommandFailed)) throw error;
      const why = `${error.message}: nothing was put under "${printable(key)}"`;
      fail(parsed, "command", why);
      return signals.exitCode ?? error.code;
    }
  });
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
