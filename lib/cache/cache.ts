import { told } from "../error.ts";
import { checkLockOptions } from "../lock/file.ts";
import {
  checkGiven,
  checkMethods,
  checkOptions,
  checkPath,
  checkTexts,
  checkType,
} from "../os/arguments.ts";
import { toPath } from "../os/path.ts";
import { defaultRoot } from "./default_root.ts";
import type { Cache } from "./interface.ts";
import { checkBucket } from "./layout.ts";
import { checkLimits } from "./limits.ts";
import { lookAtPlace } from "./look_at_place.ts";
import { listedBlobs, listEntries } from "./list.ts";
import {
  type CacheOptions,
  type CallOptions,
  forCall,
  type Store,
} from "./store.ts";

export type { Cache, PutOptions } from "./interface.ts";

/**
 * Opens a cache of archives under keys. Nothing is made before something is put, or a
 * remote is asked.
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
 * @throws {RangeError} If `wait` is no time, or a limit is `NaN`, below 0, or not a whole
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
 *
 * @category Keyed cache
 */
export function openCache(
  root: string | URL = defaultRoot(),
  options: CacheOptions = {},
): Cache {
  checkPath("root", root);
  checkLockOptions(options);
  const { bucket = "default", durable, limits, lock, remote } = options;
  if (remote !== undefined) {
    checkMethods("remote", remote, ["pull", "push", "keepNotesIn"]);
  }
  checkType("bucket", bucket, "string");
  checkType("durable", durable, "boolean");
  checkType("lock", lock, "boolean");
  checkBucket(bucket);
  if (limits !== undefined) {
    checkOptions(limits, "limits");
    checkLimits(limits);
  }
  const path = toPath(root);
  const store: Store = { path, bucket, options };
  /** Checks what every call has: a key and options. */
  const call = (key: string, options: CallOptions): Store => {
    checkGiven("key", key, "string");
    return forCall(store, options);
  };
  /** The options of a call, with the signal that stops it. */
  const both = <T extends CallOptions>(options: T, { options: all }: Store) =>
    all.signal ? { ...options, signal: all.signal } : options;
  // Few calls need what the others load.
  return telling({
    path,
    async get(key, options = {}) {
      const store = call(key, options);
      const { getOrFallback } = await import("./fallback.ts");
      return await getOrFallback(store, key, options);
    },
    async put(key, src, options = {}) {
      const store = call(key, options);
      checkPath("src", src);
      checkType("onProgress", options.onProgress, "function");
      checkTexts("alsoKeys", options.alsoKeys);
      const { putSource } = await import("./put.ts");
      return await putSource(store, key, src, options);
    },
    async stage(key, options = {}) {
      const store = call(key, options);
      const { openCacheStaging } = await import("./staging.ts");
      return await openCacheStaging(store, key);
    },
    async ensure(key, build, options = {}) {
      const store = call(key, options);
      checkGiven("build", build, "function");
      checkType("allowEmpty", options.allowEmpty, "boolean");
      checkType("onProgress", options.onProgress, "function");
      const { ensureOrFallback } = await import("./fallback.ts");
      return await ensureOrFallback(store, key, build, options);
    },
    async push(key, options = {}) {
      const store = call(key, options);
      const { pushKey } = await import("./pull.ts");
      return await pushKey(store, key);
    },
    async pull(key, options = {}) {
      const store = call(key, options);
      const { pullKey } = await import("./pull.ts");
      return await pullKey(store, key);
    },
    async delete(key, options = {}) {
      const store = call(key, options);
      const { deleteKey } = await import("./ensure.ts");
      return await deleteKey(store, key);
    },
    async placement(key, dst) {
      checkPath("dst", dst);
      return await lookAtPlace(call(key, {}), key, dst);
    },
    entries: () => listEntries(store),
    blobs: () => listedBlobs(store),
    async prune(options = {}) {
      const called = forCall(store, options);
      checkType("dryRun", options.dryRun, "boolean");
      checkType("onProgress", options.onProgress, "function");
      checkLimits(options);
      const { prune } = await import("./prune.ts");
      return await prune(called, both(options, called));
    },
    async verify(options = {}) {
      const called = forCall(store, options);
      checkType("onProgress", options.onProgress, "function");
      const { verify } = await import("./verify.ts");
      return await verify(called, both(options, called));
    },
    async stats(options = {}) {
      const called = forCall(store, options);
      const { stats } = await import("./stats.ts");
      return await stats(called, both(options, called));
    },
    async blob(digest, dst, options) {
      const called = forCall(store, options);
      const { checkBlobArguments, placeBlob } = await import("./blob.ts");
      checkBlobArguments(digest, dst, options);
      return await placeBlob(called, digest, dst, options);
    },
  });
}

/** The same cache, whose errors are all told as this library's. */
function telling(cache: Cache): Cache {
  const raise = (error: unknown): never => {
    throw told(error);
  };
  for (const [name, method] of Object.entries(cache)) {
    if (typeof method !== "function") continue;
    const tells = (...given: unknown[]) => {
      try {
        const result = method(...given);
        return result instanceof Promise ? result.catch(raise) : result;
      } catch (error) {
        raise(error);
      }
    };
    Object.defineProperty(cache, name, { value: tells, enumerable: true });
  }
  return cache;
}
