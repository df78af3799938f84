import { kindOfError } from "../error.ts";
import { type Directory, pathIn, type Status } from "../fs/directory.ts";
import { Keeper } from "../fs/fidelity.ts";
import { isWhatWasChecked, refuseToReplace } from "../fs/guard_rails.ts";
import { type Breathe, listWhole } from "../fs/list.ts";
import { removeQuietly, siblingName } from "../fs/names.ts";
import { type Failure, removeTree } from "../fs/remove.ts";
import {
  openStaging,
  type Staging,
  sweepStagings,
  TREE,
} from "../fs/staging.ts";
import { moveToFree, NotPutBack, type Place, swapKnown } from "../fs/swap.ts";
import { ownId } from "../fs/trust.ts";
import { LockedError } from "../lock/file.ts";
import { checkPath } from "../os/arguments.ts";
import { toPath } from "../os/path.ts";
import { Breath, patiently, untilLetGo } from "../os/patience.ts";
import {
  type Builder,
  type BuildJob,
  type Built,
  nothingBuilt,
  type Rooms,
} from "./build.ts";
import {
  asLinkError,
  type Destination,
  isExpected,
  leaseSource,
  openDestination,
  openLocked,
  refuseNested,
  refuseUnsafe,
  taken,
  unlessOutrun,
  type Watch,
} from "./ends.ts";
import { LinkError, linkFailure } from "./error.ts";
import {
  checkLinkOptions,
  type LinkReport,
  type LinkTreeOptions,
  placeOptions,
} from "./options.ts";
import { Candidate, placeFile } from "./place.ts";
import { lacksParent, previewTree } from "./preview.ts";
import { filesIn, linkReport, noCounts } from "./report.ts";
import { buildTree } from "./threads.ts";

/**
 * Puts a cached tree where it is needed, as cheaply as the file systems allow: each
 * file by a clone, a hard link, a symbolic link or a copy.
 *
 * It is built beside the destination and renamed into place, so it appears whole or
 * not at all, however this ends; only `merge` works file by file, in what is there.
 * Owners, modes, times and attributes are kept as `cp -a` keeps them, and symbolic links are
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
 * @throws {TypeError | RangeError} If an argument is none that it may be.
 * @throws The signal's reason, if it is aborted.
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
 *
 * @category Trees
 */
export async function linkTree(
  src: string | URL,
  dst: string | URL,
  options: LinkTreeOptions = {},
): Promise<LinkReport> {
  checkPath("src", src);
  checkPath("dst", dst);
  checkLinkOptions(options, "tree");
  const source = toPath(src);
  const destination = toPath(dst);
  return await asLink(source, destination, options, async () => {
    using directory = await leaseSource(
      realSource(source, destination),
      options,
    );
    return await link(directory, destination, options);
  });
}

/**
 * Links a tree of a directory that is held open, to which there may be a listing: then
 * what is there must be what is listed.
 */
export async function linkHeld(
  { parent, name }: Place,
  dst: string,
  options: LinkTreeOptions,
  listing?: string,
  watch: Watch = {},
): Promise<LinkReport> {
  return await asLink(pathIn(parent, name), dst, options, async () => {
    using directory = parent.open(name);
    return await link(directory, dst, options, listing, watch);
  });
}

async function asLink(
  source: string,
  destination: string,
  { signal }: LinkTreeOptions,
  call: () => Promise<LinkReport>,
): Promise<LinkReport> {
  try {
    return await call();
  } catch (error) {
    if (
      error instanceof LinkError || error instanceof LockedError ||
      signal?.aborted && error === signal.reason ||
      error instanceof TypeError || error instanceof RangeError
    ) throw error;
    throw asLinkError(error, source, destination);
  }
}

async function link(
  source: Directory,
  path: string,
  options: LinkTreeOptions,
  listing?: string,
  watch: Watch = {},
): Promise<LinkReport> {
  const once = () => linkOnce(source, path, options, listing, watch);
  return await unlessOutrun(options.ifExists, once);
}

