import { CommandFailed, runBuild } from "./child.ts";
import { ENSURE } from "./commands.ts";
import { type Parsed, UsageError } from "./flags.ts";
import { linkAny } from "./link.ts";
import { print, printJson } from "./output.ts";
import { untilSignal } from "./signals.ts";
import { fail, untilInterrupted } from "./ending.ts";
import { keyAndPath, openStore } from "./store.ts";

/** `rebuild-cache ensure KEY DST -- COMMAND…` */
export async function ensureCommand(parsed: Parsed): Promise<number> {
  const [key, dst] = keyAndPath(parsed, ENSURE.usage);
  const { run } = parsed;
  if (!run) throw new UsageError(`It takes a command: ${ENSURE.usage}`);
  using signals = untilSignal();
  const { signal } = signals;
  const json = parsed.count("json") > 0;
  const cache = openStore(parsed, signal);
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
        (options) => entry.link(dst, options),
      );
      const outcome = built ? "built" : "hit";
      if (json) printJson("ensure", { result: { outcome, link: result } });
      else if (!parsed.count("quiet")) {
        print(built ? `Built ${key}. ${text}` : text);
      }
      return 0;
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      const why = `${error.message}: nothing was put under "${key}"`;
      fail(parsed, "command", why);
      return signals.exitCode ?? error.code;
    }
  });
}
