import { type Directory, isSameInode, isSameTime } from "../fs/directory.ts";
import type { Place } from "../fs/open.ts";
import { removeQuietly } from "../fs/names.ts";
import { ownId } from "../fs/trust.ts";
import { sweepWaits } from "../lock/cycle.ts";
import { lockPlace } from "../lock/directory.ts";
import { sweepTurn } from "../lock/fairness.ts";
import { lockName, type LockOptions } from "../lock/file.ts";

/** A guard that a clear has. */
export interface ClearLock extends Disposable {
  /** Removes the lock's file unless it was there before. Nothing may be done after that. */
  removeFile(): void;
}

/**
 * Takes the guard of a directory that is to be cleared: a directory that is cleared by
 * hand leaves no lock file, whether it stands again or not. Who waits for the guard
 * meanwhile notices that the file is gone, and makes another one.
 */
export async function lockToClear(
  place: Place,
  path: string,
  options: LockOptions,
): Promise<ClearLock> {
  const { parent } = place;
  const file = lockName(place.name);
  const before = look(parent, file);
  const guard = await lockPlace(place, path, true, options);
  return {
    removeFile() {
      sweepTurn(parent, place.name);
      sweepWaits(parent, place.name);
      const now = look(parent, file);
      const me = ownId();
      if (now?.kind !== "file" || me !== undefined && now.uid !== me) return;
      // (Windows has no users of files, and numbers of inodes that can't be told apart.)
      const isSame = before !== undefined &&
        (before.inode === undefined || isSameInode(now, before));
      const wasThere = isSame && isSameTime(now.modified, before.modified);
      if (!wasThere) removeQuietly(parent, file);
    },
    [Symbol.dispose]: () => guard[Symbol.dispose](),
  };
}

function look(parent: Directory, name: string) {
  try {
    return parent.look(name);
  } catch {
    return undefined; // then there is nothing to remove either
  }
}
