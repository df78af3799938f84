import type { PruneOptions, PruneReport } from "../cache/prune_options.ts";
import { printable } from "../os/text.ts";
import { EXIT, report, untilSignalled } from "./ending.ts";
import type { Call, PRUNE } from "./flags.ts";
import { complain } from "./output.ts";
import { withMeter } from "./progress.ts";
import { milliseconds, plural, size, span, thousands } from "./render.ts";
import { isThere, limitsOf, openStore } from "./store.ts";

/** `rebuild-cache prune` */
export async function run(call: Call<typeof PRUNE>): Promise<number> {
  const { dryRun } = call.values;
  return await untilSignalled(async (signal) => {
    const cache = openStore(call, signal);
    const isCache = await isThere(cache);
    const limits: PruneOptions = { ...limitsOf(call.values), dryRun, signal };
    const verb = dryRun ? "Reading" : "Deleting";
    const result = await withMeter(call, cache.path, (update) =>
      cache.prune({
        ...limits,
        onProgress: ({ phase, done, total, bytes }) =>
          update(
            // The keys are read first, and nobody knows how many there are.
            phase === "reading"
              ? { verb: "Reading", what: "keys", done }
              : { verb, what: "entries", done, total, bytes },
          ),
      }));
    report(
      call,
      { dryRun, ...result },
      () =>
        isCache
          ? [...dryRun ? named(result) : [], describe(result, dryRun)]
          : `Nothing to prune: there is no cache at ${cache.path}`,
    );
    for (const { path, message } of result.failures) {
      complain(`Cannot remove "${path}": ${message}`);
    }
    return result.failures.length > 0 ? EXIT.failed : EXIT.done;
  });
}

/** What would go, by name. */
function named({ evicted }: PruneReport): string[] {
  const now = Date.now();
  return evicted.map(({ bucket, key, bytes, lastUse }) => {
    const name = bucket === "default" ? key : `${bucket}/${key}`;
    const used = lastUse === undefined
      ? "damaged"
      : `used ${span(now - Date.parse(lastUse))} ago`;
    return `  ${printable(name)} (${size(bytes)}, ${used})`;
  });
}

function describe(report: PruneReport, dryRun: boolean): string {
  const { evicted, blobs, unreferenced, inUse, removedBytes, freedBytes } =
    report;
  const gone = [
    plural(evicted.length, "key"),
    ...blobs ? [plural(blobs, "blob")] : [],
    `${plural(unreferenced, "archive")} without a key`,
  ].join(", ");
  const skipped = inUse > 0
    ? `; ${thousands(inUse)} in use (${size(report.inUseBytes)})`
    : "";
  const verb = dryRun ? "Would remove" : "Removed";
  return `${verb} ${gone} (${size(removedBytes)}, ${
    size(freedBytes)
  } on the disk)${skipped}; ` +
    `${plural(report.entries, "entry stays", "entries stay")}, ` +
    `${size(report.diskBytes)} (${milliseconds(report.durationMs)})`;
}
