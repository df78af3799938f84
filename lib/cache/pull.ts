/**
 * Gets trees from a remote, and gives them to it.
 *
 * @module
 */

import type { Hash } from "node:crypto";
import { CacheError } from "../error.ts";
import { copyContent, UNSTOPPABLE } from "../fs/copy.ts";
import { type Directory, type OpenFile, pathIn } from "../fs/directory.ts";
import { readAll } from "../fs/read.ts";
import { removeTree } from "../fs/remove.ts";
import type { ListedDirectory } from "../link/listing.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { Breath, patiently } from "../os/patience.ts";
import { printable } from "../os/text.ts";
import type { Archive, Entry, PutProgress } from "./archive.ts";
import { count } from "./counters.ts";
import { assemble, type Wanted } from "./assemble.ts";
import { contentOf } from "./content.ts";
import { ContentStore } from "./content_store.ts";
import { entryIn } from "./entry.ts";
import { nameOf, PULLED, TREE } from "./layout.ts";
import { Damaged, OLD, readManifest } from "./manifest.ts";
import { readPointer } from "./pointer.ts";
import type {
  Digest,
  RemoteCallOptions,
  RemoteReport,
  RemoteServer,
  RemoteSink,
  RemoteSource,
} from "./remote.ts";
import { WrongContent } from "./remote.ts";
import { failure, isShared, openFolder, type Root } from "./root.ts";
import { openCacheStaging, type SlotStaging } from "./staging.ts";
import { remoteOf, type Store, useRoot } from "./store.ts";

/** Calls that were warned already: who is refused a pull is mostly refused the push. */
const warned = new WeakSet<Store>();

/** Says what kept a remote from helping, once. */
function tell(store: Store, report: RemoteReport): void {
  store.onRemote?.(report);
  const { outcome, reason } = report;
  const isBad = outcome === "down" || outcome === "refused";
  if (store.isAboutRemote || !isBad) return;
  const text = () => `Going on without the remote ${reason}`;
  if (warned.has(store)) return log.debug(text);
  warned.add(store);
  log.warn(text);
}

/**
 * Pulls what a remote has under a key into a staging, and puts it.
 *
 * @param when A pull may take long, and on a miss, what is put meanwhile is newer.
 * @returns What was put, if it was a hit; then the slot is the archive's.
 */
async function pullInto(
  store: Store,
  remote: RemoteServer,
  key: string,
  staging: SlotStaging,
  when: "always" | "on a miss",
  onProgress?: (progress: PutProgress) => void,
): Promise<{ archive?: Archive; report: RemoteReport }> {
  const { signal } = store.options;
  const { root, directory: slot } = staging.slot;
  using shared = new ContentStore(root, slot);
  patiently(() => slot.make(PULLED, 0o700));
  using folder = patiently(() => slot.open(PULLED));
  const { createHash } = await import("node:crypto");
  const sink = new SlotSink(
    folder,
    shared,
    () => createHash("sha256"),
    () => treeUnder(store, root, key),
  );
  const asked = { bucket: store.bucket, key };
  const { tree, report } = await remote.pull(asked, sink, {
    signal,
    onProgress: onProgress && asPhase("pulling", onProgress),
  });
  const clean = async (name: string) => {
    await removeTree(slot, name, { busyTimeout: 1000, signal });
  };
  if (!tree) {
    tell(store, report);
    await clean(PULLED);
    return { report };
  }
  try {
    const content = await contentOf(tree);
    const provide = sink.provide(tree);
    if (slot.look(TREE)) slot.removeDirectory(TREE); // it was made for a builder
    const breath = new Breath(signal);
    const made = await assemble(slot, content.lines, shared, provide, breath);
    await clean(PULLED);
    const { diskBytes, ownBytes } = made;
    const archive = isShared(root.status())
      ? await staging.put("own", {}, undefined, when) // modes are the group's
      : await staging.publish({ ...content, diskBytes, ownBytes }, when);
    count(root, "remote-hits");
    tell(store, report);
    return { archive, report };
  } catch (error) {
    const isTheirs = error instanceof CacheError && error.kind === "damaged";
    if (!isTheirs) throw error;
    await clean(PULLED);
    await clean(TREE);
    staging.make();
    const reason = `${remote.name}: ${error.message}`;
    const refused = { ...report, outcome: "refused", reason } as const;
    tell(store, refused);
    return { report: refused };
  }
}

