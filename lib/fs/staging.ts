/**
 * A place to build something in, beside where it will stand:
 * `<name>.partial-<pid>-<random>/tree`. Beside `tree` lies a file that is locked as
 * long as the builder lives, so that a sweep can tell its staging from a dead one's,
 * in whatever container it runs.
 *
 * @module
 */

import { CacheError, osFailure } from "../error.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { Budget, patiently } from "../os/patience.ts";
import { lockForLife } from "./alive.ts";
import { type Directory, type OpenFile, pathIn } from "./directory.ts";
import { removeInherited } from "./fidelity.ts";
import { findSiblings, removeQuietly, siblingName } from "./names.ts";
import {
  type Failure,
  removeEntry,
  removeHalfMade,
  removeTree,
} from "./remove.ts";

/** The name of what is built. */
export const TREE = "tree";

/** The name of the file that its builder has locked. */
const LOCK = ".lock";

/** Where something is built. Dispose of it, whether it was published or not. */
export interface Staging extends AsyncDisposable {
  /** Its directory, mode 0700, held open. Nobody else may look into it. */
  readonly directory: Directory;
  /** The path of what is built, which does not exist yet: {@linkcode TREE} in it. */
  readonly tree: string;
  /** Removes it, and says what could not be removed. Throws the signal's reason. */
  remove(signal?: AbortSignal): Promise<Failure[]>;
}

/** A day, in milliseconds: what is older than that where there are no locks is dead. */
const OLD = 24 * 60 * 60 * 1000;

/**
 * Makes a staging beside an entry.
 *
 * @param signal When it is aborted, a large staging is left to a sweep.
 * @throws {CacheError} If the directory can't be written.
 */
export function openStaging(
  parent: Directory,
  name: string,
  signal?: AbortSignal,
): Staging {
  for (let tries = 0;; tries++) {
    const own = siblingName(name, "partial");
    try {
      patiently(() => parent.make(own, 0o700));
      return new LockedStaging(parent, own, signal);
    } catch (error) {
      removeQuietly(parent, own); // made before something else failed
      // A sweep took it for a dead one's, between its making and its locking.
      if (errorKind(error) === "not-found" && tries < 100 && isThere(parent)) {
        continue;
      }
      throw osFailure("build beside", pathIn(parent, name), error);
    }
  }
}

/** Whether the parent is there, so that only the staging was missing. */
function isThere(parent: Directory): boolean {
  try {
    return parent.status().links > 0;
  } catch {
    return false;
  }
}

class LockedStaging implements Staging {
  readonly directory: Directory;
  readonly tree: string;
  readonly #parent: Directory;
  readonly #name: string;
  readonly #lock: OpenFile;
  readonly #signal: AbortSignal | undefined;
  #isRemoved = false;

