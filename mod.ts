/**
 * Puts cached files where they are needed, and clears and rebuilds caches,
 * without ever breaking a process that shares them.
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

export {
  hashFiles,
  type HashFilesOptions,
  type HashFilesProgress,
} from "./lib/cache/hash_files.ts";
export type {
  Archive,
  CacheStaging,
  CommitOptions,
  Committed,
  Entry,
  EntryLinkOptions,
  PutProgress,
} from "./lib/cache/archive.ts";
export type { BlobOptions, BlobReport } from "./lib/cache/blob.ts";
export { type Cache, openCache, type PutOptions } from "./lib/cache/cache.ts";
export type { Ensured } from "./lib/cache/entry.ts";
export type {
  EnsureContext,
  EnsureOptions,
  GetOptions,
} from "./lib/cache/fallback.ts";
export type { Listed } from "./lib/cache/list.ts";
export type { Limits, StandingLimits } from "./lib/cache/limits.ts";
export type { Placement } from "./lib/cache/look_at_place.ts";
export type {
  Evicted,
  PruneOptions,
  PruneProgress,
  PruneReport,
} from "./lib/cache/prune_options.ts";
export type { CacheStats, StatsOptions } from "./lib/cache/stats.ts";
export type { CacheOptions, CallOptions } from "./lib/cache/store.ts";
export type {
  Damage,
  VerifyOptions,
  VerifyProgress,
  VerifyReport,
} from "./lib/cache/verify.ts";
export { clearCache } from "./lib/clear/clear.ts";
export type {
  ClearOptions,
  ClearProgress,
  ClearReport,
} from "./lib/clear/options.ts";
export { rebuildCache } from "./lib/rebuild/rebuild.ts";
export type {
  BuildContext,
  RebuildOptions,
  RebuildReport,
} from "./lib/rebuild/options.ts";
export type { Failure } from "./lib/fs/remove.ts";
export { sweepAsides } from "./lib/clear/sweep.ts";
export { CacheError, type CacheErrorKind } from "./lib/error.ts";
export { LinkError } from "./lib/link/error.ts";
export { linkFile } from "./lib/link/file.ts";
export type { NotKept } from "./lib/fs/fidelity.ts";
export type { LinkMode } from "./lib/link/ladder.ts";
export type {
  LinkFileOptions,
  LinkFileReport,
  LinkProgress,
  LinkReport,
  LinkTreeOptions,
} from "./lib/link/options.ts";
export type { Fallback, OnLinkLimit } from "./lib/link/place.ts";
export {
  type Ability,
  type Capabilities,
  probe,
  type ProbeOptions,
} from "./lib/link/probe.ts";
export { linkTree } from "./lib/link/tree.ts";
export { guard, lease, type Lock } from "./lib/lock/directory.ts";
export { LockedError, type LockOptions } from "./lib/lock/file.ts";
export { type LockHolder } from "./lib/lock/holder.ts";
export { type LogSink, setLogSink } from "./lib/log.ts";
export type { ErrorKind } from "./lib/os/error.ts";

preloadLibc();
