import { CacheError, osFailure } from "../error.ts";
import { clearTarget, type Target } from "../fs/guard_rails.ts";
import { guard, holdFile } from "../lock/directory.ts";
import type { LockOptions } from "../lock/file.ts";
import { log } from "../log.ts";
import { listMounts } from "../os/mounts.ts";
import { errorKind } from "../os/error.ts";
import { dirname } from "../os/path.ts";
import { openStaging, sweepStagings } from "../old/staging.ts";
import { swap, type Swapped } from "../old/swap.ts";
import { clearCache } from "../clear/clear.ts";
import { makeDirectoryLike, makeParent } from "../old/make_like.ts";
import { removeTree } from "../old/remove.ts";

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
  const target = clearTarget(dir, follow);
  const { path } = target;
  if (!inPlace) refuseMountPoint(target);
  makeParent(path);
  signal?.throwIfAborted();
  const done = (how: Partial<RebuildReport>): RebuildReport => ({
    path,
    outcome: "rebuilt",
    replaced: target.info !== undefined,
    exchanged: false,
    ...how,
    durationMs: performance.now() - started,
  });
  using turn = lock ? await takeTurn(path, options) : undefined;
  if (turn?.shared) return done({ outcome: "shared", replaced: false });
  const report = done(
    inPlace
      ? await buildInPlace(path, build, options)
      : await buildBeside(path, build, options),
  );
  turn?.succeeded();
  return report;
}

async function buildInPlace(
  path: string,
  build: (staging: string) => void | Promise<void>,
  options: RebuildOptions,
): Promise<Partial<RebuildReport>> {
  const { signal, lock = true } = options;
  using _ = lock ? await guard(path, options) : undefined;
  const { outcome, left } = await clearCache(path, {
    recreate: true,
    lock: false,
    ...signal && { signal },
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
  path: string,
  build: (staging: string) => void | Promise<void>,
  options: RebuildOptions,
): Promise<Partial<RebuildReport>> {
  const { signal } = options;
  let result: Partial<RebuildReport>;
  {
    await using staging = openStaging(path);
    makeDirectoryLike(staging.tree, clearTarget(path).info);
    await build(staging.tree);
    signal?.throwIfAborted();
    if (!isDirectory(staging.tree)) {
      throw new CacheError(
        `Cannot rebuild "${path}": the build left no directory at "${staging.tree}". The old cache is as it was`,
        path,
        "not-directory",
      );
    }
    const { old, exchanged } = await replace(staging.tree, path, options);
    result = { replaced: old !== undefined, exchanged };
    if (old !== undefined) await removeTree(old, { busyTimeout: 1000 });
  }
  await sweepStagings(path);
  return result;
}

async function replace(
  tree: string,
  path: string,
  options: RebuildOptions,
): Promise<Swapped> {
  const { lock = true } = options;
  using _ = lock ? await guard(path, options) : undefined;
  // What stands there now need not be what stood there before the build.
  refuseMountPoint(clearTarget(path));
  try {
    return swap(tree, path);
  } catch (error) {
    // EXDEV: the lower layer of an overlay; EBUSY: a mount point.
    const kind = errorKind(error);
    const hint = kind === "cross-device" || kind === "busy"
      ? "It can't be renamed here, so rebuild it with --in-place (inPlace: true). "
      : "";
    throw osFailure(
      "replace",
      path,
      error,
      `${hint}The old cache is as it was`,
    );
  }
}

function isDirectory(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** Before a build that could not be put in place. */
function refuseMountPoint({ path, info }: Target): void {
  if (!info) return;
  const mounted = listMounts()?.some(({ point }) => point === path) ||
    info.dev !== Deno.lstatSync(dirname(path)).dev;
  if (!mounted) return;
  throw new CacheError(
    `Cannot rebuild "${path}": it is a mount point, which can't be renamed. Rebuild it with --in-place (inPlace: true)`,
    path,
    "refused",
  );
}

/** The right to build, which one process has at a time. */
interface Turn extends Disposable {
  /** Whether somebody else has just built the same. */
  readonly shared: boolean;
  /** Tells those who wait that they need not build. */
  succeeded(): void;
}

/**
 * Waits until nobody else builds. The lock is the file `<dir>.rebuild.lock`. Its
 * modification time is that of the last build that succeeded, and its content says
 * what that one built: whoever finds the time changed when his turn comes asked
 * while it ran.
 */
async function takeTurn(
  path: string,
  options: RebuildOptions,
): Promise<Turn> {
  const { always = false, key = "" } = options;
  const file = `${path}.rebuild.lock`;
  const before = timeOf(file);
  const what = `The right to rebuild "${path}"`;
  const held = await holdFile(file, path, what, options);
  const { file: lock } = held;
  const built = await digest(key);
  const last = timeOf(file);
  const shared = !always && last !== before &&
    new TextDecoder().decode(readAll(lock)) === built && isDirectory(path);
  if (shared) log.debug(() => `"${path}" was built while this one waited`);
  return {
    shared,
    succeeded() {
      try {
        lock.truncateSync(0);
        lock.seekSync(0, Deno.SeekMode.Start);
        lock.writeSync(new TextEncoder().encode(built));
        // Later than the last one, however fast that was.
        const now = new Date(Math.max(Date.now(), (last ?? 0) + 1));
        lock.utimeSync(now, now);
      } catch (error) {
        log.debug(() => `Those who wait will build again: ${error}`);
      }
    },
    [Symbol.dispose]: () => held[Symbol.dispose](),
  };
}

function readAll(file: Deno.FsFile): Uint8Array {
  const bytes = new Uint8Array(256); // a digest has 64
  return bytes.subarray(0, file.readSync(bytes) ?? 0);
}

function timeOf(file: string): number | undefined {
  try {
    return Deno.statSync(file).mtime?.getTime();
  } catch {
    return undefined;
  }
}

async function digest(text: string): Promise<string> {
  const bytes = new TextEncoder().encode(text);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return hash.toHex();
}
