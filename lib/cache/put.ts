/**
 * Puts what lies elsewhere into a cache.
 *
 * @module
 */

import type { Archive } from "./archive.ts";
import type { PutOptions } from "./interface.ts";
import { type Amount, SlotStaging } from "./staging.ts";
import { CacheError } from "../error.ts";
import { pathIn } from "../fs/directory.ts";
import { openParent, type Place } from "../fs/open.ts";
import { LinkError } from "../link/error.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { toPath } from "../os/path.ts";
import { isWithin } from "../os/within.ts";
import { nameOf, TREE } from "./layout.ts";
import { copyTreeInto } from "../link/tree.ts";
import { failure, type Root } from "./root.ts";
import type { Store } from "./store.ts";

type PutHow = Pick<PutOptions, "onProgress" | "alsoKeys">;

/** Puts a copy of a file or a tree under a key: cloned where that is possible. */
export async function putSource(
  store: Store,
  key: string,
  src: string | URL,
  how: PutHow = {},
): Promise<Archive> {
  const { onProgress } = how;
  const path = toPath(src);
  await nameOf(key); // refused before anything is looked at
  using source = openSource(path);
  const real = pathIn(source.parent, source.name);
  if (isWithin(realPath(store.path), real)) {
    throw new CacheError(
      `Cannot put "${path}" into "${store.path}", which is inside it`,
      path,
      "refused",
    );
  }
  const { signal } = store.options;
  await using staging = await SlotStaging.open(store, key);
  const destination = { parent: staging.slot.directory, name: TREE };
  const both = { signal, ...onProgress && { onProgress } };
  const { root } = staging;
  let archive: Archive | undefined;
  let copied: Amount | undefined;
  try {
    archive = await staging.putKnown(source, both);
    if (!archive) {
      copied = await copyTreeInto(source, destination, {
        ...signal && { signal },
        ...onProgress && {
          onProgress: ({ files, bytes }) =>
            onProgress({ phase: "copying", files, bytes }),
        },
      }, staging.treeInArchive);
    }
  } catch (error) {
    if (error === signal?.reason) throw error;
    throw copyFailure(path, error);
  }
  if (!archive) {
    const told = onProgress ? { onProgress } : {};
    const { mentions: _, ...put } = await staging.put("own", told, copied);
    archive = put;
  }
  await pushPut(store, key, root, archive, how);
  return archive;
}

/** What is done once it is put. */
async function pushPut(
  store: Store,
  key: string,
  root: Root,
  { id }: Archive,
  { alsoKeys = [], onProgress }: PutHow,
): Promise<void> {
  if (store.options.remote?.mode === "read-write") {
    const { pushId } = await import("./pull.ts");
    await pushId(store, key, root, id, onProgress);
  }
  if (alsoKeys.length === 0) return;
  const { putAlso } = await import("./put_also.ts");
  await putAlso(store, id, key, alsoKeys);
}

/** Names what was copied, not where to: that is gone. */
function copyFailure(path: string, error: unknown): CacheError {
  if (!(error instanceof LinkError)) return failure("put", path, error);
  const { cause, src, kind } = error;
  if (cause === undefined) return error;
  const message = `Cannot put "${src}": ${osErrorText(cause)}`;
  return new CacheError(message, src, kind, error);
}

/** The user may name it by a symbolic link. */
function openSource(path: string): Place {
  try {
    using held = new DisposableStack();
    const place = held.use(openParent(path));
    const kind = place.name === ""
      ? "directory"
      : place.parent.look(place.name)?.kind;
    if (kind === undefined) {
      throw new Deno.errors.NotFound("It does not exist");
    }
    if (kind === "symlink") {
      return openSource(patiently(() => Deno.realPathSync(path)));
    }
    if (kind === "other") {
      throw new CacheError(
        `Cannot put "${path}": it is neither a file nor a directory`,
        path,
        "unsupported",
      );
    }
    const { parent, name } = place;
    const kept = held.move();
    return { parent, name, [Symbol.dispose]: () => kept.dispose() };
  } catch (error) {
    throw failure("put", path, error);
  }
}

/** Where a cache is, or will be. */
function realPath(path: string): string {
  try {
    return patiently(() => Deno.realPathSync(path));
  } catch (error) {
    if (errorKind(error) !== "not-found") return path;
  }
  try {
    using place = openParent(path);
    return pathIn(place.parent, place.name);
  } catch {
    return path;
  }
}
