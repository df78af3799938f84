/**
 * Deletes a tree, and says what it could not delete. The one engine for clears,
 * sweeps, stagings and archives.
 *
 * Two passes. The first is Deno's own recursive removal, many at once, each of a
 * subtree that was looked through before: no mount in it, and not deeper than the
 * runtime's stack. It is given names in directories that are held open, so nothing
 * that others exchange leads it astray. It stops at the first obstacle without a word
 * on where that was. What it leaves goes through the second pass, entry by entry:
 * what is unreadable or read-only is made removable, what is busy is tried again, and
 * each failure is named.
 *
 * This module and what it imports need no package, so that a detached process can run
 * them from anywhere (see `clear/delete_asides.ts`).
 *
 * @module
 */

import { CacheError, type CacheErrorKind, kindOfError } from "../error.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { fileSystemType, listMounts } from "../os/mounts.ts";
import { Breath, Budget, mayPass, patiently } from "../os/patience.ts";
import { isWithin } from "../os/within.ts";
import {
  type Directory,
  isSameInode,
  pathIn,
  type Status,
} from "./directory.ts";
import { type Breathe, listSlowly } from "./list.ts";
import { PathDirectory } from "./paths.ts";

/**
 * Something that could not be removed, and why.
 *
 * @category Directories
 */
export interface Failure {
  /** Its path. */
  readonly path: string;
  /** What the error means. */
  readonly kind: CacheErrorKind;
  /** What the operating system said, and what can be done about it. */
  readonly message: string;
}

/** How to remove. */
export interface RemoveOptions {
  /** Stops the removal; what is left is left. */
  signal?: AbortSignal | undefined;
  /** How long busy things are tried again, in milliseconds, all together. */
  busyTimeout: number;
  /**
   * Called when the first pass begins and after each directory of it, then now and then
   * with the entries that the second one found.
   */
  onProgress?:
    | ((progress: { done: number; total: number }) => void)
    | undefined;
  /** What is to be removed. If the name is another's meanwhile, that stays. */
  expected?: Status | undefined;
}

/**
 * Removes an entry and everything below it. No symbolic link is followed, no mount is
 * crossed. That something is gone already is never an error: a peer may delete the
 * same tree.
 *
 * @returns What could not be removed. Empty when nothing is left.
 * @throws The signal's reason.
 */
export async function removeTree(
  parent: Directory,
  name: string,
  options: RemoveOptions,
): Promise<Failure[]> {
  const { signal, expected } = options;
  signal?.throwIfAborted();
  const path = pathIn(parent, name);
  const budget = new Budget(options.busyTimeout, signal);
  // Where inodes can't be told apart (Windows), its name must do.
  const isOther = (status: Status) => {
    const other = expected?.inode !== undefined &&
      !isSameInode(status, expected);
    if (other) {
      log.warn(() => `"${path}" was replaced by somebody, and is left alone`);
    }
    return other;
  };
  let root: Directory;
  try {
    const status = patiently(() => parent.look(name));
    if (!status) return [];
    if (status.kind !== "directory") {
      if (expected?.kind === "directory" || isOther(status)) return [];
      const failure = await removeEntry(parent, name, false, budget);
      return failure ? [failure] : [];
    }
    if (isOther(status)) return []; // before "doomed" changes its mode
    root = patiently(() => parent.open(name, "doomed"));
    void root.opened; // asked for now, where an error is told
  } catch (error) {
    return errorKind(error) === "not-found" ? [] : [failureOf(path, error)];
  }
  using _ = root;
  if (isOther(root.opened)) return [];
  if (!root.safe) return await removeBlindly(parent, name, root, options);
  await removeSubtrees(root, options);
  return await removeCarefully(parent, name, root, budget, options);
}

/**
 * What others can change, and only paths lead to: one recursive removal of one name,
 * which is safe below it. It would cross mounts, so it must be known that there are
 * none.
 */
