/**
 * Clears and rebuilds caches that other processes share, and puts cached files where they
 * are needed.
 *
 * - Directories: {@linkcode clearCache} and {@linkcode rebuildCache}.
 * - Trees and files of a cache: {@linkcode linkTree}, {@linkcode linkFile}, and
 *   {@linkcode probe}, which says what the file systems can do.
 * - A cache of archives under keys: {@linkcode openCache}; {@linkcode hashFiles} makes keys.
 * - Locks: {@linkcode lease} and {@linkcode guard}.
 *
 * Errors of the operating system and of a cache are {@linkcode CacheError}s. Each call that
 * may take long takes a `signal`, and rejects with its reason. Nothing is printed, unless
 * {@linkcode setLogSink} says where to.
 *
 * @example Clearing a cache that others may be reading
 * ```ts
 * import { clearCache } from "@rebuild/cache";
 *
 * const dir = await Deno.makeTempDir({ prefix: "cache-" });
 * const { outcome, goneMs } = await clearCache(dir);
 * console.log(`${outcome} in ${goneMs} ms`);
 * ```
 *
 * @module
 */

import { preloadLibc } from "./lib/os/libc.ts";

// In the order of the generated pages, whose first one shows the first five.
export { clearCache } from "./lib/clear/clear.ts";
export { linkTree } from "./lib/link/tree.ts";
export { openCache } from "./lib/cache/cache.ts";
export { rebuildCache } from "./lib/rebuild/rebuild.ts";
export { linkFile } from "./lib/link/file.ts";
export { guard, lease } from "./lib/lock/directory.ts";
export { hashFiles } from "./lib/cache/hash_files.ts";
export { probe } from "./lib/link/probe.ts";
export { sweepAsides } from "./lib/clear/sweep.ts";
export { setLogSink } from "./lib/log.ts";

// Errors
export { CacheError, type CacheErrorKind } from "./lib/error.ts";
export type { ErrorKind } from "./lib/os/error.ts";
export { LinkError } from "./lib/link/error.ts";
export { LockedError } from "./lib/lock/file.ts";

// Directories
export type {
  ClearOptions,
  ClearProgress,
  ClearReport,
} from "./lib/clear/options.ts";
export type {
  BuildContext,
  RebuildOptions,
  RebuildReport,
} from "./lib/rebuild/options.ts";
export type { Failure } from "./lib/fs/remove.ts";

// Trees
export type {
  LinkFileOptions,
  LinkFileReport,
  LinkProgress,
  LinkReport,
  LinkTreeOptions,
} from "./lib/link/options.ts";
export type { LinkMode } from "./lib/link/ladder.ts";
export type { Fallback, OnLinkLimit } from "./lib/link/place.ts";
export type { NotKept } from "./lib/fs/fidelity.ts";
export type { Ability, Capabilities, ProbeOptions } from "./lib/link/probe.ts";

// Keyed cache
export type { Cache, PutOptions } from "./lib/cache/interface.ts";
export type { CacheOptions, CallOptions } from "./lib/cache/store.ts";
export type {
  HashFilesOptions,
  HashFilesProgress,
} from "./lib/cache/hash_files.ts";
export type { Limits, StandingLimits } from "./lib/cache/limits.ts";
export type {
  Archive,
  CacheStaging,
  CommitOptions,
  Committed,
  Entry,
  EntryLinkOptions,
  PutProgress,
} from "./lib/cache/archive.ts";
export type {
  EnsureContext,
  EnsureOptions,
  GetOptions,
} from "./lib/cache/fallback.ts";
export type { Ensured } from "./lib/cache/ensure.ts";
export type { Placement } from "./lib/cache/look_at_place.ts";
export type { Listed, ListedBlob } from "./lib/cache/list.ts";
export type {
  Evicted,
  PruneOptions,
  PruneProgress,
  PruneReport,
} from "./lib/cache/prune_options.ts";
export type {
  Damage,
  VerifyOptions,
  VerifyProgress,
  VerifyReport,
} from "./lib/cache/verify_options.ts";
export type { CacheStats } from "./lib/cache/stats.ts";
export type { BlobOptions, BlobReport } from "./lib/cache/blob.ts";

// Sharing between machines (openRemote() is in @rebuild/cache/remote)
export type {
  Remote,
  RemoteOutcome,
  RemoteReport,
} from "./lib/cache/remote.ts";

// Locks and messages
export type { Lock } from "./lib/lock/directory.ts";
export type { LockOptions } from "./lib/lock/file.ts";
export type { LockHolder } from "./lib/lock/holder.ts";
export type { LogSink } from "./lib/log.ts";

preloadLibc();
