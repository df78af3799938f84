/**
 * What all operations on a cache share: its options, opening it, and slots for what is
 * new.
 *
 * @module
 */

import { steady } from "../os/patience.ts";
import { makeParent } from "../fs/access.ts";
import { CacheError, kindOfError, osFailure } from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { openParent, type Place } from "../fs/open.ts";
import { removeHalfMade, removeTree } from "../fs/remove.ts";
import { refuseUnfinished } from "../fs/unfinished.ts";
import { lockItself, lockPlace } from "../lock/directory.ts";
import type { LockOptions } from "../lock/file.ts";
import { sweepNotes } from "../lock/holder.ts";
import { log } from "../log.ts";
import { removeQuietly } from "../fs/names.ts";
import {
  checkNumber,
  checkOptions,
  checkSignal,
  checkType,
} from "../os/arguments.ts";
import { osErrorText } from "../os/error.ts";
import { type ArchiveId, FOLDERS, leaseName, newId } from "./layout.ts";
import type { StandingLimits } from "./limits.ts";
import { attempt } from "./locks.ts";
import type { Remote, RemoteReport, RemoteServer } from "./remote.ts";
import { failure, Root } from "./root.ts";

const realPathSync = steady(Deno.realPathSync);

/**
 * Options for `openCache()`.
 *
 * @category Keyed cache
 */
export interface CacheOptions extends LockOptions {
  /**
   * The bucket that keys are in: 1 to 40 lowercase letters, digits, `-` and `_`. Equal keys
   * of different buckets have nothing to do with each other.
   *
   * @default {"default"}
   */
  bucket?: string;
  /**
   * How much may stay in the cache. After something was put, the least recently used is
   * removed, as by `prune()`, in a second at most, but not if the cache was pruned in
   * the last five minutes. What was put stays, and so does what is in use.
   */
  limits?: StandingLimits;
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
  /**
   * A server that machines share (see `openRemote()` of `@rebuild/cache/remote`): asked
   * for what is not here, and, if it may be written, given what is put here.
   */
  remote?: Remote;
}

/**
 * Options of each call that may take long. They go before those of `openCache()`.
 *
 * @category Keyed cache
 */
export interface CallOptions {
  /** Stops the call: the promise is rejected with its reason. */
  signal?: AbortSignal;
  /**
   * How long to wait for locks, in milliseconds; 0 tries once. By default as `openCache()`
   * was told.
   */
  wait?: number;
  /** Called with what a call to the remote did, if there is one. */
  onRemote?: (report: RemoteReport) => void;
}

/**
 * The cache as one call uses it: with the call's own signal and patience.
 *
 * @throws {TypeError} If an option is invalid.
 * @throws {RangeError} If `wait` is not a time.
 * @throws The signal's reason, if it is aborted already.
 */
export function forCall(store: Store, call: CallOptions): Store {
  checkOptions(call);
  checkSignal(call.signal);
  checkNumber("wait", call.wait, 0);
  checkType("onRemote", call.onRemote, "function");
  const { options } = store;
  const signals = [options.signal, call.signal].filter((it) =>
    it !== undefined
  );
  const [signal] = signals.length > 1 ? [AbortSignal.any(signals)] : signals;
  signal?.throwIfAborted();
  const { wait = options.wait } = call;
  return {
    ...store,
    ...call.onRemote && { onRemote: call.onRemote },
    options: {
      ...options,
      ...signal && { signal },
      ...wait !== undefined && { wait },
    },
  };
}

/** A cache, as its user named it. */
export interface Store {
  /** Its absolute path. */
  readonly path: string;
  readonly bucket: string;
  readonly options: CacheOptions;
  readonly onRemote?: (report: RemoteReport) => void;
  /** Whether a call is about nothing else, and says what came of it. */
  readonly isAboutRemote?: boolean;
}

/** The remote of a cache, which may leave its notes there. */
export function remoteOf(store: Store): RemoteServer | undefined {
  // That it is one was checked when the cache was opened.
  const remote = store.options.remote as RemoteServer | undefined;
  remote?.keepNotesIn(pathIn(store, FOLDERS.remote));
  return remote;
}

/** The directory that a cache lies in, and its name there: what its lock goes by. */
function placeOf({ path }: Store): Place {
  let real = path;
  try {
    real = realPathSync(path);
  } catch (error) {
    // Not there yet: then its name is what is locked.
    if (kindOfError(error) !== "not-found") {
      throw osFailure("open the cache", path, error);
    }
  }
  const place = openParent(real);
  if (place.name !== "") return place;
  place[Symbol.dispose]();
  throw new CacheError(`Cannot use "${path}" as a cache`, path, "refused");
}

/** Where only paths lead, others who can change the cache could lead them astray. */
function openSafely(parent: Directory, name: string, { path }: Store) {
  const directory = parent.open(name, "named");
  if (directory.safe) return directory;
  directory[Symbol.dispose]();
  throw new CacheError(
    `Cannot use the cache "${path}": other users can change it. Grant --allow-ffi (Linux), or use a directory of your own`,
    path,
    "refused",
  );
}

