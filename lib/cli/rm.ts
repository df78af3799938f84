import { EXIT, report, untilSignalled } from "./ending.ts";
import type { Call, RM } from "./flags.ts";
import { keyWithHash } from "./key.ts";
import { complain } from "./output.ts";
import { printable } from "../os/text.ts";
import { openExisting } from "./store.ts";

/** `rebuild-cache rm KEY…` */
export async function run(call: Call<typeof RM>): Promise<number> {
  const { bucket, dryRun } = call.values;
  return await untilSignalled(async (signal) => {
    const cache = await openExisting(call, signal);
    const removed: string[] = [];
    const missing: string[] = [];
    for (const name of new Set(call.values.key)) {
      const key = await keyWithHash(call, name, signal);
      const was = dryRun
        ? cache.entries().some((it) => it.bucket === bucket && it.key === key)
        : await cache.delete(key);
      (was ? removed : missing).push(key);
    }
    report(call, { path: cache.path, dryRun, removed, missing }, () => {
      const verb = dryRun ? "Would remove" : "Removed";
      if (removed.length === 0) return `${verb} nothing`;
      return removed.map((key) => `${verb} ${printable(key)}`);
    });
    for (const key of missing) {
      complain(`"${printable(key)}" is not in the cache "${cache.path}"`);
    }
    return missing.length > 0 ? EXIT.miss : EXIT.done;
  });
}
