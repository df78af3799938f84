import { EXIT, report, untilSignalled } from "./ending.ts";
import type { Call, GET } from "./flags.ts";
import { linkAny, unlessDamaged } from "./link.ts";
import { complain, printJson } from "./output.ts";
import { printable } from "../os/text.ts";
import { isThere, openStore } from "./store.ts";

/** `rebuild-cache get KEY DST` */
export async function run(call: Call<typeof GET>): Promise<number> {
  const { key, dst, json } = call.values;
  return await untilSignalled(async (signal) => {
    const cache = openStore(call, signal);
    using entry = await cache.get(key);
    const linking = entry && linkAny(entry.path, dst, call, { signal, entry });
    const linked = linking && await unlessDamaged(linking);
    if (!linked) {
      await isThere(cache); // what is something else is an error, not a miss
      if (json) {
        printJson("get", { result: { outcome: "miss" } });
      }
      complain(`"${printable(key)}" is not in the cache "${cache.path}"`);
      return EXIT.miss;
    }
    const { result, text } = linked;
    report(call, { outcome: "hit", link: result }, () => text);
    return EXIT.done;
  });
}
