/**
 * What a build has left where it was told to build.
 *
 * @module
 */

import {
  CacheError,
  type CacheErrorKind,
  kindOfError,
  osFailure,
} from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { realPathOf } from "../fs/guard_rails.ts";
import { isEmpty } from "../fs/list.ts";
import { mountedBelow } from "../fs/remove.ts";
import { type Staging, TREE } from "../fs/staging.ts";
import { patiently } from "../os/patience.ts";

/** Opens what was built, and sees that it can be published. */
export function openTree({ directory }: Staging, path: string): Directory {
  const tree = openBuilt(directory, TREE, path, AS_IT_WAS);
  const mounted = mountedBelow(tree, realPathOf(tree), true);
  if (mounted === undefined) return tree;
  tree[Symbol.dispose]();
  throw mountedIn(path, mounted);
}

/**
 * Opens what was built.
 *
 * @param hint What is said of the old cache; nothing, where it was built in its place.
 */
export function openBuilt(
  parent: Directory,
  name: string,
  path: string,
  hint: string,
): Directory {
  try {
    return patiently(() => parent.open(name, hint ? "use" : "named"));
  } catch (error) {
    const kind = kindOfError(error);
    if (kind === "mount") throw mountedIn(path, pathIn(parent, name));
    if (!NO_DIRECTORY.has(kind)) throw osFailure("rebuild", path, error, hint);
    throw new CacheError(
      `Cannot rebuild "${path}": the build left no directory where it was told to build${
        hint && `. ${hint}`
      }`,
      path,
      "not-directory",
      error,
    );
  }
}

/** Somebody forgot to say where to build: what is there must not be lost for it. */
export function refuseEmpty(
  built: Directory,
  path: string,
  hint: string,
): void {
  if (!ask(path, () => isEmpty(built), hint)) return;
  throw nothingBuilt(`rebuild "${path}"`, path, hint);
}

/** The error that a build left its directory empty. */
export function nothingBuilt(
  what: string,
  path: string,
  hint = "",
): CacheError {
  return new CacheError(
    `Cannot ${what}: the build wrote nothing into the directory that it was given. ` +
      `${hint && `${hint}. `}If that is right, say allowEmpty: true`,
    path,
    "empty",
  );
}

/** What is said of the old cache before anything was put in its place. */
export const AS_IT_WAS = "The old cache is as it was";

/**
 * Asks the operating system, before anything is put in its place.
 *
 * @param hint What is said of the old cache, if anything.
 */
export function ask<T>(path: string, call: () => T, hint = AS_IT_WAS): T {
  try {
    return patiently(call);
  } catch (error) {
    throw osFailure("rebuild", path, error, hint);
  }
}

/** What is said where the build left nothing, a file or a symbolic link. */
const NO_DIRECTORY: ReadonlySet<CacheErrorKind> = new Set([
  "not-found",
  "not-directory",
  "loop",
]);

function mountedIn(path: string, mounted: string): CacheError {
  return new CacheError(
    `Cannot rebuild "${path}": the build left "${mounted}" mounted in it, which is not touched. Unmount it. The old cache is as it was`,
    path,
    "mount",
  );
}