async function removeBlindly(
  parent: Directory,
  name: string,
  root: Directory,
  { signal }: RemoveOptions,
): Promise<Failure[]> {
  const path = pathIn(parent, name);
  const breath = new Breath(signal);
  const why = !listMounts()
    ? "and nobody can tell what is mounted in it"
    : await inspect(root, () => breath.due()) !== "plain"
    ? "and something is mounted in it, or it is too deep"
    : undefined;
  if (why) {
    return [{
      path,
      kind: "refused",
      message: `others can change it, ${why}: it can be removed with ` +
        "--allow-ffi, or from a directory of one's own",
    }];
  }
  try {
    await unlessAborted(Deno.remove(path, { recursive: true }), signal);
  } catch (error) {
    signal?.throwIfAborted();
    if (errorKind(error) !== "not-found") return [failureOf(path, error)];
  }
  return [];
}

/**
 * Enough removals in flight to keep a disk's journal busy. On two cores 16 is
 * 1.7 times as fast as one on tmpfs, 1.2 to 6 times on ext4, by disk.
 */
const IN_FLIGHT = 16;

/** Sixteen lanes of equal length need more than sixteen subtrees. */
const ENOUGH_SUBTREES = 64;

/** Measured. Real files on XFS go at 0.6 of the speed in parallel; on btrfs, all at 0.8. */
const LANES: ReadonlyMap<string, number> = new Map([
  ["ext4", IN_FLIGHT],
  ["tmpfs", IN_FLIGHT],
]);

/**
 * Deno's recursive removal holds a descriptor a level, and overflows its stack
 * between 10,000 and 30,000 levels.
 */
const DEEP = 500;

/** Where each directory in a directory is a link to it, so that a leaf shows. */
const SHOWS_LEAVES: ReadonlySet<string> = new Set(["ext4", "tmpfs", "xfs"]);

/** An entry of a directory that is held open. */
interface Subtree {
  readonly parent: Directory;
  readonly name: string;
}

/** The first pass: subtrees, many at once. What it leaves is the second pass's. */
async function removeSubtrees(
  root: Directory,
  options: RemoveOptions,
): Promise<void> {
  if (root.pinned(".") === undefined) return;
  const held = new DisposableStack();
  const running = new Set<Promise<void>>();
  try {
    const top = openAgain(root, held);
    if (top) await removeSome(top, held, running, options);
  } finally {
    // What goes on behind the scenes goes by the numbers of these descriptors. If another
    // directory had one of them by then, that one's entry would be removed.
    if (running.size === 0) held.dispose();
    else Promise.allSettled(running).then(() => held.dispose());
  }
}

/** `undefined` where that can't be done: then the second pass does all. */
function openAgain(
  root: Directory,
  held: DisposableStack,
): Directory | undefined {
  try {
    return held.use(root.again());
  } catch (error) {
    log.trace(() => `Not opened again: ${osErrorText(error)}`);
    return undefined;
  }
}

/** @param held What stays open as long as something in it is removed. */
async function removeSome(
  root: Directory,
  held: DisposableStack,
  running: Set<Promise<void>>,
  { signal, onProgress }: RemoveOptions,
): Promise<void> {
  const type = fileSystemType(root.path) ?? "";
  const lanes = LANES.get(type) ?? 1;
  const showsLeaves = SHOWS_LEAVES.has(type);
  const breath = new Breath(signal);
  const breathe = () => breath.due();
  const enough = lanes > 1 ? ENOUGH_SUBTREES : 1;
  const subtrees = await plan(root, enough, held, breathe);
  let done = 0;
  const tell = () => onProgress?.({ done, total: subtrees.length });
  if (subtrees.length > 0) tell();
  const remove = async ({ parent, name }: Subtree) => {
    try {
      await Deno.remove(parent.pinned(name)!, { recursive: true });
    } catch (error) {
      log.trace(() =>
        `Not removed yet: "${pathIn(parent, name)}": ${osErrorText(error)}`
      );
    }
    done++;
    tell();
  };
  // A subtree is looked through while others are being removed.
  for (const subtree of subtrees) {
    signal?.throwIfAborted();
    if (!await isPlain(subtree, showsLeaves, breathe)) continue;
    while (running.size >= lanes) {
      await unlessAborted(Promise.race(running), signal);
    }
    const work = remove(subtree).finally(() => running.delete(work));
    running.add(work);
  }
  await unlessAborted(Promise.all(running), signal);
}

