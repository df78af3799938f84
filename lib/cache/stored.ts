/**
 * What is in the content store: which files there are, and which nobody has any more.
 *
 * @module
 */

import { CacheError } from "../error.ts";
import { type Directory, pathIn, type Status } from "../fs/directory.ts";
import { isMarked, markOf } from "../link/listing.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import {
  type ArchiveId,
  isShard,
  parseStored,
  shardOf,
  storedName,
} from "./layout.ts";
import { OLD, readManifest } from "./manifest.ts";
import { namesIn, openFolder, type Root } from "./root.ts";

/** A file that is stored. */
export interface Stored {
  readonly shard: Directory;
  readonly name: string;
  readonly status: Status;
}

/** All that is stored, one by one: there may be very many. */
export function* storedIn(
  root: Root,
  onUnreadable: (path: string, error: unknown) => void,
): Generator<Stored> {
  let files: Directory | undefined;
  let shards: string[] = [];
  try {
    files = root.ifThere("files");
    shards = files ? namesIn(files).filter(isShard) : [];
  } catch (error) {
    onUnreadable(root.path, error);
  }
  for (const at of shards) {
    let names: string[];
    let opened: Directory | undefined;
    try {
      opened = openFolder(files!, at);
      names = namesIn(opened);
    } catch (error) {
      opened?.[Symbol.dispose]();
      onUnreadable(pathIn(files!, at), error);
      continue;
    }
    using shard = opened;
    for (const name of names) {
      if (!parseStored(name)) continue;
      let status: Status | undefined;
      try {
        status = patiently(() => shard.look(name));
      } catch (error) {
        onUnreadable(pathIn(shard, name), error);
      }
      if (status?.kind === "file") yield { shard, name, status };
    }
  }
}

/** Bytes that a file takes on the disk. */
export function onDisk({ size, allocated = size }: Status): number {
  return allocated;
}

/** Removes a file that no archive has. Whoever links it meanwhile keeps it. */
export function removeUnused({ shard, name }: Stored): void {
  try {
    patiently(() => shard.remove(name));
  } catch (error) {
    if (errorKind(error) !== "not-found") throw error;
  }
}

/** The names that the files of an archive have in the store, and how often. */
export async function storedNamesOf(
  root: Root,
  id: ArchiveId,
): Promise<Map<string, number>> {
  const names = new Map<string, number>();
  try {
    using archive = root.folder("archives").open(id);
    const manifest = await readManifest(archive);
    if (manifest === OLD) return names;
    for (const { files } of manifest.listing.directories()) {
      for (const [, size, mode, digest] of files) {
        if (size === 0) continue;
        const name = storedName(digest, mode);
        names.set(name, (names.get(name) ?? 0) + 1);
      }
    }
  } catch (error) {
    // What it has is found when all of the store is looked at.
    if (!(error instanceof CacheError) && errorKind(error) === "other") {
      throw error;
    }
  }
  return names;
}

/** Lets nobody link any more what of an archive is not what it should be. */
export async function dropDamaged(root: Root, id: ArchiveId): Promise<void> {
  try {
    using files = new StoredFiles(root);
    for (const name of (await storedNamesOf(root, id)).keys()) {
      const stored = files.look(name);
      if (stored && !isWhole(stored)) removeUnused(stored);
    }
  } catch (error) {
    log.debug(() => `Left for a verify: ${id}: ${osErrorText(error)}`);
  }
}

/** Whether a stored file is what its name says, as far as a look can tell. */
export function isWhole({ name, status }: Omit<Stored, "shard">): boolean {
  const { digest, mode } = parseStored(name)!;
  return status.kind === "file" && status.size > 0 &&
    (Deno.build.os === "windows" || (status.mode & 0o7777) === mode) &&
    isMarked(status.modified, markOf(digest));
}

/** Looks at stored files, by name. Holds folders open. */
export class StoredFiles implements Disposable {
  readonly #root: Root;
  readonly #shards = new Map<string, Directory | undefined>();

  constructor(root: Root) {
    this.#root = root;
  }

  [Symbol.dispose](): void {
    for (const shard of this.#shards.values()) shard?.[Symbol.dispose]();
  }

  look(name: string): Stored | undefined {
    const shard = this.#shard(shardOf(name));
    if (!shard) return undefined;
    const status = patiently(() => shard.look(name));
    return status?.kind === "file" ? { shard, name, status } : undefined;
  }

  #shard(name: string): Directory | undefined {
    if (!this.#shards.has(name)) {
      const files = this.#root.ifThere("files");
      const opened = files?.look(name) ? openFolder(files, name) : undefined;
      this.#shards.set(name, opened);
    }
    return this.#shards.get(name);
  }
}
