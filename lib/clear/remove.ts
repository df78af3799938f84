/**
 * Deletes a tree that nobody can reach any more, with all cores, and says what
 * it could not delete.
 *
 * Two passes. The first is Deno's own recursive removal, sixteen at once over
 * many subtrees: it works on directory descriptors, so it is fast, and no
 * symbolic link that is put in its way leads it astray. But it stops at the
 * first obstacle without a word on where that was. What it leaves goes through
 * the second pass, entry by entry: what is unreadable or read-only is made
 * removable, what is busy is tried again, and each failure is named.
 *
 * This module and what it imports need no package, so that a detached process
 * can run them from anywhere (see `delete_asides.ts`).
 *
 * @module
 */

import { log } from "../log.ts";
import { fileSystemType } from "../mounts.ts";
import {
  type ErrorKind,
  errorKind,
  mayPass,
  osErrorText,
} from "../os_error.ts";

/** Something that could not be removed, and why. */
export interface Failure {
  /** Its path. */
  readonly path: string;
  /** What the error means. */
  readonly kind: ErrorKind;
  /** What the operating system said, and what can be done about it. */
  readonly message: string;
}

/** How to remove. */
export interface RemoveOptions {
  /** Stops the removal; what is left is left. */
  signal?: AbortSignal | undefined;
  /** How long busy things are tried again, in milliseconds, all together. */
  busyTimeout: number;
}

/**
 * Removes `root` and everything below it, without following a symbolic link.
 * That something is gone already is never an error: a peer may delete the same
 * tree.
 *
 * @returns What could not be removed. Empty when nothing is left.
 * @throws The signal's reason.
 */
export async function removeTree(
  root: string,
  options: RemoveOptions,
): Promise<Failure[]> {
  options.signal?.throwIfAborted();
  try {
    await unlessAborted(removeFast(root, options.signal), options.signal);
    return [];
  } catch (error) {
    options.signal?.throwIfAborted();
    if (errorKind(error) === "not-found") return [];
    log.debug(() => `Removing "${root}" entry by entry: ${osErrorText(error)}`);
  }
  return await removeCarefully(root, options);
}

/**
 * Enough removals in flight to keep a disk's journal busy. On two cores 16 is
 * 1.7 times as fast as one on tmpfs, 1.2 to 6 times on ext4, by disk.
 */
const IN_FLIGHT = 16;

/** Sixteen lanes of equal length need more than sixteen subtrees. */
const ENOUGH_SUBTREES = 64;

async function removeFast(root: string, signal?: AbortSignal): Promise<void> {
  const type = Deno.lstatSync(root).isDirectory
    ? fileSystemType(Deno.realPathSync(root)) ?? "unknown"
    : undefined;
  if (type && PARALLEL.get(type) !== false) {
    const [subtrees, ...opened] = removalPlan(root);
    if (subtrees && await paysInParallel(type, subtrees, signal)) {
      for (const level of [subtrees, ...opened]) {
        await inParallel(level, IN_FLIGHT, signal);
      }
    }
  }
  await Deno.remove(root, { recursive: true });
}

/** Measured. Real files on XFS go at 0.6 of the speed in parallel; on btrfs, all at 0.8. */
const PARALLEL: ReadonlyMap<string, boolean> = new Map([
  ["ext4", true],
  ["tmpfs", true],
  ["xfs", false],
  ["btrfs", false],
]);

/** One by one goes at 1.0 to 1.7 of two by two on XFS, at 0.5 to 0.9 on ext4. */
const WORTH_IT = 1.05;

/**
 * Whether to remove in parallel. Where that is not known of the file system, it
 * is tried: a few subtrees one by one, a few two by two. Takes those off the list.
 */
async function paysInParallel(
  type: string,
  subtrees: string[],
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (PARALLEL.get(type)) return true;
  const alone = await entriesPerMs(subtrees, 1, signal);
  const together = await entriesPerMs(subtrees, 2, signal);
  log.trace(() =>
    `File system ${type}: ${alone.toFixed(0)} entries a millisecond removed ` +
    `one by one, ${together.toFixed(0)} two by two`
  );
  return together > WORTH_IT * alone;
}

