/**
 * Where things are in a cache, and what they may be called:
 *
 *     CACHEDIR.TAG              backup tools leave out what has it
 *     .gitignore                so does git
 *     archive-v1/<id>/tree      what was put: a directory or a file; never changed
 *     archive-v1/<id>/manifest  what is in it
 *     files-v1/<aa>/<sha256>.<mode>  the archives' files by content (see `content_store.ts`)
 *     <bucket>-v1/<key>         → ../archive-v1/<id>/tree
 *     blobs-v0/<aa>/<sha256>    files by their content; with `.x` those to be executed
 *     leases/<id>.lock          shared by those who use the archive
 *     locks/                    of those who swap a key, or build what is missing
 *     tmp/<id>                  what is being put, or being deleted
 *     quarantine/<id>           archives that were found damaged
 *     stats/                    hits and misses, and when it was pruned last
 *     placed/                   notes of what was put where (see `placed.ts`)
 *     remote-v1/                notes of remotes that were down just now
 *
 * No name in a cache is typed anywhere else.
 *
 * @module
 */

import { CacheError } from "../error.ts";
import { sha256 } from "../os/sha256.ts";
import { printable } from "../os/text.ts";

/** The folders of a cache, except those of buckets. */
export const FOLDERS = {
  archives: "archive-v1",
  files: "files-v1",
  blobs: "blobs-v0",
  leases: "leases",
  locks: "locks",
  tmp: "tmp",
  quarantine: "quarantine",
  stats: "stats",
  placed: "placed",
  remote: "remote-v1",
} as const;

/** A folder of a cache. */
export type Folder = keyof typeof FOLDERS;

/** The version of buckets. Those of another version are left alone. */
const VERSION = "-v1";

/** What 0.1 wrote. Its blobs are as they were. */
const OLD_VERSION = "-v0";
const OLD_ARCHIVES = `archive${OLD_VERSION}`;

/** Whether a folder is one that only an older version reads. */
export function isOldFolder(folder: string): boolean {
  if (folder === OLD_ARCHIVES) return true;
  return folder.endsWith(OLD_VERSION) && folder !== FOLDERS.blobs &&
    isBucket(folder.slice(0, -OLD_VERSION.length));
}

/** Whether a folder has an older version's archives in it, which have leases. */
export function isOldArchives(folder: string): boolean {
  return folder === OLD_ARCHIVES;
}

/** What was put, in an archive. */
export const TREE = "tree";

/** What is in it. */
export const MANIFEST = "manifest";

/** Where a file is fetched to, in a slot, and a copy of it that is ours alone. */
export const FETCHED = "blob";
export const OWN = "own";

/** Where contents are pulled to, in a slot. */
export const PULLED = "pulled";

/** What is counted, each in a file of `stats`. */
export const COUNTERS = ["hits", "misses", "remote-hits"] as const;

/** One of what is counted. */
export type Counter = typeof COUNTERS[number];

/** The file in `stats` that was made when the last prune began. */
export const PRUNED = "pruned";

export const TAG_NAME = "CACHEDIR.TAG";

/** https://bford.info/cachedir/ */
export const SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55";
export const TAG = `${SIGNATURE}
# This file is a cache directory tag created by rebuild-cache.
# For information about cache directory tags see https://bford.info/cachedir/
`;

/** Git, and what goes by its lists, leaves all of it out. */
export const IGNORE_NAME = ".gitignore";
export const IGNORE = "*\n";

/** What a cache has in it before it has its tag. */
export const BEGINNING: ReadonlySet<string> = new Set([
  TAG_NAME,
  FOLDERS.leases,
  FOLDERS.tmp,
]);

declare const mark: unique symbol;

/** An archive's id: 32 hexadecimal digits. */
export type ArchiveId = string & { readonly [mark]: "id" };

/** The name that stands for a key in a bucket's folder. */
export type KeyName = string & { readonly [mark]: "key" };

const ID = /^[0-9a-f]{32}(?![0-9a-f])/;

/** Whether a text is an id. */
export function isId(text: unknown): text is ArchiveId {
  return typeof text === "string" && idOf(text) === text;
}

/** A new archive's id: it never comes again. */
export function newId(): ArchiveId {
  return crypto.getRandomValues(new Uint8Array(16)).toHex() as ArchiveId;
}

/** The id that a name in `archive-v0`, `leases`, `quarantine` or `tmp` begins with. */
export function idOf(name: string): ArchiveId | undefined {
  return ID.exec(name)?.[0] as ArchiveId | undefined;
}

/** The file that those who use an archive lock. */
export function leaseName(id: ArchiveId): string {
  return `${id}.lock`;
}

/** Names in `tmp`: a key and a tag before they are placed, and what is being deleted. */
export function temporaryName(
  id: ArchiveId,
  what: "key" | "tag" | "note" | "gone",
) {
  return `${id}.${what}`;
}

/** The lock of those who swap a key: one of sixteen, each held for an instant. */
export function swapLockName(key: KeyName): string {
  return `swap-${key.at(-1)}.lock`;
}

/** The lock of who builds what a key will point to. */
export function buildLockName(bucket: string, key: KeyName): string {
  return `build-${bucket}.${key}.lock`;
}

/** The note of the refresh of a key that began last, which goes as its lock does. */
export function refreshName(bucket: string, key: KeyName): string {
  return `build-${bucket}.${key}.last`;
}

/** The lock of who fetches a blob. */
export function blobLockName(digest: string): string {
  return `blob-${digest}.lock`;
}

/** Whether a lock, or a note, is one that is made anew whenever it is needed. */
export function isPassingLock(name: string): boolean {
  return /^(build|blob)-.*\.(lock|last)$/s.test(name);
}

