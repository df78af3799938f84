import { toPath } from "../os/path.ts";
import {
  type Archive,
  type CacheStaging,
  type Entry,
  openCacheStaging,
  putSource,
} from "./archive.ts";
import { type BlobOptions, type BlobReport, placeBlob } from "./blob.ts";
import { ensureEntry, getEntry } from "./entry.ts";
import { checkBucket } from "./layout.ts";
import { checkLimits } from "./limits.ts";
import { type Listed, listEntries } from "./list.ts";
import { prune } from "./prune.ts";
import type { PruneOptions, PruneReport } from "./prune_options.ts";
import { type CacheStats, stats, type StatsOptions } from "./stats.ts";
import type { CacheOptions, Store } from "./store.ts";
import { verify, type VerifyOptions, type VerifyReport } from "./verify.ts";

/** A cache of archives under keys, which any number of processes may share. */
export interface Cache {
  /** Its absolute path. */
  readonly path: string;

  /**
   * Gives what was put under a key, with a lease: until it is disposed, nobody takes
   * anything of it away.
   *
   * @param key Any text that is not empty.
   * @returns The entry, or `undefined` on a miss.
   * @throws {CacheError} If the operating system refuses to read or lock it; of kind
   * `refused` if the key is empty or has a lone surrogate.
   */
  get(key: string): Promise<Entry | undefined>;

  /**
   * Puts a copy of a file or a directory under a key: cloned where that is possible,
   * and never hard-linked, so that nobody writes to the cache through the source.
   *
   * @param key Any text that is not empty. What it pointed to before stays for those
   * who have a lease on it, until a prune.
   * @param src The file or directory.
   * @returns What was put.
   * @throws {CacheError} If the source can't be read, or the cache not be written. The
   * key then points to what it pointed to before.
   */
  put(key: string, src: string | URL): Promise<Archive>;

  /**
   * Opens a place in the cache to build what will be put under a key.
   *
   * @param key Any text that is not empty.
   * @returns The staging. Dispose of it.
   * @throws {CacheError} If the cache can't be written.
   */
  stage(key: string): Promise<CacheStaging>;

  /**
   * Gives what was put under a key; on a miss, builds it, puts it, and gives that. Of
   * all processes that ask for the same, one builds, and the others wait for it.
   *
   * @param key Any text that is not empty.
   * @param build Fills an empty directory, or puts a file in its place. If it throws,
   * nothing is put, and the next one who waits builds.
   * @returns The entry, with a lease, and whether it was built for this call.
   * @throws {CacheError} As of `get()` and `put()`; and whatever `build` throws.
   */
  ensure(
    key: string,
    build: (path: string) => void | Promise<void>,
  ): Promise<{ entry: Entry; built: boolean }>;

  /**
   * Lists what all keys of all buckets point to.
   *
   * @throws {CacheError} If the cache can't be read.
   */
  entries(): Listed[];

  /**
   * Removes what no key points to, and, if there are limits, what was least recently
   * used. It does not wait: what is in use stays.
   *
   * @param options The limits.
   * @returns What was removed, and what stays.
   * @throws {CacheError} If the cache can't be listed. What can't be removed is reported.
   * @throws {TypeError} If a limit is no number.
   * @throws {RangeError} If a limit is `NaN`, below 0, or no whole number of bytes or
   * entries.
   */
  prune(options?: PruneOptions): Promise<PruneReport>;

  /**
   * Reads everything and compares it with what was put. What is damaged is put away, so
   * that its key is a miss. What can't be read is reported, and left alone.
   *
   * @param options A signal stops the work, and the progress is told.
   * @returns What was read, and what is damaged.
   * @throws {CacheError} If the cache can't be listed, or damage not be put away.
   */
  verify(options?: VerifyOptions): Promise<VerifyReport>;