async function entriesPerMs(
  subtrees: string[],
  lanes: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const some = subtrees.splice(0, 6 * lanes);
  const entries = some.reduce((sum, it) => sum + countEntries(it), 0);
  const started = performance.now();
  await inParallel(some, lanes, signal);
  return entries / (performance.now() - started);
}

function countEntries(directory: string): number {
  let count = 1;
  try {
    for (const entry of Deno.readDirSync(directory)) {
      count += entry.isDirectory
        ? countEntries(`${directory}/${entry.name}`)
        : 1;
    }
  } catch {
    // Unreadable, or gone: it weighs little.
  }
  return count;
}

/**
 * Directories to remove, in steps: whole subtrees first, then, deepest first,
 * the directories that had to be opened up to find enough of them. Each still
 * holds its own files.
 */
function removalPlan(root: string): string[][] {
  const opened: string[][] = [];
  const subtrees: string[] = [];
  let level = [root];
  while (level.length > 0 && subtrees.length + level.length < ENOUGH_SUBTREES) {
    const below: string[] = [];
    const withChildren: string[] = [];
    for (const directory of level) {
      const children = subdirectories(directory, root);
      if (children.length > 0) {
        withChildren.push(directory);
        below.push(...children);
      } else {
        subtrees.push(directory);
      }
    }
    opened.unshift(withChildren);
    level = below;
  }
  subtrees.push(...level);
  return subtrees.length > 1
    ? [subtrees, ...opened].map((step) => step.filter((it) => it !== root))
    : [];
}

function subdirectories(directory: string, root: string): string[] {
  try {
    const found: string[] = [];
    for (const entry of Deno.readDirSync(directory)) {
      if (!entry.isDirectory) continue;
      found.push(bringUp(`${directory}/${entry.name}`, root));
    }
    return found;
  } catch {
    return []; // its own removal will say what is wrong with it
  }
}

async function inParallel(
  directories: readonly string[],
  lanes: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  let next = 0;
  async function lane(): Promise<void> {
    while (next < directories.length && !signal?.aborted) {
      const directory = directories[next++]!;
      try {
        await Deno.remove(directory, { recursive: true });
      } catch (error) {
        // The removal of the root meets it again, and the second pass names it.
        log.trace(() => `Not removed yet: "${directory}": ${error}`);
      }
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane));
}

/**
 * A path has at most 4096 bytes on Linux (1024 on macOS), and a tree may be
 * deeper than that; Deno's recursive removal holds one descriptor a level, and
 * overflows its stack at 15,000 levels. So a directory that lies deep is renamed
 * up to the root of the doomed tree first.
 */
const DEEP = Deno.build.os === "darwin" ? 500 : 2000;

let broughtUp = 0;

function bringUp(directory: string, root: string): string {
  if (directory.length - root.length < DEEP) return directory;
  const up = `${root}/.deep-${Deno.pid}-${broughtUp++}`;
  try {
    Deno.renameSync(directory, up);
    return up;
  } catch (error) {
    log.trace(() => `Cannot bring up a deep directory: ${osErrorText(error)}`);
    return directory;
  }
}

/** A directory that is being emptied by the second pass. */
interface Frame {
  readonly path: string;
  /** What is still to be removed of it. */
  entries?: Deno.DirEntry[];
  /** Something below could not be removed, and has been named. */
  blocked: boolean;
}

/**
 * The second pass: an explicit stack instead of recursion, so that no depth is
 * too deep; a pause now and then, so that a signal is heard.
 */
async function removeCarefully(
  root: string,
  { signal, busyTimeout }: RemoveOptions,
): Promise<Failure[]> {
  const failures: Failure[] = [];
  const budget = new Budget(busyTimeout, signal);
  const stack: Frame[] = [{ path: root, blocked: false }];
  for (let step = 1; stack.length > 0; step++) {
    if (step % 256 === 0) await pause(0);
    signal?.throwIfAborted();
    const frame = stack.at(-1)!;
    frame.entries ??= listToRemove(frame.path);
    const entry = frame.entries.pop();
    if (entry?.isDirectory) {
      const path = bringUp(`${frame.path}/${entry.name}`, root);
      stack.push({ path, blocked: false });
      continue;
    }
    if (!entry) stack.pop();
    let failure: Failure | undefined;
    if (entry || !frame.blocked) {
      const path = entry ? `${frame.path}/${entry.name}` : frame.path;
      failure = await removeEntry(path, budget);
      if (failure) failures.push(failure);
    }
    // A directory with something left in it can't go; only the cause is named.
    if (failure || (!entry && frame.blocked)) {
      const holder = entry ? frame : stack.at(-1);
      if (holder) holder.blocked = true;
    }
  }
  return failures;
}

