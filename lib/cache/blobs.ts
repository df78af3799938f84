/**
 * The blobs that are in a cache: whether they are whole, which there are.
 *
 * @module
 */

import { CacheError, kindOfError, osFailure } from "../error.ts";
import {
  type Directory,
  type OpenFile,
  pathIn,
  type Status,
} from "../fs/directory.ts";
import { readAll } from "../fs/read.ts";
import { log } from "../log.ts";
import { patiently } from "../os/patience.ts";
import { sha256 } from "../os/sha256.ts";
import { digestOfFile } from "./content.ts";
import { digestOf, FOLDERS, isShard } from "./layout.ts";
import { isAhead, lastUseOfBlob, touchBlob } from "./last_use.ts";
import type { OnUnreadable } from "./list.ts";
import { failure, look, namesIn, openFolder, type Root } from "./root.ts";

/** A blob in the cache. */
export interface Blob {
  /** The name of the folder that it is in. */
  readonly shard: string;
  readonly name: string;
  readonly path: string;
  readonly digest: string;
  readonly bytes: number;
  /** Bytes that it takes on the disk. */
  readonly diskBytes: number;
  readonly nlink: number;
  /** In milliseconds since 1970. */
  readonly lastUse: number;
  /** Whether it says that this is in the future. */
  readonly isAhead: boolean;
}

/** A folder of blobs, or `undefined` if it is missing. */
export function shardIfThere(root: Root, shard: string): Directory | undefined {
  const blobs = root.ifThere("blobs");
  if (!blobs || !look(blobs, shard)) return undefined;
  try {
    return openFolder(blobs, shard);
  } catch (error) {
    if (kindOfError(error) === "not-found") return undefined;
    throw error;
  }
}

/** Below so many bytes the content is read at each hit. */
const SMALL = 1 << 20;

/**
 * Looks at a blob before it is given out: whoever has it linked may have written to it.
 * Its content is read if it is small, if its size is not the one that is asked for, or if
 * its modification time is not the one that it was given when it was put (see
 * {@linkcode markedTime}). What is damaged is removed, and fetched again.
 */
export async function isWhole(
  shard: Directory,
  name: string,
  digest: string,
  { size, signal }: {
    size?: number | undefined;
    signal?: AbortSignal | undefined;
  },
): Promise<boolean> {
  const status = look(shard, name);
  if (!status) return false;
  const path = pathIn(shard, name);
  let wrong: string | undefined;
  try {
    if (status.kind !== "file") wrong = "it is not a file";
    else if (
      status.size < SMALL || !isMarked(status, digest) ||
      (size !== undefined && size !== status.size)
    ) {
      using file = patiently(() => shard.openFile(name, "read"));
      wrong = await wrongDigest(file, digest, signal);
    }
  } catch (error) {
    if (error === signal?.reason) throw error;
    if (kindOfError(error) === "not-found") return false; // evicted
    throw failure("read", path, error);
  }
  if (wrong === undefined) {
    if (size === undefined || size === status.size) return true;
    throw new CacheError(
      `Cannot use ${digest}: it has ${status.size} bytes, not ${size}`,
      path,
      "invalid",
    );
  }
  log.warn(() => `"${path}" is damaged: ${wrong}`);
  removeFrom(shard, name);
  return false;
}

/**
 * A time of now, with the milliseconds that the digest and the size say: whoever writes
 * to the file later gives it others; who cuts it short and keeps its times does not
 * keep its size.
 */
export function markedTime(digest: string, size: number): number {
  return Math.floor(Date.now() / 1000) * 1000 + millisecondsOf(digest, size);
}

function isMarked({ modified, size }: Status, digest: string): boolean {
  return modified.nanoseconds === millisecondsOf(digest, size) * 1e6;
}

function millisecondsOf(digest: string, size: number): number {
  return (Number.parseInt(digest.slice(0, 8), 16) + size) % 1000;
}

/** What is wrong with a file that should have a digest, if something is. */
export async function wrongDigest(
  file: OpenFile,
  digest: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  // A small one needs no library that takes 10 ms to load.
  const found = file.opened.size < SMALL
    ? await sha256(readAll(file, Infinity, file.opened.size))
    : await digestOfFile(file, signal);
  return found === digest ? undefined : `its SHA-256 is ${found}`;
}

/**
 * What is wrong with a blob in the cache, if something is.
 *
 * @throws {CacheError} If it can't be read.
 */
export async function damageOf(
  root: Root,
  { shard, name, path, digest }: Blob,
  signal?: AbortSignal,
): Promise<string | undefined> {
  try {
    using folder = shardIfThere(root, shard);
    if (!folder) return undefined;
    using file = folder.openFile(name, "read");
    return await wrongDigest(file, digest, signal);
  } catch (error) {
    if (error === signal?.reason) throw error;
    if (kindOfError(error) === "not-found") return undefined; // evicted
    throw failure("read", path, error);
  }
}

/** All blobs of a cache. */
export function listBlobs(root: Root, onUnreadable: OnUnreadable): Blob[] {
  const found: Blob[] = [];
  const tried = (path: string, call: () => void) => {
    try {
      call();
    } catch (error) {
      if (kindOfError(error) !== "not-found") onUnreadable(path, error);
    }
  };
  tried(pathIn(root.directory, FOLDERS.blobs), () => {
    const blobs = root.ifThere("blobs");
    for (const shard of blobs ? namesIn(blobs).filter(isShard) : []) {
      tried(pathIn(blobs!, shard), () => {
        using folder = openFolder(blobs!, shard);
        for (const name of namesIn(folder)) {
          tried(pathIn(folder, name), () => {
            const blob = blobAt(folder, shard, name);
            if (blob) found.push(blob);
          });
        }
      });
    }
  });
  return found;
}

function blobAt(
  folder: Directory,
  shard: string,
  name: string,
): Blob | undefined {
  const digest = digestOf(name);
  const status = digest === undefined ? undefined : look(folder, name);
  if (!status || digest === undefined) return undefined;
  const { size: bytes, allocated: diskBytes = bytes, links: nlink } = status;
  const lastUse = lastUseOfBlob(status);
  const path = pathIn(folder, name);
  const size = { bytes, diskBytes, nlink };
  const used = { lastUse, isAhead: isAhead(status) };
  return { shard, name, path, digest, ...size, ...used };
}

/** Corrects a use in the future: as if it were now, so that it ages from then on. */
export function correctBlob(root: Root, { shard, name }: Blob): void {
  using folder = shardIfThere(root, shard);
  if (folder) touchBlob(folder, name);
}

/** Takes a blob's name in the cache away. Those who have it linked keep it. */
export function removeBlob(root: Root, { shard, name }: Blob): void {
  using folder = shardIfThere(root, shard);
  if (folder) removeFrom(folder, name);
}

function removeFrom(folder: Directory, name: string): void {
  try {
    patiently(() => folder.remove(name));
  } catch (error) {
    if (kindOfError(error) !== "not-found") {
      throw osFailure("remove", pathIn(folder, name), error);
    }
  }
}
