/**
 * What is taken when a key is a miss: the newest entry with a similar key.
 *
 * @module
 */

import { CacheError, kindOfError } from "../error.ts";
import { log } from "../log.ts";
import { checkTexts, checkType } from "../os/arguments.ts";
import { osErrorText } from "../os/error.ts";
import { printable } from "../os/text.ts";
import type { BuildContext } from "../rebuild/options.ts";
import type { CommitOptions, Entry } from "./archive.ts";
import { type Ensured, ensureEntry } from "./ensure.ts";
import { getEntry } from "./entry.ts";
import { TREE } from "./layout.ts";
import { headersIn } from "./list.ts";
import type { SlotStaging } from "./staging.ts";
import { type CallOptions, openRoot, type Store } from "./store.ts";

/**
 * Options for `Cache.get()`.
 *
 * @category Keyed cache
 */
export interface GetOptions extends CallOptions {
  /**
   * Keys to take on a miss, in this order, before any `fallback`. Unlike prefixes, a
   * remote can be asked for them.
   *
   * @default {[]}
   */
  orKeys?: readonly string[];
  /**
   * What to take on a miss: of the entries whose keys begin with the first of these, the
   * one that was put last; if there is none, the same for the second, and so on.
   *
   * @default {[]}
   */
  fallback?: readonly string[];
}

/**
 * Options for `Cache.ensure()`.
 *
 * @category Keyed cache
 */
export interface EnsureOptions extends GetOptions, CommitOptions {
  /**
   * Keys under which it is put as well, if it is built. They share its files.
   *
   * @default {[]}
   */
  alsoKeys?: readonly string[];
  /**
   * Whether to build although the key is there, and to replace it. Of those who wait for
   * the same refresh one builds; nobody gets what began to be built before they asked.
   * It begins with an empty directory, whatever `fallback` says.
   *
   * @default {false}
   */
  refresh?: boolean;
}

/**
 * What `Cache.ensure()` tells who builds.
 *
 * @category Keyed cache
 */
export interface EnsureContext extends BuildContext {
  /** The key of the entry that lies in the directory already, if there was a fallback. */
  readonly found?: string;
}

/** Gives a lease on what a key points to, or on what stands in for it. */
export async function getOrFallback(
  store: Store,
  key: string,
  options: GetOptions,
): Promise<Entry | undefined> {
  checkFallback(options);
  return await getAnywhere(store, key) ??
    await getFallback(store, key, options);
}

/** What a key points to here, or else at the remote. */
async function getAnywhere(
  store: Store,
  key: string,
): Promise<Entry | undefined> {
  const here = await getEntry(store, key);
  if (here || !store.options.remote) return here;
  const { getRemotely } = await import("./pull.ts");
  return await getRemotely(store, key);
}

/** Gives what a key points to, or builds it, with what stands in for it. */
export async function ensureOrFallback(
  store: Store,
  key: string,
  build: (path: string, context: EnsureContext) => unknown,
  options: EnsureOptions,
): Promise<Ensured> {
  checkFallback(options);
  checkTexts("alsoKeys", options.alsoKeys);
  checkType("refresh", options.refresh, "boolean");
  const { refresh = false } = options;
  let found: string | undefined;
  const ensured = await ensureEntry(
    store,
    key,
    async (staging, signal) => {
      if (!refresh) found = await placeFallback(store, key, options, staging);
      const context = found === undefined ? { signal } : { signal, found };
      await build(staging.path, context);
    },
    options,
    refresh ? "in any case" : "on a miss",
  );
  const { alsoKeys = [] } = options;
  if (ensured.outcome === "built" && alsoKeys.length > 0) {
    using held = new DisposableStack();
    held.use(ensured);
    const { putAlso } = await import("./put_also.ts");
    await putAlso(store, ensured.id, key, alsoKeys);
    held.move();
  }
  if (found === undefined || ensured.outcome !== "built") return ensured;
  return { ...ensured, matchedKey: found };
}

/** The entry that stands in for a key, with a lease; `undefined` if there is none. */
async function getFallback(
  store: Store,
  key: string,
  { fallback = [], orKeys = [] }: GetOptions,
): Promise<Entry | undefined> {
  for (const other of orKeys) {
    if (other === key) continue;
    const entry = await getAnywhere(store, other);
    if (entry) return { ...entry, outcome: "partial", matchedKey: other };
  }
  for (const candidate of similarKeys(store, key, fallback)) {
    const entry = await getEntry(store, candidate);
    if (!entry) continue; // damaged, or gone meanwhile
    log.debug(() => `"${printable(candidate)}" for "${printable(key)}"`);
    return { ...entry, outcome: "partial", matchedKey: candidate };
  }
  return undefined;
}

/** Refuses prefixes that every key has, which nobody means. */
function checkFallback({ fallback = [], orKeys }: GetOptions): void {
  checkTexts("orKeys", orKeys);
  checkTexts("fallback", fallback);
  for (const prefix of fallback) {
    if (prefix !== "" && prefix.isWellFormed()) continue;
    throw new TypeError(
      `fallback takes prefixes of keys, not ${JSON.stringify(prefix)}`,
    );
  }
}

/** The keys that begin with a prefix: by prefix, the newest first. */
function similarKeys(
  store: Store,
  key: string,
  prefixes: readonly string[],
): string[] {
  using root = prefixes.length > 0 ? openRoot(store) : undefined;
  if (!root) return [];
  const keys = new Set<string>();
  const headers = headersIn(root, store.bucket)
    .filter((it) => it.key !== key)
    .map((it) => ({ key: it.key, created: Date.parse(it.created) }))
    .sort((a, b) => b.created - a.created || (a.key < b.key ? -1 : 1));
  for (const prefix of prefixes) {
    for (const { key } of headers) if (key.startsWith(prefix)) keys.add(key);
  }
  return [...keys];
}

/**
 * Puts a private copy of what stands in for a key where it is about to be built.
 *
 * @returns Its key; `undefined` if there is none, and the directory is empty.
 */
async function placeFallback(
  store: Store,
  key: string,
  options: GetOptions,
  staging: SlotStaging,
): Promise<string | undefined> {
  using entry = await getFallback(store, key, options);
  if (!entry) return undefined;
  const { signal } = store.options;
  const how = { mode: "private" as const, ...signal && { signal } };
  try {
    staging.slot.directory.removeDirectory(TREE);
    await entry.link(staging.path, how);
    return entry.key;
  } catch (error) {
    const isDamaged = error instanceof CacheError &&
      kindOfError(error) === "damaged";
    if (!isDamaged) throw error;
    log.warn(() => `No fallback: ${osErrorText(error)}`);
    staging.make();
    return undefined;
  }
}
