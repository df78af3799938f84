/**
 * Puts archives into a cache, and gives leases on those that are there.
 *
 * @module
 */

import { CacheError, osFailure } from "../error.ts";
import { linkFile } from "../link/file.ts";
import type { LinkReport, LinkTreeOptions } from "../link/options.ts";
import { linkListed, linkTree } from "../link/tree.ts";
import { LockedError, waitFor } from "../lock/file.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { fromFileUrl, join, resolve } from "../os/path.ts";
import { isWithin } from "../os/within.ts";
import { flushAll } from "../old/flush.ts";
import { nameOf } from "./layout.ts";
import {
  contentFailure,
  type Header,
  manifestText,
  readContent,
  readHeader,
} from "./manifest.ts";
import { placePointer, readPointer } from "./pointer.ts";
import {
  attempt,
  closeSlot,
  type Held,
  hold,
  holdLong,
  isThere,
  openSlot,
  type Slot,
  type Store,
  swapLock,
  touch,
  useRoot,
} from "./store.ts";

/** What was put under a key. */
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
  /** SHA-256 of what is in it: names, modes, contents and links. */
  readonly digest: string;
}

/** An archive that is held: as long as it is not disposed, it stays as it is. */
export interface Entry extends Archive, Disposable {
  /** The absolute path of what was put: a directory or a file. Never write to it. */
  readonly path: string;
  /**
   * Puts a directory where it is needed, as `linkTree()` does, but faster: what is in it
   * is known. (A file is for `linkFile()`.)
   *
   * @param dst Where it should be. Its parent must exist.
   * @param options How to put it there.
   * @returns What was done, counted.
   * @throws {LinkError} If it could not be done.
   */
  link(dst: string | URL, options?: LinkTreeOptions): Promise<LinkReport>;
}

/** A place to build what will be put. Dispose of it, whether it was committed or not. */
export interface CacheStaging extends AsyncDisposable {
  /** An empty directory. A file may be put in its place. */
  readonly path: string;
  /**
   * Puts what is there into the cache, and lets the key point to it.
   *
   * @returns What was put.
   */
  commit(): Promise<Archive>;
}

