/**
 * The second pass of a removal: entry by entry, so that nothing that can be
 * removed is left, and what is left is named.
 *
 * It goes by paths, as Deno's calls do. Somebody who may write to the doomed tree
 * and swaps a directory for a symbolic link at the right instant could lead it
 * astray; the first pass, which works on descriptors, he could not.
 *
 * @module
 */

import { log } from "../log.ts";
import { type ErrorKind, errorKind, osErrorText } from "../os/error.ts";
import { mayPass } from "../os/patience.ts";

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
  /** Called after each directory of the first pass, if it goes by directories. */
  onProgress?:
    | ((progress: { done: number; total: number }) => void)
    | undefined;
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
export async function removeCarefully(
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
 * A path has at most 4096 bytes on Linux (1024 on macOS), and a tree may be
 * deeper than that; Deno's recursive removal holds one descriptor a level, and
 * overflows its stack at 15,000 levels. So a directory that lies deep is renamed
 * up to the root of the doomed tree first.
 */
const DEEP = Deno.build.os === "darwin" ? 500 : 2000;

let broughtUp = 0;

export function bringUp(directory: string, root: string): string {
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
