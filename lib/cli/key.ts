import type { Call, HASH } from "./flags.ts";

/** A key with the digest of the files that `--hash` names, if it names any. */
export async function keyWithHash(
  { values }: Call<{ flags: [typeof HASH]; words: [] }>,
  key: string,
  signal: AbortSignal,
): Promise<string> {
  const { hash } = values;
  if (hash.length === 0) return key;
  // Few need it.
  const { hashFiles } = await import("../cache/hash_files.ts");
  return `${key}-${await hashFiles(hash, { signal })}`;
}
