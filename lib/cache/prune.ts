/**
 * Removes what nobody needs from a cache. It waits for nobody: what is in use stays.
 *
 * Archives are listed before keys. So an archive that no key is found for was there
 * before the keys were read: its publisher still holds its lease, or has placed its
 * key since, which is looked at again under the archive's lock.
 *
 * @module
 */

import { CacheError } from "../error.ts";
import { pathIn } from "../fs/directory.ts";
import { log } from "../log.ts";
import { Breath, patiently } from "../os/patience.ts";
import { type Blob, correctBlob, listBlobs, removeBlob } from "./blobs.ts";
import { notePrune, renewCounters } from "./counters.ts";
import { headerOf } from "./header.ts";
import { type ArchiveId, idOf, nameOf, swapLockName } from "./layout.ts";
import { type Found, pointers } from "./list.ts";
import {
  type Done,
  type Evicted,
  NOTHING,
  type PruneOptions,
  type PruneProgress,
  type PruneReport,
} from "./prune_options.ts";
import { isPlaced } from "./placed.ts";
import { readPointer } from "./pointer.ts";
import { Removal } from "./removal.ts";
import { look, namesIn, type Root } from "./root.ts";
import { correct, lastUse } from "./last_use.ts";
import { attempt, type LockedArchive } from "./locks.ts";
import { isCache, type Store, sweepUsers, useRoot } from "./store.ts";
import {
  onDisk,
  removeUnused,
  StoredFiles,
  storedIn,
  storedNamesOf,
} from "./stored.ts";
import { sweep } from "./sweep.ts";

/** Something that may be evicted. */
interface Candidate {
  readonly lastUse: number;
  /** On the disk, and nobody else's. */
  readonly bytes: number;
  /** The archive that a key points to. */
  readonly id?: ArchiveId;
  /** False if it stays, since it is in use or was replaced; `undefined` if that failed. */
  readonly evict: () => Promise<boolean | undefined>;
}

/** Removes what the limits do not allow, and what nobody can reach. */
export async function prune(
  store: Store,
  options: PruneOptions,
): Promise<PruneReport> {
  const started = performance.now();
  using root = await isCache(store) ? await useRoot(store) : undefined;
  if (!options.dryRun && root) sweepUsers(store);
  const work = root && new Prune(root, store, options);
  await work?.run();
  const done = work?.report() ?? NOTHING;
  const outcome = !root
    ? "absent"
    : done.failures.length > 0
    ? "incomplete"
    : options.dryRun
    ? "would-prune"
    : "pruned";
  const durationMs = performance.now() - started;
  return { path: store.path, outcome, ...done, durationMs };
}

