import { CommandFailed, runBuild } from "./child.ts";
import { ENSURE } from "./commands.ts";
import { type Parsed, UsageError } from "./flags.ts";
import { CacheError, osFailure } from "../error.ts";
import { errorKind } from "../os/error.ts";
import { dirname, toPath } from "../os/path.ts";
import { printable } from "../os/text.ts";
import { linkAny } from "./link.ts";
import { untilSignal } from "./signals.ts";
import { fail, report, untilInterrupted } from "./ending.ts";
import { keyAndPath, openStore } from "./store.ts";

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
  if ((parsed.values("if-exists")[0] ?? "error") === "error") checkFree(dst);
  return await untilInterrupted(signals, parsed, async () => {
    try {
      const { entry, built } = await cache.ensure(
        key,
        (at) => runBuild(run, at, { signal, toStderr: json }),
      );
      using _ = entry;
      const { result, text } = await linkAny(
        entry.path,
        dst,
        parsed,
        signal,
        entry,
      );
      report(
        parsed,
        { outcome: built ? "built" : "hit", link: result },
        () => built ? `Built ${printable(key)}. ${text}` : text,
      );
      return 0;
    } catch (error) {
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
    ? [
      "something stands there. Say what to do with --if-exists",
      "already-exists",
    ] as const
    : isThere(parent)
    ? []
    : [`"${parent}" does not exist`, "not-found"] as const;
  if (!why) return;
  throw new CacheError(`Cannot put anything at "${dst}": ${why}`, path, kind);
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
