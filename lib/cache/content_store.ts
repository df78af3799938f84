/**
 * Files by their content: each content is stored once, for each mode, and archives have
 * hard links to it.
 *
 *     files-v1/<aa>/<sha256>.<octal mode>
 *
 * A new file is in its archive first, and is then linked from here; a known one is linked
 * from here. So who removes a name here that has no other link needs no lock: a link was
 * made before, or says that the name is gone, and then who puts has a file of its own.
 *
 * An inode's modification time is that of the file that came first, except for its
 * nanoseconds (see `markOf()`): what somebody wrote to since is not linked again. The
 * times of all others are in their manifests.
 *
 * Sharing saves room, and nothing depends on it: where it is not possible, an archive
 * has a file of its own.
 *
 * @module
 */

import {
  type Access,
  type Directory,
  isSameInode,
  pathIn,
  type Status,
} from "../fs/directory.ts";
import { removeQuietly } from "../fs/names.ts";
import { markOf } from "../link/listing.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { shardOf, storedName } from "./layout.ts";
import { failure, makeShared, openFolder, type Root } from "./root.ts";
import { isWhole } from "./stored.ts";

/**
 * What became of a file: it has the inode that was here (`known`); what is here has its
 * inode (`new`); or nobody shares it (`own`).
 */
export type Sharing = "known" | "new" | "own";

/** The content store of a cache, for who puts something. Holds folders open. */
export class ContentStore implements Disposable {
  readonly #root: Root;
  readonly #status: Status;
  /** A directory of ours on the same file system, for names that nobody sees yet. */
  readonly #spare: Directory;
  readonly #shards = new Map<string, Directory>();
  /** Why nothing can be shared here. */
  #off: string | undefined;

  constructor(root: Root, spare: Directory) {
    this.#root = root;
    this.#spare = spare;
    this.#status = root.status();
  }

  [Symbol.dispose](): void {
    for (const shard of this.#shards.values()) shard[Symbol.dispose]();
  }

  /** Shares files of a directory of a tree; its times stay. Dispose of it. */
  in(directory: Directory): SharingIn {
    return new SharingIn(
      directory,
      (...file) => this.#share(directory, ...file),
    );
  }

  /** Whether a content seems to be here, with a mode. */
  has(digest: string, mode: number, size: number): boolean {
    return this.#shard(digest).sizeOf(storedName(digest, mode)) === size;
  }

  /**
   * Gives a name the inode with a content that is here.
   *
   * @returns Bytes that it takes on the disk; `undefined` if it is not here, or can't
   * be linked to: then there is nothing by that name.
   */
  link(
    digest: string,
    mode: number,
    size: number,
    to: Directory,
    name: string,
  ): number | undefined {
    if (this.#off !== undefined || size === 0) return undefined;
    const stored = storedName(digest, mode);
    const shard = this.#shard(digest);
    // Mostly it is not here where it is new: that is an answer, and no error.
    if (shard.sizeOf(stored) !== size) return undefined;
    try {
      shard.link(stored, to, name);
    } catch (error) {
      const kind = errorKind(error);
      if (kind === "already-exists") throw error;
      return undefined;
    }
    const status = to.look(name);
    if (status?.size === size && isWhole({ name: stored, status })) {
      return status.allocated ?? size;
    }
    to.remove(name);
    return undefined;
  }

  #share(
    directory: Directory,
    name: string,
    status: Status,
    digest: string,
  ): Sharing {
    if (this.#off !== undefined || status.size === 0) return "own";
    try {
      const shard = this.#shard(digest);
      const stored = storedName(digest, status.mode);
      for (let tries = 0; tries < 3; tries++) {
        // First as if it were new: mostly it is, where what is known was linked.
        const error = publish(shard, stored, directory, name, status, digest);
        if (error === undefined) return "new";
        if (errorKind(error) !== "already-exists") throw error;
        const known = this.#linkKnown(shard, stored, directory, name, status);
        if (known === "unusable") {
          this.#replace(shard, stored, directory, name, status, digest);
          return "new";
        }
        if (known !== "gone") return known;
      }
    } catch (error) {
      const said = osErrorText(error);
      const path = pathIn(directory, name);
      log.debug(() => `"${path}" is not shared by its content: ${said}`);
      const kind = errorKind(error);
      if (kind === "cross-device" || kind === "unsupported") this.#off = said;
    }
    return "own";
  }

  /** Gives the name the inode that is here. `unusable`: full, or not what it should be. */
  #linkKnown(
    shard: Directory,
    stored: string,
    directory: Directory,
    name: string,
    status: Status,
  ): "known" | "new" | "gone" | "unusable" {
    const spare = this.#spare;
    const error = shard.tryLink(stored, spare);
    if (error !== undefined) {
      const kind = errorKind(error);
      if (kind === "not-found") return "gone";
      if (kind === "link-limit") return "unusable";
      // Another's file that may not be linked to (fs.protected_hardlinks), for one.
      throw error;
    }
    try {
      const there = patiently(() => spare.look(stored));
      if (there && isSameInode(there, status)) return "new"; // by its other name
      const isGood = there?.size === status.size &&
        isWhole({ name: stored, status: there });
      if (!isGood) {
        log.debug(() =>
          `"${pathIn(shard, stored)}" is damaged: it is replaced`
        );
        return "unusable";
      }
      patiently(() => spare.rename(stored, directory, name));
      return "known";
    } finally {
      removeQuietly(spare, stored);
    }
  }

  /** Lets an inode of ours take the place of what is here. */
  #replace(
    shard: Directory,
    stored: string,
    directory: Directory,
    name: string,
    status: Status,
    digest: string,
  ): void {
    const spare = this.#spare;
    const error = publish(spare, stored, directory, name, status, digest);
    if (error !== undefined) throw error;
    try {
      patiently(() => spare.rename(stored, shard, stored));
    } finally {
      removeQuietly(spare, stored);
    }
  }