/** Bytes that travel, as progress of a put. */
function asPhase(
  phase: "pulling" | "pushing",
  onProgress: (progress: PutProgress) => void,
): NonNullable<RemoteCallOptions["onProgress"]> {
  return ({ bytes, totalBytes }) =>
    onProgress({
      phase,
      files: 0,
      bytes,
      ...totalBytes !== undefined && { totalBytes },
    });
}

/** What a remote has under a key, put here, with a lease; `undefined` if it has none. */
export async function getRemotely(
  store: Store,
  key: string,
): Promise<Entry | undefined> {
  const remote = remoteOf(store);
  if (!remote) return undefined;
  await using staging = await openCacheStaging(store, key);
  return await pullMissing(store, remote, key, staging);
}

/** What a remote has under a key that is a miss here, put by a staging, with a lease. */
export async function pullMissing(
  store: Store,
  remote: RemoteServer,
  key: string,
  staging: SlotStaging,
  onProgress?: (progress: PutProgress) => void,
): Promise<Entry | undefined> {
  const how = "on a miss";
  const pulled = await pullInto(store, remote, key, staging, how, onProgress);
  if (!pulled.archive) return undefined;
  return await entryIn(staging.root, store, key, await nameOf(key));
}

/** Gives a remote that may be written what was put here, as long as it is held. */
export async function pushId(
  store: Store,
  key: string,
  root: Root,
  id: string,
  onProgress?: (progress: PutProgress) => void,
): Promise<void> {
  const remote = remoteOf(store);
  if (remote?.mode !== "read-write") return;
  using archive = openFolder(root.folder("archives"), id);
  await pushArchive(store, remote, key, archive, onProgress);
}

/**
 * Gives the remote what a key points to.
 *
 * @returns `undefined` if it points to nothing.
 */
export async function pushKey(
  store: Store,
  key: string,
): Promise<RemoteReport | undefined> {
  const remote = required(store);
  const name = await nameOf(key);
  using root = await useRoot(store);
  using entry = root && await entryIn(root, store, key, name);
  if (!root || !entry) return undefined;
  using archive = openFolder(root.folder("archives"), entry.id);
  const alone = { ...store, isAboutRemote: true };
  return await pushArchive(alone, remote, key, archive);
}

/** Lets a key point to what the remote has under it. */
export async function pullKey(
  store: Store,
  key: string,
): Promise<RemoteReport> {
  const remote = required(store);
  await using staging = await openCacheStaging(store, key);
  const alone = { ...store, isAboutRemote: true };
  return (await pullInto(alone, remote, key, staging, "always")).report;
}

function required(store: Store): RemoteServer {
  const remote = remoteOf(store);
  if (remote) return remote;
  throw new TypeError("openCache() was given no remote");
}

/** What a key points to lists, if it points to something. */
async function treeUnder(
  store: Store,
  root: Root,
  key: string,
): Promise<ListedDirectory[] | undefined> {
  try {
    const bucket = root.bucketIfThere(store.bucket);
    const id = bucket && readPointer(bucket, await nameOf(key));
    if (id === undefined) return undefined;
    using archive = openFolder(root.folder("archives"), id);
    const manifest = await readManifest(archive);
    return manifest === OLD ? undefined : [...manifest.listing.directories()];
  } catch (error) {
    // Damaged, or removed meanwhile: what comes is put in its place.
    log.debug(() => `"${printable(key)}" is no help: ${osErrorText(error)}`);
    return undefined;
  }
}

