import { removeTree } from "../old/remove.ts";
import { CacheError } from "../error.ts";
import { log } from "../log.ts";
import { removeIfThere, siblingName } from "../fs/names.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { basename, dirname, join } from "../os/path.ts";
import { openStaging, type Staging, sweepStagings } from "../old/staging.ts";
import { type BuildJob, type Built, nothingBuilt } from "./build.ts";
import { cloneTree } from "./clone_tree.ts";
import { LinkError, linkFailure } from "./error.ts";
import { lookAt, taken, toPath } from "./file.ts";
import {
  type LinkReport,
  type LinkTreeOptions,
  placeOptions,
} from "./options.ts";
import { buildTree } from "./threads.ts";
import { swap } from "../old/swap.ts";
import { isWithin } from "../os/within.ts";

/**
 * Puts a cached tree where it is needed, as cheaply as the file systems allow: each
 * file by a clone, a hard link, a symbolic link or a copy.
 *
 * It is built beside the destination and renamed into place, so it appears whole or
 * not at all, however this ends; only `merge` works file by file, in what is there.
 * Modes and modification times (to the millisecond) are kept, and symbolic links are
 * made again as they are. Nothing is ever written through what stands at the
 * destination.
 *
 * A rung that can't work between the two file systems is tried once, and the report
 * says so. Big trees are built by two threads; where the second can't start, by one.
 *
 * Needs `--allow-read` and `--allow-write` for both and the destination's parent;
 * for everything, if the tree has symbolic links or `mode` is `symlink` (Deno asks
 * for that). Clones need `--allow-ffi`.
 *
 * @param src The cached directory. If it is a symbolic link, what it leads to.
 * @param dst Where it should be. Its parent must exist.
 * @param options How to put it there.
 * @returns What was done, counted.
 * @throws {LinkError} If it could not be done. Its `kind` is `already-exists` if
 * something stands there, or if two names are one on the destination's file system.
 *
 * @example Linking a tree
 * ```ts
 * import { linkTree } from "@rebuild/cache";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * await Deno.mkdir(`${dir}/cached/lib`, { recursive: true });
 * await Deno.writeTextFile(`${dir}/cached/lib/a.js`, "content");
 *
 * const report = await linkTree(`${dir}/cached`, `${dir}/node_modules`, {
 *   mode: "hardlink",
 * });
 *
 * assertEquals(report.hardlinked, 1);
 * await Deno.remove(dir, { recursive: true });
 * ```
 */
export async function linkTree(
  src: string | URL,
  dst: string | URL,
  options: LinkTreeOptions = {},
): Promise<LinkReport> {
  return await linkListed(src, dst, options);
}

/** Links a tree of which there may be a listing: the path of a file that `Listing` reads. */
export async function linkListed(
  src: string | URL,
  dst: string | URL,
  options: LinkTreeOptions,
  listing?: string,
): Promise<LinkReport> {
  const source = toPath(src);
  const destination = toPath(dst);
  try {
    return await link(source, destination, options, listing);
  } catch (error) {
    const { signal } = options;
    if (error instanceof LinkError || error === signal?.reason) throw error;
    // What the OS said, once.
    const said = error instanceof CacheError ? error.cause ?? error : error;
    throw new LinkError(
      `Cannot link "${source}" to "${destination}": ${osErrorText(said)}`,
      source,
      destination,
      error instanceof CacheError ? error.kind : errorKind(error),
      error,
    );
  }
}

async function link(
  src: string,
  destination: string,
  options: LinkTreeOptions,
  listing: string | undefined,
): Promise<LinkReport> {
  const started = performance.now();
  const { ifExists = "error", signal } = options;
  signal?.throwIfAborted();
  const source = realSource(src, destination);
  refuseNested(source, destination);
  const existing = lookAt(destination, source, destination);
  const done = (outcome: LinkReport["outcome"], built: Built, threads = 1) =>
    report(destination, outcome, built, threads, started);

  if (existing && ifExists === "skip") return done("skipped", nothingBuilt());
  if (existing && ifExists === "error") throw taken(source, destination);
  if (existing && ifExists === "merge") {
    if (!existing.isDirectory) {
      throw conflict(source, destination, "a directory", "is not one");
    }
    const at = [source, destination, destination] as const;
    const job = await jobFor(...at, true, options, listing);
    checkConflicts(job, "");
    const { built, threads } = await buildTree(job, options);
    return done("merged", built, threads);
  }

  let result: { built: Built; threads: number };
  {
    await using staging = openStaging(destination);
    const cloned = await cloneTree(source, staging.tree, options);
    result = cloned
      ? { built: cloned, threads: 1 }
      : await buildNew(source, staging, options, listing);
    for (const [path, mode] of result.built.late.reverse()) {
      Deno.chmodSync(path, mode);
    }
    const replace = ifExists === "replace";
    const old = publish(staging.tree, source, destination, replace);
    if (old !== undefined) await removeTree(old, { busyTimeout: 1000 });
  }
  await sweepStagings(destination);
  return done(existing ? "replaced" : "linked", result.built, result.threads);
}