/** A prune of a cache that is held. */
export class Prune {
  readonly #root: Root;
  readonly #store: Store;
  readonly #options: PruneOptions & { keep?: ArchiveId };
  readonly #removal: Removal;
  readonly #breath: Breath;
  readonly #evicted: Evicted[] = [];
  /** How many keys point to each archive. */
  readonly #keys = new Map<ArchiveId, number>();
  #progress: Omit<PruneProgress, "bytes"> = {
    phase: "reading",
    done: 0,
    total: 0,
  };
  #blobs = 0;
  #inUse = 0;
  #inUseBytes = 0;
  #entries = 0;
  #size = 0;

  /**
   * A prune.
   *
   * @param options `keep`: an archive that stays, whatever the limits are.
   */
  constructor(
    root: Root,
    store: Store,
    options: PruneOptions & { keep?: ArchiveId },
  ) {
    const { signal, dryRun = false } = options;
    this.#root = root;
    this.#store = store;
    this.#options = options;
    this.#removal = new Removal(root, store, { signal, dryRun });
    this.#breath = new Breath(signal, () => this.#tell());
  }

  #tell(): void {
    const { bytes } = this.#removal;
    this.#options.onProgress?.({ ...this.#progress, bytes });
  }

  /** Removes what may go. Rejects with the signal's reason. */
  async run(): Promise<void> {
    if (!this.#options.dryRun) {
      notePrune(this.#root);
      renewCounters(this.#root);
    }
    const archives = this.#archives();
    const told = (path: string, error: unknown) =>
      this.#removal.note(path, error);
    const all: Candidate[] = [];
    for (const found of pointers(this.#root, told)) {
      if (found.id !== undefined) this.#refer(found.id, 1);
      const candidate = this.#keyCandidate(found);
      if (candidate) all.push(candidate);
      await this.#breathe("reading", all.length, all.length);
    }
    for (const blob of listBlobs(this.#root, told)) {
      if (blob.isAhead && !this.#options.dryRun) {
        await this.#removal.tried(blob.path, () => {
          correctBlob(this.#root, blob);
          return Promise.resolve();
        });
      }
      all.push(this.#blobCandidate(blob));
    }
    await this.#evictBeyondLimits(all);
    const garbage = archives.filter((id) => !this.#keys.has(id));
    for (const [i, id] of garbage.entries()) {
      await this.#breathe("removing", i, garbage.length);
      this.#tell(); // it may take long
      await this.#removeUnreferenced(id);
    }
    await sweep(this.#root, this.#store, this.#removal);
    this.#size += await this.#sweepStore();
  }

  /** Removes what no archive has any more. @returns What the rest takes. */
  async #sweepStore(): Promise<number> {
    let size = 0;
    const told = (path: string, error: unknown) =>
      this.#removal.note(path, error);
    for (const stored of storedIn(this.#root, told)) {
      const pause = this.#breath.due();
      if (pause) await pause;
      const links = this.#removal.linksOf(stored);
      if (links > 1) size += onDisk(stored.status);
      if (stored.status.links > 1) continue;
      await this.#removal.tried(pathIn(stored.shard, stored.name), () => {
        if (!this.#options.dryRun) removeUnused(stored);
        this.#removal.count({ bytes: 0, freed: onDisk(stored.status) });
        return Promise.resolve();
      });
    }
    return size;
  }

  /** What was done up to now. */
  report(): Done {
    const { bytes, freed, failures, unreferenced } = this.#removal;
    return {
      evicted: this.#evicted,
      blobs: this.#blobs,
      unreferenced,
      inUse: this.#inUse,
      inUseBytes: this.#inUseBytes,
      removedBytes: bytes,
      freedBytes: freed,
      entries: this.#entries,
      diskBytes: this.#size,
      failures,
    };
  }

  /** Counts a key that points to an archive, or one that does so no longer. */
  #refer(id: ArchiveId, change: 1 | -1): number {
    const keys = (this.#keys.get(id) ?? 0) + change;
    this.#keys.set(id, keys);
    return keys;
  }

  #archives(): ArchiveId[] {
    try {
      const folder = this.#root.ifThere("archives");
      return !folder ? [] : namesIn(folder).flatMap((name) => {
        const id = idOf(name);
        return id !== undefined && id === name ? [id] : [];
      });
    } catch (error) {
      const path = error instanceof CacheError ? error.path : this.#root.path;
      this.#removal.note(path, error);
      return [];
    }
  }

  /** By age, then the least recently used until the rest is small enough. */
  async #evictBeyondLimits(all: Candidate[]): Promise<void> {
    const { maxAge, maxEntries = Infinity, maxSize = Infinity } = this.#options;
    all.sort((a, b) => a.lastUse - b.lastUse);
    const oldest = maxAge === undefined ? -Infinity : Date.now() - maxAge;
    this.#entries = all.length;
    this.#size = all.reduce((sum, { bytes }) => sum + bytes, 0);
    const sizes = await this.#sizesOf(all);
    // What can't be removed counts as removed here: nothing newer goes in its stead.
    let entries = this.#entries;
    let size = sizes.reduce((sum, it) => sum + it, 0);
    for (const [i, { lastUse, bytes, evict }] of all.entries()) {
      await this.#breathe("removing", i, all.length);
      const goes = lastUse <= oldest || lastUse === NEVER ||
        entries > maxEntries || size > maxSize;
      if (goes) this.#tell(); // it may take long
      const gone = goes ? await evict() : false;
      if (gone !== false) {
        entries--;
        size -= sizes[i]!;
      }
      if (gone) {
        this.#entries--;
        this.#size -= bytes;
      }
    }
  }

  /**
   * What each takes on the disk that nothing newer has, if that matters. What somebody
   * has as a hard link is nobody's here: to evict more would not free it.
   */
  async #sizesOf(all: readonly Candidate[]): Promise<number[]> {
    const { maxSize = Infinity } = this.#options;
    const sizes = all.map(({ bytes }) => bytes);
    const mayFit = maxSize === Infinity ||
      this.#size + await this.#sizeOfStore() <= maxSize;
    if (mayFit) return sizes;
    const met = new Set<string>();
    using files = new StoredFiles(this.#root);
    for (let i = all.length - 1; i >= 0; i--) {
      const { id } = all[i]!;
      const names = id === undefined ? [] : await storedNamesOf(this.#root, id);
      for (const [name] of names) {
        if (met.has(name)) continue;
        met.add(name);
        const stored = files.look(name);
        if (stored) sizes[i]! += onDisk(stored.status);
      }
      const pause = this.#breath.due();
      if (pause) await pause;
    }
    return sizes;
  }

  /** Bytes on the disk of what archives share. */
  async #sizeOfStore(): Promise<number> {
    let size = 0;
    const told = (path: string, error: unknown) =>
      this.#removal.note(path, error);
    for (const { status } of storedIn(this.#root, told)) {
      if (status.links > 1) size += onDisk(status);
      const pause = this.#breath.due();
      if (pause) await pause;
    }
    return size;
  }

  /** Lets a signal be heard, and tells how far it is. */
  async #breathe(
    phase: PruneProgress["phase"],
    done: number,
    total: number,
  ): Promise<void> {
    this.#progress = { phase, done, total };
    const pause = this.#breath.due();
    if (pause) await pause;
  }

  /** `undefined` if its archive can't be read: it stays, and is told. */
  #keyCandidate(found: Found): Candidate | undefined {
    const { bucket, id, path } = found;
    try {
      const header = id === undefined ? undefined : headerOf(this.#root, id);
      const { bytes = 0, diskBytes = 0, key = found.name } = header ?? {};
      const { ownBytes = 0 } = header ?? {};
      const known = { bucket, key, id: id ?? "", bytes, diskBytes };
      const evict = (what: Evicted) => () =>
        this.#removal.tried(path, () => this.#evict(found, what));
      // A damaged pointer, or one to a damaged archive, is of no use to anybody.
      if (!header || id === undefined) {
        return { lastUse: NEVER, bytes: ownBytes, evict: evict(known) };
      }
      if (!this.#options.dryRun) correct(this.#root, id);
      const used = lastUse(this.#root, id);
      const what = { ...known, lastUse: new Date(used).toISOString() };
      return { lastUse: used, bytes: ownBytes, id, evict: evict(what) };
    } catch (error) {
      this.#removal.note(path, error);
      return undefined;
    }
  }

  #blobCandidate(blob: Blob): Candidate {
    const { lastUse, bytes, diskBytes, path, nlink } = blob;
    return {
      lastUse,
      bytes: diskBytes,
      evict: () =>
        this.#removal.tried(path, () => {
          if (!this.#options.dryRun) removeBlob(this.#root, blob);
          this.#blobs++;
          this.#removal.count({ bytes, freed: nlink <= 1 ? diskBytes : 0 });
          return Promise.resolve(true);
        }),
    };
  }

  async #evict(found: Found, what: Evicted): Promise<boolean> {
    const { id, path } = found;
    if (id !== undefined && id === this.#options.keep) return false;
    const taken = await this.#takeKey(found);
    if (taken === "in use") {
      this.#inUse++;
      this.#inUseBytes += what.bytes;
    }
    if (typeof taken === "string") return false;
    using _ = taken;
    this.#evicted.push(what);
    // Its key is gone, whatever becomes of the rest: the next prune finds that.
    await this.#removal.tried(path, async () => {
      // Where somebody copied a key, the other one still needs it.
      const isLast = id !== undefined && this.#refer(id, -1) === 0;
      if (isLast) await this.#removal.archive(id);
      return true;
    });
    return true;
  }

  /**
   * Removes a key, under its lock, so that what is put there meanwhile is not lost.
   *
   * @returns The lock on what it pointed to, or why the key stays.
   */
  async #takeKey(
    { folder, name, path, id }: Found,
  ): Promise<LockedArchive | "in use" | "replaced"> {
    const locks = this.#root.folder("locks");
    const lock = swapLockName(name);
    using swap = attempt(this.#store, locks, lock, true, "create");
    if (!swap) return "in use"; // somebody is putting something there
    if (readPointer(folder, name) !== id) return "replaced";
    const kind = look(folder, name)?.kind;
    if (kind === undefined) return "replaced";
    using held = new DisposableStack();
    // A damaged key points to nothing that could be in use.
    if (id !== undefined) {
      const lease = this.#removal.lock(id);
      if (!lease) return "in use";
      held.use(lease);
      if (await isPlaced(this.#root, id)) return "in use";
    }
    if (!this.#options.dryRun) {
      log.debug(() => `Evicting "${path}" (${id})`);
      if (kind === "directory") await this.#removal.tree(folder, name);
      else patiently(() => folder.remove(name));
    }
    const kept = held.move();
    return { directory: undefined, [Symbol.dispose]: () => kept.dispose() };
  }

  async #removeUnreferenced(id: ArchiveId): Promise<void> {
    const folder = this.#root.folder("archives");
    await this.#removal.tried(pathIn(folder, id), async () => {
      using lease = this.#removal.lock(id);
      if (!lease || await isPlaced(this.#root, id)) {
        this.#inUse++;
        this.#inUseBytes += headerOf(this.#root, id)?.bytes ?? 0;
        return false;
      }
      if (!look(folder, id)) return false; // a peer removed it
      if (await this.#hasKey(id)) return false;
      this.#removal.unreferenced++;
      await this.#removal.archive(id);
      return true;
    });
  }

  /** Whether its key was placed after the keys were listed. */
  async #hasKey(id: ArchiveId): Promise<boolean> {
    const header = headerOf(this.#root, id);
    const bucket = header && this.#root.bucketIfThere(header.bucket);
    if (!header || !bucket) return false;
    return readPointer(bucket, await nameOf(header.key)) === id;
  }
}

/** Last used before everything else. */
const NEVER = -1;