/** Contents that come, each in a file of a directory of ours. */
class SlotSink implements RemoteSink {
  readonly tree: NonNullable<RemoteSink["tree"]>;
  readonly #folder: Directory;
  readonly #store: ContentStore;
  readonly #newHash: () => Hash;
  /** So many contents, one after another, were here by no mode at all. */
  #vain = 0;

  constructor(
    folder: Directory,
    store: ContentStore,
    newHash: () => Hash,
    tree: SlotSink["tree"],
  ) {
    this.#folder = folder;
    this.#store = store;
    this.#newHash = newHash;
    this.tree = tree;
  }

  /** What the cache has is held, so that no prune takes it away meanwhile. */
  has({ hash, size }: Digest, mode?: number): boolean {
    const isHere = (mode: number) =>
      this.#store.link(hash, mode, size, this.#folder, hash) !== undefined;
    if (mode !== undefined && isHere(mode)) return true;
    if (this.#vain > MOST_VAIN) return false;
    const others = MODES.some((it) => it !== mode && isHere(it));
    this.#vain = others ? 0 : this.#vain + 1;
    return others;
  }

  put({ hash, size }: Digest, content: Uint8Array): void {
    const is = this.#newHash().update(content).digest("hex");
    if (is !== hash || content.length !== size) throw wrong(hash, is);
    this.#create(
      hash,
      (file) => file.write(content as Uint8Array<ArrayBuffer>),
    );
  }

  async stream(
    { hash, size }: Digest,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const sum = this.#newHash();
    let length = 0;
    using file = this.#open(hash);
    try {
      for await (const piece of content) {
        length += piece.length;
        if (length > size) throw wrong(hash, "of more bytes");
        sum.update(piece);
        file.write(piece as Uint8Array<ArrayBuffer>);
      }
      const is = sum.digest("hex");
      if (is !== hash || length !== size) throw wrong(hash, is);
      file.close();
    } catch (error) {
      this.#folder.remove(hash);
      throw error;
    }
  }

