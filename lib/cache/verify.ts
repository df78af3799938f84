import { CacheError } from "../error.ts";
import { pathIn } from "../fs/directory.ts";
import { type Failure, removeTree } from "../fs/remove.ts";
import { LockedError, waitFor } from "../lock/file.ts";
import { removeQuietly } from "../fs/names.ts";
import { Breath, patiently } from "../os/patience.ts";
import { damageOf, listBlobs, removeBlob } from "./blobs.ts";
import { compare, type Compared } from "./compare.ts";
import {
  digester,
  type DigestIn,
  type ReadOptions,
  type SeenFile,
} from "./content.ts";
import { headerOf } from "./header.ts";
import { type ArchiveId, idOf, leaseName, parseStored } from "./layout.ts";
import { type Found, pointers } from "./list.ts";
import { look, namesIn, type Root, toFailure } from "./root.ts";
import { attemptArchive, INSTANT } from "./locks.ts";
import { quarantine, removePointer } from "./set_aside.ts";
import { isCache, type Store, useRoot } from "./store.ts";
import { type Stored, storedIn } from "./stored.ts";
import type { Damage, VerifyOptions, VerifyReport } from "./verify_options.ts";

/** Compares everything with what was put. */
export async function verify(
  store: Store,
  options: VerifyOptions,
): Promise<VerifyReport> {
  const verifying = new Verifying(store, options);
  using root = await isCache(store) ? await useRoot(store) : undefined;
  if (root) await verifying.run(root);
  return verifying.report(root !== undefined);
}

class Verifying {
  readonly #store: Store;
  readonly #options: VerifyOptions;
  readonly #started = performance.now();
  readonly #damaged: Damage[] = [];
  readonly #failures: Failure[] = [];
  #archives = 0;
  #blobs = 0;
  #bytes = 0;
  #skipped = 0;

  constructor(store: Store, options: VerifyOptions) {
    this.#store = store;
    this.#options = options;
  }

  report(isThere: boolean): VerifyReport {
    const outcome = !isThere
      ? "absent"
      : this.#damaged.length > 0
      ? "damaged"
      : this.#failures.length > 0
      ? "incomplete"
      : "verified";
    return {
      path: this.#store.path,
      outcome,
      archives: this.#archives,
      blobs: this.#blobs,
      readBytes: this.#bytes,
      damaged: this.#damaged,
      failures: this.#failures,
      skipped: this.#skipped,
      durationMs: performance.now() - this.#started,
    };
  }

