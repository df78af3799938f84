/**
 * Keys: relative symbolic links to archives, or small files with the same text where
 * there are no symbolic links. Swapped by a rename, so that a reader sees the old or
 * the new one.
 *
 * @module
 */

import { log } from "../log.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { removeQuietly } from "../fs/names.ts";
import { readText } from "../fs/read.ts";
import { kindOfError } from "../error.ts";
import { osErrorText } from "../os/error.ts";
import { hasLibc } from "../os/libc.ts";
import { patiently } from "../os/patience.ts";
import {
  type ArchiveId,
  idInPointer,
  type KeyName,
  newId,
  pointerText,
  temporaryName,
} from "./layout.ts";
import { failure, look, type Root, writeFile } from "./root.ts";

/** Longer than any key's text. */
const LONGEST = 1024;

/**
 * The id of the archive that a key points to. What leads anywhere else is damage, and
 * as good as no key.
 *
 * @throws {CacheError} If it can't be read.
 */
export function readPointer(
  bucket: Directory,
  name: KeyName,
): ArchiveId | undefined {
  const text = textOf(bucket, name);
  if (text === undefined) return undefined;
  const id = idInPointer(text);
  if (id === undefined) {
    log.warn(() =>
      `"${pathIn(bucket, name)}" is damaged: it does not point to an archive`
    );
  }
  return id;
}

/** `undefined` if there is nothing; an empty text if it is something else. */
function textOf(bucket: Directory, name: KeyName): string | undefined {
  for (let tries = 0;; tries++) {
    try {
      return bucket.readLink(name);
    } catch (error) {
      const kind = kindOfError(error);
      if (kind === "not-found") return undefined;
      // Not a link. Windows refuses to read one that is just being replaced.
      if (kind !== "invalid" && Deno.build.os !== "windows") {
        throw failure("read", pathIn(bucket, name), error);
      }
    }
    const status = look(bucket, name);
    if (!status) return undefined;
    if (status.kind !== "file" && status.kind !== "symlink") return "";
    try {
      using file = patiently(() => bucket.openFile(name, "read"));
      return readText(file, LONGEST);
    } catch (error) {
      // A link took its place, or it is gone: once more.
      if (tries < 10 && look(bucket, name)?.kind !== "file") continue;
      throw failure("read", pathIn(bucket, name), error);
    }
  }
}

/** Lets a key point to an archive. Under the key's lock. */
export function placePointer(
  root: Root,
  bucket: Directory,
  name: KeyName,
  id: ArchiveId,
): void {
  const tmp = root.folder("tmp");
  const temporary = temporaryName(id, "key");
  try {
    if (!makeLink(tmp, pointerText(id), temporary)) {
      const bytes = new TextEncoder().encode(`${pointerText(id)}\n`);
      writeFile(tmp, temporary, bytes, root.status(), true);
    }
    const isDirectory = look(bucket, name)?.kind === "directory";
    // A cache that was copied with its links followed has trees for keys.
    if (isDirectory) bucket.rename(name, tmp, temporaryName(newId(), "gone"));
    patiently(() => tmp.rename(temporary, bucket, name));
  } catch (error) {
    removeQuietly(tmp, temporary);
    throw error;
  }
}

/** False where there are no symbolic links, or Deno may not make any. */
function makeLink(tmp: Directory, text: string, name: string): boolean {
  if (Deno.build.os === "windows") return false; // with rights that few have
  // Deno makes links only with access to everything, and would stop and ask for it.
  const asked = hasLibc() ? [] : ["read", "write"] as const;
  for (const name of asked) {
    if (Deno.permissions.querySync({ name }).state !== "granted") return false;
  }
  try {
    patiently(() => tmp.symlink(text, name));
    return true;
  } catch (error) {
    const kind = kindOfError(error);
    if (kind !== "unsupported" && kind !== "permission") throw error;
    log.debug(() => `A file instead of a link: ${osErrorText(error)}`);
    return false;
  }
}
