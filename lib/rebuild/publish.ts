/**
 * Puts what was built in the old cache's place.
 *
 * @module
 */

import { CacheError, kindOfError, osFailure } from "../error.ts";
import {
  type Directory,
  isSameInode,
  pathIn,
  type Status,
} from "../fs/directory.ts";
import {
  type HeldTarget,
  isWhatWasChecked,
  lookAgain,
  realPathOf,
} from "../fs/guard_rails.ts";
import { moveLinksBelow } from "../fs/links.ts";
import type { Place } from "../fs/open.ts";
import { type Staging, TREE } from "../fs/staging.ts";
import { type Replaced, swapKnown } from "../fs/swap.ts";
import { markFinished } from "../fs/unfinished.ts";
import { lockPlace } from "../lock/directory.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { Breath, patiently, untilLetGo } from "../os/patience.ts";
import { AS_IT_WAS, ask, openTree, refuseEmpty } from "./built.ts";
import type { RebuildOptions } from "./options.ts";
import type { Turn } from "./turn.ts";

/** Puts what was built in its place, when nobody uses what stands there. */
export async function publish(
  staging: Staging,
  place: Place,
  path: string,
  options: RebuildOptions,
  turn: Turn | undefined,
): Promise<Replaced> {
  const { lock = true, allowEmpty = false } = options;
  using tree = openTree(staging, path);
  if (!allowEmpty) refuseEmpty(tree, path, AS_IT_WAS);
  await moveBuiltLinks(staging, tree, path, options.signal);
  using _ = lock ? await lockPlace(place, path, true, options) : undefined;
  // What stands there now need not be what stood there before the build.
  using target = lookAgain(place, path);
  refuseMountPoint(target);
  const built = { parent: staging.directory, name: TREE };
  const before = ask(path, () => tree.status());
  const mode = target.status && before.mode === buildable(target.status).mode
    ? target.status.mode // as it was given; else as the build has set it
    : before.mode;
  makeMovable(tree, before.mode);
  if (target.directory) makeMovable(target.directory, target.status!.mode);
  // Somebody may put something else there after that look.
  const isKnown = (now: Status) => isWhatWasChecked(now, target);
  let replaced: Replaced;
  try {
    const refusal = () => replacedMeanwhile(path);
    replaced = await untilLetGo(
      () => swapKnown(built, place, isKnown, refusal),
      options.signal,
    );
  } catch (error) {
    if (target.directory) setMode(target.directory, target.status!.mode);
    const { signal } = options;
    const isAbort = signal?.aborted && error === signal.reason;
    if (error instanceof CacheError || isAbort) throw error;
    // EXDEV: the lower layer of an overlay; EBUSY: a mount point.
    const kind = kindOfError(error);
    const hint = kind === "cross-device" || kind === "busy"
      ? "It can't be renamed here, so rebuild it with --in-place (inPlace: true). "
      : "";
    throw osFailure("replace", path, error, `${hint}${AS_IT_WAS}`);
  }
  restoreMode(place, { ...before, mode });
  markFinished(place);
  turn?.built();
  return replaced;
}

/** What the build linked by the path of its staging leads into the cache. */
async function moveBuiltLinks(
  staging: Staging,
  tree: Directory,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const move = { from: [staging.tree, realPathOf(tree)], to: path };
  try {
    await moveLinksBelow(tree, new Breath(signal), move);
  } catch (error) {
    signal?.throwIfAborted();
    throw osFailure("rebuild", path, error, AS_IT_WAS);
  }
}

function replacedMeanwhile(path: string): CacheError {
  return new CacheError(
    `Cannot rebuild "${path}": somebody replaced it meanwhile. It is as it was`,
    path,
    "refused",
  );
}

/** Before a build that could not be put in place. */
export function refuseMountPoint({ path, place, status }: HeldTarget): void {
  if (!place || !status) return;
  try {
    patiently(() => place.parent.open(place.name))[Symbol.dispose]();
  } catch (error) {
    const kind = kindOfError(error);
    if (kind === "not-found") return; // somebody else has just cleared it
    if (kind !== "mount") throw osFailure("open", path, error);
    throw new CacheError(
      `Cannot rebuild "${path}": it is a mount point, which can't be renamed. Rebuild it with --in-place (inPlace: true)`,
      path,
      "refused",
      error,
    );
  }
}

/**
 * To be renamed into another directory, a directory must be writable to an ordinary user:
 * its `..` changes. Some caches are not (Go modules, Nix).
 */
function makeMovable(directory: Directory, mode: number): void {
  if ((mode & 0o200) === 0) setMode(directory, mode | 0o200);
}

function setMode(directory: Directory, mode: number): void {
  try {
    if (directory.safe && directory.status().mode !== mode) {
      directory.setAccess({ mode });
    }
  } catch (error) {
    log.debug(() =>
      `The mode of "${directory.path}" stays: ${osErrorText(error)}`
    );
  }
}

/** What somebody can build in: the old one may be read-only. */
export function buildable(old: Status): Status {
  return { ...old, mode: old.mode | 0o700 };
}

/** Undoes what {@linkcode makeMovable} and {@linkcode buildable} did to what stands there now. */
function restoreMode({ parent, name }: Place, before: Status): void {
  if ((before.mode & 0o700) === 0o700) return;
  try {
    using now = parent.open(name);
    if (isSameInode(now.status(), before)) setMode(now, before.mode);
  } catch (error) {
    log.debug(() =>
      `"${pathIn(parent, name)}" stays writable: ${osErrorText(error)}`
    );
  }
}
