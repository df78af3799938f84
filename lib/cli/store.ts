import { openCache } from "../cache/cache.ts";
import type { Cache } from "../cache/interface.ts";
import type { Limits } from "../cache/limits.ts";
import type { Remote } from "../cache/remote.ts";
import { isCache } from "../cache/store.ts";
import { CacheError } from "../error.ts";
import type { Call, LIMITS, LOCKS, ROOT } from "./flags.ts";
import { lockOptions } from "./locks.ts";

/** A call of a command on a keyed cache. Those that only look take no locks. */
type StoreCall = Call<{ flags: [typeof ROOT]; words: [] }> & {
  readonly values:
    & { readonly bucket?: string; readonly durable?: boolean }
    & Partial<Call<{ flags: typeof LIMITS; words: [] }>["values"]>
    & Partial<Call<{ flags: typeof LOCKS; words: [] }>["values"]>;
};

/** The cache that `--dir` and `--bucket` name; by default the user's. */
export function openStore(
  call: StoreCall,
  signal: AbortSignal,
  remote?: Remote,
): Cache {
  const { dir, bucket, durable = false } = call.values;
  const { ifBusy = "wait", wait, noLock = false } = call.values;
  const limits = limitsOf(call.values);
  return openCache(dir, {
    ...lockOptions(
      { ...call, values: { ...call.values, ifBusy, wait, noLock } },
      signal,
    ),
    durable,
    ...remote && { remote },
    ...bucket !== undefined && { bucket },
    ...Object.keys(limits).length > 0 && { limits },
  });
}

/** What may stay, as far as that was said. */
export function limitsOf(
  { maxAge, maxSize, maxEntries }: StoreCall["values"],
): Limits {
  return {
    ...maxAge !== undefined && { maxAge },
    ...maxSize !== undefined && { maxSize },
    ...maxEntries !== undefined && { maxEntries },
  };
}

/**
 * The same, of which something can be read.
 *
 * @throws {CacheError} If there is no cache where one was named, or something else.
 */
export async function openExisting(
  call: StoreCall,
  signal: AbortSignal,
): Promise<Cache> {
  const cache = openStore(call, signal);
  // The user's own need not be there yet.
  if (await isThere(cache) || call.values.dir === undefined) return cache;
  throw new CacheError(
    `There is no cache at "${cache.path}"`,
    cache.path,
    "not-found",
  );
}

/**
 * Whether there is a cache.
 *
 * @throws {CacheError} Of kind `refused` if there is something else.
 */
export function isThere({ path }: Cache): Promise<boolean> {
  return isCache({ path, bucket: "default", options: {} });
}
