import { EXIT, report, untilSignalled } from "./ending.ts";
import type { Call, PUT } from "./flags.ts";
import { keyWithHash } from "./key.ts";
import { putProgress, withMeter } from "./progress.ts";
import { plural, size } from "./render.ts";
import { printable } from "../os/text.ts";
import { openShared } from "./remote.ts";

/** `rebuild-cache put KEY SRC` */
export async function run(call: Call<typeof PUT>): Promise<number> {
  const { src } = call.values;
  return await untilSignalled(async (signal) => {
    const { cache, asked } = await openShared(call, signal);
    using _ = asked;
    const key = await keyWithHash(
      call,
      call.values.key,
      signal,
      cache.path,
      src,
    );
    const result = await withMeter(
      call,
      src,
      (update) =>
        cache.put(key, src, {
          onRemote: asked.onRemote,
          onProgress: (progress) => update(putProgress(progress)),
        }),
    );
    asked.check();
    const { files, bytes } = result;
    report(
      call,
      { ...result, ...asked.json },
      () => `Put ${printable(key)}: ${plural(files, "file")}, ${size(bytes)}`,
    );
    return EXIT.done;
  });
}
