/**
 * Files by their content: fetched once by all processes, checked before anybody can
 * see them, hard-linked out.
 *
 * @module
 */

import { CacheError, kindOfError, osFailure } from "../error.ts";
import {
  type Directory,
  fromMilliseconds,
  type OpenFile,
  pathIn,
  type Status,
  toMilliseconds,
} from "../fs/directory.ts";
import { LinkError } from "../link/error.ts";
import { linkFileHeld } from "../link/file.ts";
import type { LinkFileOptions, LinkFileReport } from "../link/options.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { toPath } from "../os/path.ts";
import { digestOfFile } from "./content.ts";
import { sha256 } from "./manifest.ts";
import { flushDirectory } from "./flush.ts";
import {
  blobLockName,
  blobName,
  checkDigest,
  digestOf,
  FETCHED,
  FOLDERS,
  isShard,
  OWN,
  shardOf,
} from "./layout.ts";
import { copyTreeInto } from "../link/tree.ts";
import type { OnUnreadable } from "./list.ts";
import {
  failure,
  look,
  makeShared,
  namesIn,
  openFolder,
  readAll,
  type Root,
} from "./root.ts";
import {
  closeSlot,
  holdLong,
  openSlot,
  type Slot,
  type Store,
  useRoot,
} from "./store.ts";

/** Options for `Cache.blob()`. */
export interface BlobOptions
  extends Pick<LinkFileOptions, "ifExists" | "onLinkLimit" | "maxLinks"> {
  /** Writes the content to a path, where nothing is yet. Called on a miss, once among all. */
  fetch: (path: string) => void | Promise<void>;
  /**
   * Whether it may be executed. The other variant is another file, since all names of
   * a file have one mode.
   *
   * @default {false}
   */
  executable?: boolean;
  /** Its size in bytes; anything else is refused before it is read. */
  size?: number;
}

/** What `Cache.blob()` did. */
export interface BlobReport extends LinkFileReport {
  /** Whether it was fetched for this call. */
  readonly fetched: boolean;
}

/** A blob in the cache. */
export interface Blob {
  /** The name of the folder that it is in. */
  readonly shard: string;
  readonly name: string;
  readonly path: string;
  readonly digest: string;
  readonly bytes: number;
  readonly nlink: number;
  /** In milliseconds since 1970. */
  readonly lastUse: number;
}

/** Puts a file with a known digest where it is needed. */
export async function placeBlob(
  store: Store,
  digest: string,
  dst: string | URL,
  options: BlobOptions,
): Promise<BlobReport> {
  checkDigest(digest);
  const destination = toPath(dst);
  const { executable = false, ifExists, onLinkLimit, maxLinks } = options;
  const name = blobName(digest, executable);
  const link = {
    mode: "hardlink",
    ...ifExists && { ifExists },
    ...onLinkLimit && { onLinkLimit },
    ...maxLinks && { maxLinks },
  } as const;
  let fetched = false;
  for (let tries = 0;; tries++) {
    {
      using root = await useRoot(store);
      using parent = root && shardIfThere(root, shardOf(digest));
      if (parent && await isWhole(parent, name, digest, options, store)) {
        try {
          const report = await linkFileHeld(
            { parent, name },
            destination,
            link,
          );
          if (!fetched) touchBlob(parent, name);
          return { ...report, fetched };
        } catch (error) {
          // Evicted since: once more.
          const evicted = error instanceof LinkError && !look(parent, name);
          if (!evicted || tries >= 10) throw error;
        }
      }
    }
    if (tries >= 100) {
      throw new CacheError(
        `Cannot keep ${digest}: it is taken away, or damaged, again and again`,
        store.path,
        "other",
      );
    }
    fetched = await provide(store, digest, options) || fetched;
  }
}

/** A folder of blobs, or `undefined` if it is missing. */
function shardIfThere(root: Root, shard: string): Directory | undefined {
  const blobs = root.ifThere("blobs");
  if (!blobs || !look(blobs, shard)) return undefined;
  try {
    return openFolder(blobs, shard);
  } catch (error) {
    if (kindOfError(error) === "not-found") return undefined;
    throw error;
  }
}

/** Below so many bytes the content is read at each hit. */
const SMALL = 1 << 20;

