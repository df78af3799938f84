/**
 * A place to build something in, beside where it will stand:
 * `<name>.partial-<pid>-<random>/tree`. Beside `tree` lies a file that is locked as
 * long as the builder lives, so that a sweep can tell its staging from a dead one's,
 * in whatever container it runs.
 *
 * @module
 */

import { removeTree } from "./remove.ts";
import { osFailure } from "../error.ts";
import { log } from "../log.ts";
import { listSiblings, removeIfThere, siblingPath } from "../fs/names.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { basename, dirname, join } from "../os/path.ts";

/** Where something is built. Dispose of it, whether it was published or not. */
export interface Staging extends AsyncDisposable {
  /** Its directory. Nobody else may look into it. */
  readonly path: string;
  /** What is built: it does not exist yet. */
  readonly tree: string;
}

/** A day: what is older than that where there are no locks is dead. */
const OLD = 24 * 60 * 60 * 1000;

/**
 * Makes a staging beside `destination`.
 *
 * @throws {CacheError} If the destination's parent can't be written.
 */
export function openStaging(destination: string): Staging {
  for (let tries = 0;; tries++) {
    const path = siblingPath(destination, "partial");
    try {
      patiently(() => Deno.mkdirSync(path, { mode: 0o700 }));
      return new LockedStaging(path);
    } catch (error) {
      removeIfThere(path); // made before something else failed
      // A sweep took it for a dead one's, between its making and its locking.
      if (
        errorKind(error) === "not-found" && tries < 100 &&
        hasParent(destination)
      ) {
        continue;
      }
      throw osFailure("build beside", destination, error);
    }
  }
}

/** Whether the parent is there, so that only the staging was missing. */
function hasParent(destination: string): boolean {
  try {
    return Deno.statSync(dirname(destination)).isDirectory;
  } catch {
    return false;
  }
}

class LockedStaging implements Staging {
  readonly path: string;
  readonly tree: string;
  readonly #lock: Deno.FsFile;

  constructor(path: string) {
    this.path = path;
    this.tree = join(path, "tree");
    const options = { read: true, write: true, create: true };
    this.#lock = patiently(() => Deno.openSync(join(path, ".lock"), options));
    try {
      if (!tryLock(this.#lock)) throw new Deno.errors.NotFound("Swept");
      Deno.lstatSync(join(path, ".lock")); // not found, if it was swept
    } catch (error) {
      this.#removeEmpty();
      this.#lock.close();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Removed before it is unlocked, so that no sweep meets it half way.
    if (this.#removeEmpty()) return this.#lock.close();
    const left = await removeTree(this.path, { busyTimeout: 0 });
    this.#lock.close();
    // Windows keeps the name of an open file.
    if (left.length > 0) await removeTree(this.path, { busyTimeout: 1000 });
  }

  /** Without its tree, which was published, nothing but the lock is in it. */
  #removeEmpty(): boolean {
    try {
      Deno.removeSync(join(this.path, ".lock"));
      Deno.removeSync(this.path);
      return true;
    } catch {
      return false;
    }
  }
}

/** True also where the file system has no locks. */
function tryLock(file: Deno.FsFile): boolean {
  try {
    return file.tryLockSync(true);
  } catch (error) {
    log.debug(() => `No locks here: ${osErrorText(error)}`);
    return true;
  }
}

/**
 * Deletes what dead builders left beside `destination`. A staging whose builder
 * lives is left alone. That something can't be swept is no failure of who sweeps.
 *
 * @returns The paths of what was deleted.
 */
export async function sweepStagings(destination: string): Promise<string[]> {
  const parent = dirname(destination);
  const swept: string[] = [];
  let names: string[] = [];
  try {
    names = listSiblings(parent, basename(destination), "partial");
  } catch (error) {
    log.debug(() => `No sweep in "${parent}": ${osErrorText(error)}`);
  }
  for (const name of names) {
    const path = join(parent, name);
    if (!isDead(path)) continue;
    const aside = siblingPath(destination, "stale");
    try {
      Deno.renameSync(path, aside);
    } catch (error) {
      log.debug(() => `Not swept: "${path}": ${osErrorText(error)}`);
      continue;
    }
    await removeTree(aside, { busyTimeout: 0 });
    swept.push(path);
    log.debug(() => `Deleted "${path}", which an earlier run left`);
  }
  return swept;
}

function isDead(path: string): boolean {
  let lock: Deno.FsFile;
  try {
    lock = Deno.openSync(join(path, ".lock"), { read: true, write: true });
  } catch {
    // Its builder has not come to lock it, or died before, or is another user.
    try {
      Deno.removeSync(path); // only if it is empty
    } catch (error) {
      log.trace(() => `Not swept: "${path}": ${osErrorText(error)}`);
    }
    return false;
  }
  using _ = lock;
  try {
    return lock.tryLockSync(true);
  } catch {
    const { mtime } = Deno.lstatSync(path);
    return mtime !== null && Date.now() - mtime.getTime() > OLD;
  }
}
