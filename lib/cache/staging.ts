/**
 * Where what will be put under a key is built, and how it is put there.
 *
 * @module
 */

import type { Place } from "../fs/open.ts";
import { removeTree } from "../fs/remove.ts";
import { nothingBuilt } from "../rebuild/built.ts";
import type {
  Archive,
  CacheStaging,
  CommitOptions,
  Committed,
} from "./archive.ts";
import { CacheError, osFailure } from "../error.ts";
import { type Directory, pathIn, type Status } from "../fs/directory.ts";
import { realPathOf } from "../fs/guard_rails.ts";
import type { Move } from "../fs/links.ts";
import { isEmpty } from "../fs/list.ts";
import { log } from "../log.ts";
import { checkOptions, checkType } from "../os/arguments.ts";
import { osErrorText } from "../os/error.ts";
import { patiently, untilLetGo } from "../os/patience.ts";
import { printable } from "../os/text.ts";
import { adopt } from "./adopt.ts";
import { type Content, readContent } from "./content.ts";
import { ContentStore } from "./content_store.ts";
import { entryIn } from "./entry.ts";
import { flush, flushDirectory } from "./flush.ts";
import {
  type KeyName,
  MANIFEST,
  nameOf,
  swapLockName,
  TREE,
} from "./layout.ts";
import { manifestBytes, sizeOnDisk } from "./manifest.ts";
import { placePointer } from "./pointer.ts";
import { putKnown } from "./put_known.ts";
import { pruneWhenDue } from "./limits.ts";
import { failure, isShared, look, shareDirectory, writeFile } from "./root.ts";
import { hold } from "./locks.ts";
import { closeSlot, openSlot, type Slot, type Store } from "./store.ts";

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
   * @param when See {@linkcode publish}.
   */
  async put(
    what: "foreign" | "own",
    { allowEmpty = what === "own", onProgress }: CommitOptions,
    copied?: Amount,
    when?: When,
  ): Promise<Committed> {
    const { root } = this.slot;
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
    const archive = await this.publish(content, when);
    const { marked: mentions } = content;
    if (mentions.length > 0) this.#warn(mentions);
    return { ...archive, mentions };
  }

  /**
   * Puts a tree of which most files are in the cache already.
   *
   * @returns `undefined` if it is none: then nothing is in the slot.
   */
  async putKnown(
    source: Place,
    options: Parameters<typeof putKnown>[2],
  ): Promise<Archive | undefined> {
    const { root, directory } = this.slot;
    const status = root.status();
    if (isShared(status)) return undefined; // modes are the group's
    const content = await putKnown(this.slot, source, options);
    if (content) return await this.publish(content);
    if (look(directory, TREE)) {
      const { signal } = options;
      await removeTree(directory, TREE, { busyTimeout: 1000, signal });
    }
    return undefined;
  }

  /** Writes down what is in the slot, and places the key. */
  async publish(content: Content, when: When = "always"): Promise<Archive> {
    const status = this.slot.root.status();
    const { durable, signal } = this.#store.options;
    const { id, root, directory } = this.slot;
    const archive = this.#describe(content);
    try {
      const { ownBytes } = sizeOnDisk(directory, content);
      const header = headerOf({ ...archive, ownBytes }, content);
      const bytes = await manifestBytes(header, content);
      writeFile(directory, MANIFEST, bytes, status, durable === true);
      if (durable) {
        await flush(directory, TREE);
        flushDirectory(directory);
      }
      open(directory, status);
      const archives = root.folder("archives");
      const rename = () => root.folder("tmp").rename(id, archives, id);
      await untilLetGo(() => patiently(rename), signal);
      this.#state = "moved";
      if (durable) flushDirectory(archives);
      await this.#place(when);
    } catch (error) {
      if (error === signal?.reason) throw error;
      throw failure("put into the cache", root.path, error);
    }
    log.debug(() => `Put "${printable(this.#key)}" as ${id}`);
    await pruneWhenDue(root, this.#store, id);
    return archive;
  }

  #refuseEmpty(): void {
    const { root, directory } = this.slot;
    try {
      if (look(directory, TREE)?.kind !== "directory") return;
      using tree = patiently(() => directory.open(TREE));
      if (!isEmpty(tree)) return;
    } catch (error) {
      throw failure("put into the cache", root.path, error);
    }
    throw nothingBuilt(`put "${printable(this.#key)}"`, this.path);
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
          ? await adopt(directory, status, this.#move(), signal)
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
      const { from, to } = this.#move();
      const trees = [...from, to];
      using store = new ContentStore(root, directory);
      const how = { signal, onRead, mark, trees, store };
      return await readContent(directory, how);
    } catch (error) {
      if (signal?.aborted && error === signal.reason) throw error;
      // Where somebody built, the path there tells something.
      if (what === "foreign" || !(error instanceof CacheError)) throw error;
      const said = osErrorText(error.cause ?? error);
      const message = `Cannot put into the cache "${root.path}": ${said}`;
      throw new CacheError(message, root.path, error.kind, error);
    }
  }

  /** The path that the tree has once it is put. */
  get treeInArchive(): string {
    const { id, root } = this.slot;
    return pathIn({ path: pathIn(root.folder("archives"), id) }, TREE);
  }

  #move(): Move {
    const real = pathIn({ path: realPathOf(this.slot.directory) }, TREE);
    return { from: [this.path, real], to: this.treeInArchive };
  }

  #describe(content: Content): Archive {
    const { files, bytes, digest } = content;
    const { bucket } = this.#store;
    const created = new Date().toISOString();
    const { id, directory } = this.slot;
    const { diskBytes } = sizeOnDisk(directory, content);
    const size = { files, bytes, diskBytes };
    return { bucket, key: this.#key, id, created, ...size, digest };
  }

  async #place(when: When): Promise<void> {
    const { id, root } = this.slot;
    const name = this.#name;
    using _ = await hold(
      this.#store,
      root.folder("locks"),
      swapLockName(name),
      `The key "${printable(this.#key)}"`,
    );
    if (when === "on a miss") {
      using entry = await entryIn(root, this.#store, this.#key, name);
      if (entry) return; // put meanwhile, so ours goes with the slot
    }
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
    await closeSlot(this.slot, this.#store.options.signal);
  }
}

/** Whether what stands under the key by then is replaced. */
type When = "always" | "on a miss";

/** Files, and their bytes. */
export interface Amount {
  readonly files: number;
  readonly bytes: number;
}

function headerOf(
  archive: Archive & { ownBytes: number },
  { directories }: Content,
) {
  const { bucket, key, created, files, bytes, digest } = archive;
  const { diskBytes, ownBytes } = archive;
  const size = { files, directories, bytes, diskBytes, ownBytes };
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
