/**
 * Removes what dead processes left in a cache, and locks that nobody needs.
 *
 * @module
 */

import { type Directory, pathIn, toMilliseconds } from "../fs/directory.ts";
import { isNote, parseSiblingName, removeQuietly } from "../fs/names.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import {
  type ArchiveId,
  type Folder,
  FOLDERS,
  idOf,
  isKeyName,
  isOldArchives,
  isOldFolder,
  isPassingLock,
  leaseName,
} from "./layout.ts";
import { sweepPlaced } from "./placed.ts";
import type { Removal } from "./removal.ts";
import { look, namesIn, openFolder, type Root } from "./root.ts";
import { attempt } from "./locks.ts";
import type { Store } from "./store.ts";

/** Removes all of it. */
export async function sweep(
  root: Root,
  store: Store,
  removal: Removal,
): Promise<void> {
  const isKnown = (id: ArchiveId) =>
    (["archives", "tmp"] as const).some((it) => {
      const folder = root.ifThere(it);
      return folder !== undefined && look(folder, id) !== undefined;
    });
  await each(root, removal, "tmp", async (folder, name) => {
    await sweepTemporary(root, removal, folder, name, isKnown);
  });
  await sweepOld(root, removal);
  if (removal.dryRun) return;
  const placed = pathIn(root.directory, FOLDERS.placed);
  await removal.tried(placed, () => sweepPlaced(root));
  await each(root, removal, "quarantine", async (folder, name) => {
    if (idOf(name) !== name) return;
    removal.unreferenced++;
    const weight = removal.weigh(folder, name);
    await removal.tree(folder, name);
    removal.count(weight);
  });
  await each(root, removal, "leases", (folder, name) => {
    const id = idOf(name);
    if (id === undefined || name !== leaseName(id) || isKnown(id)) return;
    removeLock(store, folder, name, () => !isKnown(id));
  });
  await each(root, removal, "locks", (folder, name) => {
    // Those for an instant are sixteen.
    const note = parseSiblingName(name);
    if (note && isNote(note.kind)) {
      removeNote(store, folder, name, note.stem);
    } else if (isPassingLock(name)) removeLock(store, folder, name, () => true);
  });
}

/** What version 0.1 wrote, and nobody reads any more: its archives, and keys to them. */
async function sweepOld(root: Root, removal: Removal): Promise<void> {
  for (const name of namesIn(root.directory).filter(isOldFolder)) {
    const path = pathIn(root.directory, name);
    const verb = removal.dryRun ? "A prune removes" : "Removing";
    log.warn(() =>
      `${verb} what version 0.1 wrote, which is read no more: "${path}"`
    );
    await removal.tried(path, async () => {
      {
        using folder = openFolder(root.directory, name);
        for (const entry of namesIn(folder)) {
          const at = pathIn(folder, entry);
          const remove = isOldArchives(name) ? removeOldArchive : removeOldKey;
          await removal.tried(at, () => remove(removal, folder, entry));
        }
      }
      // What is none of ours stays.
      if (!removal.dryRun) removeQuietly(root.directory, name);
    });
  }
}

/** Unless an older version uses it now. */
async function removeOldArchive(
  removal: Removal,
  folder: Directory,
  name: string,
): Promise<void> {
  const id = idOf(name);
  if (id === undefined || id !== name) return;
  using lease = removal.lock(id, folder);
  if (!lease) return;
  removal.unreferenced++;
  const weight = removal.weigh(folder, name);
  if (!removal.dryRun) await removal.tree(folder, name);
  removal.count(weight);
}

function removeOldKey(
  removal: Removal,
  folder: Directory,
  name: string,
): Promise<void> {
  const isKey = isKeyName(name) && look(folder, name)?.kind !== "directory";
  if (isKey && !removal.dryRun) removeQuietly(folder, name);
  return Promise.resolve();
}

/** Calls something with each name in a folder. One that fails is noted. */
async function each(
  root: Root,
  removal: Removal,
  which: Folder,
  call: (folder: Directory, name: string) => Promise<void> | void,
): Promise<void> {
  const path = pathIn(root.directory, FOLDERS[which]);
  await removal.tried(path, async () => {
    const folder = root.ifThere(which);
    for (const name of folder ? namesIn(folder) : []) {
      await removal.tried(
        pathIn(folder!, name),
        async () => await call(folder!, name),
      );
    }
  });
}

/** What has no id is a temporary of a link, which takes minutes at most. */
const OLD = 60 * 60 * 1000;

async function sweepTemporary(
  root: Root,
  removal: Removal,
  folder: Directory,
  name: string,
  isKnown: (id: ArchiveId) => boolean,
): Promise<void> {
  const id = idOf(name);
  if (removal.doomed.has(name)) return;
  if (id === undefined) {
    // A name that is nobody's: nobody can say whether it is in use.
    if (!parseSiblingName(name) || !isOld(folder, name)) return;
    removal.unreferenced++;
    if (!removal.dryRun) await removal.tree(folder, name);
    return;
  }
  using lease = removal.lock(id, folder, name);
  if (!lease) return; // somebody is at it, or another prune
  if (!look(folder, name)) return; // its publisher, or a peer, is done with it
  removal.unreferenced++;
  if (removal.dryRun) return;
  const weight = removal.weigh(folder, name);
  await removal.tree(folder, name);
  if (!isKnown(id)) removeQuietly(root.folder("leases"), leaseName(id));
  removal.count(weight);
}

/** By the time of its last change, since a copy has its source's times. */
function isOld(folder: Directory, name: string): boolean {
  const status = look(folder, name);
  return status !== undefined &&
    Date.now() - toMilliseconds(status.changed) > OLD;
}

/** Those who wait for it notice that it went (see `attemptLock()`). */
function removeLock(
  store: Store,
  folder: Directory,
  name: string,
  isDone: () => boolean,
): void {
  try {
    using lock = attempt(store, folder, name, true, "existing");
    if (lock && isDone()) removeQuietly(folder, name);
  } catch (error) {
    log.trace(() => `"${name}" stays: ${osErrorText(error)}`);
  }
}

/** A note of who held a lock that nobody holds. */
function removeNote(
  store: Store,
  folder: Directory,
  name: string,
  guarded: string,
): void {
  try {
    const lock = `${guarded}.lock`;
    using held = attempt(store, folder, lock, true, "create");
    if (!held) return;
    removeQuietly(folder, name);
    if (isPassingLock(lock)) removeQuietly(folder, lock);
  } catch (error) {
    log.trace(() => `"${name}" stays: ${osErrorText(error)}`);
  }
}
