/**
 * Puts archives into a cache.
 *
 * @module
 */

import { CacheError, osFailure } from "../error.ts";
import { type Directory, pathIn, type Status } from "../fs/directory.ts";
import { openParent, type Place } from "../fs/open.ts";
import { LinkError } from "../link/error.ts";
import type { LinkReport, LinkTreeOptions } from "../link/options.ts";
import { log } from "../log.ts";
import { checkOptions, checkType } from "../os/arguments.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { toPath } from "../os/path.ts";
import { printable } from "../os/text.ts";
import { isWithin } from "../os/within.ts";
import { adopt } from "./adopt.ts";
import { type Content, readContent } from "./content.ts";
import { flush, flushDirectory } from "./flush.ts";
import {
  type KeyName,
  MANIFEST,
  nameOf,
  swapLockName,
  TREE,
} from "./layout.ts";
import { copyTreeInto } from "../link/tree.ts";
import { diskBytesOf, manifestBytes } from "./manifest.ts";
import { placePointer } from "./pointer.ts";
import { pruneWhenDue } from "./limits.ts";
import {
  failure,
  isShared,
  look,
  namesIn,
  shareDirectory,
  writeFile,
} from "./root.ts";
import { hold } from "./locks.ts";
import { closeSlot, openSlot, type Slot, type Store } from "./store.ts";

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
   * What is being done: first, by `put()` alone, the source is copied into the cache; then
   * what lies there is read and hashed.
   */
  readonly phase: "copying" | "hashing";
  /** Files that are done in this phase. */
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

/** Nothing was built. */
export class NothingBuilt extends CacheError {}

/** Opens a place for what will be put under a key. */
export async function openCacheStaging(
  store: Store,
  key: string,
): Promise<SlotStaging> {
  const staging = await SlotStaging.open(store, key);
  try {
    staging.make();
    return staging;
  } catch (error) {
    await staging[Symbol.asyncDispose]();
    throw error;
  }
}

/** A staging in a slot. */
export class SlotStaging implements CacheStaging {
  readonly path: string;
  readonly slot: Slot;
  readonly #store: Store;
  readonly #key: string;
  readonly #name: KeyName;
  #state: "open" | "moved" | "placed" = "open";

  private constructor(store: Store, key: string, name: KeyName, slot: Slot) {
    this.path = pathIn(slot.directory, TREE);
    this.slot = slot;
    this.#store = store;
    this.#key = key;
    this.#name = name;
  }

  /** The cache, which the slot holds. */
  get root(): Slot["root"] {
    return this.slot.root;
  }

  static async open(store: Store, key: string): Promise<SlotStaging> {
    const name = await nameOf(key); // refused before anything is made
    return new SlotStaging(store, key, name, await openSlot(store));
  }

  make(): void {
    const { directory, root } = this.slot;
    try {
      directory.make(TREE);
    } catch (error) {
      throw osFailure("write to the cache", root.path, error);
    }
  }

  /** Others may have had their hands on what lies there. */
  async commit(options: CommitOptions = {}): Promise<Committed> {
    checkOptions(options);
    checkType("allowEmpty", options.allowEmpty, "boolean");
    checkType("onProgress", options.onProgress, "function");
    return await this.put("foreign", options);
  }

