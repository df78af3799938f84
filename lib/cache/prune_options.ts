import type { Failure } from "../fs/remove.ts";
import type { Limits } from "./limits.ts";
import type { CallOptions } from "./store.ts";

/**
 * Options for `Cache.prune()`. Without any limit, only what no key points to goes.
 *
 * @category Keyed cache
 */
export interface PruneOptions extends Limits, CallOptions {
  /**
   * Whether to look only.
   *
   * @default {false}
   */
  dryRun?: boolean;
  /** Called after each key, blob and archive that may go. */
  onProgress?: (progress: PruneProgress) => void;
}

/**
 * How far `Cache.prune()` is.
 *
 * @category Keyed cache
 */
export interface PruneProgress {
  /** What is being done: keys are read; then what may go is looked at, and removed. */
  readonly phase: "reading" | "removing";
  /** Keys that were read; later, keys, blobs and archives that were looked at. */
  readonly done: number;
  /** How many there are; while keys are read, how many were found up to now. */
  readonly total: number;
  /** Bytes that were removed. */
  readonly bytes: number;
}

/**
 * A key that `Cache.prune()` removed, or in a dry run would remove.
 *
 * @category Keyed cache
 */
export interface Evicted {
  /** The bucket that the key was in. */
  readonly bucket: string;
  /** The key; its name in the bucket's folder where no better is known. */
  readonly key: string;
  /** The archive that it pointed to; empty if that is not known. */
  readonly id: string;
  /** Bytes of the archive's files. */
  readonly bytes: number;
  /** Bytes that the archive took on the disk. */
  readonly diskBytes: number;
  /** When it was last used: an ISO 8601 date and time. Missing if it was damaged. */
  readonly lastUse?: string;
}

/**
 * What `Cache.prune()` did, or in a dry run would do.
 *
 * @category Keyed cache
 */
export interface PruneReport {
  /** The absolute path of the cache. */
  readonly path: string;
  /**
   * `pruned`; `absent`: there is no cache; `incomplete`: something could not be removed
   * or read, and `failures` says what and why; `would-prune`: a dry run.
   */
  readonly outcome: "pruned" | "absent" | "incomplete" | "would-prune";
  /** Keys that were removed. */
  readonly evicted: readonly Evicted[];
  /** Blobs that were removed. */
  readonly blobs: number;
  /** Archives that no key pointed to, and what dead processes left. */
  readonly unreferenced: number;
  /** Archives that should have gone, but are in use. */
  readonly inUse: number;
  /** Their bytes. */
  readonly inUseBytes: number;
  /** Bytes of the files that were removed, each counted once. */
  readonly removedBytes: number;
  /**
   * Bytes on the disk that were freed: the blocks of directories, and of files that had
   * no other name. At most so many where file systems share the content of clones
   * (Btrfs, XFS, APFS): what another file shares stays in use.
   */
  readonly freedBytes: number;
  /** Keys and blobs that stay. */
  readonly entries: number;
  /** Bytes that they take on the disk. */
  readonly diskBytes: number;
  /** What could not be removed or read, and why. */
  readonly failures: readonly Failure[];
  /** Milliseconds in all. */
  readonly durationMs: number;
}

/** What a prune has done up to now. */
export type Done = Omit<PruneReport, "path" | "outcome" | "durationMs">;

/** What a prune has done where there is no cache. */
export const NOTHING: Done = {
  evicted: [],
  blobs: 0,
  unreferenced: 0,
  inUse: 0,
  inUseBytes: 0,
  removedBytes: 0,
  freedBytes: 0,
  entries: 0,
  diskBytes: 0,
  failures: [],
};
