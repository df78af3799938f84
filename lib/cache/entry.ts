/**
 * Gives leases on what keys point to.
 *
 * @module
 */

import { CacheError, kindOfError } from "../error.ts";
import { pathIn } from "../fs/directory.ts";
import type { Place } from "../fs/swap.ts";
import type { Watch } from "../link/ends.ts";
import { LinkError } from "../link/error.ts";
import { linkFileHeld } from "../link/file.ts";
import type { Listing } from "../link/listing.ts";
import { checkLinkOptions, type LinkReport } from "../link/options.ts";
import { globs, linkHeld } from "../link/tree.ts";
import { LockedError, waitFor } from "../lock/file.ts";
import { log } from "../log.ts";
import { checkPath } from "../os/arguments.ts";
import { osErrorText } from "../os/error.ts";
import { basename, toPath } from "../os/path.ts";
import { sleepSync } from "../os/patience.ts";
import { printable } from "../os/text.ts";
import type { Entry } from "./archive.ts";
import { count } from "./counters.ts";
import { type ArchiveId, type KeyName, nameOf, TREE } from "./layout.ts";
import { Damaged, type Manifest, OLD, readManifest } from "./manifest.ts";
import { toArchive } from "./header.ts";
import { type LinkOptions, placeNoted } from "./place_entry.ts";
import { readPointer } from "./pointer.ts";
import { look, openFolder, type Root } from "./root.ts";
import { touch } from "./last_use.ts";
import { attemptArchive, briefly, type LockedArchive } from "./locks.ts";
import { quarantine, removePointer } from "./set_aside.ts";
import { openRoot, type Store, useRoot } from "./store.ts";
import { dropDamaged } from "./stored.ts";

/** Gives a lease on what a key points to, or `undefined`. */
export async function getEntry(
  store: Store,
  key: string,
): Promise<Entry | undefined> {
  const name = await nameOf(key);
  {
    // A miss needs no lock, nor a cache at all.
    using root = openRoot(store);
    const bucket = root?.bucketIfThere(store.bucket);
    if (!bucket || readPointer(bucket, name) === undefined) {
      if (root) count(root, "misses");
      return undefined;
    }
  }
  using root = await useRoot(store);
  const entry = root && await entryIn(root, store, key, name);
  if (root) count(root, entry ? "hits" : "misses");
  return entry;
}

