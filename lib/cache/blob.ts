/**
 * Files by their content: fetched once by all processes, checked before anybody can
 * see them, hard-linked out.
 *
 * @module
 */

import { CacheError, osFailure } from "../error.ts";
import { type Directory, fromMilliseconds, pathIn } from "../fs/directory.ts";
import { LinkError } from "../link/error.ts";
import { linkFileHeld, toFileReport } from "../link/file.ts";
import {
  checkLinkOptions,
  type LinkFileOptions,
  type LinkFileReport,
} from "../link/options.ts";
import { copyTreeInto } from "../link/tree.ts";
import { log } from "../log.ts";
import {
  checkCount,
  checkGiven,
  checkPath,
  checkType,
} from "../os/arguments.ts";
import { patiently } from "../os/patience.ts";
import { toPath } from "../os/path.ts";
import { type BuildContext, untilAborted } from "../rebuild/options.ts";
import { isWhole, markedTime, shardIfThere, wrongDigest } from "./blobs.ts";
import { count } from "./counters.ts";
import { flushDirectory } from "./flush.ts";
import { touchBlob } from "./last_use.ts";
import {
  blobLockName,
  blobName,
  checkDigest,
  FETCHED,
  OWN,
  shardOf,
} from "./layout.ts";
import { pruneWhenDue } from "./limits.ts";
import { holdLong } from "./locks.ts";
import { failure, look, makeShared, openFolder } from "./root.ts";
import {
  type CallOptions,
  closeSlot,
  openSlot,
  type Slot,
  type Store,
  useRoot,
} from "./store.ts";

/**
 * Options for `Cache.blob()`.
 *
 * @category Keyed cache
 */
export interface BlobOptions
  extends
    CallOptions,
    Pick<LinkFileOptions, "ifExists" | "onLinkLimit" | "maxLinks"> {
  /**
   * Writes the content to a path, where nothing is yet. Called on a miss, once among all.
   * It is told when the call is aborted, and should end then.
   */
  fetch: (path: string, context: BuildContext) => void | Promise<void>;
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

/**
 * What `Cache.blob()` did.
 *
 * @category Keyed cache
 */
export interface BlobReport extends LinkFileReport {
  /** Whether it was fetched for this call. */
  readonly fetched: boolean;
}

/** Refuses invalid arguments, before anything is done. */
export function checkBlobArguments(
  digest: string,
  dst: string | URL,
  options: BlobOptions,
): void {
  checkGiven("digest", digest, "string");
  checkPath("dst", dst);
  const { fetch, executable, size, ifExists, onLinkLimit, maxLinks } = options;
  checkGiven("fetch", fetch, "function");
  checkType("executable", executable, "boolean");
  checkCount("size", size);
  checkLinkOptions({ ifExists, onLinkLimit, maxLinks }, "file");
  checkDigest(digest);
}

/** Puts a file with a known digest where it is needed. */
export async function placeBlob(
  store: Store,
  digest: string,
  dst: string | URL,
  options: BlobOptions,
): Promise<BlobReport> {
  const destination = toPath(dst);
  const { executable = false, ifExists, onLinkLimit, maxLinks } = options;
  const name = blobName(digest, executable);
  const link = {
    mode: "hardlink",
    ...ifExists && { ifExists },
    ...onLinkLimit && { onLinkLimit },
    ...maxLinks && { maxLinks },
    ...store.options.signal && { signal: store.options.signal },
  } as const;
  const how = { size: options.size, signal: store.options.signal };
  let fetched = false;
  for (let tries = 0;; tries++) {
    {
      using root = await useRoot(store);
      using parent = root && shardIfThere(root, shardOf(digest));
      if (parent && await isWhole(parent, name, digest, how)) {
        try {
          const report = await linkFileHeld(
            { parent, name },
            destination,
            link,
          );
          if (!fetched) touchBlob(parent, name);
          count(root, fetched ? "misses" : "hits");
          if (fetched) await pruneWhenDue(root, store);
          return { ...toFileReport(report), fetched };
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
    if (fetched) {
      const path = pathIn(slot.directory, FETCHED);
      await untilAborted(
        store.options.signal,
        (context) => fetch(path, context),
      );
    }
    const own = await takeOver(slot, digest, options, store);
    try {
      makeShared(blobs, shard, root.status());
      using folder = openFolder(blobs, shard);
      publish(slot, own, folder, name, digest, executable);
      if (store.options.durable) flushDirectory(folder);
    } catch (error) {
      throw failure("put into the cache", root.path, error);
    }
    return fetched;
  } finally {
    await closeSlot(slot, store.options.signal);
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
  {
    using file = patiently(() => directory.openFile(own, "lock"));
    const time = markedTime(digest, file.opened.size);
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
