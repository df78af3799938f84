import type { Cache } from "../cache/cache.ts";
import type { VerifyReport } from "../cache/verify.ts";
import { type Parsed, UsageError } from "./flags.ts";
import { complain, print, printJson } from "./output.ts";
import { openMeter } from "./progress.ts";
import { milliseconds, plural, size } from "./render.ts";
import { untilSignal } from "./signals.ts";
import { untilInterrupted } from "./ending.ts";
import { openStore } from "./store.ts";

/** `rebuild-cache verify` */
export async function verifyCommand(parsed: Parsed): Promise<number> {
  if (parsed.positionals.length > 0) {
    throw new UsageError(`"${parsed.positionals[0]}" is not understood`);
  }
  using signals = untilSignal();
  const { signal } = signals;
  const cache = openStore(parsed, signal);
  return await untilInterrupted(signals, parsed, async () => {
    const report = await verifyWithMeter(parsed, cache, signal);
    const { archives, blobs, bytes, damaged, durationMs } = report;
    if (parsed.count("json")) {
      printJson("verify", { result: { path: cache.path, ...report } });
    } else if (!parsed.count("quiet")) {
      const what = [
        plural(archives, "archive"),
        ...blobs ? [plural(blobs, "blob")] : [],
      ].join(", ");
      print(
        `Verified ${what}, ${size(bytes)}: ${
          damaged.length === 0 ? "no damage" : `${damaged.length} damaged`
        } (${milliseconds(durationMs)})`,
      );
    }
    for (const { path, key, wrong: [first], outcome } of damaged) {
      const name = key === undefined ? path : `${path} ("${key}")`;
      complain(`${name} is damaged, and ${outcome}: ${first}`);
    }
    return damaged.length > 0 ? 1 : 0;
  });
}

async function verifyWithMeter(
  parsed: Parsed,
  cache: Cache,
  signal: AbortSignal,
): Promise<VerifyReport> {
  await using meter = openMeter(parsed, "Verifying");
  return await cache.verify({
    signal,
    onProgress: ({ archives, bytes, totalArchives, totalBytes }) =>
      meter.update({
        what: "archives",
        done: archives,
        total: totalArchives,
        bytes,
        totalBytes,
      }),
  });
}