async function linkOnce(
  source: Directory,
  path: string,
  options: LinkTreeOptions,
  listing: string | undefined,
  watch: Watch,
): Promise<LinkReport> {
  const started = performance.now();
  const { ifExists = "error", signal } = options;
  signal?.throwIfAborted();
  refuseUnsafe(source, path);
  const { dryRun = false } = options;
  const preview = async (outcome: LinkReport["outcome"]) => {
    const filters = await jobFor(options, false);
    const built = await previewTree(source, path, filters, signal);
    return linkReport(path, outcome, built, 0, started);
  };
  if (dryRun && watch.makesParents && lacksParent(path)) {
    return await preview("would-link");
  }
  using destination = openDestination(path, source.path);
  const { parent, name, existing } = destination;
  refuseNested(source, destination);
  const failures: Failure[] = [];
  const done = (outcome: LinkReport["outcome"], built: Built, threads = 1) =>
    linkReport(path, outcome, built, threads, started, failures);
  if (existing && ifExists === "skip") return done("skipped", nothingBuilt());
  const stays = existing && ifExists === "error";
  if (stays || !isExpected(existing, watch)) throw taken(source.path, path);
  const isMerge = existing !== undefined && ifExists === "merge";
  const job = await jobFor(options, isMerge, listing);
  if (isMerge) {
    return dryRun
      ? await preview("would-merge")
      : await merge(source, destination, job, options, done);
  }
  if (existing) refuseToReplace(parent, name, path);
  if (dryRun) return await preview(existing ? "would-replace" : "would-link");
  let built: Built;
  let threads: number;
  {
    await using staging = openStaging(parent, name, options.signal);
    const result = await buildNew(source, path, staging, job, options);
    ({ built, threads } = result);
    const { finish } = result;
    failures.push(
      ...await publish(
        staging,
        source.path,
        destination,
        finish,
        options,
        watch,
      ),
      // What stood there is in it, if both were exchanged.
      ...await staging.remove(),
    );
  }
  await sweepStagings(parent, name, existing?.uid);
  return done(existing ? "replaced" : "linked", built, threads);
}

/** A new tree in a staging, and what its top directory still needs. */
async function buildNew(
  source: Directory,
  path: string,
  staging: Staging,
  job: BuildJob,
  options: LinkTreeOptions,
): Promise<
  { built: Built; threads: number; finish: (top: Directory) => void }
> {
  const { directory: scratch, tree } = staging;
  // A whole clone is compared with nothing.
  const cloned = Deno.build.os === "darwin" && job.listing === undefined
    ? await (await import("./clone_tree.ts"))
      .cloneTree(source.path, scratch, tree, options)
    : undefined;
  if (cloned) return { built: cloned, threads: 1, finish() {} };
  patiently(() => scratch.make(TREE, 0o700));
  using built = scratch.open(TREE);
  // Whatever goes wrong there, people know it by where it is to be.
  using destination = built.again(path);
  const rooms = { source, destination, scratch };
  const { builder, threads } = await buildTree(job, rooms, options);
  return {
    built: builder.built,
    threads,
    finish: (top) => finishTop(builder, top),
  };
}

function finishTop(builder: Builder, top: Directory): void {
  for (const it of builder.built.unfinished.splice(0)) builder.finish(it, top);
}

/**
 * Gives the tree its place, and deletes what stood there.
 *
 * @returns What of that could not be removed.
 */
