import {
  checkGiven,
  checkNumber,
  checkOptions,
  checkPath,
  checkSignal,
  checkType,
} from "../os/arguments.ts";
import { toPath } from "../os/path.ts";
import {
  type Archive,
  type CacheStaging,
  type Entry,
  openCacheStaging,
  type PutProgress,
  putSource,
} from "./archive.ts";
import { type BlobOptions, type BlobReport, placeBlob } from "./blob.ts";
import { defaultRoot } from "./default_root.ts";
import { deleteKey, type Ensured } from "./entry.ts";
import {
  type EnsureContext,
  type EnsureOptions,
  ensureOrFallback,
  type GetOptions,
  getOrFallback,
} from "./fallback.ts";
import { checkBucket } from "./layout.ts";
import { checkLimits } from "./limits.ts";
import { lookAtPlace, type Placement } from "./look_at_place.ts";
import { type Listed, listEntries } from "./list.ts";
import { prune } from "./prune.ts";
import type { PruneOptions, PruneReport } from "./prune_options.ts";
import { type CacheStats, stats, type StatsOptions } from "./stats.ts";
import {
  type CacheOptions,
  type CallOptions,
  forCall,
  type Store,
} from "./store.ts";
import { verify, type VerifyOptions, type VerifyReport } from "./verify.ts";

/** Options for `Cache.put()`. */
export interface PutOptions extends CallOptions {
  /** Called after each file, and each MiB of a large one, with how far it is. */
  onProgress?: (progress: PutProgress) => void;
}

/** A cache of archives under keys, which any number of processes may share. */
export interface Cache {
  /** Its absolute path. */
  readonly path: string;

  /**
   * Gives what was put under a key, with a lease: until it is disposed, nobody takes
   * anything of it away.
   *
   * @param key Any text that is not empty.
   * @param options What to take on a miss, a signal, and how long to wait for locks.
   * @returns The entry, or `undefined` on a miss. Its `outcome` says whether another one
   * stands in for it.
   * @throws {CacheError} If the operating system refuses to read or lock it; of kind
   * `refused` if the key is empty or has a lone surrogate.
   */
  get(key: string, options?: GetOptions): Promise<Entry | undefined>;

  /**
   * Puts a copy of a file or a directory under a key: cloned where that is possible,
   * and never hard-linked, so that nobody writes to the cache through the source.
   *
   * @param key Any text that is not empty. What it pointed to before stays for those
   * who have a lease on it, until a prune.
   * @param src The file or directory.
   * @param options A signal, how long to wait for locks, and who is told how far it is.
   * @returns What was put.
   * @throws {CacheError} If the source can't be read, or the cache not be written. The
   * key then points to what it pointed to before.
   */
  put(
    key: string,
    src: string | URL,
    options?: PutOptions,
  ): Promise<Archive>;

  /**
   * Opens a place in the cache to build what will be put under a key.
   *
   * @param key Any text that is not empty.
   * @param options A signal, and how long to wait for locks; also of the commit.
   * @returns The staging. Dispose of it.
   * @throws {CacheError} If the cache can't be written.
   */
  stage(key: string, options?: CallOptions): Promise<CacheStaging>;

  /**
   * Gives what was put under a key; on a miss, builds it, puts it, and gives that. Of
   * all processes that ask for the same, one builds, and the others wait for it.
   *
   * @param key Any text that is not empty.
   * @param build Fills a directory, or puts a file in its place: an empty one, or, if an
   * older entry was found by `fallback`, a private copy of that. If it throws, nothing is
   * put, and the next one who waits builds. It is told when the call is aborted, and
   * should end then.
   * @param options What to begin with on a miss, whether to build in any case, a signal, how long to wait for locks, who is told how far the put is,
   * and whether what is built may be empty.
   * @returns The entry, with a lease, and whether it was built for this call.
   * @throws {CacheError} As of `get()` and `put()`; of kind `invalid` if nothing was
   * built; and whatever `build` throws.
   */
  ensure(
    key: string,
    build: (path: string, context: EnsureContext) => unknown,
    options?: EnsureOptions,
  ): Promise<Ensured>;