/** What a key points to in a cache that is held, with a lease. */
export async function entryIn(
  root: Root,
  store: Store,
  key: string,
  name: KeyName,
): Promise<Entry | undefined> {
  const found = await waitFor(
    () => attemptEntry(root, store, name),
    briefly(store.options),
    () => new LockedError(root.path, [], `What "${printable(key)}" points to`),
  );
  if (found === "miss") return undefined;
  const { id } = found;
  using held = new DisposableStack();
  const { directory } = held.use(found.archive);
  const manifest = directory && await manifestOf(found.archive);
  if (!directory || !manifest) return undefined;
  const { header, listing } = manifest;
  if (header.key !== key || header.bucket !== store.bucket) return undefined;
  const { isFile } = listing;
  const wanted = isFile ? "file" : "directory";
  if (look(directory, TREE)?.kind !== wanted) {
    log.warn(() =>
      `"${pathIn(directory, TREE)}" is damaged: it is not a ${wanted}`
    );
    return undefined;
  }
  touch(root, id);
  let isDamaged = false;
  using last = new DisposableStack();
  last.use(root.share());
  last.defer(() => {
    // Nobody of us has it any more.
    if (isDamaged) quarantineQuietly(store, root, id);
  });
  last.use(held.move());
  const kept = last.move();
  const source = { parent: directory, name: TREE };
  const place = { root, id, path: pathIn(directory, TREE) };
  return {
    ...toArchive(header, id),
    path: pathIn(directory, TREE),
    isFile,
    outcome: "hit",
    async link(dst, options = {}) {
      checkPath("dst", dst);
      checkLinkOptions(options, "entry");
      const how = { ...options, mode: options.mode ?? "private" } as const;
      const path = toPath(dst);
      try {
        return await placeNoted(
          place,
          path,
          how,
          (how, watch) =>
            isFile
              ? linkOnlyFile(source, path, how, listing, watch)
              : linkHeld(source, path, how, listing.text, watch),
        );
      } catch (error) {
        if (kindOfError(error) !== "damaged") throw error;
        const known = damage(error, pathIn(directory, TREE), path);
        log.warn(() => known.message);
        isDamaged = true;
        await takeAway(store, root, name, id);
        await dropDamaged(root, id);
        throw known;
      }
    },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/** Lets no key point to what is damaged, so that the next one who asks builds it. */
async function takeAway(
  store: Store,
  root: Root,
  name: KeyName,
  id: ArchiveId,
): Promise<void> {
  try {
    const folder = root.bucketIfThere(store.bucket);
    const isMeant = (now: ArchiveId | undefined) => now === id;
    if (folder) await removePointer(store, root, { folder, name, isMeant });
  } catch (error) {
    // A cache that can only be read: what is wrong is said all the same.
    log.debug(() => `The key of ${id} stays: ${osErrorText(error)}`);
  }
}

function quarantineQuietly(store: Store, root: Root, id: ArchiveId): void {
  try {
    let outcome = quarantine(store, root, id);
    // A program that this process is about to start has our files open for a moment.
    for (let tries = 0; outcome === "in use" && tries < 6; tries++) {
      sleepSync(2 ** tries);
      outcome = quarantine(store, root, id);
    }
    log.debug(() => `Damaged: ${id}: ${outcome}`);
  } catch (error) {
    log.debug(() => `Left for a prune: ${id}: ${osErrorText(error)}`);
  }
}

function damage(error: unknown, source: string, path: string): LinkError {
  let first = error;
  while (first instanceof CacheError && first.cause instanceof CacheError) {
    first = first.cause;
  }
  return new LinkError(
    `${osErrorText(first)}. Somebody wrote to it: its key is a miss now`,
    source,
    path,
    "damaged",
    error,
  );
}

/** Links an archive that is a file. */
async function linkOnlyFile(
  source: Place,
  path: string,
  options: LinkOptions,
  listing: Listing,
  watch: Watch,
): Promise<LinkReport> {
  const { ifExists = "error", mutable = [], ...both } = options;
  const from = pathIn(source.parent, source.name);
  if (ifExists === "merge") {
    throw new LinkError(
      `Cannot merge "${from}" into "${path}": it is a file, and only a tree can be merged`,
      from,
      path,
      "not-directory",
    );
  }
  const patterns = await globs(mutable);
  const report = await linkFileHeld(
    source,
    path,
    {
      ...both,
      ifExists,
      mutable: patterns.some((pattern) => pattern.test(basename(path))),
    },
    listing.file,
    watch,
  );
  const { outcome, linkedBytes: bytes } = report;
  const files = outcome === "skipped" ? 0 : 1;
  options.onProgress?.({ files, directories: 0, bytes });
  return report;
}

/** `undefined`: try again, since a prune has it, or it was replaced just now. */
function attemptEntry(
  root: Root,
  store: Store,
  name: KeyName,
): { id: ArchiveId; archive: LockedArchive } | "miss" | undefined {
  const bucket = root.bucketIfThere(store.bucket);
  const folder = root.ifThere("archives");
  if (!bucket || !folder) return "miss";
  const id = readPointer(bucket, name);
  if (id === undefined) return "miss";
  const kind = look(folder, id)?.kind;
  if (kind === undefined) {
    return readPointer(bucket, name) === id ? "miss" : undefined;
  }
  if (kind !== "directory") {
    log.warn(() => `"${pathIn(folder, id)}" is damaged: it is not a directory`);
    return "miss";
  }
  using held = new DisposableStack();
  const archive = attemptArchive(store, root, id, {
    folder,
    exclusive: false,
    missing: "make",
  });
  if (!archive) return undefined;
  held.use(archive);
  // A prune may have come between.
  if (readPointer(bucket, name) !== id || !look(folder, id)) return undefined;
  if (!archive.directory) {
    using _ = openFolder(folder, id); // which says what is wrong
    return undefined; // nothing any more
  }
  held.move();
  return { id, archive };
}

/** What the manifest says, or `undefined` if it is damaged, or of an older version. */
async function manifestOf(
  { directory }: LockedArchive,
): Promise<Manifest | undefined> {
  try {
    const manifest = await readManifest(directory!);
    return manifest === OLD ? undefined : manifest;
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    log.warn(() => error.message);
    return undefined;
  }
}
