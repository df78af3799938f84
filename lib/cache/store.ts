/**
 * What all operations on a cache share: its options, its locks, and slots for what is
 * new.
 *
 * @module
 */

import { makeParent } from "../fs/access.ts";
import { CacheError, kindOfError, osFailure } from "../error.ts";
import {
  type Directory,
  fromMilliseconds,
  pathIn,
  toMilliseconds,
} from "../fs/directory.ts";
import { openParent, type Place } from "../fs/open.ts";
import { removeTree } from "../fs/remove.ts";
import { holdFile, lockPlace } from "../lock/directory.ts";
import {
  attemptLock,
  DEFAULT_WAIT,
  LockedError,
  lockFailure,
  type LockOptions,
  waitFor,
} from "../lock/file.ts";
import { sweepNotes } from "../lock/holder.ts";
import { log } from "../log.ts";
import { removeQuietly } from "../fs/names.ts";
import { osErrorText } from "../os/error.ts";
import { type ArchiveId, leaseName, newId } from "./layout.ts";
import { failure, Root } from "./root.ts";

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

/** A cache, as its user named it. */
export interface Store {
  /** Its absolute path. */
  readonly path: string;
  readonly bucket: string;
  readonly options: CacheOptions;
}

/** A lock that is held until it is disposed; nothing where there are none. */
export type Held = Disposable;

const NOTHING: Held = { [Symbol.dispose]() {} };