/**
 * Looks at a blob before it is given out: whoever has it linked may have written to it.
 * Its size must be the one that is asked for, if one is; its content is read if it is
 * small, or if its modification time is not the one that it was given when it was put
 * (see {@linkcode markedTime}). What is damaged is removed, and fetched again.
 */
async function isWhole(
  shard: Directory,
  name: string,
  digest: string,
  { size }: BlobOptions,
  { options: { signal } }: Store,
): Promise<boolean> {
  const status = look(shard, name);
  if (!status) return false;
  const path = pathIn(shard, name);
  let wrong: string | undefined;
  try {
    if (status.kind !== "file") wrong = "it is not a file";
    else if (status.size < SMALL || !isMarked(status, digest)) {
      using file = patiently(() => shard.openFile(name, "read"));
      wrong = await wrongDigest(file, digest, signal);
    }
  } catch (error) {
    if (error === signal?.reason) throw error;
    if (kindOfError(error) === "not-found") return false; // evicted
    throw failure("read", path, error);
  }
  if (wrong === undefined) {
    if (size === undefined || size === status.size) return true;
    throw new CacheError(
      `Cannot use ${digest}: it has ${status.size} bytes, not ${size}`,
      path,
      "invalid",
    );
  }
  log.warn(() => `"${path}" is damaged: ${wrong}`);
  removeFrom(shard, name);
  return false;
}

/**
 * A time of now, with the milliseconds that the digest says: whoever writes to the file
 * later gives it others.
 */
function markedTime(digest: string): number {
  return Math.floor(Date.now() / 1000) * 1000 + millisecondsOf(digest);
}

function isMarked({ modified }: Status, digest: string): boolean {
  return modified.nanoseconds === millisecondsOf(digest) * 1e6;
}

function millisecondsOf(digest: string): number {
  return Number.parseInt(digest.slice(0, 8), 16) % 1000;
}

/** Fetches what is not there, unless somebody else just does. */
async function provide(
  store: Store,
  digest: string,
  options: BlobOptions,
): Promise<boolean> {
  const { executable = false, fetch } = options;
  const slot = await openSlot(store);
  const { root } = slot;
  try {
    using _ = await holdLong(
      store,
      root.folder("locks"),
      blobLockName(digest),
      `The right to fetch ${digest}`,
    );
    const blobs = root.folder("blobs");
    const name = blobName(digest, executable);
    const shard = shardOf(digest);
    let fetched = true;
    {
      using there = shardIfThere(root, shard);
      if (there && look(there, name)) return false;
      const other = blobName(digest, !executable);
      if (there && await copyOther(there, other, slot)) fetched = false;
    }
    if (fetched) await fetch(pathIn(slot.directory, FETCHED));
    const own = await takeOver(slot, digest, options, store);
    try {
      makeShared(blobs, shard, root.directory.status());
      using folder = openFolder(blobs, shard);
      publish(slot, own, folder, name, digest, executable);
      if (store.options.durable) flushDirectory(folder);
    } catch (error) {
      throw failure("put into the cache", root.path, error);
    }
    return fetched;
  } finally {
    await closeSlot(slot);
  }
}

/** The variant with the other mode has the same content. */
async function copyOther(
  folder: Directory,
  other: string,
  { directory }: Slot,
): Promise<boolean> {
  if (look(folder, other)?.kind !== "file") return false;
  const source = { parent: folder, name: other };
  await copyTreeInto(source, { parent: directory, name: FETCHED });
  return true;
}

/** Checks what was fetched. The name of a file that has no name elsewhere comes back. */
async function takeOver(
  { directory }: Slot,
  digest: string,
  { size }: BlobOptions,
  { options: { signal } }: Store,
): Promise<string> {
  let name = FETCHED;
  let is: string | undefined;
  try {
    const status = directory.look(name);
    if (!status) throw new Deno.errors.NotFound("No such file");
    if (status.kind !== "file") is = "it is not a file";
    else if (size !== undefined && status.size !== size) {
      is = `it has ${status.size} bytes, not ${size}`;
    } else {
      if (status.links > 1) {
        const source = { parent: directory, name };
        name = OWN;
        await copyTreeInto(source, { parent: directory, name });
      }
      using file = directory.openFile(name, "read");
      is = await wrongDigest(file, digest, signal);
    }
  } catch (error) {
    if (error === signal?.reason) throw error;
    throw osFailure("read what was fetched", pathIn(directory, name), error);
  }
  if (is === undefined) return name;
  throw new CacheError(
    `Cannot use what was fetched for ${digest}: ${is}`,
    pathIn(directory, name),
    "invalid",
  );
}

