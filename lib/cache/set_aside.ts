/**
 * Takes keys away, and archives that are damaged.
 *
 * @module
 */

import { kindOfError, osFailure } from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { type Failure, removeTree } from "../fs/remove.ts";
import { log } from "../log.ts";
import { removeQuietly } from "../fs/names.ts";
import { osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import {
  type ArchiveId,
  type KeyName,
  leaseName,
  swapLockName,
} from "./layout.ts";
import { attemptArchive, hold } from "./locks.ts";
import { readPointer } from "./pointer.ts";
import { look, type Root } from "./root.ts";
import type { Store } from "./store.ts";

/** Which pointer is taken away, and how. */
export interface Removing {
  /** The bucket's folder. */
  readonly folder: Directory;
  readonly name: KeyName;
  /** Whether it is meant, by what it points to now. */
  readonly isMeant?: (id: ArchiveId | undefined) => boolean;
  readonly signal?: AbortSignal | undefined;
  /** Told of what can't be removed. */
  readonly onFailure?: (failure: Failure) => void;
}

/**
 * Removes a key's pointer. The archive stays, until a prune.
 *
 * @returns Whether there was one.
 * @throws {CacheError} If it can't be removed.
 */
export async function removePointer(
  store: Store,
  root: Root,
  { folder, name, isMeant, signal, onFailure }: Removing,
): Promise<boolean> {
  const path = pathIn(folder, name);
  const locks = root.folder("locks");
  const what = `The key at "${path}"`;
  using _ = await hold(store, locks, swapLockName(name), what);
  const kind = look(folder, name)?.kind;
  if (kind === undefined) return false;
  if (isMeant && !isMeant(readPointer(folder, name))) return false;
  try {
    if (kind !== "directory") patiently(() => folder.remove(name));
    else {
      // A cache that was copied with its links followed has trees for keys.
      const left = await removeTree(folder, name, { busyTimeout: 0, signal });
      for (const failure of left) onFailure?.(failure);
    }
    return true;
  } catch (error) {
    if (kindOfError(error) === "not-found") return false;
    throw osFailure("remove", path, error);
  }
}

/**
 * Moves an archive to `quarantine`, where a user may look at it until the next prune.
 *
 * @returns `stays` if it can't be moved; `gone` if it was not there.
 */
export function quarantine(
  store: Store,
  root: Root,
  id: ArchiveId,
): "quarantined" | "in use" | "stays" | "gone" {
  const folder = root.folder("archives");
  const how = { folder, exclusive: true, missing: "need" } as const;
  using archive = attemptArchive(store, root, id, how);
  if (!archive) return "in use";
  try {
    const quarantine = root.folder("quarantine");
    patiently(() => folder.rename(id, quarantine, id));
    removeQuietly(root.folder("leases"), leaseName(id));
    return "quarantined";
  } catch (error) {
    if (!look(folder, id)) return "gone";
    log.debug(() => `Not quarantined: ${id}: ${osErrorText(error)}`);
    return "stays";
  }
}