  /**
   * Puts what is there.
   *
   * @param what What lies there: what somebody built, or our own copy of it.
   * @param copied How much that is, if it is known.
   */
  async put(
    what: "foreign" | "own",
    { allowEmpty = what === "own", onProgress }: CommitOptions,
    copied?: Amount,
  ): Promise<Committed> {
    const { durable, signal } = this.#store.options;
    const { id, root, directory } = this.slot;
    if (this.#state !== "open") {
      throw new CacheError(
        `Cannot put "${printable(this.#key)}" again: it is committed already`,
        this.path,
        "refused",
      );
    }
    const status = root.status();
    if (!allowEmpty) this.#refuseEmpty();
    const content = await this.#read(status, what, onProgress, copied);
    const archive = this.#describe(content);
    try {
      const bytes = await manifestBytes(headerOf(archive, content), content);
      writeFile(directory, MANIFEST, bytes, status, durable === true);
      if (durable) {
        await flush(directory, TREE);
        flushDirectory(directory);
      }
      open(directory, status);
      const archives = root.folder("archives");
      patiently(() => root.folder("tmp").rename(id, archives, id));
      this.#state = "moved";
      if (durable) flushDirectory(archives);
      await this.#place();
    } catch (error) {
      if (error === signal?.reason) throw error;
      throw failure("put into the cache", root.path, error);
    }
    log.debug(() => `Put "${printable(this.#key)}" as ${id}`);
    await pruneWhenDue(root, this.#store, id);
    const { marked: mentions } = content;
    if (mentions.length > 0) this.#warn(mentions);
    return { ...archive, mentions };
  }

  #refuseEmpty(): void {
    const { root, directory } = this.slot;
    try {
      if (look(directory, TREE)?.kind !== "directory") return;
      using tree = patiently(() => directory.open(TREE));
      if (namesIn(tree).length > 0) return;
    } catch (error) {
      throw failure("put into the cache", root.path, error);
    }
    throw new NothingBuilt(
      `Cannot put "${
        printable(this.#key)
      }": nothing was built. Write to the path that build() is given (the staging's path), or say allowEmpty`,
      this.path,
      "empty",
    );
  }

