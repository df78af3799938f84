import { clearCache } from "../clear/clear.ts";
import { asidesOf } from "../clear/sweep.ts";
import {
  CacheError,
  type CacheErrorKind,
  kindOfError,
  osFailure,
} from "../error.ts";
import { makeDirectoryLike, makeParent } from "../fs/access.ts";
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
  openTarget,
  realPathOf,
} from "../fs/guard_rails.ts";
import { openParent, type Place } from "../fs/open.ts";
import { mountedBelow, removeTree } from "../fs/remove.ts";
import {
  openStaging,
  type Staging,
  sweepStagings,
  TREE,
} from "../fs/staging.ts";
import { swap, type Swapped } from "../fs/swap.ts";
import { lockPlace } from "../lock/directory.ts";
import { refuseInside } from "../lock/inside.ts";
import { lockName, type LockOptions } from "../lock/file.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { takeTurn } from "./turn.ts";

/** Options for `rebuildCache()`. */
export interface RebuildOptions extends LockOptions {
  /**
   * Whether to build in the directory's own place, which is cleared first, all under
   * its guard: for what can't be told where to build. Then there is no old cache to
   * keep when the build fails.
   *
   * @default {false}
   */
  inPlace?: boolean;
  /**
   * Whether to build even if somebody else has just done it. Otherwise a rebuild that
   * was asked for while an equal one was running takes that one's result.
   *
   * @default {false}
   */
  always?: boolean;
  /**
   * What is built, so that only equal rebuilds share a result: a command line, say.
   *
   * @default {""}
   */
  key?: string;
  /**
   * Whether to take the locks: one that lets one rebuild of the directory run at a
   * time, and the guard, when the new cache takes the old one's place.
   *
   * @default {true}
   */
  lock?: boolean;
  /**
   * Whether a symbolic link stands for the directory it leads to.
   *
   * @default {false}
   */
  follow?: boolean;
}

/** What `rebuildCache()` did. */
export interface RebuildReport {
  /** The absolute path of the directory. */
  readonly path: string;
  /** `shared`: somebody else built it while this call waited. */
  readonly outcome: "rebuilt" | "shared";
  /** Whether an old cache was replaced. */
  readonly replaced: boolean;
  /** Whether the new one took the old one's place without an instant in between. */
  readonly exchanged: boolean;
  /** Milliseconds in all. */
  readonly durationMs: number;
}

/**
 * Builds a cache anew beside the old one, which stays in use meanwhile, and puts it in
 * the old one's place when the build has succeeded. If it fails, or is killed, the old
 * cache is as it was.
 *
 * Of those who ask for the same while a build is running, nobody builds again: they
 * wait, and share its result. If it fails, the next one builds.
 *
 * The new cache takes the place when nobody has a lease on the old one: by one
 * exchange with `--allow-ffi` on Linux and macOS, so that there is always a cache; else
 * by two renames, with an instant without a cache between them.
 *
 * Needs `--allow-read` and `--allow-write` for the directory and its parent.
 *
 * @param dir The directory. It need not exist.
 * @param build Fills a directory, which is empty and has the old one's mode and owner.
 * @param options How to build it.
 * @returns What was done.
 * @throws {LockedError} If somebody builds or uses it for longer than `wait`.
 * @throws {CacheError} If `dir` must not be cleared (see `clearCache()`), or the
 * operating system refuses; and whatever `build` throws. The old cache is then as it
 * was.
 *
 * @example Rebuilding a cache
 * ```ts
 * import { rebuildCache } from "@rebuild/cache";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir({ prefix: "cache-" });
 * await Deno.writeTextFile(`${dir}/old`, "old");
 *
 * await rebuildCache(dir, async (staging) => {
 *   await Deno.writeTextFile(`${staging}/new`, "new");
 * });
 *
 * assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["new"]);
 * ```
 */
export async function rebuildCache(
  dir: string | URL,
  build: (staging: string) => void | Promise<void>,
  options: RebuildOptions = {},
): Promise<RebuildReport> {
  const started = performance.now();
  const { inPlace = false, lock = true, follow = false, signal } = options;
  using target = openTarget(dir, follow);
  const { path } = target;
  if (!inPlace) refuseMountPoint(target);
  signal?.throwIfAborted();
  makeParent(path);
  using place = target.place ? undefined : openPlace(path);
  const at = target.place ?? place!;
  const done = (how: Partial<RebuildReport>): RebuildReport => ({
    path,
    outcome: "rebuilt",
    replaced: target.status !== undefined,
    exchanged: false,
    ...how,
    durationMs: performance.now() - started,
  });
  // Before a build that may take long, and could not be put in place.
  if (lock) refuseInside(at.parent, lockName(at.name), true, path);
  using turn = lock ? await takeTurn(at, path, options) : undefined;
  if (turn?.shared) return done({ outcome: "shared", replaced: false });
  const report = done(
    inPlace
      ? await buildInPlace(at, path, build, options)
      : await buildBeside(at, path, build, options),
  );
  turn?.succeeded();
  return report;
}

function openPlace(path: string): Place {
  try {
    return patiently(() => openParent(path));
  } catch (error) {
    throw osFailure("look at", path, error);
  }
}