/** Gives a lease on what a key points to, or `undefined`. */
export async function getEntry(
  store: Store,
  key: string,
): Promise<Entry | undefined> {
  const { layout, bucket, options } = store;
  const pointer = join(layout.bucket(bucket), await nameOf(key));
  // A miss needs no lock, nor a cache at all.
  if (readPointer(pointer) === undefined) return undefined;
  using held = new DisposableStack();
  held.use(await useRoot(store));
  const found = await waitFor(
    () => attemptEntry(store, pointer),
    options,
    () => new LockedError(pointer, [], `What "${key}" points to`),
  );
  if (found === "miss") return undefined;
  const { id } = found;
  held.use(found.lease);
  const header = headerOf(store, id);
  if (!header || header.key !== key) return undefined;
  touch(store, id);
  const kept = held.move();
  const path = join(layout.archive(id), "tree");
  const manifest = join(layout.archive(id), "manifest");
  return {
    ...toArchive(header, id),
    path,
    link: (dst, options = {}) => linkListed(path, dst, options, manifest),
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/** `undefined`: try again, since a prune has it, or it was replaced just now. */
function attemptEntry(
  store: Store,
  pointer: string,
): { id: string; lease: Held } | "miss" | undefined {
  const id = readPointer(pointer);
  if (id === undefined) return "miss";
  const path = store.layout.lease(id);
  using held = new DisposableStack();
  let found = true;
  try {
    const lease = attempt(store, path, false, "existing");
    if (!lease) return undefined;
    held.use(lease);
  } catch (error) {
    if (errorKind(error) !== "not-found") throw error;
    found = false;
  }
  if (!isThere(join(store.layout.archive(id), "tree"))) {
    return readPointer(pointer) === id ? "miss" : undefined;
  }
  if (!found) held.use(newLease(store, path));
  return { id, lease: held.move() };
}

/** For an archive that came without its lease file, in a copy of a cache. */
function newLease(store: Store, path: string): Held | undefined {
  try {
    return attempt(store, path, false, "create");
  } catch (error) {
    // A cache that can only be read, so that nobody takes anything away.
    log.debug(() => `No lease: ${osErrorText(error)}`);
    return undefined;
  }
}

/** What the manifest says, or `undefined` if it is damaged. */
export function headerOf({ layout }: Store, id: string): Header | undefined {
  const path = join(layout.archive(id), "manifest");
  try {
    return readHeader(path);
  } catch (error) {
    const kind = error instanceof CacheError ? error.kind : errorKind(error);
    if (kind !== "not-found" && kind !== "invalid") {
      throw osFailure("read", path, error);
    }
    log.debug(() => `"${path}" is damaged: ${osErrorText(error)}`);
    return undefined;
  }
}

/** A header without what is not for everybody. */
export function toArchive(header: Header, id: string): Archive {
  const { bucket, key, created, files, bytes, digest } = header;
  return { bucket, key, id, created, files, bytes, digest };
}

/** Opens a place for what will be put under a key. */
export async function openCacheStaging(
  store: Store,
  key: string,
): Promise<CacheStaging> {
  const name = await nameOf(key);
  const slot = await openSlot(store);
  try {
    const staging = new SlotStaging(store, key, name, slot);
    Deno.mkdirSync(staging.path);
    return staging;
  } catch (error) {
    await closeSlot(store, slot);
    throw osFailure("write to the cache", store.layout.root, error);
  }
}

class SlotStaging implements CacheStaging {
  readonly path: string;
  readonly #store: Store;
  readonly #key: string;
  readonly #name: string;
  readonly #slot: Slot;
  #state: "open" | "moved" | "placed" = "open";

  constructor(store: Store, key: string, name: string, slot: Slot) {
    this.path = join(slot.path, "tree");
    this.#store = store;
    this.#key = key;
    this.#name = name;
    this.#slot = slot;
  }

  async commit(): Promise<Archive> {
    const { layout, bucket, options } = this.#store;
    const { id, path } = this.#slot;
    if (this.#state !== "open") {
      throw new CacheError(
        `Cannot put "${this.#key}" again: it is committed already`,
        path,
        "refused",
      );
    }
    const flush: [path: string, isDirectory: boolean][] = [];
    const root = Deno.statSync(layout.root);
    const content = await this.#read(root, (path, info) => {
      if (options.durable) flush.push([path, info.isDirectory]);
    });
    const { files, directories, bytes, digest } = content;
    const header: Header = {
      version: 1,
      bucket,
      key: this.#key,
      created: new Date().toISOString(),
      ...{ files, directories, bytes, digest },
    };
    try {
      const manifest = join(path, "manifest");
      Deno.writeTextFileSync(manifest, manifestText(header, content));
      if (options.durable) {
        await flushAll([...flush, [manifest, false], [path, true]]);
      }
      const archive = layout.archive(id);
      patiently(() => Deno.renameSync(path, archive));
      this.#state = "moved";
      if (options.durable) await flushAll([[layout.in("archives"), true]]);
      const folder = layout.bucket(bucket);
      const lock = swapLock(this.#store, this.#name);
      using _ = await hold(this.#store, lock, `The key "${this.#key}"`);
      const temporary = layout.in("tmp", `${id}.key`);
      placePointer(join(folder, this.#name), id, temporary);
      this.#state = "placed";
      if (options.durable) await flushAll([[folder, true]]);
    } catch (error) {
      if (error instanceof CacheError) throw error;
      throw osFailure("put into the cache", layout.root, error);
    }
    log.debug(() => `Put "${this.#key}" as ${id}`);
    return toArchive(header, id);
  }

  /** Reads what will be put; in a cache that a group shares, opens it to the group. */
  async #read(
    root: Deno.FileInfo,
    note: (path: string, info: Deno.FileInfo) => void,
  ): ReturnType<typeof readContent> {
    const { signal } = this.#store.options;
    try {
      return await readContent(this.path, {
        ...signal && { signal },
        visit(path, info) {
          note(path, info);
          return openToGroup(path, info, root);
        },
      });
    } catch (error) {
      if (error === signal?.reason) throw error;
      throw contentFailure(this.path, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { id, path, held } = this.#slot;
    if (this.#state === "placed") return held.dispose();
    if (this.#state === "moved") {
      try {
        // No key points to it, and none will.
        Deno.renameSync(this.#store.layout.archive(id), path);
      } catch (error) {
        log.debug(() => `Left for a prune: ${id}: ${osErrorText(error)}`);
        return held.dispose();
      }
    }
    await closeSlot(this.#store, this.#slot);
  }
}

/**
 * What whoever may write to the root must be able to read, and to remove.
 *
 * @returns Whether something was changed for that.
 */
function openToGroup(
  path: string,
  info: Deno.FileInfo,
  root: Deno.FileInfo,
): boolean {
  const { mode } = root;
  if (mode === null || !(mode & 0o020) || Deno.build.os === "windows") {
    return false;
  }
  if (info.gid !== root.gid) Deno.chownSync(path, null, root.gid);
  const old = info.mode! & 0o7777;
  const executable = old & 0o100 ? 0o010 : 0;
  const wanted = info.isDirectory
    ? old | 0o070 | (mode & 0o2000)
    : old | 0o040 | executable;
  if (wanted !== old) Deno.chmodSync(path, wanted);
  return wanted !== old || info.gid !== root.gid;
}

/** Puts a copy of a file or a tree under a key: cloned where that is possible. */
export async function putSource(
  store: Store,
  key: string,
  src: string | URL,
): Promise<Archive> {
  const source = src instanceof URL ? fromFileUrl(src) : resolve(src);
  await nameOf(key); // refused before anything is looked at
  let isFile: boolean;
  let real: string;
  try {
    isFile = Deno.statSync(source).isFile;
    real = Deno.realPathSync(source);
  } catch (error) {
    throw osFailure("put", source, error);
  }
  if (isWithin(store.layout.root, real)) {
    throw new CacheError(
      `Cannot put "${source}" into "${store.layout.root}", which lies in it`,
      source,
      "refused",
    );
  }
  const { signal } = store.options;
  await using staging = await openCacheStaging(store, key);
  Deno.removeSync(staging.path);
  // A hard link would let whoever writes to the source write to the cache.
  if (isFile) {
    await linkFile(real, staging.path, { mutable: true });
  } else {
    await linkTree(source, staging.path, {
      mutable: ["**"],
      ...signal && { signal },
    });
  }
  return await staging.commit();
}

/** Gives what a key points to; on a miss, builds it, once among all who ask. */
export async function ensureEntry(
  store: Store,
  key: string,
  build: (path: string) => void | Promise<void>,
): Promise<{ entry: Entry; built: boolean }> {
  const found = await getEntry(store, key);
  if (found) return { entry: found, built: false };
  await using staging = await openCacheStaging(store, key);
  const { layout, bucket, options } = store;
  const name = await nameOf(key);
  const lock = layout.in("locks", `build-${bucket}.${name}.lock`);
  using _ = await holdLong(store, lock, `The right to build "${key}"`);
  const meanwhile = await getEntry(store, key);
  if (meanwhile) return { entry: meanwhile, built: false };
  await build(staging.path);
  options.signal?.throwIfAborted();
  await staging.commit();
  // Under the staging's lease, so that no prune comes between.
  const entry = await getEntry(store, key);
  if (entry) return { entry, built: true };
  throw new CacheError(
    `Cannot keep "${key}": its key was taken away at once`,
    layout.root,
    "other",
  );
}
