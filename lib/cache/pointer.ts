/**
 * Keys: relative symbolic links to archives, or small files with the same text where
 * there are no symbolic links. Swapped by a rename, so that a reader sees the old or
 * the new one.
 *
 * @module
 */

import { log } from "../log.ts";
import { removeIfThere } from "../fs/names.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { FOLDERS } from "./layout.ts";

const TARGET = new RegExp(
  String.raw`^\.\.[/\\]${FOLDERS.archives}[/\\]([0-9a-f]{32})[/\\]tree\s*$`,
);

/**
 * The id of the archive that a key points to. What leads anywhere else is damage, and
 * as good as no key.
 */
export function readPointer(path: string): string | undefined {
  const text = readText(path);
  if (text === undefined) return undefined;
  const id = TARGET.exec(text)?.[1];
  if (id === undefined) {
    log.warn(() => `"${path}" is damaged: it does not point to an archive`);
  }
  return id;
}

function readText(path: string): string | undefined {
  try {
    return Deno.readLinkSync(path);
  } catch (error) {
    if (errorKind(error) === "not-found") return undefined;
  }
  // Not a link. Windows refuses to read one that is just being replaced.
  try {
    return patiently(() => Deno.readTextFileSync(path));
  } catch (error) {
    const kind = errorKind(error);
    if (kind === "not-found") return undefined;
    if (kind === "is-directory") return "";
    throw error;
  }
}

/**
 * Lets a key point to an archive.
 *
 * @param temporary A name that nobody uses, on the same file system.
 */
export function placePointer(
  path: string,
  id: string,
  temporary: string,
): void {
  const target = `../${FOLDERS.archives}/${id}/tree`;
  try {
    if (!makeLink(target, temporary)) {
      Deno.writeTextFileSync(temporary, `${target}\n`, { createNew: true });
    }
    patiently(() => Deno.renameSync(temporary, path));
  } catch (error) {
    removeIfThere(temporary);
    throw error;
  }
}

/** False where there are no symbolic links, or Deno may not make any. */
function makeLink(target: string, path: string): boolean {
  if (Deno.build.os === "windows") return false; // with rights that few have
  // Deno makes links only with access to everything, and would stop and ask for it.
  for (const name of ["read", "write"] as const) {
    if (Deno.permissions.querySync({ name }).state !== "granted") return false;
  }
  try {
    patiently(() => Deno.symlinkSync(target, path));
    return true;
  } catch (error) {
    const kind = errorKind(error);
    if (kind !== "unsupported" && kind !== "permission") throw error;
    log.debug(() => `A file instead of a link: ${osErrorText(error)}`);
    return false;
  }
}