  /**
   * Counts what is in the cache: keys, archives, blobs, and what they take on the disk;
   * hits and misses.
   *
   * @param options A signal stops the work.
   * @returns The numbers; zeros if there is no cache yet.
   * @throws {CacheError} If the cache can't be listed. What else can't be read is
   * reported, and not counted.
   *
   * @example How much it takes, and whether it helps
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * await Deno.writeTextFile(`${dir}/file`, "content");
   * const cache = openCache(`${dir}/cache`);
   * await cache.put("key", `${dir}/file`);
   * for (const key of ["key", "other"]) (await cache.get(key))?.[Symbol.dispose]();
   * const { entries, bytes, hits, misses } = await cache.stats();
   * assertEquals([entries, bytes, hits, misses], [1, 7, 1, 1]);
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  stats(options?: StatsOptions): Promise<CacheStats>;

  /**
   * Puts a file with a known digest where it is needed: hard-linked from the cache, or
   * copied. On a miss it is fetched first, once among all processes, and nobody can see
   * it before its digest was checked.
   *
   * @param digest Its SHA-256, in 64 small hexadecimal digits.
   * @param dst Where it is needed.
   * @param options How to get it.
   * @returns What was done.
   * @throws {TypeError} If `fetch` is no function, or the size no number.
   * @throws {RangeError} If the size is no number of bytes.
   * @throws {LinkError} If it can't be put there.
   * @throws {CacheError} Of kind `invalid` if what was fetched is something else; and
   * whatever `fetch` throws.
   */
  blob(
    digest: string,
    dst: string | URL,
    options: BlobOptions,
  ): Promise<BlobReport>;
}

/**
 * Opens a cache of archives under keys. Nothing is made before something is put.
 *
 * What is put is an archive that never changes; a key is a pointer to one, replaced
 * atomically. So a reader sees the old or the new archive, whole, and keeps the one that
 * it has a lease on. Any number of processes may put, get and prune at the same time;
 * one that is killed leaves nothing but what the next prune removes.
 *
 * `clearCache()` of the cache's path clears all of it, when nobody uses it.
 *
 * Needs `--allow-read` and `--allow-write` for the cache, its parent, sources and
 * destinations. With `--allow-read` and `--allow-write` for everything, keys are symbolic
 * links (except on Windows), else small files.
 *
 * @param root The cache's path. Its parents are made.
 * @param options Its bucket, its limits, and how long to wait for locks.
 * @returns The cache.
 * @throws {CacheError} Of kind `refused` if the bucket's name is not one.
 * @throws {TypeError} If a limit is no number.
 * @throws {RangeError} If a limit is `NaN`, below 0, or no whole number of bytes or
 * entries.
 *
 * @example Using what is cached, or building it
 * ```ts
 * import { openCache } from "@rebuild/cache";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const cache = openCache(`${dir}/cache`);
 * {
 *   const { entry, built } = await cache.ensure("deps-1", async (staging) => {
 *     await Deno.writeTextFile(`${staging}/module.js`, "export {};");
 *   });
 *   using _ = entry;
 *   assertEquals(built, true);
 *   await entry.link(`${dir}/node_modules`);
 * }
 * {
 *   await using entry = await cache.get("deps-1");
 *   assertEquals(entry?.files, 1);
 * }
 * assertEquals((await cache.prune({ maxEntries: 0 })).evicted.length, 1);
 * assertEquals(await cache.get("deps-1"), undefined);
 * await Deno.remove(dir, { recursive: true });
 * ```
 */
export function openCache(
  root: string | URL,
  options: CacheOptions = {},
): Cache {
  const { bucket = "default", limits } = options;
  checkBucket(bucket);
  if (limits !== undefined) checkLimits(limits);
  const path = toPath(root);
  const store: Store = { path, bucket, options };
  return {
    path,
    get: (key) => getEntry(store, key),
    put: (key, src) => putSource(store, key, src),
    stage: (key) => openCacheStaging(store, key),
    ensure: (key, build) => ensureEntry(store, key, build),
    entries: () => listEntries(store),
    prune: (options = {}) => prune(store, options),
    verify: (options = {}) => verify(store, options),
    stats: (options = {}) => stats(store, options),
    blob: (digest, dst, options) => placeBlob(store, digest, dst, options),
  };
}