async function buildInPlace(
  place: Place,
  path: string,
  build: (staging: string) => void | Promise<void>,
  options: RebuildOptions,
): Promise<Partial<RebuildReport>> {
  const { signal, lock = true } = options;
  using _ = lock ? await lockPlace(place, path, true, options) : undefined;
  const { outcome, left } = await clearCache(path, {
    recreate: true,
    lock: false,
    ...signal && { signal },
  }).catch((error) => {
    signal?.throwIfAborted();
    throw error;
  });
  const [first] = left;
  if (first) {
    throw new CacheError(
      `Cannot rebuild "${path}" in place, since not all of it can be removed (${left.length} left): "${first.path}": ${first.message}`,
      path,
      first.kind,
    );
  }
  await build(path);
  signal?.throwIfAborted();
  return { replaced: outcome === "cleared" };
}

async function buildBeside(
  place: Place,
  path: string,
  build: (staging: string) => void | Promise<void>,
  options: RebuildOptions,
): Promise<Partial<RebuildReport>> {
  const { signal } = options;
  const { parent, name } = place;
  let like: Status | undefined;
  try {
    await using staging = openStaging(parent, name);
    {
      using target = lookAgain(place, path);
      like = target.status && buildable(target.status);
      makeDirectoryLike(staging.directory, TREE, like, path);
    }
    await build(staging.tree);
    signal?.throwIfAborted();
    const { old, exchanged } = await publish(staging, place, path, options);
    if (old && !exchanged) {
      const { parent, name, expected } = old;
      const options = { busyTimeout: 1000, signal, expected };
      const [failure] = await removeTree(parent, name, options);
      if (failure) {
        log.warn(() => `Cannot remove "${failure.path}": ${failure.message}`);
      }
    }
    return { replaced: old !== undefined, exchanged };
  } finally {
    // Also after a build that failed: one that always does would pile up stagings.
    await sweep(place, like?.uid);
  }
}

/** What stood there, wherever it is now. */
type Replaced = Omit<Swapped, "old"> & {
  readonly old:
    | Pick<Place, "parent" | "name"> & { readonly expected: Status }
    | undefined;
};

/** Puts what was built in its place, when nobody uses what stands there. */
async function publish(
  staging: Staging,
  place: Place,
  path: string,
  options: RebuildOptions,
): Promise<Replaced> {
  const { lock = true } = options;
  using tree = openTree(staging, path);
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
  let swapped: Swapped;
  try {
    swapped = swap(built, place);
  } catch (error) {
    if (target.directory) setMode(target.directory, target.status!.mode);
    if (error instanceof CacheError) throw error;
    // EXDEV: the lower layer of an overlay; EBUSY: a mount point.
    const kind = errorKind(error);
    const hint = kind === "cross-device" || kind === "busy"
      ? "It can't be renamed here, so rebuild it with --in-place (inPlace: true). "
      : "";
    throw osFailure("replace", path, error, `${hint}${AS_IT_WAS}`);
  }
  const { old, exchanged } = swapped;
  const swapBack = () => {
    // Whoever made it: it is not ours, or not known to be.
    ask(path, () => swap(exchanged ? built : old!, place), "");
    if (target.directory) setMode(target.directory, target.status!.mode);
  };
  if (old) {
    let expected: Status | undefined;
    try {
      expected = patiently(() => old.parent.look(old.name));
    } catch (error) {
      swapBack();
      throw osFailure("replace", path, error, AS_IT_WAS);
    }
    // Somebody may have put something else there since it was checked.
    if (!expected || !isWhatWasChecked(expected, target)) {
      swapBack();
      throw new CacheError(
        `Cannot rebuild "${path}": somebody exchanged it meanwhile. It is as it was`,
        path,
        "refused",
      );
    }
    restoreMode(place, { ...before, mode });
    return { old: { ...old, expected }, exchanged };
  }
  restoreMode(place, { ...before, mode });
  return { old, exchanged };
}

const AS_IT_WAS = "The old cache is as it was";

/** Asks the operating system, before anything is put in its place. */
function ask<T>(path: string, call: () => T, hint = AS_IT_WAS): T {
  try {
    return patiently(call);
  } catch (error) {
    throw osFailure("rebuild", path, error, hint);
  }
}

/** Opens what was built, and sees that it can be published. */
function openTree({ directory }: Staging, path: string): Directory {
  let tree: Directory;
  try {
    tree = patiently(() => directory.open(TREE));
  } catch (error) {
    const kind = kindOfError(error);
    if (kind === "mount") throw mountedIn(path, pathIn(directory, TREE));
    if (!NO_DIRECTORY.has(kind)) {
      throw osFailure("rebuild", path, error, AS_IT_WAS);
    }
    throw new CacheError(
      `Cannot rebuild "${path}": the build left no directory where it was told to build. The old cache is as it was`,
      path,
      "not-directory",
      error,
    );
  }
  const mounted = mountedBelow(tree, realPathOf(tree));
  if (mounted === undefined) return tree;
  tree[Symbol.dispose]();
  throw mountedIn(path, mounted);
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
function buildable(old: Status): Status {
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

/** Before a build that could not be put in place. */
function refuseMountPoint({ path, place, status }: HeldTarget): void {
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

/** Deletes what dead runs left. That something can't be deleted is no failure of this one. */
async function sweep(place: Place, owner: number | undefined): Promise<void> {
  try {
    await sweepStagings(place.parent, place.name, owner);
    for (const aside of asidesOf({ place }, owner)) await aside.remove(0);
  } catch (error) {
    log.debug(() => `No sweep: ${osErrorText(error)}`);
  }
}
