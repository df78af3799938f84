/**
 * Removes what nobody needs from a cache. It waits for nobody: what is in use stays.
 *
 * Archives are listed before keys. So an archive that no key is found for was there
 * before the keys were read: its publisher still holds its lease, or has placed its
 * key since, which is looked at again under the archive's lock.
 *
 * @module
 */

import { removeTree } from "../old/remove.ts";
import { log } from "../log.ts";
import { removeIfThere } from "../fs/names.ts";
import { osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { join } from "../os/path.ts";
import { headerOf } from "./archive.ts";
import { type Blob, listBlobs, removeBlob } from "./blob.ts";
import { idOf, nameOf } from "./layout.ts";
import { type Found, lastUse, listPointers } from "./list.ts";
import { readPointer } from "./pointer.ts";
import {
  attempt,
  type Held,
  isThere,
  type Store,
  swapLock,
  useRoot,
} from "./store.ts";
import { weigh } from "../old/weigh.ts";

/** Options for `Cache.prune()`. Without any limit, only what no key points to goes. */
export interface PruneOptions {
  /** What has not been used for so many milliseconds goes. */
  maxAge?: number;
  /** So many bytes may stay; the least recently used go first. */
  maxSize?: number;
  /** So many keys and blobs may stay; the least recently used go first. */
  maxEntries?: number;
  /**
   * Whether to look only.
   *
   * @default {false}
   */
  dryRun?: boolean;
  /** Stops the work; what is not removed by then stays. */
  signal?: AbortSignal;
  /** Called after each key, blob and archive that may go. */
  onProgress?: (progress: PruneProgress) => void;
}

/** How far `Cache.prune()` is. */
export interface PruneProgress {
  /** Keys, blobs and archives that were looked at. */
  readonly done: number;
  /** Of so many. */
  readonly total: number;
  /** Bytes that were removed. */
  readonly bytes: number;
}

/** What `Cache.prune()` did, or in a dry run would do. */
export interface PruneReport {
  /** Keys that were removed, by their names in the bucket's folder where no better is known. */
  readonly evicted: readonly {
    readonly bucket: string;
    readonly key: string;
    readonly id: string;
    readonly bytes: number;
  }[];
  /** Blobs that were removed. */
  readonly blobs: number;
  /** Archives that no key pointed to, and what dead processes left. */
  readonly unreferenced: number;
  /** Archives that should have gone, but are in use. */
  readonly inUse: number;
  /** Their bytes. */
  readonly inUseBytes: number;
  /** Bytes of what was removed, each file counted once. */
  readonly bytes: number;
  /** Bytes that the file system has back: what is linked elsewhere takes as much as before. */
  readonly freed: number;
  /** Keys and blobs that stay. */
  readonly entries: number;
  /** Their bytes. */
  readonly size: number;
  /** What could not be removed, and why. */
  readonly failures: readonly {
    readonly path: string;
    readonly message: string;
  }[];
  /** Milliseconds in all. */
  readonly durationMs: number;
}

/** Something that may be evicted. */
interface Candidate {
  readonly lastUse: number;
  readonly bytes: number;
  /** False if it stays, since it is in use or was replaced; `undefined` if that failed. */
  readonly evict: () => Promise<boolean | undefined>;
}

/** Removes what the limits do not allow, and what nobody can reach. */
export async function prune(
  store: Store,
  options: PruneOptions,
): Promise<PruneReport> {
  if (!await store.layout.check()) return new Prune(store, options).report();
  using _ = await useRoot(store);
  return await new Prune(store, options).run();
}

class Prune {
  readonly #store: Store;
  readonly #options: PruneOptions;
  readonly #started = performance.now();
  /** When it is time for a breath. */
  #next = 0;
  readonly #evicted: PruneReport["evicted"][number][] = [];
  readonly #failures: PruneReport["failures"][number][] = [];
  /** Names in `tmp` that were deleted already, as far as that was possible. */
  readonly #doomed = new Set<string>();
  #blobs = 0;
  #unreferenced = 0;
  #inUse = 0;
  #inUseBytes = 0;
  #bytes = 0;
  #freed = 0;
  #entries = 0;
  #size = 0;

  constructor(store: Store, options: PruneOptions) {
    this.#store = store;
    this.#options = options;
  }

  async run(): Promise<PruneReport> {
    const { layout } = this.#store;
    const archives = layout.list(layout.in("archives")).flatMap((name) =>
      idOf(name) === name ? [name] : []
    );
    const pointers = listPointers(this.#store);
    await this.#evictBeyondLimits(pointers);
    const referenced = new Set(pointers.map(({ id }) => id));
    const garbage = archives.filter((id) => !referenced.has(id));
    for (const [i, id] of garbage.entries()) {
      await this.#removeUnreferenced(id);
      await this.#breathe(i + 1, garbage.length);
    }
    await this.#sweep();
    return this.report();
  }

  report(): PruneReport {
    return {
      evicted: this.#evicted,
      blobs: this.#blobs,
      unreferenced: this.#unreferenced,
      inUse: this.#inUse,
      inUseBytes: this.#inUseBytes,
      bytes: this.#bytes,
      freed: this.#freed,
      entries: this.#entries,
      size: this.#size,
      failures: this.#failures,
      durationMs: performance.now() - this.#started,
    };
  }

  /** By age, then the least recently used until the rest is small enough. */
  async #evictBeyondLimits(pointers: readonly Found[]): Promise<void> {
    const { maxAge, maxEntries = Infinity, maxSize = Infinity } = this.#options;
    const all = [
      ...pointers.map((it) => this.#keyCandidate(it)),
      ...listBlobs(this.#store).map((it) => this.#blobCandidate(it)),
    ].sort((a, b) => a.lastUse - b.lastUse);
    const oldest = maxAge === undefined ? -Infinity : Date.now() - maxAge;
    this.#entries = all.length;
    this.#size = all.reduce((sum, { bytes }) => sum + bytes, 0);
    // What can't be removed counts as removed here: nothing newer goes in its stead.
    let [entries, size] = [this.#entries, this.#size];
    for (const [i, { lastUse, bytes, evict }] of all.entries()) {
      await this.#breathe(i, all.length);
      const goes = lastUse <= oldest || lastUse === NEVER ||
        entries > maxEntries || size > maxSize;
      const gone = goes ? await evict() : false;
      if (gone !== false) {
        entries--;
        size -= bytes;
      }
      if (gone) {
        this.#entries--;
        this.#size -= bytes;
      }
    }
  }

  /** Lets a signal be heard, and tells how far it is, ten times a second. */
  async #breathe(done: number, total: number): Promise<void> {
    const { signal, onProgress } = this.#options;
    if (performance.now() < this.#next) return;
    this.#next = performance.now() + 100;
    onProgress?.({ done, total, bytes: this.#bytes });
    await new Promise((resolve) => setTimeout(resolve, 0));
    signal?.throwIfAborted();
  }

  #keyCandidate(found: Found): Candidate {
    const { id } = found;
    const header = id === undefined ? undefined : headerOf(this.#store, id);
    return {
      // A damaged pointer, or one to a damaged archive, is of no use to anybody.
      lastUse: header && id !== undefined ? lastUse(this.#store, id) : NEVER,
      bytes: header?.bytes ?? 0,
      evict: () =>
        this.#tried(
          found.path,
          () =>
            this.#evict(found, header?.key ?? found.name, header?.bytes ?? 0),
        ),
    };
  }

  #blobCandidate(blob: Blob): Candidate {
    const { lastUse, bytes, path, nlink } = blob;
    return {
      lastUse,
      bytes,
      evict: () =>
        this.#tried(path, () => {
          if (!this.#options.dryRun) removeBlob(blob);
          this.#blobs++;
          this.#bytes += bytes;
          if (nlink <= 1) this.#freed += bytes;
          return Promise.resolve(true);
        }),
    };
  }

  /** One that can't be removed does not keep the others: `undefined`, and it is reported. */
  async #tried(
    path: string,
    call: () => Promise<boolean>,
  ): Promise<boolean | undefined> {
    try {
      return await call();
    } catch (error) {
      const { signal } = this.#options;
      if (signal?.aborted && error === signal.reason) throw error;
      this.#failures.push({ path, message: osErrorText(error) });
      return undefined;
    }
  }

  async #evict(found: Found, key: string, bytes: number): Promise<boolean> {
    const { bucket, id } = found;
    const taken = this.#takeKey(found);
    if (taken === "in use") {
      this.#inUse++;
      this.#inUseBytes += bytes;
    }
    if (typeof taken === "string") return false;
    using _ = taken;
    this.#evicted.push({ bucket, key, id: id ?? "", bytes });
    // Its key is gone, whatever becomes of the rest: the next prune finds that.
    await this.#tried(found.path, async () => {
      if (id !== undefined) await this.#removeArchive(id);
      return true;
    });
    return true;
  }

  /**
   * Removes a key, under its lock, so that what is put there meanwhile is not lost.
   *
   * @returns The lock on what it pointed to, or why the key stays.
   */
  #takeKey({ name, path, id }: Found): Held | "in use" | "replaced" {
    const store = this.#store;
    using swap = attempt(store, swapLock(store, name), true, "create");
    if (!swap) return "in use"; // somebody is putting something there
    if (readPointer(path) !== id) return "replaced";
    using held = new DisposableStack();
    // A damaged key points to nothing that could be in use.
    if (id !== undefined) {
      const lease = this.#lock(id);
      if (!lease) return "in use";
      held.use(lease);
    }
    if (!this.#options.dryRun) {
      log.debug(() => `Evicting "${path}" (${id})`);
      patiently(() => Deno.removeSync(path));
    }
    return held.move();
  }

  async #removeUnreferenced(id: string): Promise<void> {
    const { layout } = this.#store;
    await this.#tried(layout.archive(id), async () => {
      using lease = this.#lock(id);
      if (!lease) {
        this.#inUse++;
        this.#inUseBytes += headerOf(this.#store, id)?.bytes ?? 0;
        return false;
      }
      if (!isThere(layout.archive(id))) return false; // a peer removed it
      if (await this.#hasKey(id)) return false;
      this.#unreferenced++;
      await this.#removeArchive(id);
      return true;
    });
  }

  /** Whether its key was placed after the keys were listed. */
  async #hasKey(id: string): Promise<boolean> {
    const header = headerOf(this.#store, id);
    if (!header) return false;
    const folder = this.#store.layout.bucket(header.bucket);
    return readPointer(join(folder, await nameOf(header.key))) === id;
  }

  /** The lock on an archive that nobody uses; `undefined` if somebody does. */
  #lock(id: string): Held | undefined {
    return attempt(this.#store, this.#store.layout.lease(id), true, "create");
  }

  /** Takes an archive out of sight at one stroke, and deletes it. Under its lock. */
  async #removeArchive(id: string): Promise<void> {
    const { layout } = this.#store;
    const archive = layout.archive(id);
    const name = `${id}.gone`;
    const doomed = layout.in("tmp", name);
    if (!isThere(archive)) return;
    const { bytes, freed } = weigh(join(archive, "tree"));
    if (!this.#options.dryRun) {
      patiently(() => Deno.renameSync(archive, doomed));
      this.#doomed.add(name);
      await this.#delete(doomed);
      removeIfThere(layout.lease(id));
      log.debug(() => `Removed ${id}`);
    }
    this.#bytes += bytes;
    this.#freed += freed;
  }

  async #delete(path: string): Promise<void> {
    const { signal } = this.#options;
    for (const failure of await removeTree(path, { busyTimeout: 0, signal })) {
      this.#failures.push(failure);
    }
  }

  /** What dead processes left, and locks that nobody needs. */
  async #sweep(): Promise<void> {
    const { layout } = this.#store;
    const folder = layout.in("tmp");
    for (const name of layout.list(folder)) {
      await this.#tried(join(folder, name), () => this.#sweepTmp(name));
    }
    if (this.#options.dryRun) return;
    for (const name of layout.list(layout.in("quarantine"))) {
      if (idOf(name) !== name) continue;
      const path = layout.in("quarantine", name);
      await this.#tried(path, async () => {
        this.#unreferenced++;
        const { bytes, freed } = weigh(path);
        await this.#delete(path);
        this.#bytes += bytes;
        this.#freed += freed;
        return true;
      });
    }
    for (const name of layout.list(layout.in("leases"))) {
      const id = idOf(name);
      if (id === undefined || this.#isKnown(id)) continue;
      this.#removeLock(layout.in("leases", name), () => !this.#isKnown(id));
    }
    for (const name of layout.list(layout.in("locks"))) {
      // Those for an instant are sixteen; a note is swept by who holds the lock next.
      if (!/^(build|blob)-.*\.lock$/.test(name)) continue;
      this.#removeLock(layout.in("locks", name), () => true);
    }
  }

  async #sweepTmp(name: string): Promise<boolean> {
    const { layout } = this.#store;
    const id = idOf(name);
    // A name that is nobody's: nobody can say whether it is in use.
    if (id === undefined || this.#doomed.has(name)) return false;
    using lease = this.#lock(id);
    if (!lease) return false; // somebody is at it, or another prune
    const path = layout.in("tmp", name);
    if (!isThere(path)) return false; // its publisher, or a peer, is done with it
    this.#unreferenced++;
    if (this.#options.dryRun) return true;
    const { bytes, freed } = weigh(path);
    await this.#delete(path);
    if (!this.#isKnown(id)) removeIfThere(layout.lease(id));
    this.#bytes += bytes;
    this.#freed += freed;
    return true;
  }

  #isKnown(id: string): boolean {
    const { layout } = this.#store;
    return [layout.archive(id), layout.in("tmp", id)].some(isThere);
  }

  /** Those who wait for it notice that it went (see `attemptLock()`). */
  #removeLock(path: string, isDone: () => boolean): void {
    try {
      using lock = attempt(this.#store, path, true, "existing");
      if (lock && isDone()) removeIfThere(path);
    } catch (error) {
      log.trace(() => `"${path}" stays: ${osErrorText(error)}`);
    }
  }
}

/** Last used before everything else. */
const NEVER = -1;
