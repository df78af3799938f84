/**
 * Windows' read-only attribute. It belongs to a file, whatever name is used, and stands in
 * the way of more than POSIX' mode does: a read-only file can't be replaced, flushed, or
 * given times, nor, on exFAT and on network drives, be removed.
 *
 * @module
 */

import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { steady } from "../os/patience.ts";

const isWindows = Deno.build.os === "windows";

const lstatSync = steady(Deno.lstatSync);
const chmodSync = steady(Deno.chmodSync);
const linkSync = steady(Deno.linkSync);
const removeSync = steady(Deno.removeSync);
const renameSync = steady(Deno.renameSync);

/** Whether Windows denies to write to a file. Deno tells it by the mode. */
export function isReadOnly(
  { isFile, mode }: Pick<Deno.FileInfo, "isFile" | "mode">,
): boolean {
  return isWindows && isFile && hasAttribute(mode);
}

function hasAttribute(mode: number | null): boolean {
  return mode !== null && (mode & 0o200) === 0;
}

/** Makes a file or directory read-only, or writable again. */
export function setReadOnly(path: string, to: boolean): void {
  if (isWindows) chmodSync(path, to ? 0o444 : 0o666);
}

/** Makes a call that needs a file that is not read-only. Afterwards it is as it was. */
export function evenReadOnly<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (!isTheReason(error, path)) throw error;
  }
  setReadOnly(path, false);
  try {
    return call();
  } finally {
    setQuietly(path);
  }
}

/**
 * Removes a file, or an empty directory. By other names that a file has on a network
 * drive, it is writable then.
 */
export function removeEvenReadOnly(path: string): void {
  try {
    return removeSync(path);
  } catch (error) {
    if (!isTheReason(error, path)) throw error;
  }
  setReadOnly(path, false);
  try {
    removeSync(path);
  } catch (error) {
    setQuietly(path);
    throw error;
  }
}

/** Renames, also over a read-only file, which stays so by other names that it has. */
export function renameEvenOver(from: string, to: string): void {
  try {
    return renameSync(from, to);
  } catch (error) {
    if (!isTheReason(error, to)) throw error;
  }
  // Beside the source, where a sweep finds it if this is killed.
  const second = `${from}.replaced`;
  const isShared = (lstatSync(to).nlink ?? 1) > 1;
  if (isShared) linkSync(to, second);
  setReadOnly(to, false);
  try {
    renameSync(from, to);
  } catch (error) {
    setQuietly(to);
    throw error;
  } finally {
    if (isShared) {
      setQuietly(second);
      removeEvenReadOnly(second);
    }
  }
}

function isTheReason(error: unknown, path: string): boolean {
  if (!isWindows || errorKind(error) !== "permission") return false;
  try {
    const { isSymlink, mode } = lstatSync(path);
    return !isSymlink && hasAttribute(mode); // chmod would follow it
  } catch {
    return false;
  }
}

function setQuietly(path: string): void {
  try {
    setReadOnly(path, true);
  } catch (error) {
    log.debug(() => `"${path}" stays writable: ${osErrorText(error)}`);
  }
}