  #shard(digest: string): Directory {
    const name = shardOf(digest);
    let shard = this.#shards.get(name);
    if (!shard) {
      const files = this.#root.folder("files");
      makeShared(files, name, this.#status);
      this.#shards.set(name, shard = openFolder(files, name));
    }
    return shard;
  }
}

/** Links a file of ours, which gets the mark. @returns The error, if there is one. */
function publish(
  to: Directory,
  stored: string,
  directory: Directory,
  name: string,
  { accessed, modified: { seconds } }: Status,
  digest: string,
): unknown {
  const modified = { seconds, nanoseconds: markOf(digest) };
  try {
    patiently(() => directory.setAccessOf(name, { accessed, modified }));
    patiently(() => directory.link(name, to, stored));
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Shares files of one directory. */
export class SharingIn implements Disposable {
  readonly #directory: Directory;
  readonly #share: (
    name: string,
    status: Status,
    digest: string,
  ) => Sharing;
  #undo: (() => void) | undefined;

  constructor(
    directory: Directory,
    share: (name: string, status: Status, digest: string) => Sharing,
  ) {
    this.#directory = directory;
    this.#share = share;
  }

  /**
   * Shares a file.
   *
   * @param status What was known of it before anything of its content was shared.
   */
  file(name: string, status: Status, digest: string): Sharing {
    if (status.size === 0) return "own";
    this.#undo ??= open(this.#directory);
    return this.#share(name, status, digest);
  }

  [Symbol.dispose](): void {
    this.#undo?.();
  }
}

/** Makes it possible to replace names in a directory. @returns What undoes it. */
function open(directory: Directory): () => void {
  const { mode, accessed, modified } = directory.opened;
  const closed = Deno.build.os !== "windows" && (mode & 0o300) !== 0o300;
  const set = (access: Access) => {
    try {
      patiently(() => directory.setAccess(access));
    } catch (error) {
      throw failure("take over", directory.path, error);
    }
  };
  if (closed) set({ mode: mode | 0o300 });
  return () => set({ ...closed && { mode }, accessed, modified });
}
