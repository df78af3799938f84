import { pathIn } from "../fs/directory.ts";
import type { Failure } from "../fs/remove.ts";
import { Breath } from "../os/patience.ts";
import { listBlobs } from "./blobs.ts";
import { counted, lastPrune } from "./counters.ts";
import { headerOf } from "./header.ts";
import { idOf, isKeyName } from "./layout.ts";
import { namesIn, type Root, toFailure } from "./root.ts";
import { onDisk, storedIn } from "./stored.ts";
import { type CallOptions, openRoot, type Store } from "./store.ts";

/**
 * What `Cache.stats()` counted.
 *
 * @category Keyed cache
 */
export interface CacheStats {
  /** The absolute path of the cache. */
  readonly path: string;
  /** Keys, in all buckets. */
  readonly entries: number;
  /** Archives, also those that no key points to any more. */
  readonly archives: number;
  /** Blobs. */
  readonly blobs: number;
  /** Files of archives, and blobs. */
  readonly files: number;
  /** Their bytes. */
  readonly bytes: number;
  /**
   * Bytes that archives and blobs take on the disk, each content once. File systems that share the content
   * of clones (Btrfs, XFS, APFS) may need less.
   */
  readonly diskBytes: number;
  /**
   * Bytes that need not be on the disk again: of contents that several archives have, and
   * of those and blobs that are hard-linked from.
   */
  readonly savedBytes: number;
  /**
   * How often `get()`, `ensure()` and `blob()` found what they were asked for. After a
   * million, the next prune lets both counters begin anew.
   */
  readonly hits: number;
  /** How often they did not. */
  readonly misses: number;
  /** How often a remote had what was not here. */
  readonly remoteHits: number;
  /** When the last prune began: an ISO 8601 date and time. Missing if there was none. */
  readonly lastPrune?: string;
  /** What could not be read, and so is not counted. */
  readonly failures: readonly Failure[];
  /** Milliseconds in all. */
  readonly durationMs: number;
}

/** Counts what is in a cache. */
export async function stats(
  store: Store,
  { signal }: CallOptions,
): Promise<CacheStats> {
  const started = performance.now();
  const sum = { ...NOTHING, failures: [] as Failure[] };
  using root = openRoot(store);
  const last = root && lastPrune(root);
  if (root) {
    const told = (path: string, error: unknown) => {
      sum.failures.push(toFailure(path, error));
    };
    sum.entries = keysIn(root);
    const breath = new Breath(signal);
    const archives = root.ifThere("archives");
    for (const name of archives ? namesIn(archives) : []) {
      const pause = breath.due();
      if (pause) await pause;
      const id = idOf(name);
      if (id === undefined || id !== name) continue;
      sum.archives++;
      try {
        const header = headerOf(root, id);
        if (header) add(sum, { ...header, diskBytes: header.ownBytes });
      } catch (error) {
        told(pathIn(archives!, id), error);
      }
    }
    for (const { status } of storedIn(root, told)) {
      const pause = breath.due();
      if (pause) await pause;
      const bytes = onDisk(status);
      sum.diskBytes += bytes;
      sum.savedBytes += Math.max(0, status.links - 2) * bytes;
    }
    for (const blob of listBlobs(root, told)) {
      sum.blobs++;
      add(sum, { ...blob, files: 1 });
      sum.savedBytes += Math.max(0, blob.nlink - 1) * blob.diskBytes;
    }
    sum.hits = counted(root, "hits");
    sum.misses = counted(root, "misses");
    sum.remoteHits = counted(root, "remote-hits");
  }
  return {
    path: store.path,
    ...sum,
    ...last !== undefined && { lastPrune: new Date(last).toISOString() },
    durationMs: performance.now() - started,
  };
}

const NOTHING = {
  entries: 0,
  archives: 0,
  blobs: 0,
  files: 0,
  bytes: 0,
  diskBytes: 0,
  savedBytes: 0,
  hits: 0,
  misses: 0,
  remoteHits: 0,
};

type Size = Pick<CacheStats, "files" | "bytes" | "diskBytes">;

function add(
  sum: { -readonly [Name in keyof Size]: number },
  size: Size,
): void {
  sum.files += size.files;
  sum.bytes += size.bytes;
  sum.diskBytes += size.diskBytes;
}

function keysIn(root: Root): number {
  return root.buckets().reduce((sum, bucket) => {
    const folder = root.bucketIfThere(bucket);
    return sum + (folder ? namesIn(folder).filter(isKeyName).length : 0);
  }, 0);
}
