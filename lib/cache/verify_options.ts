import type { Failure } from "../fs/remove.ts";
import type { CallOptions } from "./store.ts";

/**
 * What `Cache.verify()` found.
 *
 * @category Keyed cache
 */
export interface VerifyReport {
  /** The absolute path of the cache. */
  readonly path: string;
  /**
   * `verified`: all is as it was put; `absent`: there is no cache; `damaged`: something is
   * not, and `damaged` says what; `incomplete`: something could not be read, and
   * `failures` says what and why.
   */
  readonly outcome: "verified" | "absent" | "damaged" | "incomplete";
  /** Archives that were read and compared with their manifests. */
  readonly archives: number;
  /** Blobs that were read. */
  readonly blobs: number;
  /** Bytes that were read. */
  readonly readBytes: number;
  /** What is damaged. */
  readonly damaged: readonly Damage[];
  /** What could not be read, and so was not compared, or not be put away. It is left alone. */
  readonly failures: readonly Failure[];
  /** Archives that were not read, since somebody is removing them, or has them locked. */
  readonly skipped: number;
  /** Milliseconds in all. */
  readonly durationMs: number;
}

/**
 * Something in a cache that is not as it was put.
 *
 * @category Keyed cache
 */
export interface Damage {
  /** The archive, the key or the blob. */
  readonly path: string;
  /** Its key, where that is known. */
  readonly key?: string;
  /** What is wrong, the first ten of it. */
  readonly wrong: readonly string[];
  /**
   * `quarantined`: moved to `quarantine/`, and its key is a miss; `removed`: it is no
   * use to look at; `in use`: its key is a miss, and a prune removes it later.
   */
  readonly outcome: "quarantined" | "removed" | "in use";
}

/**
 * Options for `Cache.verify()`.
 *
 * @category Keyed cache
 */
export interface VerifyOptions extends CallOptions {
  /**
   * Called after each file, and each MiB of a large one, with what has been read, of what
   * there is.
   */
  onProgress?: (progress: VerifyProgress) => void;
}

/**
 * How far `Cache.verify()` is.
 *
 * @category Keyed cache
 */
export interface VerifyProgress {
  /** Archives that were read. */
  readonly archives: number;
  /** Bytes that were read. */
  readonly bytes: number;
  /** Archives that there are. */
  readonly totalArchives: number;
  /** Their bytes. */
  readonly totalBytes: number;
}
