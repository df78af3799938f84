import type { Call, HASH } from "./flags.ts";
import { withMeter } from "./progress.ts";

/** A key with the digest of the files that `--hash` names, if it names any. */
export async function keyWithHash(
  call: Call<{ flags: [typeof HASH]; words: [] }>,
  key: string,
  signal: AbortSignal,
): Promise<string> {
  const { hash } = call.values;
  if (hash.length === 0) return key;
  // Few need it.
  const { hashFiles } = await import("../cache/hash_files.ts");
  const digest = await withMeter(call, "", (update) =>
    hashFiles(hash, {
      signal,
      onProgress: ({ files: done, bytes, totalFiles: total }) =>
        update({ verb: "Hashing", what: "files", done, total, bytes }),
    }));
  return `${key}-${digest}`;
}
