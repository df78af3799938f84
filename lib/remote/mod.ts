/**
 * Caches that machines share, by a server that exists already: one that speaks Bazel's
 * HTTP cache or its Remote Execution API, or a bucket.
 *
 * @example A cache with a remote
 * ```ts ignore
 * import { openCache } from "@rebuild/cache";
 * import { openRemote } from "@rebuild/cache/remote";
 *
 * using remote = openRemote("grpcs://cache.example:9092");
 * const cache = openCache(undefined, { remote });
 * ```
 *
 * @module
 */

export { doctor, openRemote } from "./remote.ts";
export { awsOf } from "./credentials.ts";
export type { AwsOptions, CredentialOptions } from "./credentials.ts";
export type { DoctorOptions, RemoteHealth } from "./health.ts";
export type { RemoteKind, RemoteOptions } from "./options.ts";
export type { Remote, RemoteOutcome, RemoteReport } from "../cache/remote.ts";
