import { kindOfError } from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { removeQuietly } from "../fs/names.ts";
import { type Failure, removeTree } from "../fs/remove.ts";
import { weigh, type Weight } from "../fs/weigh.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import {
  type ArchiveId,
  leaseName,
  MANIFEST,
  temporaryName,
} from "./layout.ts";
import { headerOf } from "./header.ts";
import type { Header } from "./manifest.ts";
import { look, type Root, toFailure } from "./root.ts";
import {
  onDisk,
  removeUnused,
  type Stored,
  StoredFiles,
  storedNamesOf,
} from "./stored.ts";
import { attemptArchive, type LockedArchive } from "./locks.ts";
import type { Store } from "./store.ts";

const NOTHING: Weight = { bytes: 0, freed: 0 };

/** Removes things from a cache, and counts. */
export class Removal {
  /** What could not be removed, and why. */
  readonly failures: Failure[] = [];
  /** Archives that no key pointed to, and what dead processes left. */
  unreferenced = 0;
  /** Of files, each counted once. */
  bytes = 0;
  /** On the disk, at most. */
  freed = 0;
  readonly dryRun: boolean;
  /** Names in `tmp` that were deleted already, as far as that was possible. */
  readonly doomed = new Set<string>();
  readonly #root: Root;
  readonly #store: Store;
  readonly #signal: AbortSignal | undefined;

  constructor(
    root: Root,
    store: Store,
    { signal, dryRun }: { signal: AbortSignal | undefined; dryRun: boolean },
  ) {
    this.#root = root;
    this.#store = store;
    this.#signal = signal;
    this.dryRun = dryRun;
  }

  /** One that can't be removed does not keep the others: `undefined`, and it is noted. */
  async tried<T>(path: string, call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call();
    } catch (error) {
      this.note(path, error);
      return undefined;
    }
  }

  /** Notes that something could not be removed, or read. */
  note(path: string, error: unknown): void {
    const signal = this.#signal;
    if (signal?.aborted && error === signal.reason) throw error;
    this.failures.push(toFailure(path, error));
  }

  count({ bytes, freed }: Weight): void {
    this.bytes += bytes;
    this.freed += freed;
  }

  /** The lock on an archive that nobody uses; `undefined` if somebody does. */
  lock(
    id: ArchiveId,
    folder: Directory = this.#root.folder("archives"),
    name: string = id,
  ): LockedArchive | undefined {
    const how = { folder, name, exclusive: true, missing: "need" } as const;
    return attemptArchive(this.#store, this.#root, id, how);
  }

  /** What it takes. What can't be weighed is removed all the same. */
  weigh(folder: Directory, name: string): Weight {
    try {
      return weigh(folder, name);
    } catch (error) {
      log.debug(() =>
        `Not weighed: "${pathIn(folder, name)}": ${osErrorText(error)}`
      );
      return NOTHING;
    }
  }

  /** Takes an archive out of sight atomically, and deletes it. Under its lock. */
  async archive(id: ArchiveId): Promise<void> {
    const archives = this.#root.folder("archives");
    if (!look(archives, id)) return;
    const weight = this.#weighArchive(archives, id);
    const stored = await storedNamesOf(this.#root, id);
    if (!this.dryRun) {
      const name = temporaryName(id, "gone");
      const tmp = this.#root.folder("tmp");
      let gone: boolean;
      if (this.#moved(archives, id, tmp, name)) {
        this.doomed.add(name);
        gone = await this.tree(tmp, name);
      } else gone = await this.tree(archives, id);
      if (gone || !look(archives, id)) {
        removeQuietly(this.#root.folder("leases"), leaseName(id));
      }
      log.debug(() => `Removed ${id}`);
    }
    this.count(weight);
    this.#unshare(stored);
  }

  /** What no other archive has of its files goes as well. */
  #unshare(names: ReadonlyMap<string, number>): void {
    using files = new StoredFiles(this.#root);
    for (const [name, times] of names) {
      try {
        const stored = files.look(name);
        if (!stored) continue;
        if (this.dryRun) this.#links.set(name, this.linksOf(stored) - times);
        if (this.linksOf(stored) > 1) continue;
        if (!this.dryRun) removeUnused(stored);
        this.freed += onDisk(stored.status);
      } catch (error) {
        this.note(this.#root.path, error);
      }
    }
  }

  /** How many links a stored file has; in a dry run, would have by now. */
  linksOf({ name, status }: Stored): number {
    return this.#links.get(name) ?? status.links;
  }

  readonly #links = new Map<string, number>();

  /** Its manifest takes room, but is not among the bytes of its files. */
  #weighArchive(archives: Directory, id: ArchiveId): Weight {
    const header = this.#headerOf(id);
    if (header) return { bytes: header.bytes, freed: header.ownBytes };
    const { bytes, freed } = this.weigh(archives, id);
    try {
      using archive = archives.open(id);
      const manifest = archive.look(MANIFEST)?.size ?? 0;
      return { bytes: Math.max(0, bytes - manifest), freed };
    } catch {
      return NOTHING; // no directory: its removal says more
    }
  }

  #headerOf(id: ArchiveId): Header | undefined {
    try {
      return headerOf(this.#root, id);
    } catch {
      return undefined; // its removal says more
    }
  }

  /** False where it can't be moved: of an overlay's lower layer, say. */
  #moved(from: Directory, name: string, to: Directory, newName: string) {
    try {
      patiently(() => from.rename(name, to, newName));
      return true;
    } catch (error) {
      const path = pathIn(from, name);
      if (kindOfError(error) !== "cross-device") throw error;
      log.debug(() => `Removed in place: "${path}": ${osErrorText(error)}`);
      return false;
    }
  }

  /** Whether nothing is left. What is left is noted. */
  async tree(folder: Directory, name: string): Promise<boolean> {
    const signal = this.#signal;
    const left = await removeTree(folder, name, { busyTimeout: 0, signal });
    for (const failure of left) this.failures.push(failure);
    return left.length === 0;
  }
}
