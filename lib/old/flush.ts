import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";

/** So many at once: a file system writes out its journal once for all of them. */
const IN_FLIGHT = 32;

/** Waits until files and directories are on the disk, in this order of batches. */
export async function flushAll(
  paths: readonly (readonly [path: string, isDirectory: boolean])[],
): Promise<void> {
  const files = paths.filter(([, isDirectory]) => !isDirectory);
  const directories = paths.filter(([, isDirectory]) => isDirectory);
  for (const list of [files, directories]) {
    for (let at = 0; at < list.length; at += IN_FLIGHT) {
      await Promise.all(list.slice(at, at + IN_FLIGHT).map(flush));
    }
  }
}

async function flush(
  [path, isDirectory]: readonly [path: string, isDirectory: boolean],
): Promise<void> {
  // Windows flushes only what is open for writing, and never a directory.
  const isWindows = Deno.build.os === "windows";
  if (isWindows && isDirectory) return;
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true, write: isWindows });
  } catch (error) {
    const kind = errorKind(error);
    if (kind !== "permission") throw error;
    log.debug(() => `Not flushed: "${path}": ${osErrorText(error)}`);
    return;
  }
  try {
    await file.sync();
  } catch (error) {
    // What a file system without it says to the fsync of a directory.
    const kind = errorKind(error);
    if (!isDirectory || (kind !== "invalid" && kind !== "unsupported")) {
      throw error;
    }
  } finally {
    file.close();
  }
}