async function publish(
  { directory: staging }: Staging,
  source: string,
  { parent, name, path, existing }: Destination,
  finish: (top: Directory) => void,
  options: LinkTreeOptions,
  watch: Watch,
): Promise<Failure[]> {
  using built = staging.open(TREE);
  using top = built.again(path);
  // A directory that its owner can't write to can't be moved to another parent.
  const isLast = Deno.build.os !== "windows" && ownId() !== 0;
  if (!isLast) finish(top);
  const tree = { parent: staging, name: TREE };
  try {
    // What stands there now need not be what stood there before the build.
    let standing: Status | undefined;
    const open = () => {
      standing = refuseToReplace(parent, name, path);
      if (!isExpected(standing, watch)) throw taken(source, path);
      return standing?.kind === "directory"
        ? parent.open(name, "named")
        : undefined;
    };
    using old = existing && await openLocked(open, true, path, options);
    await watch.onFinished?.(tree);
    if (!standing) {
      await untilLetGo(
        () => moveToFree(tree, { parent, name }),
        options.signal,
      );
      if (isLast) finish(top);
      return [];
    }
    const isKnown = (now: Status) =>
      old
        ? isWhatWasChecked(now, { status: old.opened, directory: old })
        : now.kind !== "directory" && isExpected(now, watch);
    // Windows locks no directory, so that a peer may have put the same there.
    const refusal = () =>
      watch.expected ? taken(source, path) : replacedMeanwhile(source, path);
    const swapped = await untilLetGo(
      () => swapKnown(tree, { parent, name }, isKnown, refusal),
      options.signal,
    );
    if (isLast) finish(top);
    // What was exchanged lies in the staging, and goes with it.
    if (!swapped.old || swapped.exchanged) return [];
    const { parent: at, name: was, expected } = swapped.old;
    return await removeTree(at, was, { busyTimeout: 1000, expected });
  } catch (error) {
    const { signal } = options;
    const isAbort = signal?.aborted && error === signal.reason;
    if (error instanceof LinkError || isAbort) throw error;
    if (error instanceof NotPutBack) {
      throw new LinkError(error.message, source, path, error.kind, error);
    }
    const kind = kindOfError(error);
    if (kind === "locked" || kind === "refused") throw error;
    if (kind === "already-exists") throw taken(source, path);
    const what = existing
      ? `Cannot replace "${path}"`
      : `Cannot put "${path}" in place`;
    throw linkFailure(what, source, path, error);
  }
}

function replacedMeanwhile(source: string, path: string): LinkError {
  return new LinkError(
    `Cannot replace "${path}": somebody replaced it meanwhile. It is as it was`,
    source,
    path,
    "refused",
  );
}

/** Puts each file into what is there. */
async function merge(
  source: Directory,
  destination: Destination,
  job: BuildJob,
  options: LinkTreeOptions,
  done: (
    outcome: LinkReport["outcome"],
    built: Built,
    threads: number,
  ) => LinkReport,
): Promise<LinkReport> {
  const { parent, name, path, existing } = destination;
  if (existing?.kind !== "directory") {
    throw conflict(source.path, path, "a directory", "is not one");
  }
  using target = name === "" ? parent.again() : parent.open(name, "named");
  if (!target.safe) {
    throw new LinkError(
      `Cannot merge into "${path}": other users can change it. Grant --allow-ffi, or use a directory of your own`,
      source.path,
      path,
      "refused",
    );
  }
  const breath = new Breath(options.signal);
  await checkConflicts(source, target, () => breath.due());
  let result: { builder: Builder; threads: number };
  {
    await using staging = openScratch(parent, name, target, options.signal);
    const scratch = staging.directory;
    const folds = foldsNames(scratch);
    const rooms: Rooms = { source, destination: target, scratch };
    result = await buildTree({ ...job, folds }, rooms, options);
  }
  await sweepStagings(parent, name, existing.uid);
  await sweepStagings(target, "", existing.uid);
  const { builder, threads } = result;
  return done("merged", builder.built, threads);
}

/** Beside the destination; in it, where nothing can be made beside. */
function openScratch(
  parent: Directory,
  name: string,
  target: Directory,
  signal: AbortSignal | undefined,
): Staging {
  try {
    // What is made on another file system can't be renamed into the target.
    const beside = parent.status().device === target.opened.device;
    if (name !== "" && beside) return openStaging(parent, name, signal);
  } catch (error) {
    const kind = kindOfError(error);
    if (kind !== "permission" && kind !== "read-only") throw error;
  }
  return openStaging(target, "", signal);
}

/**
 * A private copy of a file or a tree, at a name that does not exist.
 *
 * @param at The path that it will have, if that is another.
 * @returns How much was copied.
 */
