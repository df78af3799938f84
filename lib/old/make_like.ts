import { osFailure } from "../error.ts";
import { log } from "../log.ts";
import { errorKind } from "../os/error.ts";
import { dirname } from "../os/path.ts";

/** A cache's parent is made where it is missing, as every tool does for its cache. */
export function makeParent(path: string): void {
  try {
    Deno.mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    throw osFailure("make", dirname(path), error);
  }
}

/** Makes an empty directory with the mode and owner of another. That one stands there already is fine. */
export function makeDirectoryLike(path: string, info?: Deno.FileInfo): void {
  // Never wider than the old mode, not even before chmod.
  const mode = info?.mode ?? undefined;
  try {
    Deno.mkdirSync(path, mode === undefined ? {} : { mode: mode & 0o777 });
  } catch (error) {
    if (errorKind(error) === "already-exists") {
      log.debug(() => `"${path}" stands again: somebody else made it`);
      return;
    }
    throw osFailure("make", path, error);
  }
  if (!info || mode === undefined) return;
  try {
    const now = Deno.lstatSync(path);
    if (now.uid !== info.uid || now.gid !== info.gid) {
      Deno.chownSync(path, info.uid, info.gid);
    }
    // After chown, which takes setgid away.
    Deno.chmodSync(path, mode & 0o7777);
  } catch (error) {
    if (errorKind(error) === "not-found") return; // a peer cleared it already
    log.warn(() =>
      `"${path}" was made again, but without the mode and owner that it had: ${error}`
    );
  }
}
