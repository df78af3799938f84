import { clearCache } from "../clear/clear.ts";
import { asidesOf } from "../clear/sweep.ts";
import { CacheError, kindOfError, osFailure } from "../error.ts";
import { makeDirectoryLike, makeParent } from "../fs/access.ts";
import type { Status } from "../fs/directory.ts";
import { lookAgain, openTarget } from "../fs/guard_rails.ts";
import { openParent, type Place } from "../fs/open.ts";
import { type Failure, removeHalfMade, removeTree } from "../fs/remove.ts";
import { openStaging, sweepStagings, TREE } from "../fs/staging.ts";
import { NotPutBack, type Replaced } from "../fs/swap.ts";
import {
  isUnfinished,
  markFinished,
  markUnfinished,
} from "../fs/unfinished.ts";
import { lockPlace } from "../lock/directory.ts";
import { refuseInside } from "../lock/inside.ts";
import { lockName } from "../lock/file.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { openBuilt, refuseEmpty } from "./built.ts";
import {
  type Build,
  type BuildContext,
  checkRebuildArguments,
  type RebuildOptions,
  type RebuildReport,
  untilAborted,
} from "./options.ts";
import { buildable, publish, refuseMountPoint } from "./publish.ts";
import { takeTurn, type Turn } from "./turn.ts";

/**
 * Builds a cache anew beside the old one, which stays in use meanwhile, and puts it in
 * the old one's place when the build has succeeded. If it fails, or is killed, the old
 * cache is as it was.
 *
 * Those who rebuild the same directory do so one after another. Those who say that they
 * `share` the result need not build it again.
 *
 * The new cache takes the place when nobody has a lease on the old one: by one
 * exchange with `--allow-ffi` on Linux and macOS, so that there is always a cache; else
 * by two renames, with an instant without a cache between them.
 *
 * Needs `--allow-read` and `--allow-write` for the directory and its parent.
 *
 * @param dir The directory. It need not exist.
 * @param build Fills a directory, which is empty and has the old one's mode and owner.
 * It must not stay empty unless `allowEmpty`.
 * @param options How to build it.
 * @returns What was done.
 * @throws {LockedError} If somebody builds or uses it for longer than `wait`.
 * @throws {CacheError} If `dir` must not be cleared (see `clearCache()`), the operating
 * system refuses, or nothing was built (kind `empty`); and whatever `build` throws. The
 * old cache is then as it was. If the signal is aborted, its reason.
 * @throws {TypeError | RangeError} If an argument is invalid.
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
 *
 * @category Directories
 */
export async function rebuildCache(
  dir: string | URL,
  build: (staging: string, context: BuildContext) => void | Promise<void>,
  options: RebuildOptions = {},
): Promise<RebuildReport> {
  checkRebuildArguments(dir, build, options);
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
    failures: [],
    ...how,
    durationMs: performance.now() - started,
  });
  // Before a build that may take long, and could not be put in place.
  if (lock) refuseInside(at.parent, lockName(at.name), true, path);
  using turn = lock ? await takeTurn(at, path, options) : undefined;
  if (turn?.shared) return done({ outcome: "shared", replaced: false });
  return done(
    inPlace
      ? await buildInPlace(at, path, build, options, turn)
      : await buildBeside(at, path, build, options, turn),
  );
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
  build: Build,
  options: RebuildOptions,
  turn: Turn | undefined,
): Promise<Partial<RebuildReport>> {
  const { signal, lock = true } = options;
  using _ = lock ? await lockPlace(place, path, true, options) : undefined;
  signal?.throwIfAborted();
  const wasUnfinished = isUnfinished(place, path);
  markUnfinished(place, path);
  const { outcome, failures } = await clearCache(path, {
    recreate: true,
    lock: false,
    ...signal && { signal },
  }).catch((error) => {
    // Nothing was touched.
    if (kindOfError(error) === "refused" && !wasUnfinished) markFinished(place);
    throw error;
  });
  const [first] = failures;
  if (first) {
    throw new CacheError(
      `Cannot rebuild "${path}" in place, since not all of it can be removed (${failures.length} left): "${first.path}": ${first.message}`,
      path,
      first.kind,
    );
  }
  markUnfinished(place, path); // a clear takes the note away
  await untilAborted(signal, (context) => build(path, context));
  {
    using built = openBuilt(place.parent, place.name, path, "");
    if (!options.allowEmpty) refuseEmpty(built, path, "");
  }
  markFinished(place);
  turn?.built();
  return { replaced: outcome === "cleared" };
}

async function buildBeside(
  place: Place,
  path: string,
  build: Build,
  options: RebuildOptions,
  turn: Turn | undefined,
): Promise<Partial<RebuildReport>> {
  const { signal } = options;
  const { parent, name } = place;
  let like: Status | undefined;
  let published: Replaced | undefined;
  const failures: Failure[] = [];
  let isLeftBeside = false;
  try {
    const staging = openStaging(parent, name);
    try {
      {
        using target = lookAgain(place, path);
        like = target.status && buildable(target.status);
        makeDirectoryLike(staging.directory, TREE, like, path);
      }
      await untilAborted(signal, (context) => build(staging.tree, context));
      published = await publish(staging, place, path, options, turn);
    } catch (error) {
      isLeftBeside = error instanceof NotPutBack;
      throw error;
    } finally {
      const { path: half } = staging.directory;
      // What stood there is in the staging, if both were exchanged.
      failures.push(
        ...published
          ? await unlessAborted(path, signal, () => staging.remove(signal))
          : await removeHalfMade(
            half,
            signal,
            (until) => staging.remove(until),
          ) ?? [],
      );
    }
    const { old, exchanged } = published;
    if (old && !exchanged) {
      const { parent, name, expected } = old;
      const options = { busyTimeout: 1000, signal, expected };
      failures.push(
        ...await unlessAborted(
          path,
          signal,
          () => removeTree(parent, name, options),
        ),
      );
    }
    return { replaced: old !== undefined, exchanged, failures };
  } finally {
    if (!published) {
      for (const { path, message } of failures) {
        log.warn(() => `Cannot remove "${path}": ${message}`);
      }
    }
    // Also after a build that failed: one that always does would pile up stagings.
    if (!signal?.aborted && !isLeftBeside) await sweep(place, like?.uid);
  }
}

/** The new cache stands, so an abort ends the cleaning only: the next run goes on with it. */
async function unlessAborted(
  path: string,
  signal: AbortSignal | undefined,
  remove: () => Promise<Failure[]>,
): Promise<Failure[]> {
  try {
    return await remove();
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) throw error;
    const message =
      "What was replaced is only partly removed, since it was aborted";
    return [{ path, kind: "interrupted", message }];
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