/**
 * Divides a tree into so many subtrees, if it has them: breadth first, one directory
 * after another, so that they are large, and no more than that.
 */
async function plan(
  root: Directory,
  enough: number,
  held: DisposableStack,
  breathe: Breathe,
): Promise<Subtree[]> {
  const queue = await childrenOf(root, breathe) ?? [];
  const whole: Subtree[] = [];
  for (let at = 0; at < queue.length; at++) {
    if (whole.length + queue.length - at >= enough) {
      return [...whole, ...queue.slice(at)];
    }
    const subtree = queue[at]!;
    const opened = openDoomed(subtree, held);
    const children = await childrenOf(opened, breathe);
    // One without subdirectories goes as it is; so does one that can't be listed.
    if (children && children.length > 0) queue.push(...children);
    else whole.push(subtree);
  }
  return whole;
}

function openDoomed(
  { parent, name }: Subtree,
  held: DisposableStack,
): Directory | undefined {
  try {
    return held.use(parent.open(name, "doomed"));
  } catch {
    return undefined; // its own removal says what is wrong with it
  }
}

async function childrenOf(
  directory: Directory | undefined,
  breathe: Breathe,
): Promise<Subtree[] | undefined> {
  if (!directory?.safe) return undefined;
  try {
    const entries = await listSlowly(directory, breathe, "directory");
    return entries.map(({ name }) => ({ parent: directory, name }));
  } catch {
    return undefined; // who is interrupted is so at the next look at the signal
  }
}

async function isPlain(
  { parent, name }: Subtree,
  showsLeaves: boolean,
  breathe: Breathe,
): Promise<boolean> {
  try {
    if (showsLeaves && parent.isLeaf(name)) return true;
    using directory = parent.open(name, "doomed");
    return await inspect(directory, breathe, showsLeaves) === "plain";
  } catch (error) {
    return errorKind(error) === "not-found";
  }
}

/**
 * Looks through a tree: whether one recursive call may remove it.
 *
 * @param showsLeaves Whether a directory without directories is known by a look at it,
 * so that it need not be opened.
 */
async function inspect(
  root: Directory,
  breathe: Breathe,
  showsLeaves = false,
): Promise<"plain" | "not"> {
  const stack: { directory: Directory; names: string[] }[] = [];
  const push = async (directory: Directory) => {
    const names: string[] = [];
    stack.push({ directory, names });
    const below = await listSlowly(directory, breathe, "directory");
    for (const { name } of below) names.push(name);
  };
  let plain = true;
  try {
    await push(root.again());
    while (stack.length > 0) {
      const { directory, names } = stack.at(-1)!;
      const name = names.pop();
      if (name === undefined) {
        stack.pop()!.directory[Symbol.dispose]();
        continue;
      }
      if (stack.length > DEEP) {
        plain = false;
        break;
      }
      if (showsLeaves && directory.isLeaf(name)) continue;
      const child = directory.open(name, "doomed");
      await push(child);
      if (!child.safe && root.safe) plain = false;
    }
  } catch (error) {
    log.trace(() => `Not plain: ${osErrorText(error)}`);
    plain = false;
  }
  for (const { directory } of stack) directory[Symbol.dispose]();
  return plain ? "plain" : "not";
}

/** A directory that is being emptied by the second pass. */
interface Frame {
  readonly parent: Directory;
  readonly name: string;
  readonly directory: Directory;
  /** What is still to be removed of it. */
  readonly entries: { readonly name: string; readonly kind: string }[];
  /** Something below could not be removed, and has been named. */
  blocked: boolean;
  /** How often it was listed. */
  listed: number;
}

/**
 * Levels that are held open at once. What lies deeper is renamed up to the root
 * first, so that no depth is too deep.
 */
const HELD = 200;

let broughtUp = 0;

