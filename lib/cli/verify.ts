import type { VerifyReport } from "../cache/verify_options.ts";
import { EXIT, report, untilSignalled } from "./ending.ts";
import type { Call, VERIFY } from "./flags.ts";
import { complain } from "./output.ts";
import { withMeter } from "./progress.ts";
import { milliseconds, plural, size } from "./render.ts";
import { openExisting } from "./store.ts";
import { printable } from "../os/text.ts";

/** `rebuild-cache verify` */
export async function run(call: Call<typeof VERIFY>): Promise<number> {
  return await untilSignalled(async (signal) => {
    const cache = await openExisting(call, signal);
    const result = await withMeter(
      call,
      cache.path,
      (update) =>
        cache.verify({
          signal,
          onProgress: ({ archives, bytes, totalArchives, totalBytes }) =>
            update({
              verb: "Verifying",
              what: "archives",
              done: archives,
              total: totalArchives,
              bytes,
              totalBytes,
            }),
        }),
    );
    const { damaged, failures } = result;
    report(call, result, () => describe(result));
    for (const { path, key, wrong: [first], outcome } of damaged) {
      const name = key === undefined ? path : `${path} ("${printable(key)}")`;
      complain(`${name} is damaged, and ${outcome}: ${first}`);
    }
    for (const { path, message } of failures) {
      complain(`Cannot read "${path}", which is left alone: ${message}`);
    }
    return damaged.length + failures.length > 0 ? EXIT.failed : EXIT.done;
  });
}

function describe(
  report: VerifyReport,
): string {
  const { archives, blobs, readBytes, damaged, failures, skipped } = report;
  const what = [
    plural(archives, "archive"),
    ...blobs ? [plural(blobs, "blob")] : [],
  ].join(", ");
  const how = [
    damaged.length === 0 ? "no damage" : `${damaged.length} damaged`,
    ...failures.length > 0 ? [`${failures.length} unreadable`] : [],
    ...skipped > 0 ? [`${skipped} skipped, which are in use`] : [],
  ].join(", ");
  return `Verified ${what}, ${size(readBytes)}: ${how} (${
    milliseconds(report.durationMs)
  })`;
}
