/**
 * What all operations on a cache share: its layout, its options, its locks.
 *
 * @module
 */

import { makeParent } from "../old/make_like.ts";
import { removeTree } from "../old/remove.ts";
import { osFailure } from "../error.ts";
import { holdFile, lease } from "../lock/directory.ts";
import {
  attemptLock,
  LockedError,
  lockFailure,
  type LockOptions,
  waitFor,
} from "../lock/file.ts";
import { log } from "../log.ts";
import { removeIfThere } from "../fs/names.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { type Layout, newId, shareLike } from "./layout.ts";

/** Options for `openCache()`. */
export interface CacheOptions extends LockOptions {
  /**
   * The bucket that keys are in: 1 to 40 small letters, digits, `-` and `_`. Equal keys
   * of different buckets have nothing to do with each other.
   *
   * @default {"default"}
   */
  bucket?: string;
  /**
   * Whether what is put is on the disk, and not only on its way, before its key is
   * placed. Without it nothing is half, but what was put last may be lost in a power
   * cut.
   *
   * @default {false}
   */
  durable?: boolean;
  /**
   * Whether to take locks.
   *
   * @default {true}
   */
  lock?: boolean;
}

/** An open cache. */
export interface Store {
  readonly layout: Layout;
  readonly bucket: string;
  readonly options: CacheOptions;
}

/** A lock that is held until it is disposed; nothing where there are none. */
export type Held = Disposable;

const NOTHING: Held = { [Symbol.dispose]() {} };

/**
 * Says that the cache is in use, so that nobody clears or rebuilds all of it. A prune
 * does not mind.
 */
export async function useRoot({ layout, options }: Store): Promise<Disposable> {
  const { lock = true } = options;
  if (!lock) return NOTHING;
  return await lease(layout.root, options);
}

/** Tries to lock one of the cache's own files; `undefined` if somebody has it. */
export function attempt(
  { options: { lock = true } }: Store,
  path: string,
  exclusive: boolean,
  how: "create" | "existing",
): Held | undefined {
  if (!lock) return NOTHING;
  try {
    return attemptLock(path, exclusive, how);
  } catch (error) {
    if (how === "existing" && errorKind(error) === "not-found") throw error;
    throw lockFailure(path, error);
  }
}

/**
 * Waits for one of the cache's own locks, which is held for an instant.
 *
 * @param what What it is for, to tell people in whose way it is.
 */
export async function hold(
  store: Store,
  path: string,
  what: string,
): Promise<Held> {
  return await waitFor(
    () => attempt(store, path, true, "create"),
    store.options,
    () => new LockedError(path, [], what),
  );
}

/** Waits for a lock that is held for long, and says who holds it. */
export async function holdLong(
  store: Store,
  path: string,
  what: string,
): Promise<Held> {
  const { lock = true } = store.options;
  return lock ? await holdFile(path, path, what, store.options) : NOTHING;
}

/** The lock of those who swap a key: one of sixteen, each held for an instant. */
export function swapLock({ layout }: Store, name: string): string {
  return layout.in("locks", `swap-${name.at(-1)}.lock`);
}

/** A place for something new, which nobody else touches while it is held. */
export interface Slot {
  readonly id: string;
  /** `tmp/<id>`, an empty directory. */
  readonly path: string;
  /** What keeps it, and the cache. */
  readonly held: DisposableStack;
}

/** Makes the cache where it is missing, and a slot in it. */
export async function openSlot(store: Store): Promise<Slot> {
  const { layout, bucket } = store;
  makeParent(layout.root);
  using held = new DisposableStack();
  held.use(await useRoot(store));
  layout.make(bucket);
  for (;;) {
    const id = newId();
    const lease = attempt(store, layout.lease(id), false, "create");
    if (!lease) continue; // a prune took it for a dead one's
    held.use(lease);
    const path = layout.in("tmp", id);
    try {
      Deno.mkdirSync(path);
      shareLike(path, Deno.statSync(layout.root));
    } catch (error) {
      removeIfThere(path);
      removeIfThere(layout.lease(id));
      throw osFailure("write to the cache", layout.root, error);
    }
    return { id, path, held: held.move() };
  }
}

/** Removes a slot that was not used, or is no longer. */
export async function closeSlot(
  { layout }: Store,
  { id, path, held }: Slot,
): Promise<void> {
  using _ = held;
  const left = await removeTree(path, { busyTimeout: 1000 });
  if (left.length === 0) removeIfThere(layout.lease(id));
}

/** Whether there is something at a path. */
export function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    const kind = errorKind(error);
    if (kind === "not-found" || kind === "not-directory") return false;
    throw osFailure("look at", path, error);
  }
}

const DAY = 24 * 60 * 60 * 1000;

/**
 * Notes that an archive is used: its lease file's modification time, once a day, so
 * that it is not written at each use.
 */
export function touch({ layout }: Store, id: string): void {
  const path = layout.lease(id);
  try {
    const { mtime } = Deno.statSync(path);
    const now = new Date();
    if (mtime && now.getTime() - mtime.getTime() < DAY) return;
    Deno.utimeSync(path, now, now);
  } catch (error) {
    log.trace(() => `Its use is not noted: "${path}": ${osErrorText(error)}`);
  }
}
