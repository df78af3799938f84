/**
 * Puts one file at a name that does not exist, by the ladder. The one place where
 * files are made; what calls it brings them to their names by a rename.
 *
 * @module
 */

import { removeIfThere, siblingPath } from "../fs/names.ts";
import { type ErrorKind, errorKind, osErrorText } from "../os/error.ts";
import { patiently, sleepSync, TRIES } from "../os/patience.ts";
import type { Cloner } from "./clone.ts";
import { LADDERS, type LinkMode, type PairState, verdict } from "./ladder.ts";
import { LinkError, linkFailure } from "./error.ts";

/** What to do when a cached file has all the hard links that it can have. */
export type OnLinkLimit = "reset" | "copy" | "error";

/** How files are placed. */
export interface PlaceOptions {
  readonly mode: "auto" | LinkMode;
  readonly strict: boolean;
  readonly onLinkLimit: OnLinkLimit;
  readonly maxLinks: number;
}

/** What was done, counted. */
export interface Counts {
  cloned: number;
  hardlinked: number;
  symlinked: number;
  copied: number;
  /** Empty files, which are made and never linked: one inode for all of them would couple strangers. */
  created: number;
  /** Cached files that were given a fresh inode, as they had all the links that they can have. */
  reset: number;
  /** Earlier destinations of those, which stay on the old inode. */
  stranded: number;
  bytes: number;
  /** Why a rung was left, by reason: how often, and one example. */
  readonly fallbacks: Map<string, Fallback>;
}

/** Why files went down a rung. */
export interface Fallback {
  /** The rung that was left. */
  readonly from: LinkMode;
  /** What the error means. */
  readonly kind: ErrorKind;
  /** What the operating system said. */
  readonly reason: string;
  /** A file that it happened to. */
  readonly example: string;
  /** How many files it happened to, or, if the rung was retired, 1. */
  count: number;
}

/** What must be known of a cached file. */
export type SourceInfo = Pick<
  Deno.FileInfo,
  "size" | "dev" | "ino" | "nlink" | "mode" | "atime" | "mtime"
>;

/** Nothing counted yet. */
export function noCounts(): Counts {
  return {
    cloned: 0,
    hardlinked: 0,
    symlinked: 0,
    copied: 0,
    created: 0,
    reset: 0,
    stranded: 0,
    bytes: 0,
    fallbacks: new Map(),
  };
}

/** What one run places all its files with. */
export interface PlaceContext {
  readonly options: PlaceOptions;
  readonly pair: PairState;
  readonly counts: Counts;
  /** Where clones can be proved. */
  readonly cloner: Cloner | undefined;
}

const COUNTER = {
  clone: "cloned",
  hardlink: "hardlinked",
  symlink: "symlinked",
  copy: "copied",
} as const;

/**
 * Puts a file at `destination`, which does not exist.
 *
 * @param source Its absolute path; not a symbolic link.
 * @param info What `lstat` says of the source.
 * @param mutable Whether it will be written to, so that it must share nothing.
 * @returns The mode that was used; `undefined` for an empty file, which is made.
 */
export function placeFile(
  source: string,
  destination: string,
  info: SourceInfo,
  mutable: boolean,
  context: PlaceContext,
): LinkMode | undefined {
  const { options, counts, pair } = context;
  counts.bytes += info.size;
  if (info.size === 0 && options.mode !== "symlink") {
    createEmpty(source, destination, info);
    counts.created++;
    return undefined;
  }
  const call = { source, destination, info, ...context };
  for (const mode of LADDERS[options.mode]) {
    if (mutable && (mode === "hardlink" || mode === "symlink")) continue;
    if (pair.retired.has(mode)) continue;
    const used = tryRung(mode, call);
    if (used) {
      counts[COUNTER[used]]++;
      return used;
    }
  }
  throw new Error("unreachable: a copy is made, or it throws");
}

/**
 * Puts a file at a temporary name, and brings it to its own. Some file systems say
 * only at the rename that the inode can have no more links (btrfs).
 *
 * @returns What {@linkcode placeFile} does.
 */
export function placeVia(
  temporary: string,
  publish: () => void,
  source: string,
  info: SourceInfo,
  mutable: boolean,
  context: PlaceContext,
): LinkMode | undefined {
  let now: SourceInfo = info;
  let { options } = context;
  try {
    for (let tries = 0;; tries++) {
      const how = { ...context, options };
      const mode = placeFile(source, temporary, now, mutable, how);
      try {
        publish();
        return mode;
      } catch (error) {
        const full = mode === "hardlink" && errorKind(error) === "link-limit";
        if (!full || options.onLinkLimit === "error") throw error;
      }
      removeIfThere(temporary);
      context.counts.hardlinked--;
      context.counts.bytes -= info.size;
      now = Deno.lstatSync(source);
      // Peers may use up a fresh inode before this rename, but never a copy.
      const onLinkLimit = tries < 3 ? options.onLinkLimit : "copy";
      options = { ...options, maxLinks: 1, onLinkLimit };
    }
  } finally {
    // Of two links to one inode a rename does nothing, and leaves this one.
    removeIfThere(temporary);
  }
}

interface Call extends PlaceContext {
  readonly source: string;
  readonly destination: string;
  readonly info: SourceInfo;
}

