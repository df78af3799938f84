/**
 * A cache that is held open. Its folders are opened by name, through it: one that is
 * a symbolic link or a mount point is an error that names it.
 *
 * @module
 */

import { CacheError, kindOfError, osFailure } from "../error.ts";
import { type Directory, pathIn, type Status } from "../fs/directory.ts";
import { removeQuietly } from "../fs/names.ts";
import { readText } from "../fs/read.ts";
import { type Failure, failureOf } from "../fs/remove.ts";
import { patiently, pause } from "../os/patience.ts";
import {
  BEGINNING,
  bucketFolder,
  bucketOf,
  type Folder,
  FOLDERS,
  IGNORE,
  IGNORE_NAME,
  newId,
  SIGNATURE,
  TAG,
  TAG_NAME,
  temporaryName,
} from "./layout.ts";

/** An error as one of ours, that names the path. */
export function failure(verb: string, path: string, error: unknown) {
  return error instanceof CacheError ? error : osFailure(verb, path, error);
}

/** What could not be removed or read, for a report: what the OS said, once. */
export function toFailure(path: string, error: unknown): Failure {
  const kind = kindOfError(error);
  if (!(error instanceof CacheError)) return failureOf(path, error);
  const { cause, message } = error;
  const isOs = cause !== undefined && kindOfError(cause) === kind;
  return isOs ? { ...failureOf(path, cause), kind } : { path, kind, message };
}

/** A cache that is held open, by one operation or by several: each disposes of it. */
export class Root implements Disposable {
  readonly directory: Directory;
  readonly #held: DisposableStack;
  readonly #folders = new Map<string, Directory>();
  #users = 1;

  /** @param held What goes with it. */
  constructor(directory: Directory, held: DisposableStack) {
    this.directory = directory;
    this.#held = held;
    held.use(directory);
  }

  get path(): string {
    return this.directory.path;
  }

  /** What is known of the cache's own directory. */
  status(): Status {
    try {
      return patiently(() => this.directory.status());
    } catch (error) {
      throw failure("look at", this.path, error);
    }
  }

  /** The same, for one more to dispose of. */
  share(): this {
    this.#users++;
    return this;
  }

  [Symbol.dispose](): void {
    if (--this.#users === 0) this.#held.dispose();
  }

  /** One of the folders. */
  folder(folder: Folder): Directory {
    return this.#open(FOLDERS[folder]);
  }

  /** A bucket's folder. */
  bucket(bucket: string): Directory {
    return this.#open(bucketFolder(bucket));
  }

  /** A folder, or `undefined` if it does not exist. */
  ifThere(folder: Folder): Directory | undefined {
    return this.#unlessMissing(() => this.folder(folder));
  }

  /** A bucket's folder, or `undefined` if it does not exist. */
  bucketIfThere(bucket: string): Directory | undefined {
    return this.#unlessMissing(() => this.bucket(bucket));
  }

  #open(name: string): Directory {
    const known = this.#folders.get(name);
    if (known) return known;
    const opened = openFolder(this.directory, name);
    this.#held.use(opened);
    this.#folders.set(name, opened);
    return opened;
  }

  #unlessMissing(open: () => Directory): Directory | undefined {
    try {
      return open();
    } catch (error) {
      if (error instanceof CacheError && error.kind === "not-found") {
        return undefined;
      }
      throw error;
    }
  }

  /** The names of all buckets of this version. */
  buckets(): string[] {
    return namesIn(this.directory).flatMap((name) => bucketOf(name) ?? []);
  }

  /**
   * Refuses to remove anything from what is no cache: a slip in a path must not cost
   * files that only look like keys.
   *
   * @returns Whether there is a cache; false if there is nothing, or just its beginning.
   */
  async check(): Promise<boolean> {
    // Tried again, since a peer may put another cache in its place just now.
    for (let tries = 0;; tries++) {
      if (this.#tag() !== "none") return true;
      const names = namesIn(this.directory);
      if (names.every((name) => BEGINNING.has(name))) return false;
      if (tries < 10) {
        await pause(20);
        continue;
      }
      throw new CacheError(
        `"${this.path}" is not a cache with keys: it has no ${TAG_NAME}. Nothing was touched`,
        this.path,
        "refused",
      );
    }
  }

  /** After a power cut it may be empty: it is a tag all the same. */
  #tag(): "whole" | "empty" | "none" {
    const path = pathIn(this.directory, TAG_NAME);
    try {
      using file = patiently(() => this.directory.openFile(TAG_NAME, "read"));
      const text = readText(file, 4096);
      if (text === "") return "empty";
      return text.startsWith(SIGNATURE) ? "whole" : "none";
    } catch (error) {
      if (kindOfError(error) === "not-found") return "none";
      throw failure("read", path, error);
    }
  }

  /** Makes what is missing of the folders, as open to others as the root is. */
  make(bucket: string): void {
    try {
      const status = this.status();
      const { tmp, leases, remote: _, ...others } = FOLDERS;
      // What a prune needs to sweep a tag that was never placed.
      for (const name of [leases, tmp]) {
        makeShared(this.directory, name, status);
      }
      this.#placeTag(status);
      this.#placeIgnore(status);
      for (const name of [...Object.values(others), bucketFolder(bucket)]) {
        makeShared(this.directory, name, status);
      }
    } catch (error) {
      throw failure("make the cache", this.path, error);
    }
  }

  /** Whole or not at all, on the disk, and before there is anything else. */
  #placeTag(status: Status): void {
    this.#place(TAG_NAME, TAG, status, () => this.#tag() === "whole");
  }

  /** What a user wrote there stays. */
  #placeIgnore(status: Status): void {
    const isThere = () => this.directory.look(IGNORE_NAME) !== undefined;
    this.#place(IGNORE_NAME, IGNORE, status, isThere);
  }

  #place(
    file: string,
    text: string,
    status: Status,
    isThere: () => boolean,
  ): void {
    const tmp = this.folder("tmp");
    for (let tries = 0; !isThere(); tries++) {
      const name = temporaryName(newId(), "tag");
      try {
        writeFile(tmp, name, new TextEncoder().encode(text), status, true);
        patiently(() => tmp.rename(name, this.directory, file));
      } catch (error) {
        removeQuietly(tmp, name);
        // Swept meanwhile: once more.
        if (kindOfError(error) !== "not-found" || tries > 100) throw error;
      }
    }
  }
}

