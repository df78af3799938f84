/**
 * Where things are in a cache, and what they may be called:
 *
 *     CACHEDIR.TAG              backup tools leave out what has it
 *     archive-v0/<id>/tree      what was put: a directory or a file; never changed
 *     archive-v0/<id>/manifest  what is in it
 *     <bucket>-v0/<key>         → ../archive-v0/<id>/tree
 *     blobs-v0/<aa>/<sha256>    files by their content
 *     leases/<id>.lock          shared by those who use the archive
 *     locks/                    of those who swap a key, or build what is missing
 *     tmp/<id>                  what is being put, or being deleted
 *     quarantine/<id>           archives that were found damaged
 *
 * @module
 */

import { CacheError, osFailure } from "../error.ts";
import { errorKind } from "../os/error.ts";
import { join } from "../os/path.ts";

/** The folders of a cache, but for those of buckets. */
export const FOLDERS = {
  archives: "archive-v0",
  blobs: "blobs-v0",
  leases: "leases",
  locks: "locks",
  tmp: "tmp",
  quarantine: "quarantine",
} as const;

/** The version of buckets. Those of another version are left alone. */
const VERSION = "-v0";

const TAG_NAME = "CACHEDIR.TAG";

/** https://bford.info/cachedir/ */
const SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55";
const TAG = `${SIGNATURE}
# This file is a cache directory tag created by rebuild-cache.
# For information about cache directory tags see https://bford.info/cachedir/
`;

/** What a cache has in it before it has its tag. */
const BEGINNING: ReadonlySet<string> = new Set([
  TAG_NAME,
  FOLDERS.leases,
  FOLDERS.tmp,
]);

const ID = /^[0-9a-f]{32}$/;

/** A new archive's id: it never comes again. */
export function newId(): string {
  return crypto.getRandomValues(new Uint8Array(16)).toHex();
}

/** The id that a name in `archive-v0`, `leases` or `tmp` begins with. */
export function idOf(name: string): string | undefined {
  const id = name.slice(0, 32);
  return ID.test(id) && !/^[0-9a-f]/.test(name.slice(32)) ? id : undefined;
}

/** Paths in a cache. */
export class Layout {
  /** The cache's absolute path. */
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** One of the folders, or a path in it. */
  in(folder: keyof typeof FOLDERS, ...names: string[]): string {
    return join(this.root, FOLDERS[folder], ...names);
  }

  /** An archive: a directory with `tree` and `manifest`. */
  archive(id: string): string {
    return this.in("archives", id);
  }

  /** The file that those who use an archive lock. */
  lease(id: string): string {
    return this.in("leases", `${id}.lock`);
  }

  /** A bucket's folder. */
  bucket(name: string): string {
    return join(this.root, name + VERSION);
  }

  /** The names of all buckets of this version. */
  buckets(): string[] {
    const own: readonly string[] = Object.values(FOLDERS);
    return this.list(this.root)
      .filter((name) => name.endsWith(VERSION) && !own.includes(name))
      .map((name) => name.slice(0, -VERSION.length))
      .filter((name) => BUCKET.test(name));
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
      if (this.#isTagged()) return true;
      const names = this.list(this.root);
      if (names.every((name) => BEGINNING.has(name))) return false;
      if (tries < 10) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
      throw new CacheError(
        `"${this.root}" is not a cache with keys: it has no ${TAG_NAME}. Nothing was touched`,
        this.root,
        "refused",
      );
    }
  }