/** The entries of a directory that is made readable first if need be. */
function listToRemove(path: string): Deno.DirEntry[] {
  for (let mended = false;; mended = true) {
    try {
      const entries = [...Deno.readDirSync(path)];
      // Its entries can only be removed if it can be written, too.
      makeRemovable(path);
      return entries;
    } catch (error) {
      // A file, or gone, or not ours: its own removal says so.
      if (mended || errorKind(error) !== "permission") return [];
      if (!makeRemovable(path)) return [];
    }
  }
}

/** Gives a directory of ours the three owner bits. Whether it changed anything. */
function makeRemovable(directory: string): boolean {
  if (Deno.build.os === "windows") return false; // read-only is no obstacle there
  try {
    const { isDirectory, mode } = Deno.lstatSync(directory);
    if (!isDirectory || mode === null || (mode & 0o700) === 0o700) return false;
    Deno.chmodSync(directory, (mode & 0o7777) | 0o700);
    log.trace(() => `Made removable: "${directory}"`);
    return true;
  } catch (error) {
    log.trace(() => `Cannot make removable: ${error}`);
    return false;
  }
}

/** Removes one entry, an emptied directory included; says why it could not. */
export async function removeEntry(
  path: string,
  budget: Budget,
): Promise<Failure | undefined> {
  for (let tries = 0;; tries++) {
    try {
      Deno.removeSync(path);
      return undefined;
    } catch (error) {
      const kind = errorKind(error);
      if (kind === "not-found") return undefined;
      if (kind === "not-empty" && tries === 0) {
        const rest = await removeUnspeakable(path);
        if (!rest) return undefined;
        if (errorKind(rest) === "not-found") continue;
        return failureOf(path, rest);
      }
      if (mayPass(kind) && await budget.wait(tries)) continue;
      return failureOf(path, error);
    }
  }
}

/**
 * What remains in a directory after all its entries were removed: names that
 * are not valid UTF-8. Deno hands them out with U+FFFD in place of what it can't
 * decode, so no path leads to them; only its recursive removal does.
 */
async function removeUnspeakable(directory: string): Promise<unknown> {
  try {
    await Deno.remove(directory, { recursive: true });
    return undefined;
  } catch (error) {
    return error;
  }
}

function failureOf(path: string, error: unknown): Failure {
  const kind = errorKind(error);
  const hint = hintFor(kind);
  const text = osErrorText(error);
  return { path, kind, message: hint ? `${text}: ${hint}` : text };
}

function hintFor(kind: ErrorKind): string | undefined {
  switch (kind) {
    case "permission":
      return Deno.build.os === "linux"
        ? "it may be immutable (lsattr, chattr -i), or belong to somebody else"
        : "it may be locked, or belong to somebody else";
    case "busy":
      return "it may be a mount point, or in use";
    case "not-empty":
      return "something was put into it, or has a name that is not valid UTF-8";
    case "read-only":
      return "the file system is mounted read-only";
    default:
      return undefined;
  }
}

/** Time that may be spent on waiting for what is busy, shared by a whole run. */
export class Budget {
  #left: number;
  readonly #signal: AbortSignal | undefined;

  constructor(milliseconds: number, signal?: AbortSignal) {
    this.#left = milliseconds;
    this.#signal = signal;
  }

  /** Waits 10 ms, 20, 40 … 320, by the number of tries. False when time is up. */
  async wait(tries: number): Promise<boolean> {
    const delay = 10 * 2 ** Math.min(tries, 5);
    if (delay > this.#left) return false;
    this.#left -= delay;
    await pause(delay);
    this.#signal?.throwIfAborted();
    return true;
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * `work`, or the signal's reason as soon as it is aborted. A removal that the OS
 * has begun can't be called back: it goes on behind the scenes.
 */
async function unlessAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (!signal) return await work;
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    work.catch(() => {}); // heard already, or nobody waits for it any more
  }
}
