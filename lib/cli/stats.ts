import { EXIT, report, untilSignalled } from "./ending.ts";
import type { Call, STATS } from "./flags.ts";
import type { CacheStats } from "../cache/stats.ts";
import { complain } from "./output.ts";
import { plural, size, span, thousands } from "./render.ts";
import { openExisting } from "./store.ts";

/** `rebuild-cache stats` */
export async function run(call: Call<typeof STATS>): Promise<number> {
  return await untilSignalled(async (signal) => {
    const cache = await openExisting(call, signal);
    const stats = await cache.stats({ signal });
    report(call, stats, () => describe(stats));
    for (const { path, message } of stats.failures) {
      complain(`Cannot read "${path}": ${message}`);
    }
    return stats.failures.length > 0 ? EXIT.failed : EXIT.done;
  });
}

function describe(stats: CacheStats): string[] {
  const { path, entries, archives, blobs, files, bytes, diskBytes } = stats;
  const { savedBytes, hits, misses, remoteHits, lastPrune } = stats;
  const asked = hits + misses;
  const percent = Math.floor(100 * hits / asked);
  const rows = [
    ["keys", thousands(entries)],
    ["archives", thousands(archives)],
    ["blobs", thousands(blobs)],
    ["files", `${thousands(files)}, ${size(bytes)}`],
    ["on the disk", `${size(diskBytes)}, ${size(savedBytes)} saved`],
    [
      "asked",
      asked === 0
        ? "never"
        : `${plural(asked, "time")}, ${plural(hits, "hit")} (${percent} %)`,
    ],
    ...remoteHits === 0
      ? []
      : [["from a remote", plural(remoteHits, "time")] as const],
    [
      "last prune",
      lastPrune === undefined
        ? "never"
        : `${span(Date.now() - Date.parse(lastPrune))} ago`,
    ],
  ] as const;
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  return [path, ...rows.map(([name, it]) => `  ${name.padEnd(width)}${it}`)];
}