  async run(root: Root): Promise<void> {
    const { signal, onProgress } = this.#options;
    const ids = archivesOf(root);
    const totalArchives = ids.length;
    const totalBytes = onProgress ? await this.#sizeOf(root, ids) : 0;
    let read = 0;
    const onRead = (size: number) => {
      // Names of one file are counted once in all.
      read = Math.min(read + size, Math.max(read, totalBytes));
      const archives = this.#archives;
      onProgress?.({ archives, bytes: read, totalArchives, totalBytes });
    };
    // What archives share is read once.
    const seen = new Map<string, SeenFile>();
    const how = { signal, onRead, seen };
    for (const id of ids) {
      signal?.throwIfAborted();
      const path = pathIn(root.folder("archives"), id);
      await this.#tried(path, () => this.#archive(root, id, how));
      // Of what was read already nothing was told.
      if (this.#bytes > read) onRead(this.#bytes - read);
    }
    const told = (path: string, error: unknown) => this.#note(path, error);
    const digestIn = await digester(how);
    for (const stored of storedIn(root, told)) {
      signal?.throwIfAborted();
      const path = pathIn(stored.shard, stored.name);
      await this.#tried(path, () => this.#stored(stored, digestIn));
    }
    for (const found of pointers(root, told)) {
      await this.#tried(found.path, () => this.#pointer(root, found));
    }
    for (const blob of listBlobs(root, told)) {
      signal?.throwIfAborted();
      const { path } = blob;
      await this.#tried(path, async () => {
        const wrong = await damageOf(root, blob, signal);
        this.#blobs++;
        this.#bytes += blob.bytes;
        if (wrong === undefined) return;
        removeBlob(root, blob);
        this.#damaged.push({ path, wrong: [wrong], outcome: "removed" });
      });
    }
  }

  /** Of a file of the content store that nobody may link any more, only the name goes. */
  async #stored(
    { shard, name }: Stored,
    digestIn: DigestIn,
  ): Promise<void> {
    const wanted = parseStored(name)!.digest;
    const read = await digestIn(shard, name);
    if (read === undefined || read.digest === wanted) return;
    removeQuietly(shard, name);
    if (!read.isFirst) return; // the archives that have it are told
    const wrong = [`its SHA-256 is ${read.digest}`];
    const path = pathIn(shard, name);
    this.#damaged.push({ path, wrong, outcome: "removed" });
  }

  /** What can't be read does not keep the rest. */
  async #tried(path: string, call: () => Promise<void>): Promise<void> {
    try {
      await call();
    } catch (error) {
      this.#note(path, error);
    }
  }

  #note(path: string, error: unknown): void {
    const { signal } = this.#options;
    if (signal?.aborted && error === signal.reason) throw error;
    const at = error instanceof CacheError && error.path ? error.path : path;
    this.#failures.push(toFailure(at, error));
  }

  /** What the manifests say that there is to read. */
  async #sizeOf(root: Root, ids: readonly ArchiveId[]): Promise<number> {
    const breath = new Breath(this.#options.signal);
    let bytes = 0;
    for (const id of ids) {
      const pause = breath.due();
      if (pause) await pause;
      try {
        bytes += headerOf(root, id)?.bytes ?? 0;
      } catch {
        // told when it is read
      }
    }
    return bytes;
  }

  async #archive(
    root: Root,
    id: ArchiveId,
    options: ReadOptions,
  ): Promise<void> {
    const folder = root.folder("archives");
    const compared = await this.#compare(root, id, options);
    if (!compared) return;
    const { wrong, header } = compared;
    this.#archives++;
    this.#bytes += header?.bytes ?? 0;
    if (wrong.length === 0) return;
    // Its key first: from then on nobody new comes.
    const told = (path: string, error: unknown) => this.#note(path, error);
    for (const found of pointers(root, told)) {
      if (found.id === id) await this.#removePointer(root, found);
    }
    const outcome = await this.#quarantine(root, id);
    if (!outcome) return;
    const damage = { path: pathIn(folder, id), wrong, outcome };
    this.#damaged.push(header ? { ...damage, key: header.key } : damage);
  }

  /** `undefined` if there is nothing to compare. */
  async #compare(
    root: Root,
    id: ArchiveId,
    options: ReadOptions,
  ): Promise<Compared | undefined> {
    const folder = root.folder("archives");
    const kind = look(folder, id)?.kind;
    if (kind === undefined) return undefined; // a peer removed it
    if (kind !== "directory") return { wrong: ["It is not a directory"] };
    const how = { folder, exclusive: false, missing: "need" } as const;
    using archive = await this.#within(
      INSTANT,
      root,
      id,
      () => attemptArchive(this.#store, root, id, how),
    );
    if (!archive) {
      if (look(folder, id)) this.#skipped++; // else a prune has removed it
      return undefined;
    }
    if (!archive.directory) {
      using directory = patiently(() => folder.open(id)); // says what is wrong
      return await compare(directory, options);
    }
    if (!look(folder, id)) return undefined;
    return await compare(archive.directory, options);
  }

  /** A process that lists keys locks each for an instant. @returns `undefined` if it is in use. */
  async #within<T>(
    wait: number,
    root: Root,
    id: ArchiveId,
    attempt: () => T | undefined,
  ): Promise<T | undefined> {
    const path = pathIn(root.folder("archives"), id);
    const options = { ...signalOf(this.#options), wait };
    try {
      return await waitFor(attempt, options, () => new LockedError(path));
    } catch (error) {
      if (error instanceof LockedError) return undefined;
      throw error;
    }
  }

  async #pointer(root: Root, found: Found): Promise<void> {
    const { id, path } = found;
    const archives = root.ifThere("archives");
    if (id !== undefined && archives && look(archives, id)) {
      return; // what is wrong with that is told already
    }
    if (!await this.#removePointer(root, found)) return;
    const wrong = ["It points to no archive"];
    this.#damaged.push({ path, wrong, outcome: "removed" });
  }

  /** Removes a pointer, if it still points there. */
  async #removePointer(
    root: Root,
    { folder, name, id }: Found,
  ): Promise<boolean> {
    return await removePointer(this.#store, root, {
      folder,
      name,
      isMeant: (now) => now === id,
      signal: this.#options.signal,
      onFailure: (failure) => this.#failures.push(failure),
    });
  }

  async #removeTree(folder: Root["directory"], name: string): Promise<boolean> {
    const { signal } = this.#options;
    const left = await removeTree(folder, name, { busyTimeout: 0, signal });
    for (const failure of left) this.#failures.push(failure);
    return left.length === 0;
  }

  async #quarantine(
    root: Root,
    id: ArchiveId,
  ): Promise<Damage["outcome"] | undefined> {
    // Who reads it may have it for long.
    const outcome = await this.#within(500, root, id, () => {
      const outcome = quarantine(this.#store, root, id);
      return outcome === "in use" ? undefined : outcome;
    });
    if (!outcome) return "in use";
    if (outcome === "gone") return undefined;
    if (outcome !== "stays") return outcome;
    const gone = await this.#removeTree(root.folder("archives"), id);
    if (gone) removeQuietly(root.folder("leases"), leaseName(id));
    return gone ? "removed" : undefined;
  }
}

function signalOf({ signal }: VerifyOptions): { signal?: AbortSignal } {
  return signal ? { signal } : {};
}

function archivesOf(root: Root): ArchiveId[] {
  const folder = root.ifThere("archives");
  return folder
    ? namesIn(folder).flatMap((name) => {
      const id = idOf(name);
      return id !== undefined && id === name ? [id] : [];
    })
    : [];
}
