/**
 * The cache's own locks: files in `leases` and `locks`, and archives themselves.
 *
 * @module
 */

import { kindOfError } from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { patiently } from "../os/patience.ts";
import { holdFile, lockItself } from "../lock/directory.ts";
import {
  attemptLock,
  DEFAULT_WAIT,
  LockedError,
  lockFailure,
  type LockOptions,
  waitFor,
} from "../lock/file.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { type ArchiveId, leaseName } from "./layout.ts";
import { failure, type Root } from "./root.ts";
import type { Store } from "./store.ts";

/** A lock that is held until it is disposed; nothing where there are none. */
export type Held = Disposable;

const NOTHING: Held = { [Symbol.dispose]() {} };

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
  const directory = openIfDirectory(folder, name, exclusive);
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

/**
 * What is no directory has no lock of its own: its use says what is wrong with it. So
 * does what only may not be opened by who wants to remove it. Any other error is one.
 */
function openIfDirectory(
  folder: Directory,
  name: string,
  exclusive: boolean,
): Directory | undefined {
  try {
    return patiently(() => folder.open(name));
  } catch (error) {
    const kind = kindOfError(error);
    const isOther = NO_DIRECTORY.has(kind) ||
      (exclusive && kind === "permission");
    if (!isOther) throw failure("open", pathIn(folder, name), error);
    log.trace(() => `Not opened: "${name}": ${osErrorText(error)}`);
    return undefined;
  }
}

/** What is said to an archive that is gone, or is none. */
const NO_DIRECTORY: ReadonlySet<string> = new Set([
  "not-found",
  "not-directory",
  "loop",
  "mount",
]);

/**
 * Locks that are held for an instant are waited for, whatever was asked for: for so
 * many milliseconds, since an instant may be long on a machine that is busy.
 */
export const INSTANT = 10_000;

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
