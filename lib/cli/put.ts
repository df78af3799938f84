import { PUT } from "./commands.ts";
import type { Parsed } from "./flags.ts";
import { plural, size } from "./render.ts";
import { untilSignal } from "./signals.ts";
import { printable } from "../os/text.ts";
import { report, untilInterrupted } from "./ending.ts";
import { keyAndPath, openStore } from "./store.ts";

/** `rebuild-cache put KEY SRC` */
export async function putCommand(parsed: Parsed): Promise<number> {
  const [key, src] = keyAndPath(parsed, PUT.usage);
  using signals = untilSignal();
  const cache = openStore(parsed, signals.signal);
  return await untilInterrupted(signals, parsed, async () => {
    const result = await cache.put(key, src);
    const { files, bytes } = result;
    report(
      parsed,
      result,
      () => `Put ${printable(key)}: ${plural(files, "file")}, ${size(bytes)}`,
    );
    return 0;
  });
}
