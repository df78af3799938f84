/**
 * What is put into a cache, and what is given for it.
 *
 * @module
 */

import type { LinkReport, LinkTreeOptions } from "../link/options.ts";

/**
 * What was put under a key.
 *
 * @category Keyed cache
 */
export interface Archive {
  /** The bucket that the key is in. */
  readonly bucket: string;
  /** The key. */
  readonly key: string;
  /** The archive's id, which is never used again. */
  readonly id: string;
  /** When it was put: an ISO 8601 date and time. */
  readonly created: string;
  /** Files in it. */
  readonly files: number;
  /** Bytes of its files; one with several names counts once. */
  readonly bytes: number;
  /**
   * Bytes that it took on the disk when it was put. File systems that share the content
   * of clones (Btrfs, XFS, APFS) may need less for it.
   */
  readonly diskBytes: number;
  /** SHA-256 of what is in it: names, modes, contents and links. */
  readonly digest: string;
}

/**
 * An archive that is held: as long as it is not disposed, it stays as it is.
 *
 * @category Keyed cache
 */
export interface Entry extends Archive, Disposable {
  /** The absolute path of what was put: a directory or a file. Never write to it. */
  readonly path: string;
  /** Whether it is a file. */
  readonly isFile: boolean;
  /**
   * Where it comes from: it was there (`hit`); another one stands in for it (`partial`, see
   * `fallback`), whose key is `key`; or it was `built` for this call.
   */
  readonly outcome: "hit" | "partial" | "built";
  /** The key of the entry that stands in for it, or that its build began with. */
  readonly matchedKey?: string;
  /**
   * Puts it where it is needed, a directory as `linkTree()` does, a file as `linkFile()`
   * does, and checks that it is what was put. What is there then is private, unless
   * `mode` asks to share: writing to it never changes the cache.
   *
   * @param dst Where it should be. Its parent must exist, except for an `update`.
   * @param options How to put it there.
   * @returns What was done, counted.
   * @throws {LinkError} If it could not be done. Of kind `damaged` if somebody wrote to
   * the archive: then its key is a miss from now on.
   * @throws {TypeError} If an option is invalid.
   *
   * @example Putting it where it is needed
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * await Deno.writeTextFile(`${dir}/file`, "content");
   * const cache = openCache(`${dir}/cache`);
   * await cache.put("key", `${dir}/file`);
   * using entry = await cache.get("key");
   * const report = await entry?.link(`${dir}/here`);
   * assertEquals([report?.outcome, report?.linkedBytes], ["linked", 7]);
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  link(dst: string | URL, options?: EntryLinkOptions): Promise<LinkReport>;
}

/**
 * Options for `Entry.link()`. Of a file `include` and `exclude` say nothing, and globs of
 * `mutable` are matched against the destination's name.
 *
 * @category Keyed cache
 */
export interface EntryLinkOptions
  extends Omit<LinkTreeOptions, "mode" | "ifExists"> {
  /**
   * What to do when something stands there, as for `linkTree()`. With `update`, what this
   * cache put there is left alone if it is of the same archive, and else replaced;
   * anything else is an error; and the destination's parents are made.
   *
   * @default {"error"}
   */
  ifExists?: NonNullable<LinkTreeOptions["ifExists"]> | "update";
  /**
   * How to put it there. `private` and `copy` share nothing with the cache. With
   * `hardlink`, `symlink`, `auto` and `clone` (which fall back to a hard link) whoever
   * writes to what is there writes to the cache: files that were changed are noticed by
   * size and time, and the archive is not handed out again.
   *
   * @default {"private"}
   */
  mode?: NonNullable<LinkTreeOptions["mode"]>;
}

/**
 * A place to build what will be put. Dispose of it, whether it was committed or not.
 *
 * @category Keyed cache
 */
export interface CacheStaging extends AsyncDisposable {
  /** An empty directory. A file may be put in its place. */
  readonly path: string;
  /**
   * Puts what is there into the cache, and lets the key point to it.
   *
   * @param options Whether it may be empty.
   * @returns What was put.
   * @throws {CacheError} Of kind `empty` if the directory is still empty.
   *
   * @example Putting a file that was built
   * ```ts
   * import { openCache } from "@rebuild/cache";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * const cache = openCache(`${dir}/cache`);
   * await using staging = await cache.stage("key");
   * await Deno.remove(staging.path); // a file takes the directory's place
   * await Deno.writeTextFile(staging.path, "built");
   * assertEquals((await staging.commit()).bytes, 5);
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  commit(options?: CommitOptions): Promise<Committed>;
}

/**
 * Options for `CacheStaging.commit()`.
 *
 * @category Keyed cache
 */
export interface CommitOptions {
  /**
   * Whether an empty directory may be put. Most often it means that somebody wrote
   * elsewhere.
   *
   * @default {false}
   */
  allowEmpty?: boolean;
  /** Called after each file, and each MiB of a large one, with how far it is. */
  onProgress?: (progress: PutProgress) => void;
}

/**
 * How far a put is.
 *
 * @category Keyed cache
 */
export interface PutProgress {
  /**
   * What is being done: the source is copied into the cache (by `put()` alone), and what
   * lies there is read and hashed; where the cache has most of it already, first all is
   * hashed, and then the rest copied. With a remote, it is pulled before, or pushed after
   * that.
   */
  readonly phase: "copying" | "hashing" | "pulling" | "pushing";
  /** Files that are done in this phase; 0 where only bytes are counted. */
  readonly files: number;
  /** Their size in bytes. */
  readonly bytes: number;
  /** Of so many files; missing where that is not known yet. */
  readonly totalFiles?: number;
  /** Of so many bytes; missing where that is not known yet. */
  readonly totalBytes?: number;
}

/**
 * What was built, and put under a key.
 *
 * @category Keyed cache
 */
export interface Committed extends Archive {
  /**
   * Files (of up to 1 MiB) and symbolic links in it that have the staging's path in them,
   * which is gone: they may not work where they are handed out. Paths with `/`.
   */
  readonly mentions: readonly string[];
}