  #open(hash: string): OpenFile {
    try {
      return patiently(() => this.#folder.openFile(hash, "create", 0o600));
    } catch (error) {
      throw failure("write", pathIn(this.#folder, hash), error);
    }
  }

  #create(hash: string, write: (file: OpenFile) => void): void {
    using file = this.#open(hash);
    try {
      write(file);
      file.close();
    } catch (error) {
      throw failure("write", pathIn(this.#folder, hash), error);
    }
  }

  /** Gives files of a tree their contents. */
  provide(tree: readonly ListedDirectory[]) {
    const uses = new Map<string, number>();
    for (const { files } of tree) {
      for (const [, , , hash] of files) {
        uses.set(hash, (uses.get(hash) ?? 0) + 1);
      }
    }
    const folder = this.#folder;
    return (
      { file: [, size, mode, hash] }: Wanted,
      to: Directory,
      name: string,
    ): Promise<void> | undefined => {
      if (size === 0) {
        using file = to.openFile(name, "create", mode);
        file.close();
        to.setAccessOf(name, { mode });
        return undefined;
      }
      const status = folder.look(hash);
      if (uses.get(hash) === 1 && status?.links === 1) {
        patiently(() => folder.rename(hash, to, name));
        to.setAccessOf(name, { mode });
        return undefined;
      }
      return copy(folder, hash, to, name, mode);
    };
  }
}

async function copy(
  folder: Directory,
  hash: string,
  to: Directory,
  name: string,
  mode: number,
): Promise<void> {
  using source = patiently(() => folder.openFile(hash, "read"));
  using target = patiently(() => to.openFile(name, "create", mode));
  await copyContent(source, target, source.opened, UNSTOPPABLE);
  target.setAccess({ mode });
  target.close();
}

/** After so many that are new, others are looked for by their own mode alone. */
const MOST_VAIN = 64;

/** Modes that files mostly have: a content is known by its mode, too. */
const MODES = [0o644, 0o755, 0o600, 0o700, 0o664, 0o775, 0o640, 0o444, 0o555];

function wrong(hash: string, is: string): WrongContent {
  return new WrongContent(`The content ${hash} is ${is}`);
}

/** Gives a remote an archive that is held. */
async function pushArchive(
  store: Store,
  remote: RemoteServer,
  key: string,
  archive: Directory,
  onProgress?: (progress: PutProgress) => void,
): Promise<RemoteReport> {
  const { signal } = store.options;
  const manifest = await readManifest(archive);
  if (manifest === OLD) throw new Damaged("It is of an older version", key);
  const tree = [...manifest.listing.directories()];
  const { createHash } = await import("node:crypto");
  using source = new ArchiveSource(archive, tree, () => createHash("sha256"));
  const asked = { bucket: store.bucket, key };
  const told = onProgress && asPhase("pushing", onProgress);
  const how = { signal, onProgress: told };
  const report = await remote.push(asked, tree, source, how);
  tell(store, report);
  log.debug(() => `Pushed "${printable(key)}": ${report.outcome}`);
  return report;
}

/** Contents of an archive's files. What is not what was put is an error. */
class ArchiveSource implements RemoteSource, Disposable {
  readonly #archive: Directory;
  readonly #newHash: () => Hash;
  readonly #places = new Map<string, readonly [path: string, name: string]>();
  #open: { path: string; directory: Directory } | undefined;

  constructor(
    archive: Directory,
    tree: readonly ListedDirectory[],
    newHash: () => Hash,
  ) {
    this.#archive = archive;
    this.#newHash = newHash;
    for (const { path, files } of tree) {
      for (const [name, , , hash] of files) {
        if (this.#places.has(hash)) continue;
        const place = path === undefined
          ? [NONE, TREE] as const
          : [path, name] as const;
        this.#places.set(hash, place);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#open?.directory[Symbol.dispose]();
  }

  read({ hash, size }: Digest): Uint8Array<ArrayBuffer> {
    using file = this.#file(hash);
    const bytes = this.#tried(hash, () => readAll(file, Infinity, size));
    const is = this.#newHash().update(bytes).digest("hex");
    if (is !== hash) throw this.#damaged(hash);
    return bytes;
  }

  async *stream({ hash }: Digest): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    using file = this.#file(hash);
    const sum = this.#newHash();
    for (;;) {
      const piece = new Uint8Array(1 << 20);
      const n = this.#tried(hash, () => file.read(piece));
      if (n === 0) break;
      sum.update(piece.subarray(0, n));
      yield piece.subarray(0, n);
    }
    if (sum.digest("hex") !== hash) throw this.#damaged(hash);
  }

  #pathOf(hash: string): string {
    const [path, name] = this.#places.get(hash)!;
    const at = path === NONE ? name : `${TREE}${path}/${name}`;
    return pathIn(this.#archive, at);
  }

  #damaged(hash: string): Damaged {
    const where = this.#pathOf(hash);
    return new Damaged(`"${where}" is not what was put into the cache`, where);
  }

  #file(hash: string): OpenFile {
    return this.#tried(hash, () => {
      const [path, name] = this.#places.get(hash)!;
      const directory = this.#at(path);
      return patiently(() => directory.openFile(name, "read"));
    });
  }

  #tried<T>(hash: string, call: () => T): T {
    try {
      return call();
    } catch (error) {
      throw failure("read", this.#pathOf(hash), error);
    }
  }

  #at(path: string): Directory {
    if (path === NONE) return this.#archive;
    if (this.#open?.path === path) return this.#open.directory;
    this.#open?.directory[Symbol.dispose]();
    this.#open = undefined;
    let directory = patiently(() => this.#archive.open(TREE));
    for (const name of path.split("/").slice(1)) {
      using above = directory;
      directory = patiently(() => above.open(name));
    }
    this.#open = { path, directory };
    return directory;
  }
}

/** What no directory's path is: of a tree that is a file. */
const NONE = "\0";