/** Opens a folder. The error for a symbolic link says what it is. */
export function openFolder(parent: Directory, name: string): Directory {
  const path = pathIn(parent, name);
  try {
    return patiently(() => parent.open(name));
  } catch (error) {
    if (error instanceof CacheError) throw error;
    if (kindOfError(error) === "not-directory") {
      const isLink = parent.look(name)?.kind === "symlink";
      throw new CacheError(
        isLink
          ? `"${path}" is a symbolic link, which is not followed: a cache has a directory there`
          : `"${path}" is not a directory`,
        path,
        isLink ? "loop" : "not-directory",
        error,
      );
    }
    throw osFailure("open", path, error);
  }
}

/** The names in a directory. */
export function namesIn(directory: Directory): string[] {
  try {
    return patiently(() => directory.list()).map(({ name }) => name);
  } catch (error) {
    throw failure("list", directory.path, error);
  }
}

/** What is known of an entry. */
export function look(directory: Directory, name: string): Status | undefined {
  try {
    return patiently(() => directory.look(name));
  } catch (error) {
    throw failure("look at", pathIn(directory, name), error);
  }
}

const isWindows = Deno.build.os === "windows";

/** Whether a cache is a group's: its root has the setgid bit, and the group may write. */
export function isShared({ mode }: Status): boolean {
  return !isWindows && (mode & 0o2020) === 0o2020;
}

/** Makes a folder, unless it is there, as open to others as the root is. */
export function makeShared(
  parent: Directory,
  name: string,
  root: Status,
): void {
  if (parent.look(name)) return;
  try {
    parent.make(name);
  } catch (error) {
    if (kindOfError(error) === "already-exists") return;
    throw error;
  }
  if (!isShared(root)) return;
  using made = parent.open(name);
  shareDirectory(made, root);
}

/**
 * Gives something of ours the group of a group's cache.
 *
 * @returns False if we are no member: everybody may write to the cache, then.
 */
export function giveGroup(give: () => void): boolean {
  try {
    give();
    return true;
  } catch (error) {
    if (kindOfError(error) !== "permission") throw error;
    return false;
  }
}

/** Gives a new directory of ours the group and mode of a group's root. */
export function shareDirectory(directory: Directory, root: Status): void {
  const { gid, mode } = directory.status();
  // Not the sticky bit: another member may delete.
  const wanted = root.mode & ~0o1000;
  if (gid !== root.gid) {
    giveGroup(() => directory.setAccess({ gid: root.gid }));
  } else if (mode === wanted) return;
  directory.setAccess({ mode: wanted });
}

/** Writes a new file; in a group's cache its members may read it. */
export function writeFile(
  directory: Directory,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  root: Status,
  flush: boolean,
): void {
  using file = patiently(() => directory.openFile(name, "create"));
  file.write(bytes);
  if (isShared(root)) {
    const { gid, mode } = file.status();
    if (gid !== root.gid) giveGroup(() => file.setAccess({ gid: root.gid }));
    if ((mode & 0o640) !== 0o640) file.setAccess({ mode: mode | 0o640 });
  }
  if (flush) file.sync();
  file.close();
}
