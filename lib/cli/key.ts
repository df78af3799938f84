import type { Call, HASH } from "./flags.ts";

/**
 * A key with the digest of the files that `--hash` names, if it names any.
 *
 * @param except What is not among them unless it is named: the cache, and what is made
 * from them. It is not there in the first run, and must not change the key in the second.
 */
export async function keyWithHash(
  { values }: Call<{ flags: [typeof HASH]; words: [] }>,
  key: string,
  signal: AbortSignal,
  ...except: string[]
): Promise<string> {
  const { hash } = values;
  if (hash.length === 0) return key;
  // Few need it.
  const { hashFiles } = await import("../cache/hash_files.ts");
  return `${key}-${await hashFiles(hash, { signal, except })}`;
}
