/**
 * Builds what a key is to point to, and takes keys away.
 *
 * @module
 */

import { entryIn, getEntry } from "./entry.ts";
import { CacheError } from "../error.ts";
import { printable } from "../os/text.ts";
import { untilAborted } from "../rebuild/options.ts";
import type { CommitOptions, Entry } from "./archive.ts";
import type { SlotStaging } from "./staging.ts";
import { buildLockName, nameOf } from "./layout.ts";
import { readPointer } from "./pointer.ts";
import { Refresh } from "./refresh.ts";
import { holdLong } from "./locks.ts";
import { removePointer } from "./set_aside.ts";
import { remoteOf, type Store, useRoot } from "./store.ts";

/**
 * What `Cache.ensure()` gives.
 *
 * @category Keyed cache
 */
export interface Ensured extends Entry {
  /** `built` for this call, or a `hit`: it was there, or somebody else built it meanwhile. */
  readonly outcome: "hit" | "built";
  /** Of what was built for this call: see {@linkcode Committed.mentions}. */
  readonly mentions: readonly string[];
}

/** Gives what a key points to; on a miss, builds it, once among all who ask. */
export async function ensureEntry(
  store: Store,
  key: string,
  build: (staging: SlotStaging, signal: AbortSignal) => Promise<void>,
  options: CommitOptions,
  how: "on a miss" | "in any case",
): Promise<Ensured> {
  const name = await nameOf(key);
  const refresh = how === "in any case" ? new Refresh(store, name) : undefined;
  const found = refresh ? undefined : await getEntry(store, key);
  if (found) return { ...found, outcome: "hit", mentions: [] };
  // A hit does without it.
  const { openCacheStaging } = await import("./staging.ts");
  await using staging = await openCacheStaging(store, key);
  const { root } = staging;
  using _ = await holdLong(
    store,
    root.folder("locks"),
    buildLockName(store.bucket, name),
    `The right to build "${printable(key)}"`,
  );
  const isDone = !refresh ||
    refresh.isDone(root, readPointer(root.bucket(store.bucket), name));
  const meanwhile = isDone && await entryIn(root, store, key, name);
  if (meanwhile) return { ...meanwhile, outcome: "hit", mentions: [] };
  const remote = remoteOf(store);
  if (remote && !refresh) {
    const { pullMissing } = await import("./pull.ts");
    const { onProgress } = options;
    const pulled = await pullMissing(store, remote, key, staging, onProgress);
    if (pulled) return { ...pulled, outcome: "hit", mentions: [] };
  }
  refresh?.begin(root);
  await untilAborted(
    store.options.signal,
    ({ signal }) => build(staging, signal),
  );
  const { id, mentions } = await staging.commit(options);
  refresh?.succeeded(root, id);
  // Under the staging's lease, so that no prune comes between.
  const entry = await entryIn(root, store, key, name);
  if (entry) {
    using held = new DisposableStack();
    held.use(entry);
    if (remote?.mode === "read-write") {
      const { pushId } = await import("./pull.ts");
      await pushId(store, key, root, id, options.onProgress);
    }
    held.move();
    return { ...entry, outcome: "built", mentions };
  }
  throw new CacheError(
    `Cannot keep "${printable(key)}": its key was taken away at once`,
    root.path,
    "other",
  );
}

/** Takes a key's pointer away. */
export async function deleteKey(store: Store, key: string): Promise<boolean> {
  const name = await nameOf(key);
  using root = await useRoot(store);
  if (!root || !await root.check()) return false;
  const folder = root.bucketIfThere(store.bucket);
  const { signal } = store.options;
  return folder !== undefined &&
    await removePointer(store, root, { folder, name, signal });
}
