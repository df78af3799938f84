/**
 * What a keyed cache can do.
 *
 * @module
 */

import type { Archive, CacheStaging, Entry, PutProgress } from "./archive.ts";
import type { BlobOptions, BlobReport } from "./blob.ts";
import type { Ensured } from "./ensure.ts";
import type { EnsureContext, EnsureOptions, GetOptions } from "./fallback.ts";
import type { Listed, ListedBlob } from "./list.ts";
import type { Placement } from "./look_at_place.ts";
import type { PruneOptions, PruneReport } from "./prune_options.ts";
import type { RemoteReport } from "./remote.ts";
import type { CacheStats } from "./stats.ts";
import type { CallOptions } from "./store.ts";
import type { VerifyOptions, VerifyReport } from "./verify_options.ts";

/**
 * Options for `Cache.put()`.
 *
 * @category Keyed cache
 */
export interface PutOptions extends CallOptions {
  /**
   * Keys under which it is put as well. They share its files.
   *
   * @default {[]}
   */
  alsoKeys?: readonly string[];
  /** Called after each file, and each MiB of a large one, with how far it is. */
  onProgress?: (progress: PutProgress) => void;
}

/**
 * A cache of archives under keys, which any number of processes may share.
 *
 * Each call checks its arguments first: a `TypeError` or `RangeError` says what was given.
 * A call that is aborted, by its own `signal` or by that of `openCache()`, rejects with the
 * signal's reason. Those on the disk need `--allow-read` and `--allow-write` for the cache,
 * its parent, and what is put or where it is put.
 *
 * @category Keyed cache
 */
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
   *
   * @example Using what is there
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * await Deno.writeTextFile(`${dir}/file`, "content");
   * const cache = openCache(`${dir}/cache`);
   * await cache.put("key-1", `${dir}/file`);
   * {
   *   using entry = await cache.get("key-1");
   *   await entry?.link(`${dir}/copy`);
   * }
   * using similar = await cache.get("key-2", { fallback: ["key-"] });
   * assertEquals([similar?.outcome, similar?.matchedKey], ["partial", "key-1"]);
   * assertEquals(await cache.get("other"), undefined);
   * await Deno.remove(dir, { recursive: true });
   * ```
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
   * @throws {CacheError} If the source can't be read, or the cache can't be written. The
   * key then points to what it pointed to before.
   *
   * @example Putting a file
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * await Deno.writeTextFile(`${dir}/file`, "content");
   * const cache = openCache(`${dir}/cache`);
   * const { files, bytes } = await cache.put("key", `${dir}/file`);
   * assertEquals([files, bytes], [1, 7]);
   * await Deno.remove(dir, { recursive: true });
   * ```
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
   *
   * @example Building in the cache
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * const cache = openCache(`${dir}/cache`);
   * {
   *   await using staging = await cache.stage("key");
   *   await Deno.writeTextFile(`${staging.path}/module.js`, "export {};");
   *   await staging.commit();
   * }
   * assertEquals(cache.entries().map(({ key }) => key), ["key"]);
   * await Deno.remove(dir, { recursive: true });
   * ```
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
   * @param options What to begin with on a miss, whether to build in any case, a signal, how
   * long to wait for locks, who is told how far the put is, and whether what is built may be
   * empty.
   * @returns The entry, with a lease, and whether it was built for this call.
   * @throws {CacheError} As of `get()` and `put()`; of kind `empty` if nothing was
   * built; and whatever `build` throws.
   *
   * @example Building once
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * const cache = openCache(`${dir}/cache`);
   * for (const outcome of ["built", "hit"]) {
   *   using entry = await cache.ensure("key", async (path, { signal }) => {
   *     await Deno.writeTextFile(`${path}/module.js`, "export {};", { signal });
   *   });
   *   assertEquals(entry.outcome, outcome);
   * }
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  ensure(
    key: string,
    build: (path: string, context: EnsureContext) => unknown,
    options?: EnsureOptions,
  ): Promise<Ensured>;

  /**
   * Gives the remote what a key points to: its contents first, the key last. What the
   * server has already is not sent again.
   *
   * @param key Any text that is not empty.
   * @param options A signal, and how long to wait for locks.
   * @returns What was done; it never rejects for what the server does. `undefined` if the
   * key points to nothing.
   * @throws {TypeError} If `openCache()` was given no remote.
   * @throws {CacheError} Of kind `damaged` if somebody wrote to the archive.
   *
   * @example Sharing what is here
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { openRemote } from "@rebuild/cache/remote";
   * import { assertEquals } from "@std/assert";
   *
   * const contents = new Map<string, Uint8Array<ArrayBuffer>>();
   * await using server = Deno.serve({ port: 0, onListen() {} }, async (request) => {
   *   const { pathname } = new URL(request.url);
   *   if (request.method === "PUT") contents.set(pathname, await request.bytes());
   *   const content = contents.get(pathname);
   *   return new Response(content, { status: content ? 200 : 404 });
   * });
   * const url = `http://127.0.0.1:${server.addr.port}`;
   * const dir = await Deno.makeTempDir();
   * await Deno.writeTextFile(`${dir}/file`, "content");
   * {
   *   using remote = openRemote(url, { mode: "read-write" });
   *   await openCache(`${dir}/cache`).put("key", `${dir}/file`);
   *   const cache = openCache(`${dir}/cache`, { remote });
   *   assertEquals((await cache.push("key"))?.outcome, "pushed");
   *   assertEquals(await cache.push("other"), undefined);
   * }
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  push(key: string, options?: CallOptions): Promise<RemoteReport | undefined>;

  /**
   * Lets a key point to what the remote has under it, all of it checked. What the cache
   * has already does not travel. (`get()` and `ensure()` do so by themselves on a miss.)
   *
   * @param key Any text that is not empty.
   * @param options A signal, and how long to wait for locks.
   * @returns What was done; it never rejects for what the server does.
   * @throws {TypeError} If `openCache()` was given no remote.
   * @throws {CacheError} If the cache can't be written.
   *
   * @example Getting what another machine has put
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { openRemote } from "@rebuild/cache/remote";
   * import { assertEquals } from "@std/assert";
   *
   * const contents = new Map<string, Uint8Array<ArrayBuffer>>();
   * await using server = Deno.serve({ port: 0, onListen() {} }, async (request) => {
   *   const { pathname } = new URL(request.url);
   *   if (request.method === "PUT") contents.set(pathname, await request.bytes());
   *   const content = contents.get(pathname);
   *   return new Response(content, { status: content ? 200 : 404 });
   * });
   * const url = `http://127.0.0.1:${server.addr.port}`;
   * const dir = await Deno.makeTempDir();
   * await Deno.writeTextFile(`${dir}/file`, "content");
   * {
   *   using remote = openRemote(url, { mode: "read-write" });
   *   await openCache(`${dir}/one`, { remote }).put("key", `${dir}/file`);
   *   const cache = openCache(`${dir}/another`, { remote });
   *   assertEquals((await cache.pull("key")).outcome, "hit");
   *   assertEquals((await cache.pull("other")).outcome, "miss");
   * }
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  pull(key: string, options?: CallOptions): Promise<RemoteReport>;

  /**
   * Removes a key. What it pointed to stays for those who have a lease on
   * it, until a prune.
   *
   * @param key Any text that is not empty.
   * @param options A signal, and how long to wait for locks.
   * @returns Whether it pointed to something.
   * @throws {CacheError} If the key can't be taken away, or something that is not
   * a cache stands there.
   *
   * @example Forgetting a key
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * await Deno.writeTextFile(`${dir}/file`, "content");
   * const cache = openCache(`${dir}/cache`);
   * await cache.put("key", `${dir}/file`);
   * assertEquals(await cache.delete("key"), true);
   * assertEquals(await cache.delete("key"), false);
   * await Deno.remove(dir, { recursive: true });
   * ```
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
   *
   * @example Looking before a long build
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * await Deno.writeTextFile(`${dir}/file`, "content");
   * const cache = openCache(`${dir}/cache`);
   * await cache.put("key", `${dir}/file`);
   * {
   *   using entry = await cache.get("key");
   *   await entry?.link(`${dir}/here`, { ifExists: "update" });
   * }
   * assertEquals((await cache.placement("key", `${dir}/here`)).state, "current");
   * assertEquals((await cache.placement("key", `${dir}/there`)).state, "free");
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  placement(key: string, dst: string | URL): Promise<Placement>;

  /**
   * Lists what all keys of all buckets point to.
   *
   * @throws {CacheError} If the cache can't be read.
   *
   * @example What is in it
   * ```ts
   * import { openCache } from "@rebuild/cache";
   *
   * const dir = await Deno.makeTempDir();
   * await Deno.writeTextFile(`${dir}/file`, "content");
   * const cache = openCache(`${dir}/cache`);
   * await cache.put("key", `${dir}/file`);
   * for (const { bucket, key, bytes, lastUse } of cache.entries()) {
   *   console.log(`${bucket}/${key}: ${bytes} bytes, used ${lastUse}`);
   * }
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  entries(): Listed[];

  /**
   * Lists all blobs.
   *
   * @returns What was put by `blob()`, in the order of the digests.
   * @throws {CacheError} If the cache can't be read.
   *
   * @example Which blobs are in it
   * ```ts
   * import { openCache } from "@rebuild/cache";
   *
   * const dir = await Deno.makeTempDir();
   * for (const { digest, bytes } of openCache(`${dir}/cache`).blobs()) {
   *   console.log(`${digest}: ${bytes} bytes`);
   * }
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  blobs(): ListedBlob[];

  /**
   * Removes what no key points to, and, if there are limits, what was least recently
   * used. It does not wait: what is in use stays.
   *
   * @param options The limits.
   * @returns What was removed, and what stays.
   * @throws {CacheError} If the cache can't be listed. What can't be removed is reported.
   * @throws {TypeError} If a limit is not a number.
   * @throws {RangeError} If a limit is `NaN`, below 0, or not a whole number of bytes or
   * entries.
   *
   * @example Keeping what was used in the last week
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * await Deno.writeTextFile(`${dir}/file`, "content");
   * const cache = openCache(`${dir}/cache`);
   * await cache.put("key", `${dir}/file`);
   * const week = 7 * 24 * 60 * 60 * 1000;
   * const { evicted, freedBytes } = await cache.prune({ maxAge: week });
   * assertEquals([evicted.length, freedBytes], [0, 0]);
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  prune(options?: PruneOptions): Promise<PruneReport>;

  /**
   * Reads everything and compares it with what was put. What is damaged is put away, so
   * that its key is a miss. What can't be read is reported, and left alone.
   *
   * @param options A signal stops the work, and the progress is told.
   * @returns What was read, and what is damaged.
   * @throws {CacheError} If the cache can't be listed, or damage can't be put away.
   *
   * @example Looking for damage
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * await Deno.writeTextFile(`${dir}/file`, "content");
   * const cache = openCache(`${dir}/cache`);
   * await cache.put("key", `${dir}/file`);
   * const { outcome, damaged, failures } = await cache.verify();
   * assertEquals([outcome, damaged, failures], ["verified", [], []]);
   * await Deno.remove(dir, { recursive: true });
   * ```
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
  stats(options?: CallOptions): Promise<CacheStats>;

  /**
   * Puts a file with a known digest where it is needed: hard-linked from the cache, or
   * copied. On a miss it is fetched first, once for all processes, and nobody can see
   * it before its digest was checked.
   *
   * @param digest Its SHA-256, in 64 lowercase hexadecimal digits.
   * @param dst Where it is needed.
   * @param options How to get it.
   * @returns What was done.
   * @throws {TypeError} If `fetch` is not a function, or the size is not a number.
   * @throws {RangeError} If the size is not a number of bytes.
   * @throws {LinkError} If it can't be put there.
   * @throws {CacheError} Of kind `invalid` if what was fetched is something else; and
   * whatever `fetch` throws.
   *
   * @example Downloading once
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * const cache = openCache(`${dir}/cache`);
   * const digest =
   *   "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
   * // As a download would write it: fetch(url, { signal }).
   * const fetch = async (path: string, { signal }: { signal: AbortSignal }) => {
   *   await Deno.writeTextFile(path, "content", { signal });
   * };
   * const first = await cache.blob(digest, `${dir}/a`, { fetch });
   * const second = await cache.blob(digest, `${dir}/b`, { fetch });
   * assertEquals([first.fetched, second.fetched], [true, false]);
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  blob(
    digest: string,
    dst: string | URL,
    options: BlobOptions,
  ): Promise<BlobReport>;
}