/** The directory that a cache lies in, and its name there: what its lock goes by. */
function placeOf({ path }: Store): Place {
  let real = path;
  try {
    real = Deno.realPathSync(path);
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

/** Opens what is there, without a lease: to look only. */
export function openRoot(store: Store): Root | undefined {
  using held = new DisposableStack();
  try {
    const { parent, name } = held.use(placeOf(store));
    return new Root(parent.open(name, "named"), held.move());
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
    }
    for (;;) {
      try {
        return new Root(parent.open(name, "named"), held.move());
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

/** Tries to lock one of the cache's own files; `undefined` if somebody has it. */
export function attempt(
  { options: { lock = true } }: Store,
  folder: Directory,
  name: string,
  exclusive: boolean,
  how: "create" | "existing",
): Held | undefined {
  if (!lock) return NOTHING;
  try {
    return attemptLock(folder, name, exclusive, how);
  } catch (error) {
    if (how === "existing" && kindOfError(error) === "not-found") throw error;
    throw lockFailure(pathIn(folder, name), error);
  }
}

/** An archive that is locked, and held open unless it can't be. */
export interface LockedArchive extends Disposable {
  readonly directory: Directory | undefined;
}

/**
 * Tries to lock an archive, or what will be one: its file in `leases`, and the
 * directory itself. The second is what still tells when something removed the first:
 * a cleaner of old files, or a backup without it.
 *
 * @param folder What it lies in.
 * @param missing What to do without the file: `make` it; or only where the directory
 * can't be locked (`need`).
 * @returns `undefined` if somebody has it.
 */
export function attemptArchive(
  store: Store,
  root: Root,
  id: ArchiveId,
  { folder, name = id, exclusive, missing }: {
    folder: Directory;
    name?: string;
    exclusive: boolean;
    missing: "make" | "need";
  },
): LockedArchive | undefined {
  using held = new DisposableStack();
  const leases = root.folder("leases");
  let isMissing = false;
  try {
    const lease = attempt(store, leases, leaseName(id), exclusive, "existing");
    if (!lease) return undefined;
    held.use(lease);
  } catch (error) {
    if (kindOfError(error) !== "not-found") throw error;
    isMissing = true;
  }
  const directory = openQuietly(folder, name);
  if (directory) held.use(directory);
  const itself = directory && store.options.lock !== false
    ? lockItself(directory, exclusive)
    : "none";
  if (itself === "busy") return undefined;
  if (isMissing && (missing === "make" || itself === "none")) {
    try {
      const lease = attempt(store, leases, leaseName(id), exclusive, "create");
      if (!lease) return undefined;
      held.use(lease);
    } catch (error) {
      // A cache that can only be read, so that nobody takes anything away.
      if (exclusive) throw error;
      log.debug(() => `No lease: ${osErrorText(error)}`);
    }
  }
  const kept = held.move();
  return { directory, [Symbol.dispose]: () => kept.dispose() };
}

/** What is no directory has no lock of its own. Its use says what is wrong with it. */
function openQuietly(folder: Directory, name: string): Directory | undefined {
  try {
    return folder.open(name);
  } catch (error) {
    log.trace(() => `Not opened: "${name}": ${osErrorText(error)}`);
    return undefined;
  }
}

/** Not on Windows, nor on NFS, where a directory can't be locked. */
function lockItself(
  directory: Directory,
  exclusive: boolean,
): "locked" | "busy" | "none" {
  if (Deno.build.os === "windows") return "none";
  try {
    return directory.tryLock(exclusive) ? "locked" : "busy";
  } catch (error) {
    log.trace(() => `Not locked: ${directory.path}: ${osErrorText(error)}`);
    return "none";
  }
}

/** Locks that are held for an instant are waited for, whatever was asked for. */
const INSTANT = 1000;

/** How long to wait for a lock that is held for an instant. */
export function briefly(options: LockOptions): LockOptions {
  const { wait = DEFAULT_WAIT } = options;
  return { ...options, wait: Math.max(wait, INSTANT) };
}

/**
 * Waits for one of the cache's own locks, which is held for an instant.
 *
 * @param what What it is for, to tell people in whose way it is.
 */
export async function hold(
  store: Store,
  folder: Directory,
  name: string,
  what: string,
): Promise<Held> {
  return await waitFor(
    () => attempt(store, folder, name, true, "create"),
    briefly(store.options),
    () => new LockedError(pathIn(folder, name), [], what),
  );
}

/** Waits for a lock that is held for long, and says who holds it. */
export async function holdLong(
  store: Store,
  folder: Directory,
  name: string,
  what: string,
): Promise<Held> {
  const { lock = true } = store.options;
  if (!lock) return NOTHING;
  return await holdFile(
    folder,
    name,
    pathIn(folder, name),
    what,
    store.options,
  );
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
export async function closeSlot({ id, root, held }: Slot): Promise<void> {
  using _ = held;
  const left = await removeTree(root.folder("tmp"), id, { busyTimeout: 1000 });
  if (left.length === 0) removeQuietly(root.folder("leases"), leaseName(id));
  for (const { path, message } of left) {
    log.debug(() => `Left for a prune: "${path}": ${message}`);
  }
}

/** How exactly uses are noted, in milliseconds: not each of them is written down. */
const HOUR = 60 * 60 * 1000;

/** Notes that an archive is used: its lease file's modification time, once an hour. */
export function touch(root: Root, id: ArchiveId): void {
  const leases = root.folder("leases");
  const name = leaseName(id);
  try {
    const status = leases.look(name);
    if (!status) return;
    const now = Date.now();
    const age = now - toMilliseconds(status.modified);
    if (age >= 0 && age < HOUR) return;
    const time = fromMilliseconds(now);
    leases.setAccessOf(name, { accessed: time, modified: time });
  } catch (error) {
    log.trace(() => `Its use is not noted: "${name}": ${osErrorText(error)}`);
  }
}

/**
 * When an archive was last used, in milliseconds since 1970, and never in the future.
 * Without a lease file, when the archive was put, or came here.
 */
export function lastUse(root: Root, id: ArchiveId): number {
  const lease = root.ifThere("leases")?.look(leaseName(id));
  if (lease) return Math.min(Date.now(), toMilliseconds(lease.modified));
  const archive = root.ifThere("archives")?.look(id);
  if (!archive) return 0;
  const { modified, changed } = archive;
  const time = Math.max(toMilliseconds(modified), toMilliseconds(changed));
  return Math.min(Date.now(), time);
}