  constructor(parent: Directory, name: string, signal?: AbortSignal) {
    this.#signal = signal;
    this.#parent = parent;
    this.#name = name;
    this.directory = parent.open(name);
    this.tree = pathIn(this.directory, TREE);
    let lock: OpenFile | undefined;
    try {
      if (!this.directory.safe) throw unsafe(pathIn(parent, name));
      removeInherited(this.directory); // or all that is made in it gets them
      lock = patiently(() => this.directory.openFile(LOCK, "create", 0o600));
      this.#lock = lock;
      if (!lockForLife(lock)) throw new Deno.errors.NotFound("Swept");
      // Not found, if it was swept.
      if (!this.directory.look(LOCK)) throw new Deno.errors.NotFound("Swept");
    } catch (error) {
      removeQuietly(this.directory, LOCK);
      this.directory[Symbol.dispose]();
      lock?.[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * The lock goes last, under the lock: whoever finds the staging of a process that
   * was killed meanwhile finds that it is dead.
   */
  async remove(signal?: AbortSignal): Promise<Failure[]> {
    this.#isRemoved = true;
    using _ = this.#lock;
    using directory = this.directory;
    // Not the tree alone: who built may have left a lock file beside it.
    const failures = await removeContent(directory, 1000, signal);
    if (failures.length > 0) return failures;
    removeQuietly(directory, LOCK);
    try {
      this.#parent.removeDirectory(this.#name);
      return [];
    } catch (error) {
      if (errorKind(error) === "not-found") return [];
      this.#lock.close(); // Windows keeps the name of an open file
      return await removeTree(this.#parent, this.#name, { busyTimeout: 1000 });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isRemoved) return;
    const failures = await removeHalfMade(
      this.directory.path,
      this.#signal,
      (until) => this.remove(until),
    );
    for (const { path, message } of failures ?? []) {
      log.warn(() => `Cannot remove "${path}": ${message}`);
    }
  }
}

function unsafe(path: string): CacheError {
  return new CacheError(
    `other users can change what is beside it. Grant --allow-ffi, or use a directory of your own`,
    path,
    "refused",
  );
}

/**
 * Deletes what dead builders left beside an entry. A staging whose builder lives is
 * left alone, and so is what only bears the name of one: a symbolic link, a file,
 * somebody else's. That something can't be swept is no failure of who sweeps.
 *
 * @param owner The owner of what stands there, whose stagings may be swept, too.
 * @returns The paths of what was deleted.
 */
export async function sweepStagings(
  parent: Directory,
  name: string,
  owner?: number,
): Promise<string[]> {
  const swept: string[] = [];
  let names: string[] = [];
  try {
    names = findSiblings(parent, name, "partial", owner);
  } catch (error) {
    log.debug(() => `No sweep in "${parent.path}": ${osErrorText(error)}`);
  }
  for (const name of names) {
    const path = pathIn(parent, name);
    try {
      const failures = await sweepOne(parent, name);
      if (!failures) continue;
      const [first] = failures;
      if (!first) {
        swept.push(path);
        log.debug(() => `Deleted "${path}", which an earlier run left`);
      } else {
        log.warn(() =>
          `Cannot delete all of "${path}", which an earlier run left: ` +
          `"${first.path}": ${first.message}`
        );
      }
    } catch (error) {
      log.debug(() => `Not swept: "${path}": ${osErrorText(error)}`);
    }
  }
  return swept;
}

/** What could not be removed; `undefined` if its builder lives, or may live. */
async function sweepOne(
  parent: Directory,
  name: string,
): Promise<Failure[] | undefined> {
  using directory = parent.open(name);
  if (!directory.safe) return undefined; // it can't be told from somebody else's
  let lock: OpenFile;
  try {
    lock = directory.openFile(LOCK, "lock");
  } catch (error) {
    if (errorKind(error) !== "not-found") throw error;
    // Its builder has not come to lock it, or died before: then it is empty.
    const failure = await removeEntry(parent, name, true, new Budget(0));
    return failure ? undefined : [];
  }
  using _ = lock;
  if (!lockForLife(lock, () => isOld(directory))) return undefined;
  const failures = await removeContent(directory, 0);
  if (failures.length > 0) return failures;
  removeQuietly(directory, LOCK);
  lock.close(); // Windows keeps the name of an open file
  const failure = await removeEntry(parent, name, true, new Budget(0));
  return failure ? [failure] : [];
}

/** All but the lock, which goes last. */
async function removeContent(
  directory: Directory,
  busyTimeout: number,
  signal?: AbortSignal,
): Promise<Failure[]> {
  const failures: Failure[] = [];
  const options = { busyTimeout, signal };
  for (const name of namesIn(directory)) {
    if (name === LOCK) continue;
    failures.push(...await removeTree(directory, name, options));
  }
  return failures;
}

/** What can't be listed has a tree in it. That more is left is said by its removal. */
function namesIn(directory: Directory): string[] {
  try {
    return patiently(() => directory.list()).map(({ name }) => name);
  } catch (error) {
    log.debug(() => `Cannot list "${directory.path}": ${osErrorText(error)}`);
    return [TREE];
  }
}

function isOld(directory: Directory): boolean {
  const { seconds } = directory.status().modified;
  return Date.now() - seconds * 1000 > OLD;
}
