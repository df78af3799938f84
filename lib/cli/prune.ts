import type { PruneOptions, PruneReport } from "../cache/prune_options.ts";
import { age, bytes, noWords, type Parsed, wholeNumber } from "./flags.ts";
import { complain } from "./output.ts";
import { withMeter } from "./progress.ts";
import { milliseconds, plural, size, thousands } from "./render.ts";
import { untilSignal } from "./signals.ts";
import { report, untilInterrupted } from "./ending.ts";
import { openStore } from "./store.ts";

/** `rebuild-cache prune` */
export async function pruneCommand(parsed: Parsed): Promise<number> {
  noWords(parsed);
  using signals = untilSignal();
  const { signal } = signals;
  const maxAge = age(parsed, "max-age");
  const maxSize = bytes(parsed, "max-size");
  const maxEntries = wholeNumber(parsed, "max-entries", 0);
  const dryRun = parsed.count("dry-run") > 0;
  const cache = openStore(parsed, signal);
  return await untilInterrupted(signals, parsed, async () => {
    const limits: PruneOptions = {
      ...maxAge !== undefined && { maxAge },
      ...maxSize !== undefined && { maxSize },
      ...maxEntries !== undefined && { maxEntries },
      dryRun,
      signal,
    };
    const result = await withMeter(parsed, "Pruning", (update) =>
      cache.prune({
        ...limits,
        onProgress: (progress) => update({ what: "archives", ...progress }),
      }));
    report(
      parsed,
      { dryRun, ...result },
      () => describe(result, dryRun),
    );
    for (const { path, message } of result.failures) {
      complain(`Cannot remove "${path}": ${message}`);
    }
    return result.failures.length > 0 ? 1 : 0;
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
