/**
 * Files by their content: fetched once by all processes, checked before anybody can
 * see them, hard-linked out.
 *
 * @module
 */

import { CacheError, osFailure } from "../error.ts";
import { LinkError } from "../link/error.ts";
import { linkFile } from "../link/file.ts";
import type { LinkFileOptions, LinkFileReport } from "../link/options.ts";
import { log } from "../log.ts";
import { removeIfThere } from "../fs/names.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { join } from "../os/path.ts";
import { flushAll } from "../old/flush.ts";
import { makeShared } from "./layout.ts";
import { readContent } from "./manifest.ts";
import {
  closeSlot,
  holdLong,
  isThere,
  openSlot,
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
  readonly path: string;
  readonly digest: string;
  readonly bytes: number;
  readonly nlink: number;
  /** In milliseconds since 1970. */
  readonly lastUse: number;
}

const DIGEST = /^[0-9a-f]{64}$/;
const EXECUTABLE = ".x";

/** Puts a file with a known digest where it is needed. */
export async function placeBlob(
  store: Store,
  digest: string,
  dst: string | URL,
  options: BlobOptions,
): Promise<BlobReport> {
  if (!DIGEST.test(digest)) {
    throw new CacheError(
      `"${digest}" is not a SHA-256 in 64 small hexadecimal digits`,
      digest,
      "refused",
    );
  }
  const { executable = false, ifExists, onLinkLimit, maxLinks } = options;
  const path = blobPath(store, digest, executable);
  const link = {
    mode: "hardlink",
    ...ifExists && { ifExists },
    ...onLinkLimit && { onLinkLimit },
    ...maxLinks && { maxLinks },
  } as const;
  for (let tries = 0;; tries++) {
    let fetched = false;
    if (!isThere(path)) fetched = await provide(store, digest, path, options);
    using _ = await useRoot(store);
    try {
      const report = await linkFile(path, dst, link);
      if (!fetched) touchBlob(path);
      return { ...report, fetched };
    } catch (error) {
      // Evicted since: once more.
      const evicted = error instanceof LinkError && !isThere(path);
      if (!evicted || tries >= 10) throw error;
    }
  }
}

function blobPath({ layout }: Store, digest: string, executable: boolean) {
  const name = digest + (executable ? EXECUTABLE : "");
  return layout.in("blobs", digest.slice(0, 2), name);
}

/** Fetches what is not there, unless somebody else just does. */
async function provide(
  store: Store,
  digest: string,
  path: string,
  { fetch, executable = false, size }: BlobOptions,
): Promise<boolean> {
  const { layout, options } = store;
  const slot = await openSlot(store);
  const file = join(slot.path, "blob");
  try {
    const lock = layout.in("locks", `blob-${digest}.lock`);
    using _ = await holdLong(store, lock, `The right to fetch ${digest}`);
    if (isThere(path)) return false;
    const other = blobPath(store, digest, !executable);
    const fetched = !copyOther(other, file);
    if (fetched) await fetch(file);
    await check(file, digest, size);
    try {
      if (Deno.build.os !== "windows") {
        Deno.chmodSync(file, executable ? 0o555 : 0o444);
      }
      if (options.durable) await flushAll([[file, false]]);
      const folder = layout.in("blobs", digest.slice(0, 2));
      makeShared(folder, Deno.statSync(layout.in("blobs")));
      patiently(() => Deno.renameSync(file, path));
      if (options.durable) await flushAll([[folder, true]]);
    } catch (error) {
      throw osFailure("put into the cache", path, error);
    }
    return fetched;
  } finally {
    await closeSlot(store, slot);
  }
}

/** The variant with the other mode has the same content. */
function copyOther(other: string, file: string): boolean {
  try {
    Deno.copyFileSync(other, file);
    return true;
  } catch (error) {
    removeIfThere(file);
    if (errorKind(error) === "not-found") return false;
    throw osFailure("copy", other, error);
  }
}

async function check(
  file: string,
  digest: string,
  size: number | undefined,
): Promise<void> {
  let is: string | undefined;
  try {
    const info = Deno.lstatSync(file);
    if (!info.isFile) is = "it is not a file";
    else if (size !== undefined && info.size !== size) {
      is = `it has ${info.size} bytes, not ${size}`;
    } else is = await wrongDigest(file, digest);
  } catch (error) {
    throw osFailure("read what was fetched", file, error);
  }
  if (is === undefined) return;
  throw new CacheError(
    `Cannot use what was fetched for ${digest}: ${is}`,
    file,
    "invalid",
  );
}

async function wrongDigest(
  file: string,
  digest: string,
): Promise<string | undefined> {
  const { lines: [line] } = await readContent(file);
  const found: string = JSON.parse(line!).files[0][3];
  return found === digest ? undefined : `its SHA-256 is ${found}`;
}

/** What is wrong with a blob in the cache, if something is. */
export async function damageOf(
  { path, digest }: Blob,
): Promise<string | undefined> {
  try {
    return await wrongDigest(path, digest);
  } catch (error) {
    if (errorKind(error) === "not-found") return undefined; // evicted
    return osErrorText(error);
  }
}

const DAY = 24 * 60 * 60 * 1000;

/**
 * Notes that a blob is used: its access time, once a day. (Its modification time is
 * that of all its names.)
 */
function touchBlob(path: string): void {
  try {
    const { atime, mtime } = Deno.lstatSync(path);
    const now = new Date();
    if (!mtime || (atime && now.getTime() - atime.getTime() < DAY)) return;
    Deno.utimeSync(path, now, mtime);
  } catch (error) {
    log.trace(() => `Its use is not noted: "${path}": ${osErrorText(error)}`);
  }
}

/** All blobs of a cache. */
export function listBlobs({ layout }: Store): Blob[] {
  const blobs: Blob[] = [];
  for (const folder of layout.list(layout.in("blobs"))) {
    for (const name of layout.list(layout.in("blobs", folder))) {
      const digest = name.slice(0, 64);
      const rest = name.slice(64);
      if (!DIGEST.test(digest) || (rest && rest !== EXECUTABLE)) continue;
      const path = layout.in("blobs", folder, name);
      try {
        const { size, nlink, atime, mtime } = Deno.lstatSync(path);
        const lastUse = Math.max(atime?.getTime() ?? 0, mtime?.getTime() ?? 0);
        blobs.push({ path, digest, bytes: size, nlink: nlink ?? 1, lastUse });
      } catch (error) {
        if (errorKind(error) !== "not-found") {
          throw osFailure("look at", path, error);
        }
      }
    }
  }
  return blobs;
}

/** Takes a blob's name in the cache away. Those who have it linked keep it. */
export function removeBlob({ path }: Blob): void {
  try {
    patiently(() => Deno.removeSync(path));
  } catch (error) {
    if (errorKind(error) !== "not-found") {
      throw osFailure("remove", path, error);
    }
  }
}