  #isTagged(): boolean {
    const path = join(this.root, TAG_NAME);
    try {
      return Deno.readTextFileSync(path).startsWith(SIGNATURE);
    } catch (error) {
      if (errorKind(error) === "not-found") return false;
      throw osFailure("read", path, error);
    }
  }

  /** The names in a folder; none if it does not exist. */
  list(folder: string): string[] {
    try {
      return Array.from(Deno.readDirSync(folder), ({ name }) => name);
    } catch (error) {
      if (errorKind(error) === "not-found") return [];
      throw osFailure("list", folder, error);
    }
  }

  /** Makes what is missing of the folders, as open to others as the root is. */
  make(bucket: string): void {
    try {
      this.#make(bucket);
    } catch (error) {
      throw osFailure("make the cache", this.root, error);
    }
  }

  #make(bucket: string): void {
    Deno.mkdirSync(this.root, { recursive: true });
    const root = Deno.statSync(this.root);
    const { tmp, leases, ...others } = FOLDERS;
    // What a prune needs to sweep a tag that was never placed.
    for (const name of [leases, tmp]) makeShared(join(this.root, name), root);
    this.#tag();
    for (const name of [...Object.values(others), bucket + VERSION]) {
      makeShared(join(this.root, name), root);
    }
  }

  /** Whole or not at all, and before there is anything else. */
  #tag(): void {
    while (!this.#isTagged()) {
      const temporary = this.in("tmp", `${newId()}.tag`);
      Deno.writeTextFileSync(temporary, TAG, { createNew: true });
      try {
        Deno.renameSync(temporary, join(this.root, TAG_NAME));
      } catch (error) {
        if (errorKind(error) !== "not-found") throw error; // swept: once more
      }
    }
  }
}

/** Makes a folder, unless it is there, as open to others as another one. */
export function makeShared(folder: string, like: Deno.FileInfo): void {
  try {
    Deno.mkdirSync(folder);
    shareLike(folder, like);
  } catch (error) {
    if (errorKind(error) !== "already-exists") throw error;
  }
}

/** Gives a new directory the group and mode of the root, its setgid bit included. */
export function shareLike(path: string, root: Deno.FileInfo): void {
  if (root.mode === null || Deno.build.os === "windows") return;
  const now = Deno.lstatSync(path);
  if (now.gid !== root.gid && root.mode & 0o020) {
    Deno.chownSync(path, null, root.gid);
  }
  const mode = root.mode & 0o7777 & ~0o1000; // not the sticky bit: a peer may delete
  if ((now.mode! & 0o7777) !== mode) Deno.chmodSync(path, mode);
}

const BUCKET = /^[a-z0-9][a-z0-9_-]{0,39}$/;

/** Refuses names of buckets that could be something else on some file system. */
export function checkBucket(name: string): void {
  const own = Object.values(FOLDERS).some((it) => it === name + VERSION);
  if (BUCKET.test(name) && !own) return;
  throw new CacheError(
    `Cannot use "${name}" as a bucket: a bucket's name has 1 to 40 small letters, digits, "-" and "_", and is not one of the cache's own`,
    name,
    "refused",
  );
}

const encoder = new TextEncoder();

/** What {@linkcode nameOf} gives. */
const KEY_NAME = /^[a-z0-9-]{1,40}-[0-9a-f]{40}$/;

/** Whether a name in a bucket's folder can be a key's: all others are somebody else's. */
export function isKeyName(name: string): boolean {
  return KEY_NAME.test(name);
}

/**
 * The name that stands for a key: a part that can be read, and a digest that no
 * other key has, whatever the file system makes of case and accents.
 *
 * @throws {CacheError} Of kind `refused` if the key is empty, or no valid text.
 */
export async function nameOf(key: string): Promise<string> {
  const refusal = key === ""
    ? "it is empty"
    : key.isWellFormed()
    ? undefined
    : "it has half of a character in it (a lone surrogate)";
  if (refusal) {
    throw new CacheError(`Cannot use a key: ${refusal}`, key, "refused");
  }
  const bytes = await crypto.subtle.digest("SHA-256", encoder.encode(key));
  const readable = key.slice(0, 1000).toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-").slice(0, 40).replaceAll(/^-|-$/g, "");
  return `${readable || "key"}-${new Uint8Array(bytes, 0, 20).toHex()}`;
}
