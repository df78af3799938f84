import { GET } from "./commands.ts";
import type { Parsed } from "./flags.ts";
import { linkAny, unlessDamaged } from "./link.ts";
import { complain, printJson } from "./output.ts";
import { untilSignal } from "./signals.ts";
import { printable } from "../os/text.ts";
import { report, untilInterrupted } from "./ending.ts";
import { keyAndPath, openStore } from "./store.ts";

/** `rebuild-cache get KEY DST` */
export async function getCommand(parsed: Parsed): Promise<number> {
  const [key, dst] = keyAndPath(parsed, GET.usage);
  using signals = untilSignal();
  const cache = openStore(parsed, signals.signal);
  return await untilInterrupted(signals, parsed, async () => {
    using entry = await cache.get(key);
    const linked = entry && await unlessDamaged(
      linkAny(entry.path, dst, parsed, signals.signal, entry),
    );
    if (!linked) {
      if (parsed.count("json")) {
        printJson("get", { result: { outcome: "miss" } });
      }
      complain(`"${printable(key)}" is not in the cache "${cache.path}"`);
      return 1;
    }
    const { result, text } = linked;
    report(parsed, { outcome: "hit", link: result }, () => text);
    return 0;
  });
}