  /**
   * Lets a key point to nothing. What it pointed to stays for those who have a lease on
   * it, until a prune.
   *
   * @param key Any text that is not empty.
   * @param options A signal, and how long to wait for locks.
   * @returns Whether it pointed to something.
   * @throws {CacheError} If the key can't be taken away, or there is something that is no
   * cache.
   */
  delete(key: string, options?: CallOptions): Promise<boolean>;

  /**
   * Looks at a place before something long is done for it: whether an entry's
   * `link(dst, { ifExists: "update" })` would have anything to do. It takes milliseconds,
   * at any size.
   *
   * @param key The key that is wanted there.
   * @param dst Where.
   * @returns What stands there.
   * @throws {CacheError} Of kind `already-exists` if something else stands there than
   * what this cache put there; of kind `refused` if it must not be replaced.
   */
  placement(key: string, dst: string | URL): Promise<Placement>;

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
 * @param root The cache's path. Its parents are made. Without it, `rebuild-cache` in the
 * user's directory for caches: in `$XDG_CACHE_HOME` or `~/.cache`, on macOS in
 * `~/Library/Caches`, on Windows in `%LOCALAPPDATA%`; that needs `--allow-env`.
 * @param options Its bucket, its limits, and how long to wait for locks.
 * @returns The cache.
 * @throws {CacheError} Of kind `refused` if the bucket's name is not one; of kind
 * `not-capable` or `not-found` if no root is given, and the environment does not say.
 * @throws {TypeError} If an argument or an option is of another type.
 * @throws {RangeError} If `wait` is no time, or a limit is `NaN`, below 0, or no whole
 * number of bytes or entries.
 *
 * @example Using what is cached, or building it
 * ```ts
 * import { openCache } from "@rebuild/cache";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const cache = openCache(`${dir}/cache`);
 * {
 *   using entry = await cache.ensure("deps-1", async (staging) => {
 *     await Deno.writeTextFile(`${staging}/module.js`, "export {};");
 *   });
 *   assertEquals(entry.outcome, "built");
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
  root: string | URL = defaultRoot(),
  options: CacheOptions = {},
): Cache {
  checkPath("root", root);
  checkOptions(options);
  const { bucket = "default", durable, limits, lock, wait, signal } = options;
  checkType("bucket", bucket, "string");
  checkType("durable", durable, "boolean");
  checkType("lock", lock, "boolean");
  checkNumber("wait", wait, 0);
  checkSignal(signal);
  checkBucket(bucket);
  if (limits !== undefined) checkLimits(limits);
  const path = toPath(root);
  const store: Store = { path, bucket, options };
  /** Checks what every call has: a key and options. */
  const call = (key: string, options: CallOptions): Store => {
    checkGiven("key", key, "string");
    return forCall(store, options);
  };
  return {
    path,
    get: async (key, options = {}) =>
      await getOrFallback(call(key, options), key, options),
    async put(key, src, options = {}) {
      const store = call(key, options);
      checkPath("src", src);
      checkType("onProgress", options.onProgress, "function");
      return await putSource(store, key, src, options.onProgress);
    },
    stage: async (key, options = {}) =>
      await openCacheStaging(call(key, options), key),
    async ensure(key, build, options = {}) {
      const store = call(key, options);
      checkGiven("build", build, "function");
      checkType("allowEmpty", options.allowEmpty, "boolean");
      checkType("onProgress", options.onProgress, "function");
      return await ensureOrFallback(store, key, build, options);
    },
    delete: async (key, options = {}) =>
      await deleteKey(call(key, options), key),
    async placement(key, dst) {
      checkPath("dst", dst);
      return await lookAtPlace(call(key, {}), key, dst);
    },
    entries: () => listEntries(store),
    prune: (options = {}) => prune(store, options),
    verify: (options = {}) => verify(store, options),
    stats: (options = {}) => stats(store, options),
    blob: (digest, dst, options) => placeBlob(store, digest, dst, options),
  };
}