async function buildNew(
  source: string,
  { tree, path }: Staging,
  options: LinkTreeOptions,
  listing: string | undefined,
): Promise<{ built: Built; threads: number }> {
  patiently(() => Deno.mkdirSync(tree));
  const job = await jobFor(source, tree, path, false, options, listing);
  return await buildTree(job, options);
}

function realSource(source: string, destination: string): string {
  let real: string;
  try {
    real = Deno.realPathSync(source);
  } catch (error) {
    throw linkFailure(`Cannot link "${source}"`, source, destination, error);
  }
  if (Deno.statSync(real).isDirectory) return real;
  throw new LinkError(
    `Cannot link "${source}" as a tree: it is not a directory`,
    source,
    destination,
    "not-directory",
  );
}

function refuseNested(source: string, destination: string): void {
  let real = destination;
  try {
    real = join(Deno.realPathSync(dirname(destination)), basename(destination));
  } catch {
    // No parent: the staging will say so.
  }
  if (!isWithin(real, source) && !isWithin(source, real)) return;
  throw new LinkError(
    `Cannot link "${source}" to "${destination}": one lies in the other`,
    source,
    destination,
    "refused",
  );
}

async function jobFor(
  source: string,
  destination: string,
  probe: string,
  merge: boolean,
  options: LinkTreeOptions,
  listing: string | undefined,
): Promise<BuildJob> {
  const { dev, mode } = Deno.lstatSync(destination);
  return {
    source,
    ...listing !== undefined && { listing },
    destination,
    device: dev,
    merge,
    place: placeOptions(options),
    include: await globs(options.include),
    exclude: await globs(options.exclude),
    mutable: await globs(options.mutable),
    defaultMode: Deno.build.os === "windows" || mode === null
      ? null
      : mode & 0o7777,
    folds: foldsNames(probe),
  };
}

async function globs(list: readonly string[] = []): Promise<RegExp[]> {
  if (list.length === 0) return [];
  const { globToRegExp } = await import("@std/path/posix/glob-to-regexp");
  return list.map((glob) => globToRegExp(glob, { globstar: true }));
}

/** Whether two names that differ only in case, or normal form, are one there. */
function foldsNames(directory: string): boolean {
  const name = siblingName("é", "partial"); // composed, and small
  const probe = join(directory, name);
  try {
    Deno.openSync(probe, { write: true, createNew: true }).close();
    return [name.toUpperCase(), name.normalize("NFD")].some((other) => {
      try {
        return Deno.lstatSync(join(directory, other)).isFile;
      } catch {
        return false;
      }
    });
  } catch {
    return false; // not writable: the build will say so
  } finally {
    removeIfThere(probe);
  }
}

/** Before a merge changes anything: no file where a directory is, nor the reverse. */
function checkConflicts(job: BuildJob, relative: string): void {
  for (const entry of Deno.readDirSync(job.source + relative)) {
    const path = `${relative}/${entry.name}`;
    const [source, target] = [job.source + path, job.destination + path];
    const there = lookAt(target, source, target);
    if (!there) continue;
    if (entry.isDirectory && there.isDirectory) checkConflicts(job, path);
    else if (entry.isDirectory) {
      throw conflict(source, target, "a directory", "is not one");
    } else if (there.isDirectory) {
      throw conflict(source, target, "a file", "is a directory");
    }
  }
}

function conflict(
  source: string,
  target: string,
  what: string,
  is: string,
): LinkError {
  return new LinkError(
    `Cannot merge "${source}", ${what}: "${target}" ${is}. Nothing was changed`,
    source,
    target,
    "already-exists",
  );
}

/** Gives the tree its place. What stood there, and must be deleted, comes back. */
function publish(
  tree: string,
  source: string,
  destination: string,
  replace: boolean,
): string | undefined {
  try {
    if (replace) return swap(tree, destination).old;
    if (lookAt(destination, source, destination)) {
      throw taken(source, destination); // a rename would take an empty directory's place
    }
    patiently(() => Deno.renameSync(tree, destination));
    return undefined;
  } catch (error) {
    if (error instanceof LinkError) throw error;
    const what = replace
      ? `Cannot replace "${destination}"`
      : `Cannot put "${destination}" in place`;
    throw linkFailure(what, source, destination, error);
  }
}

function report(
  path: string,
  outcome: LinkReport["outcome"],
  { late: _, fallbacks, ...counts }: Built,
  threads: number,
  started: number,
): LinkReport {
  for (const { from, reason, count, example } of fallbacks.values()) {
    log.debug(() => `No ${from}: ${reason} (${count}, such as "${example}")`);
  }
  return {
    path,
    outcome,
    ...counts,
    fallbacks: [...fallbacks.values()],
    threads,
    durationMs: performance.now() - started,
  };
}
