import { EXIT, report, untilSignalled } from "./ending.ts";
import type { Call, PUT } from "./flags.ts";
import { plural, size } from "./render.ts";
import { printable } from "../os/text.ts";
import { openStore } from "./store.ts";

/** `rebuild-cache put KEY SRC` */
export async function run(call: Call<typeof PUT>): Promise<number> {
  const { key, src } = call.values;
  return await untilSignalled(async (signal) => {
    const cache = openStore(call, signal);
    const result = await cache.put(key, src);
    const { files, bytes } = result;
    report(
      call,
      result,
      () => `Put ${printable(key)}: ${plural(files, "file")}, ${size(bytes)}`,
    );
    return EXIT.done;
  });
}