/** The second pass, with a pause now and then, so that a signal is heard. */
async function removeCarefully(
  parent: Directory,
  name: string,
  root: Directory,
  budget: Budget,
  { signal, onProgress }: RemoveOptions,
): Promise<Failure[]> {
  const failures: Failure[] = [];
  const stack: Frame[] = [];
  let [done, total] = [0, 0];
  const breath = new Breath(signal, () => onProgress?.({ done, total }));
  const enter = async (
    parent: Directory,
    name: string,
    directory: Directory,
  ) => {
    let entries: Frame["entries"] = [];
    let blocked = false;
    try {
      entries = await listSlowly(directory, () => breath.due());
    } catch (error) {
      if (signal?.aborted) {
        if (directory !== root) directory[Symbol.dispose]();
        throw signal.reason;
      }
      if (errorKind(error) !== "not-found") { // else a peer has removed it
        failures.push(failureOf(pathIn(parent, name), error));
        blocked = true;
      }
    }
    total += entries.length;
    stack.push({ parent, name, directory, entries, blocked, listed: 1 });
  };
  const fail = (failure: Failure, holder: Frame | undefined) => {
    failures.push(failure);
    if (holder) holder.blocked = true;
  };
  try {
    await enter(parent, name, root);
    while (stack.length > 0) {
      const pause = breath.due();
      if (pause) await pause;
      const frame = stack.at(-1)!;
      const entry = frame.entries.pop();
      if (!entry) {
        stack.pop();
        const holder = stack.at(-1);
        // With something left in it, it can't go; only the cause is named.
        if (frame.blocked) {
          if (frame.directory !== root) frame.directory[Symbol.dispose]();
          if (holder) holder.blocked = true;
          continue;
        }
        const failure = await removeEntry(
          frame.parent,
          frame.name,
          true,
          budget,
        );
        if (failure?.kind === "not-empty" && again(frame)) {
          stack.push(frame);
          continue;
        }
        if (failure?.kind === "not-empty" && await removeUnspeakable(frame)) {
          if (frame.directory !== root) frame.directory[Symbol.dispose]();
          continue;
        }
        if (frame.directory !== root) frame.directory[Symbol.dispose]();
        if (failure) fail(failure, holder);
        continue;
      }
      done++;
      if (entry.kind !== "directory") {
        const failure = await removeEntry(
          frame.directory,
          entry.name,
          false,
          budget,
        );
        if (failure) fail(failure, frame);
        continue;
      }
      if (stack.length > HELD) {
        const up = `.deep-${Deno.pid}-${broughtUp++}`;
        if (bringUp(frame.directory, entry.name, root, up)) {
          stack[0]!.entries.push({ name: up, kind: "directory" });
          continue;
        }
      }
      try {
        const directory = frame.directory.open(entry.name, "doomed");
        await enter(frame.directory, entry.name, directory);
        if (!directory.safe) throw unsafe(pathIn(frame.directory, entry.name));
      } catch (error) {
        signal?.throwIfAborted();
        if (errorKind(error) === "not-found") continue;
        if (stack.at(-1) !== frame) stack.pop()!.directory[Symbol.dispose]();
        fail(failureOf(pathIn(frame.directory, entry.name), error), frame);
      }
    }
  } finally {
    for (const { directory } of stack) {
      if (directory !== root) directory[Symbol.dispose]();
    }
  }
  return failures;
}

/** A peer that removes the same tree may have brought something up. Lists it again. */
function again(frame: Frame): boolean {
  if (++frame.listed > 5) return false;
  try {
    frame.entries.push(...frame.directory.list());
    return true;
  } catch {
    return false;
  }
}

/**
 * Deno can't say names that are not UTF-8; only its recursive removal takes what has
 * one. With descriptors, names are said as they are, and it never comes to this.
 */
async function removeUnspeakable(frame: Frame): Promise<boolean> {
  const { directory } = frame;
  if (!(directory instanceof PathDirectory) || !directory.safe) return false;
  const path = directory.at;
  if (await inspect(directory, () => undefined) !== "plain") return false;
  try {
    await Deno.remove(path, { recursive: true });
    return true;
  } catch (error) {
    log.trace(() => `Not removed: "${path}": ${osErrorText(error)}`);
    return false;
  }
}

function unsafe(path: string): CacheError {
  return new CacheError(
    "other users can change it: it can be removed with --allow-ffi",
    path,
    "refused",
  );
}