/** A note of what was put where: by the digest of the place and of what stands there. */
export function placementName(place: string): string {
  return place;
}

/** A note that symbolic links at a place lead into an archive. */
export function referenceName(id: ArchiveId, place: string): string {
  return `${id}.${place}`;
}

const PLACEMENT = /^(?:([0-9a-f]{32})\.)?[0-9a-f]{64}$/;

/** Whether a name in `placed` is a note's; and the archive, if links lead into it. */
export function parsePlacement(
  name: string,
): { id: ArchiveId | undefined } | undefined {
  const match = PLACEMENT.exec(name);
  return match ? { id: match[1] as ArchiveId | undefined } : undefined;
}

/** Whether what a symbolic link says leads into an archive. */
export function leadsInto(text: string, id: ArchiveId): boolean {
  return new RegExp(
    String.raw`[/\\]${FOLDERS.archives}[/\\]${id}[/\\]${TREE}(?:[/\\]|$)`,
  ).test(text);
}

const DIGEST = /^[0-9a-f]{64}$/;
const SHARD = /^[0-9a-f]{2}$/;
const EXECUTABLE = ".x";

/** Refuses what is no SHA-256. */
export function checkDigest(digest: string): void {
  if (DIGEST.test(digest)) return;
  throw new CacheError(
    `"${
      printable(digest)
    }" is not a SHA-256 in 64 lowercase hexadecimal digits`,
    digest,
    "refused",
  );
}

/** The folder in `blobs-v0` or `files-v1` that a content lies in. */
export function shardOf(digest: string): string {
  return digest.slice(0, 2);
}

/** Whether a name in `blobs-v0` or `files-v1` can be such a folder's. */
export function isShard(name: string): boolean {
  return SHARD.test(name);
}

/** The name of a content with a mode. */
export function storedName(digest: string, mode: number): string {
  return `${digest}.${(mode & 0o7777).toString(8)}`;
}

const STORED = /^([0-9a-f]{64})\.([0-7]{1,4})$/;

/** What such a name says; `undefined` for any other name. */
export function parseStored(
  name: string,
): { digest: string; mode: number } | undefined {
  const match = STORED.exec(name);
  if (!match) return undefined;
  return { digest: match[1]!, mode: Number.parseInt(match[2]!, 8) };
}

/** A blob's name. */
export function blobName(digest: string, executable: boolean): string {
  return digest + (executable ? EXECUTABLE : "");
}

/** The digest of a blob's name; `undefined` for any other name. */
export function digestOf(name: string): string | undefined {
  const bare = name.endsWith(EXECUTABLE)
    ? name.slice(0, -EXECUTABLE.length)
    : name;
  return DIGEST.test(bare) ? bare : undefined;
}

const POINTER = new RegExp(
  String
    .raw`^\.\.[/\\]${FOLDERS.archives}[/\\]([0-9a-f]{32})[/\\]${TREE}\s*$`,
);

/** What a key says. */
export function pointerText(id: ArchiveId): string {
  return `../${FOLDERS.archives}/${id}/${TREE}`;
}

/** The archive that a key's text leads to; `undefined` if it leads anywhere else. */
export function idInPointer(text: string): ArchiveId | undefined {
  return POINTER.exec(text)?.[1] as ArchiveId | undefined;
}

/** Names that folders of the cache have, whatever their version. */
const RESERVED: ReadonlySet<string> = new Set(
  Object.values(FOLDERS).flatMap((it) => it.match(/^(.*)-v\d+$/)?.[1] ?? []),
);

const BUCKET = /^[a-z0-9][a-z0-9_-]{0,39}$/;

/** Whether a bucket may be called so. */
export function isBucket(name: string): boolean {
  return BUCKET.test(name) && !RESERVED.has(name);
}

/** Refuses names of buckets that could be something else on some file system. */
export function checkBucket(name: string): void {
  if (isBucket(name)) return;
  throw new CacheError(
    `Cannot use "${
      printable(name)
    }" as a bucket: a bucket's name has 1 to 40 lowercase letters, digits, "-" and "_", and is not one of the cache's own`,
    name,
    "refused",
  );
}

/** A bucket's folder. */
export function bucketFolder(bucket: string): string {
  return bucket + VERSION;
}

/** The bucket of a folder of this version; `undefined` if it is none. */
export function bucketOf(folder: string): string | undefined {
  if (!folder.endsWith(VERSION)) return undefined;
  const name = folder.slice(0, -VERSION.length);
  return isBucket(name) ? name : undefined;
}

/** What {@linkcode nameOf} gives. */
const KEY_NAME = /^[a-z0-9-]{1,40}-[0-9a-f]{40}$/;

/** Whether a name in a bucket's folder can be a key's: all others are somebody else's. */
export function isKeyName(name: string): name is KeyName {
  return KEY_NAME.test(name);
}

/**
 * The name that stands for a key: a part that can be read, and a digest that no
 * other key has, whatever the file system makes of case and accents.
 *
 * @throws {CacheError} Of kind `refused` if the key is empty, or no valid text.
 */
export async function nameOf(key: string): Promise<KeyName> {
  const refusal = key === ""
    ? "it is empty"
    : key.isWellFormed()
    ? undefined
    : "it has half of a character in it (a lone surrogate)";
  if (refusal) {
    throw new CacheError(`Cannot use a key: ${refusal}`, key, "refused");
  }
  const readable = key.slice(0, 1000).toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-").slice(0, 40).replaceAll(/^-|-$/g, "");
  const digest = (await sha256(key)).slice(0, 40);
  return `${readable || "key"}-${digest}` as KeyName;
}