export async function copyTreeInto(
  source: Place,
  destination: Place,
  options: Pick<LinkTreeOptions, "signal" | "onProgress"> = {},
  at?: string,
): Promise<{ files: number; bytes: number }> {
  const { signal, onProgress } = options;
  const job = {
    ...await jobFor({ mode: "private" }, false),
    keep: "content" as const,
  };
  const status = source.parent.look(source.name);
  const { parent: scratch, name } = destination;
  if (status?.kind !== "directory") {
    let bytes = 0;
    const tell = () => onProgress?.({ files: 0, directories: 0, bytes });
    const breath = new Breath(signal, tell);
    using candidate = new Candidate(source.parent, source.name);
    await placeFile(candidate, scratch, name, true, {
      options: job.place,
      pair: { retired: new Map(), worked: new Set() },
      counts: noCounts(),
      keeper: new Keeper("content"),
      control: {
        check: () => signal?.throwIfAborted(),
        breathe: () => breath.due(),
        copied: (more) => bytes += more,
      },
      made: new Map(),
      defersLimit: false,
    });
    return { files: 1, bytes: status?.size ?? 0 };
  }
  using from = source.parent.open(source.name, "named");
  refuseUnsafe(from, pathIn(scratch, name));
  patiently(() => scratch.make(name, 0o700));
  using target = scratch.open(name);
  using shown = target.again(at);
  const rooms = { source: from, destination: shown, scratch };
  const { builder } = await buildTree(job, rooms, options);
  finishTop(builder, target);
  return { files: filesIn(builder.built), bytes: builder.built.bytes };
}

function realSource(source: string, destination: string): string {
  let real: string;
  try {
    real = patiently(() => Deno.realPathSync(source));
    if (patiently(() => Deno.statSync(real)).isDirectory) return real;
  } catch (error) {
    throw linkFailure(`Cannot link "${source}"`, source, destination, error);
  }
  throw new LinkError(
    `Cannot link "${source}" as a tree: it is not a directory`,
    source,
    destination,
    "not-directory",
  );
}

async function jobFor(
  options: LinkTreeOptions,
  merge: boolean,
  listing?: string,
): Promise<BuildJob> {
  return {
    merge,
    folds: false,
    place: placeOptions(options),
    keep: "all",
    include: await globs(options.include),
    exclude: await globs(options.exclude),
    mutable: await globs(options.mutable),
    ...listing !== undefined && { listing },
  };
}

/** Globs as patterns on paths with `/`. */
export async function globs(list: readonly string[] = []): Promise<RegExp[]> {
  if (list.length === 0) return [];
  const { globToRegExp } = await import("@std/path/posix/glob-to-regexp");
  return list.map((glob) => globToRegExp(glob, { globstar: true }));
}

/** Whether two names that differ only in case, or normal form, are one there. */
function foldsNames(directory: Directory): boolean {
  const name = siblingName("é", "partial"); // composed, and small
  try {
    directory.openFile(name, "create").close();
    return [name.toUpperCase(), name.normalize("NFD")].some((other) =>
      directory.look(other)?.kind === "file"
    );
  } catch {
    return false; // not writable: the build will say so
  } finally {
    removeQuietly(directory, name);
  }
}

/** Before a merge changes anything: no file where a directory is, nor the reverse. */
async function checkConflicts(
  source: Directory,
  target: Directory,
  breathe: Breathe,
): Promise<void> {
  for (const { name, kind } of await listWhole(source, breathe)) {
    const pause = breathe();
    if (pause) await pause;
    const there = target.look(name);
    if (!there) continue;
    const [from, to] = [pathIn(source, name), pathIn(target, name)];
    if (kind === "directory" && there.kind === "directory") {
      using inner = source.open(name);
      using below = target.open(name);
      await checkConflicts(inner, below, breathe);
    } else if (kind === "directory") {
      throw conflict(from, to, "a directory", "is not one");
    } else if (there.kind === "directory") {
      throw conflict(from, to, "a file", "is a directory");
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
