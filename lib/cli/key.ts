import type { Call, HASH } from "./flags.ts";
import { withMeter } from "./progress.ts";

/**
 * A key with the digest of the files that `--hash` names, if it names any.
 *
 * @param except What is not among them unless it is named: the cache, and what is made
 * from them. It is not there in the first run, and must not change the key in the second.
 */
export async function keyWithHash(
  call: Call<{ flags: [typeof HASH]; words: [] }>,
  key: string,
  signal: AbortSignal,
  ...except: string[]
): Promise<string> {
  const { hash } = call.values;
  if (hash.length === 0) return key;
  // Few need it.
  const { hashFiles } = await import("../cache/hash_files.ts");
  const digest = await withMeter(call, "", (update) =>
    hashFiles(hash, {
      signal,
      except,
      onProgress: ({ files: done, bytes, totalFiles: total }) =>
        update({ verb: "Hashing", what: "files", done, total, bytes }),
    }));
  return `${key}-${digest}`;
}