function bringUp(
  from: Directory,
  name: string,
  root: Directory,
  up: string,
): boolean {
  try {
    from.rename(name, root, up);
    return true;
  } catch (error) {
    if (errorKind(error) === "permission") {
      // A directory that its owner can't write to can't change its parent.
      try {
        from.open(name, "doomed")[Symbol.dispose]();
        from.rename(name, root, up);
        return true;
      } catch {
        // said below
      }
    }
    log.trace(() => `Cannot bring up a deep directory: ${osErrorText(error)}`);
    return false;
  }
}

/** Removes one entry, an emptied directory included; says why it could not. */
export async function removeEntry(
  parent: Directory,
  name: string,
  isDirectory: boolean,
  budget: Budget,
): Promise<Failure | undefined> {
  for (let tries = 0;; tries++) {
    try {
      if (isDirectory) parent.removeDirectory(name);
      else parent.remove(name);
      return undefined;
    } catch (error) {
      const kind = errorKind(error);
      if (kind === "not-found") return undefined;
      if (mayPass(kind) && await budget.wait(tries)) continue;
      return failureOf(pathIn(parent, name), error);
    }
  }
}

/** What could not be removed, and what can be done about it. */
export function failureOf(path: string, error: unknown): Failure {
  const kind = kindOfError(error);
  if (error instanceof CacheError && kind === "mount") {
    return { path, kind, message: error.message };
  }
  const hint = hintFor(kind);
  const text = osErrorText(error);
  return { path, kind, message: hint ? `${text}: ${hint}` : text };
}

function hintFor(kind: CacheErrorKind): string | undefined {
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

/**
 * The first mount point below a directory: by the mount table, or, where that can't be
 * read, by a look at each directory that nobody else can exchange meanwhile. (What is
 * mounted in another one is noticed when it is to be removed, closed to others.)
 *
 * @param real Its path without symbolic links.
 * @param isOurs Whether nobody else can reach what is in it, whatever its modes are.
 */
export function mountedBelow(
  directory: Directory,
  real: string,
  isOurs = false,
): string | undefined {
  const mounts = listMounts();
  if (mounts) {
    return mounts.find(({ point }) => point !== real && isWithin(point, real))
      ?.point;
  }
  if (Deno.build.os === "windows") return undefined;
  const stack: { here: Directory; names: string[] }[] = [];
  const enter = (open: () => Directory) => {
    try {
      const here = open();
      const isSteady = isOurs || (stack.length > 0 ? here.safe : here.fixed);
      if (!isSteady) return here[Symbol.dispose]();
      const names: string[] = [];
      stack.push({ here, names });
      for (const { name, kind } of here.list()) {
        if (kind === "directory") names.push(name);
      }
    } catch (error) {
      if (error instanceof CacheError && error.kind === "mount") {
        return error.path;
      }
      // What is mounted in it is noticed when it is to be removed.
      log.trace(() => `Not looked through: ${osErrorText(error)}`);
    }
    return undefined;
  };
  try {
    enter(() => directory.again());
    for (let top; (top = stack.at(-1)) !== undefined;) {
      const { here, names } = top;
      const name = names.pop();
      if (name === undefined) stack.pop()!.here[Symbol.dispose]();
      else {
        const mounted = enter(() => here.open(name));
        if (mounted !== undefined) return mounted;
      }
    }
    return undefined;
  } finally {
    for (const { here } of stack) here[Symbol.dispose]();
  }
}

/** How long what is half made may hold up a run that was interrupted, in milliseconds. */
const LINGER = 200;

/**
 * Removes what is half made. Who interrupts a run wants it to end: what is not gone
 * soon after that is left to a sweep, and people are told.
 *
 * @param path Its path, for people.
 * @param remove Removes it, until its signal is aborted, and says what could not be.
 * @returns What could not be removed; `undefined` if it is left to a sweep.
 */
export async function removeHalfMade(
  path: string,
  signal: AbortSignal | undefined,
  remove: (until: AbortSignal) => Promise<Failure[]>,
): Promise<Failure[] | undefined> {
  const end = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onAbort = () => timer ??= setTimeout(() => end.abort(), LINGER);
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort);
  try {
    return await remove(end.signal);
  } catch (error) {
    if (error !== end.signal.reason) throw error;
    log.warn(() =>
      `"${path}" still has files in it, which were half made. A later run deletes it`
    );
    return undefined;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    clearTimeout(timer);
  }
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
