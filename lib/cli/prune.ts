import type { Cache } from "../cache/cache.ts";
import type { PruneOptions, PruneReport } from "../cache/prune.ts";
import { age, bytes, type Parsed, UsageError, wholeNumber } from "./flags.ts";
import { complain, print, printJson } from "./output.ts";
import { openMeter } from "./progress.ts";
import { milliseconds, plural, size, thousands } from "./render.ts";
import { untilSignal } from "./signals.ts";
import { untilInterrupted } from "./ending.ts";
import { openStore } from "./store.ts";

/** `rebuild-cache prune` */
export async function pruneCommand(parsed: Parsed): Promise<number> {
  if (parsed.positionals.length > 0) {
    throw new UsageError(`"${parsed.positionals[0]}" is not understood`);
  }
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
    const report = await pruneWithMeter(parsed, cache, limits);
    if (parsed.count("json")) {
      printJson("prune", { result: { path: cache.path, dryRun, ...report } });
    } else if (!parsed.count("quiet")) print(describe(report, dryRun));
    for (const { path, message } of report.failures) {
      complain(`Cannot remove "${path}": ${message}`);
    }
    return report.failures.length > 0 ? 1 : 0;
  });
}

async function pruneWithMeter(
  parsed: Parsed,
  cache: Cache,
  limits: PruneOptions,
): Promise<PruneReport> {
  await using meter = openMeter(parsed, "Pruning");
  return await cache.prune({
    ...limits,
    onProgress: (progress) => meter.update({ what: "archives", ...progress }),
  });
}

function describe(report: PruneReport, dryRun: boolean): string {
  const { evicted, blobs, unreferenced, inUse, freed } = report;
  const gone = [
    plural(evicted.length, "key"),
    ...blobs ? [plural(blobs, "blob")] : [],
    `${plural(unreferenced, "archive")} without a key`,
  ].join(", ");
  const elsewhere = report.bytes > freed
    ? `, ${size(freed)} freed: the rest is linked elsewhere`
    : "";
  const skipped = inUse > 0
    ? `; ${thousands(inUse)} in use (${size(report.inUseBytes)})`
    : "";
  const verb = dryRun ? "Would remove" : "Removed";
  return `${verb} ${gone} (${size(report.bytes)}${elsewhere})${skipped}; ` +
    `${plural(report.entries, "entry stays", "entries stay")}, ` +
    `${size(report.size)} (${milliseconds(report.durationMs)})`;
}