  #warn(mentions: readonly string[]): void {
    log.warn(() => {
      const first = mentions.slice(0, 3).map((it) => `"${printable(it)}"`);
      const more = mentions.length - first.length;
      const all = first.join(", ") + (more > 0 ? ` and ${more} more` : "");
      return `What was built for "${
        printable(this.#key)
      }" has the path of its staging in it, which is gone by now, and may not work: ${all}`;
    });
  }

  async #read(
    status: Status,
    what: "foreign" | "own",
    onProgress: CommitOptions["onProgress"],
    copied: Amount | undefined,
  ): Promise<Content> {
    const { signal } = this.#store.options;
    const { root, directory } = this.slot;
    try {
      const { files: totalFiles, bytes: totalBytes } =
        what === "foreign" || isShared(status) || !copied
          ? await adopt(directory, status, signal)
          : copied;
      let [files, bytes] = [0, 0];
      const onRead = onProgress && ((size: number, more: number) => {
        files += more;
        bytes += size;
        const done = { files, bytes, totalFiles, totalBytes };
        onProgress({ phase: "hashing", ...done });
      });
      // Nothing else is called so.
      const mark = what === "foreign" ? this.slot.id : undefined;
      return await readContent(directory, { signal, onRead, mark });
    } catch (error) {
      if (signal?.aborted && error === signal.reason) throw error;
      // Where somebody built, the path there tells something.
      if (what === "foreign" || !(error instanceof CacheError)) throw error;
      const said = osErrorText(error.cause ?? error);
      const message = `Cannot put into the cache "${root.path}": ${said}`;
      throw new CacheError(message, root.path, error.kind, error);
    }
  }

  #describe(content: Content): Archive {
    const { files, bytes, digest } = content;
    const { bucket } = this.#store;
    const created = new Date().toISOString();
    const { id, directory } = this.slot;
    const diskBytes = diskBytesOf(directory, content);
    const size = { files, bytes, diskBytes };
    return { bucket, key: this.#key, id, created, ...size, digest };
  }

  async #place(): Promise<void> {
    const { id, root } = this.slot;
    const name = this.#name;
    using _ = await hold(
      this.#store,
      root.folder("locks"),
      swapLockName(name),
      `The key "${printable(this.#key)}"`,
    );
    const bucket = root.bucket(this.#store.bucket);
    placePointer(root, bucket, name, id);
    this.#state = "placed";
    if (this.#store.options.durable) flushDirectory(bucket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { id, root, held } = this.slot;
    if (this.#state === "placed") return held.dispose();
    if (this.#state === "moved") {
      try {
        // No key points to it, and none will.
        root.folder("archives").rename(id, root.folder("tmp"), id);
      } catch (error) {
        log.debug(() => `Left for a prune: ${id}: ${osErrorText(error)}`);
        return held.dispose();
      }
    }
    await closeSlot(this.slot);
  }
}

/** Files, and their bytes. */
interface Amount {
  readonly files: number;
  readonly bytes: number;
}

function headerOf(
  { bucket, key, created, files, bytes, diskBytes, digest }: Archive,
  { directories }: Content,
) {
  const size = { files, directories, bytes, diskBytes };
  return { bucket, key, created, ...size, digest };
}

/** Lets those in who may enter the cache. */
function open(
  directory: Directory,
  root: Status,
): void {
  if (isShared(root)) shareDirectory(directory, root);
  else if (Deno.build.os !== "windows") {
    directory.setAccess({ mode: 0o700 | root.mode & 0o055 });
  }
}

/** Puts a copy of a file or a tree under a key: cloned where that is possible. */
export async function putSource(
  store: Store,
  key: string,
  src: string | URL,
  onProgress?: CommitOptions["onProgress"],
): Promise<Archive> {
  const path = toPath(src);
  await nameOf(key); // refused before anything is looked at
  using source = openSource(path);
  const real = pathIn(source.parent, source.name);
  if (isWithin(realPath(store.path), real)) {
    throw new CacheError(
      `Cannot put "${path}" into "${store.path}", which is inside it`,
      path,
      "refused",
    );
  }
  const { signal } = store.options;
  await using staging = await SlotStaging.open(store, key);
  const destination = { parent: staging.slot.directory, name: TREE };
  let copied: Amount;
  try {
    copied = await copyTreeInto(source, destination, {
      ...signal && { signal },
      ...onProgress && {
        onProgress: ({ files, bytes }) =>
          onProgress({ phase: "copying", files, bytes }),
      },
    });
  } catch (error) {
    if (error === signal?.reason) throw error;
    throw copyFailure(path, error);
  }
  const { mentions: _, ...archive } = await staging.put(
    "own",
    onProgress ? { onProgress } : {},
    copied,
  );
  return archive;
}

/** Names what was copied, not where to: that is gone. */
function copyFailure(path: string, error: unknown): CacheError {
  if (!(error instanceof LinkError)) return failure("put", path, error);
  const { cause, src, kind } = error;
  if (cause === undefined) return error;
  const message = `Cannot put "${src}": ${osErrorText(cause)}`;
  return new CacheError(message, src, kind, error);
}

/** The user may name it by a symbolic link. */
function openSource(path: string): Place {
  try {
    using held = new DisposableStack();
    const place = held.use(openParent(path));
    const kind = place.name === ""
      ? "directory"
      : place.parent.look(place.name)?.kind;
    if (kind === undefined) {
      throw new Deno.errors.NotFound("It does not exist");
    }
    if (kind === "symlink") {
      return openSource(patiently(() => Deno.realPathSync(path)));
    }
    if (kind === "other") {
      throw new CacheError(
        `Cannot put "${path}": it is neither a file nor a directory`,
        path,
        "unsupported",
      );
    }
    const { parent, name } = place;
    const kept = held.move();
    return { parent, name, [Symbol.dispose]: () => kept.dispose() };
  } catch (error) {
    throw failure("put", path, error);
  }
}

/** Where a cache is, or will be. */
function realPath(path: string): string {
  try {
    return patiently(() => Deno.realPathSync(path));
  } catch (error) {
    if (errorKind(error) !== "not-found") return path;
  }
  try {
    using place = openParent(path);
    return pathIn(place.parent, place.name);
  } catch {
    return path;
  }
}
