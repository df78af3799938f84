import type { VerifyReport } from "../cache/verify.ts";
import { noWords, type Parsed } from "./flags.ts";
import { complain } from "./output.ts";
import { withMeter } from "./progress.ts";
import { milliseconds, plural, size } from "./render.ts";
import { untilSignal } from "./signals.ts";
import { report, untilInterrupted } from "./ending.ts";
import { openStore } from "./store.ts";

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
    const { damaged } = result;
    report(parsed, { path: cache.path, ...result }, () => describe(result));
    for (const { path, key, wrong: [first], outcome } of damaged) {
      const name = key === undefined ? path : `${path} ("${key}")`;
      complain(`${name} is damaged, and ${outcome}: ${first}`);
    }
    return damaged.length > 0 ? 1 : 0;
  });
}

function describe(
  { archives, blobs, bytes, damaged, durationMs }: VerifyReport,
): string {
  const what = [
    plural(archives, "archive"),
    ...blobs ? [plural(blobs, "blob")] : [],
  ].join(", ");
  const how = damaged.length === 0 ? "no damage" : `${damaged.length} damaged`;
  return `Verified ${what}, ${size(bytes)}: ${how} (${
    milliseconds(durationMs)
  })`;
}
