import type { VerifyReport } from "../cache/verify.ts";
import { noWords, type Parsed } from "./flags.ts";
import { complain } from "./output.ts";
import { withMeter } from "./progress.ts";
import { milliseconds, plural, size } from "./render.ts";
import { untilSignal } from "./signals.ts";
import { report, untilInterrupted } from "./ending.ts";
import { openStore } from "./store.ts";
import { printable } from "../os/text.ts";

/** `rebuild-cache verify` */
export async function verifyCommand(parsed: Parsed): Promise<number> {
  noWords(parsed);
  using signals = untilSignal();
  const { signal } = signals;
  const cache = openStore(parsed, signal);
  return await untilInterrupted(signals, parsed, async () => {
    const result = await withMeter(
      parsed,
      "Verifying",
      (update) =>
        cache.verify({
          signal,
          onProgress: ({ archives, bytes, totalArchives, totalBytes }) =>
            update({
              what: "archives",
              done: archives,
              total: totalArchives,
              bytes,
              totalBytes,
            }),
        }),
    );
    const { damaged, unreadable } = result;
    report(parsed, { path: cache.path, ...result }, () => describe(result));
    for (const { path, key, wrong: [first], outcome } of damaged) {
      const name = key === undefined ? path : `${path} ("${printable(key)}")`;
      complain(`${name} is damaged, and ${outcome}: ${first}`);
    }
    for (const { path, message } of unreadable) {
      complain(`Cannot read "${path}", which is left alone: ${message}`);
    }
    return damaged.length + unreadable.length > 0 ? 1 : 0;
  });
}

function describe(
  report: VerifyReport,
): string {
  const { archives, blobs, bytes, damaged, unreadable, skipped } = report;
  const what = [
    plural(archives, "archive"),
    ...blobs ? [plural(blobs, "blob")] : [],
  ].join(", ");
  const how = [
    damaged.length === 0 ? "no damage" : `${damaged.length} damaged`,
    ...unreadable.length > 0 ? [`${unreadable.length} unreadable`] : [],
    ...skipped > 0 ? [`${skipped} skipped, which are in use`] : [],
  ].join(", ");
  return `Verified ${what}, ${size(bytes)}: ${how} (${
    milliseconds(report.durationMs)
  })`;
}