/** Gives it its mode and its place, when it is on the disk. */
function publish(
  { root, directory }: Slot,
  own: string,
  folder: Directory,
  name: string,
  digest: string,
  executable: boolean,
): void {
  const time = markedTime(digest);
  {
    using file = patiently(() => directory.openFile(own, "lock"));
    const mode = executable ? 0o555 : 0o444;
    file.setAccess({
      ...Deno.build.os !== "windows" && { mode },
      accessed: fromMilliseconds(time),
      modified: fromMilliseconds(time),
    });
    file.sync();
  }
  log.debug(() => `Put ${digest} into "${root.path}"`);
  patiently(() => directory.rename(own, folder, name));
}

async function wrongDigest(
  file: OpenFile,
  digest: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  // A small one needs no library that takes 10 ms to load.
  const found = file.opened.size < SMALL
    ? await sha256(readAll(file.read.bind(file), Infinity, file.opened.size))
    : await digestOfFile(file, signal);
  return found === digest ? undefined : `its SHA-256 is ${found}`;
}

/**
 * What is wrong with a blob in the cache, if something is.
 *
 * @throws {CacheError} If it can't be read.
 */
export async function damageOf(
  root: Root,
  { shard, name, path, digest }: Blob,
  signal?: AbortSignal,
): Promise<string | undefined> {
  try {
    using folder = shardIfThere(root, shard);
    if (!folder) return undefined;
    using file = folder.openFile(name, "read");
    return await wrongDigest(file, digest, signal);
  } catch (error) {
    if (error === signal?.reason) throw error;
    if (kindOfError(error) === "not-found") return undefined; // evicted
    throw failure("read", path, error);
  }
}

const HOUR = 60 * 60 * 1000;

/**
 * Notes that a blob is used: its access time, once an hour. (Its modification time is
 * that of all its names.)
 */
function touchBlob(shard: Directory, name: string): void {
  try {
    const status = shard.look(name);
    if (!status) return;
    const now = Date.now();
    const age = now - toMilliseconds(status.accessed);
    if (age >= 0 && age < HOUR) return;
    const { modified } = status;
    shard.setAccessOf(name, { accessed: fromMilliseconds(now), modified });
  } catch (error) {
    log.trace(() => `Its use is not noted: "${name}": ${osErrorText(error)}`);
  }
}

/** All blobs of a cache. */
export function listBlobs(root: Root, onUnreadable: OnUnreadable): Blob[] {
  const found: Blob[] = [];
  const tried = (path: string, call: () => void) => {
    try {
      call();
    } catch (error) {
      if (kindOfError(error) !== "not-found") onUnreadable(path, error);
    }
  };
  tried(pathIn(root.directory, FOLDERS.blobs), () => {
    const blobs = root.ifThere("blobs");
    for (const shard of blobs ? namesIn(blobs).filter(isShard) : []) {
      tried(pathIn(blobs!, shard), () => {
        using folder = openFolder(blobs!, shard);
        for (const name of namesIn(folder)) {
          tried(pathIn(folder, name), () => {
            const blob = blobAt(folder, shard, name);
            if (blob) found.push(blob);
          });
        }
      });
    }
  });
  return found;
}

function blobAt(
  folder: Directory,
  shard: string,
  name: string,
): Blob | undefined {
  const digest = digestOf(name);
  const status = digest === undefined ? undefined : look(folder, name);
  if (!status || digest === undefined) return undefined;
  const { size, links, accessed, modified } = status;
  const used = Math.max(toMilliseconds(accessed), toMilliseconds(modified));
  const lastUse = Math.min(used, Date.now());
  const path = pathIn(folder, name);
  return { shard, name, path, digest, bytes: size, nlink: links, lastUse };
}

/** Takes a blob's name in the cache away. Those who have it linked keep it. */
export function removeBlob(root: Root, { shard, name }: Blob): void {
  using folder = shardIfThere(root, shard);
  if (folder) removeFrom(folder, name);
}

function removeFrom(folder: Directory, name: string): void {
  try {
    patiently(() => folder.remove(name));
  } catch (error) {
    if (kindOfError(error) !== "not-found") {
      throw osFailure("remove", pathIn(folder, name), error);
    }
  }
}
