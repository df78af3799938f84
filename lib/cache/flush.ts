import { type Directory, pathIn } from "../fs/directory.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { Breath, patiently } from "../os/patience.ts";
import { look } from "./root.ts";
import { walk } from "./walk.ts";

/** So many at once: a file system writes out its journal once for all of them. */
const IN_FLIGHT = 32;

/** Waits until an entry, and all below it, is on the disk. */
export async function flush(parent: Directory, name: string): Promise<void> {
  const running = new Set<Promise<void>>();
  let failed: { error: unknown } | undefined;
  const start = async (directory: Directory, name: string) => {
    while (running.size >= IN_FLIGHT) await Promise.race(running);
    const work = flushFile(directory, name)
      ?.catch((error) => void (failed ??= { error }))
      .finally(() => running.delete(work!));
    if (work) running.add(work);
  };
  if (look(parent, name)?.kind !== "directory") await start(parent, name);
  else {
    const breath = new Breath();
    const breathe = () => breath.due();
    await walk(parent, name, breathe, async ({ directory, entries }) => {
      for (const { name, kind } of entries) {
        if (kind === "file") await start(directory, name);
      }
    }, flushDirectory);
  }
  await Promise.all(running);
  if (failed) throw failed.error;
}

/** Waits until the names in a directory are on the disk. */
export function flushDirectory(directory: Directory): void {
  try {
    directory.sync();
  } catch (error) {
    // What a file system without it says to the fsync of a directory.
    const kind = errorKind(error);
    if (kind !== "invalid" && kind !== "unsupported") throw error;
  }
}

function flushFile(directory: Directory, name: string) {
  try {
    const path = directory.pinned(name);
    if (path === undefined || Deno.build.os === "windows") {
      // Windows flushes only what is open for writing.
      using file = patiently(() => directory.openFile(name, "lock"));
      file.sync();
      return undefined;
    }
    const file = patiently(() => Deno.openSync(path));
    return file.sync().finally(() => file.close());
  } catch (error) {
    if (errorKind(error) !== "permission") throw error;
    log.debug(() =>
      `Not flushed: "${pathIn(directory, name)}": ${osErrorText(error)}`
    );
    return undefined;
  }
}
