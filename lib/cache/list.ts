import { kindOfError } from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import type { Archive } from "./archive.ts";
import { listBlobs } from "./blobs.ts";
import { headerOf, toArchive } from "./header.ts";
import {
  type ArchiveId,
  blobName,
  bucketFolder,
  isKeyName,
  type KeyName,
  leaseName,
} from "./layout.ts";
import { readPointer } from "./pointer.ts";
import { namesIn, type Root } from "./root.ts";
import { lastUse } from "./last_use.ts";
import { attempt } from "./locks.ts";
import { openRoot, type Store } from "./store.ts";

/**
 * A key, and what it points to.
 *
 * @category Keyed cache
 */
export interface Listed extends Archive {
  /** When it was last used, to an hour: an ISO 8601 date and time. */
  readonly lastUse: string;
  /** Whether somebody has a lease on it now. */
  readonly inUse: boolean;
}

/**
 * A blob of a cache.
 *
 * @category Keyed cache
 */
export interface ListedBlob {
  /** Its SHA-256, in 64 small hexadecimal digits. */
  readonly digest: string;
  /** Whether it may be executed. */
  readonly executable: boolean;
  /** Its size in bytes. */
  readonly bytes: number;
  /** Bytes that it takes on the disk. */
  readonly diskBytes: number;
  /** When it was last used, to an hour: an ISO 8601 date and time. */
  readonly lastUse: string;
}

/** A pointer as it was found. */
export interface Found {
  readonly bucket: string;
  /** The bucket's folder, held open as long as the cache is. */
  readonly folder: Directory;
  /** Its name in the bucket's folder. */
  readonly name: KeyName;
  readonly path: string;
  /** The archive that it points to; `undefined` if it is damaged. */
  readonly id: ArchiveId | undefined;
}

/** What to do about something that can't be read; by default, it is thrown. */
export type OnUnreadable = (path: string, error: unknown) => void;

function raise(_path: string, error: unknown): never {
  throw error;
}

/** All pointers, of all buckets of this version if none are named; one by one: there may be very many. */
export function* pointers(
  root: Root,
  onUnreadable: OnUnreadable = raise,
  buckets: readonly string[] = root.buckets(),
): Generator<Found> {
  for (const bucket of buckets) {
    let folder: Directory | undefined;
    let names: string[] = [];
    try {
      folder = root.bucketIfThere(bucket);
      if (folder) names = namesIn(folder);
    } catch (error) {
      onUnreadable(pathIn(root.directory, bucketFolder(bucket)), error);
    }
    if (!folder) continue;
    for (const name of names) {
      if (!isKeyName(name)) continue;
      const path = pathIn(folder, name);
      let found: Found | undefined;
      try {
        const id = readPointer(folder, name);
        found = { bucket, folder, name, path, id };
      } catch (error) {
        onUnreadable(path, error);
      }
      if (found) yield found;
    }
  }
}

/** Everything that has a key, in the order of buckets and keys. */
export function listEntries(store: Store): Listed[] {
  const listed: Listed[] = [];
  using root = openRoot(store);
  if (!root) return listed;
  for (const { id } of pointers(root)) {
    const header = id === undefined ? undefined : headerOf(root, id);
    if (!header || id === undefined) continue;
    listed.push({
      ...toArchive(header, id),
      lastUse: new Date(lastUse(root, id)).toISOString(),
      inUse: isInUse(store, root, id),
    });
  }
  return listed.sort((a, b) =>
    a.bucket < b.bucket || (a.bucket === b.bucket && a.key < b.key) ? -1 : 1
  );
}

/** All blobs, in the order of their digests. */
export function listedBlobs(store: Store): ListedBlob[] {
  using root = openRoot(store);
  if (!root) return [];
  return listBlobs(root, raise).map(
    ({ digest, name, bytes, diskBytes, lastUse }) => ({
      digest,
      executable: name === blobName(digest, true),
      bytes,
      diskBytes,
      lastUse: new Date(lastUse).toISOString(),
    }),
  ).sort((a, b) =>
    a.digest < b.digest || (a.digest === b.digest && !a.executable) ? -1 : 1
  );
}

/** What the headers of a bucket's archives say. */
export function headersIn(root: Root, bucket: string): Archive[] {
  const all: Archive[] = [];
  for (const { id } of pointers(root, raise, [bucket])) {
    const header = id === undefined ? undefined : headerOf(root, id);
    if (header?.bucket === bucket) all.push(toArchive(header, id!));
  }
  return all;
}

function isInUse(store: Store, root: Root, id: ArchiveId): boolean {
  const leases = root.ifThere("leases");
  if (!leases) return false;
  try {
    using lock = attempt(store, leases, leaseName(id), true, "existing");
    return lock === undefined;
  } catch (error) {
    if (kindOfError(error) === "not-found") return false;
    throw error;
  }
}