/** The mode that was used, or `undefined` if the next rung is to be tried. */
function tryRung(mode: LinkMode, call: Call): LinkMode | undefined {
  const { source, info, options, pair, counts } = call;
  for (let tries = 0;; tries++) {
    try {
      if (
        mode === "hardlink" && options.maxLinks < Infinity &&
        (info.nlink ?? 0) >= options.maxLinks
      ) {
        return atLimit(call, undefined);
      }
      if (!rung(mode, call)) return undefined;
      pair.worked.add(mode);
      return mode;
    } catch (error) {
      if (error instanceof LinkError) throw error;
      const kind = errorKind(error);
      const means = verdict(mode, kind);
      if (means === "retry" && tries < TRIES) {
        sleepSync(2 ** tries);
        continue;
      }
      if (means === "limit") return atLimit(call, error);
      if (means === "stop" || options.strict || mode === "copy") {
        throw linkError(mode, call, error);
      }
      if (means === "retire" || !pair.worked.has(mode)) {
        pair.retired.set(mode, osErrorText(error));
      }
      noteFallback(counts, mode, kind, error, source);
      return undefined;
    }
  }
}

/** Makes the call of a rung. False where there is no such call here. */
function rung(mode: LinkMode, call: Call): boolean {
  const { source, destination, info, options } = call;
  switch (mode) {
    case "clone": {
      if (!call.cloner) {
        // Asked for, it is the copy that may be a clone; by itself, the next rung.
        if (options.mode !== "clone") return false;
        if (options.strict) throw unprovable(call);
        call.pair.retired.set("hardlink", "a clone was asked for");
        return false;
      }
      call.cloner.clone(source, destination, info);
      return true;
    }
    case "hardlink":
      Deno.linkSync(source, destination);
      return true;
    case "symlink":
      Deno.symlinkSync(source, destination, { type: "file" });
      return true;
    case "copy":
      copy(source, destination, info);
      return true;
  }
}

function unprovable({ source, destination }: Call): LinkError {
  return new LinkError(
    `Cannot clone "${source}": without --allow-ffi no clone can be proved`,
    source,
    destination,
    "not-capable",
  );
}

function linkError(mode: LinkMode, call: Call, error: unknown): LinkError {
  const { source, destination } = call;
  const what = `Cannot ${mode} "${source}" to "${destination}"`;
  return linkFailure(what, source, destination, error);
}

function noteFallback(
  counts: Counts,
  from: LinkMode,
  kind: ErrorKind,
  error: unknown,
  example: string,
): void {
  const key = `${from} ${kind}`;
  const known = counts.fallbacks.get(key);
  if (known) known.count++;
  else {
    const reason = osErrorText(error);
    counts.fallbacks.set(key, { from, kind, reason, example, count: 1 });
  }
}

/**
 * The cached file can have no more links, or shall not: its inode is reset, or
 * this one file is copied. Hard links go on for all others.
 */
function atLimit(call: Call, error: unknown): LinkMode {
  const { source, destination, info, options, counts } = call;
  const limit = error ??
    new Error(`It has ${info.nlink} links, and --max-links allows no more`);
  if (options.onLinkLimit === "error") {
    throw new LinkError(
      `Cannot hardlink "${source}" to "${destination}": ${osErrorText(limit)}`,
      source,
      destination,
      "link-limit",
      limit,
    );
  }
  let mode: LinkMode = "hardlink";
  try {
    if (options.onLinkLimit === "reset" && reset(call)) return mode;
    mode = "copy";
    noteFallback(counts, "hardlink", "link-limit", limit, source);
    patiently(() => copy(source, destination, info));
    return mode;
  } catch (error) {
    throw linkError(mode, call, error);
  }
}

/**
 * Gives the cached file a fresh inode: copied to a sibling, the destination linked
 * to the *copy*, the copy renamed over the cached file. In this order nobody can
 * use up the fresh inode's links before the destination has its own.
 *
 * @returns Whether that was possible. If not, nothing has changed.
 */
function reset({ source, destination, info, counts }: Call): boolean {
  // A peer may have done it since.
  const now = Deno.lstatSync(source);
  if (now.ino !== info.ino || (now.nlink ?? 0) < (info.nlink ?? 0)) {
    try {
      Deno.linkSync(source, destination);
      return true;
    } catch (error) {
      if (errorKind(error) !== "link-limit") throw error;
    }
  }
  const fresh = siblingPath(source, "partial");
  try {
    patiently(() => copy(source, fresh, info));
    patiently(() => Deno.linkSync(fresh, destination));
  } catch (error) {
    removeIfThere(fresh);
    // The cache can't be written, or is full: a copy elsewhere may do.
    if (["permission", "read-only", "no-space"].includes(errorKind(error))) {
      return false;
    }
    throw error;
  }
  try {
    Deno.lstatSync(source); // cleared meanwhile? Then it must not come back.
    patiently(() => Deno.renameSync(fresh, source));
    counts.reset++;
    counts.stranded += Math.max(0, (now.nlink ?? 1) - 1);
  } catch {
    // The destination stands, with an inode of its own.
  }
  removeIfThere(fresh);
  return true;
}

function copy(source: string, destination: string, info: SourceInfo): void {
  try {
    Deno.copyFileSync(source, destination); // keeps the mode
    keepTimes(destination, info);
  } catch (error) {
    removeIfThere(destination);
    throw error;
  }
}

function createEmpty(
  source: string,
  destination: string,
  info: SourceInfo,
): void {
  try {
    patiently(() =>
      Deno.openSync(destination, { write: true, createNew: true })
    ).close();
    if (Deno.build.os !== "windows" && info.mode !== null) {
      Deno.chmodSync(destination, info.mode & 0o7777);
    }
    keepTimes(destination, info);
  } catch (error) {
    throw linkFailure(
      `Cannot make "${destination}"`,
      source,
      destination,
      error,
    );
  }
}

/** Gives a file or directory the times of another. */
export function keepTimes(
  path: string,
  { atime, mtime }: Pick<SourceInfo, "atime" | "mtime">,
): void {
  if (mtime) Deno.utimeSync(path, atime ?? mtime, mtime);
}