/** Opens what is there, without a lease: to look only. */
export function openRoot(store: Store): Root | undefined {
  using held = new DisposableStack();
  try {
    const { parent, name } = held.use(placeOf(store));
    return new Root(openSafely(parent, name, store), held.move());
  } catch (error) {
    if (kindOfError(error) === "not-found") return undefined;
    throw failure("open the cache", store.path, error);
  }
}

/**
 * Whether there is a cache, from which something may be removed.
 *
 * @throws {CacheError} Of kind `refused` if there is something else.
 */
export async function isCache(store: Store): Promise<boolean> {
  using root = openRoot(store);
  return root !== undefined && await root.check();
}

/**
 * Opens a cache and says that it is in use, so that nobody clears or rebuilds all of
 * it. A prune does not mind.
 *
 * @returns `undefined` if there is none.
 */
export async function useRoot(store: Store): Promise<Root | undefined> {
  return await lockRoot(store, false);
}

/** Makes the cache where it is missing, and says that it is in use. */
export async function makeRoot(store: Store): Promise<Root> {
  makeParent(store.path);
  const root = await lockRoot(store, true);
  try {
    root!.make(store.bucket);
    return root!;
  } catch (error) {
    root![Symbol.dispose]();
    throw error;
  }
}

async function lockRoot(
  store: Store,
  make: boolean,
): Promise<Root | undefined> {
  const { lock = true } = store.options;
  using held = new DisposableStack();
  try {
    const place = held.use(placeOf(store));
    const { parent, name } = place;
    if (lock) {
      // No lock file beside what is no cache.
      const kind = parent.look(name)?.kind;
      if (kind === undefined && !make) return undefined;
      if (kind === "file" || kind === "other") {
        throw new Deno.errors.NotADirectory("It is no directory");
      }
      held.use(await lockPlace(place, store.path, false, store.options));
      refuseUnfinished(place, store.path);
    }
    for (;;) {
      try {
        return new Root(openSafely(parent, name, store), held.move());
      } catch (error) {
        if (kindOfError(error) !== "not-found" || !make) throw error;
      }
      makeQuietly(parent, name);
    }
  } catch (error) {
    if (!make && kindOfError(error) === "not-found") return undefined;
    if (error === store.options.signal?.reason) throw error;
    throw failure("open the cache", store.path, error);
  }
}

function makeQuietly(parent: Directory, name: string): void {
  try {
    parent.make(name);
  } catch (error) {
    // A peer made it; but what stands there may be a dangling link.
    const known = kindOfError(error) === "already-exists" &&
      parent.look(name)?.kind !== "symlink";
    if (!known) throw osFailure("make", pathIn(parent, name), error);
  }
}

/** Removes the notes beside a cache of processes that used it, and died. */
export function sweepUsers(store: Store): void {
  try {
    using place = placeOf(store);
    sweepNotes(place.parent, place.name);
  } catch (error) {
    log.debug(() => `No notes are swept: ${osErrorText(error)}`);
  }
}

/** A place for something new, which nobody else touches while it is held. */
export interface Slot {
  readonly id: ArchiveId;
  readonly root: Root;
  /** `tmp/<id>`, an empty directory that only we may enter, held open. */
  readonly directory: Directory;
  /** What keeps it, and the cache. */
  readonly held: DisposableStack;
}

/** Makes the cache where it is missing, and a slot in it. */
export async function openSlot(store: Store): Promise<Slot> {
  using held = new DisposableStack();
  const root = held.use(await makeRoot(store));
  const [tmp, leases] = [root.folder("tmp"), root.folder("leases")];
  for (;;) {
    const id = newId();
    const lease = attempt(store, leases, leaseName(id), false, "create");
    if (!lease) continue; // a prune took it for a dead one's
    held.use(lease);
    try {
      tmp.make(id, 0o700);
      const directory = held.use(tmp.open(id));
      if (store.options.lock !== false) lockItself(directory, false);
      return { id, root, directory, held: held.move() };
    } catch (error) {
      removeQuietly(tmp, id);
      removeQuietly(leases, leaseName(id));
      throw osFailure("write to the cache", root.path, error);
    }
  }
}

/** Removes a slot that was not used, or is no longer. */
export async function closeSlot(
  { id, root, held }: Slot,
  signal: AbortSignal | undefined,
): Promise<void> {
  using _ = held;
  const tmp = root.folder("tmp");
  const left = await removeHalfMade(
    pathIn(tmp, id),
    signal,
    (signal) => removeTree(tmp, id, { busyTimeout: 1000, signal }),
  );
  if (left?.length === 0) removeQuietly(root.folder("leases"), leaseName(id));
  for (const { path, message } of left ?? []) {
    log.warn(() => `Cannot remove "${path}", so a prune does it: ${message}`);
  }
}
