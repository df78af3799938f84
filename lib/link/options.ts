import type { NotKept } from "../fs/fidelity.ts";
import type { Failure } from "../fs/remove.ts";
import {
  checkChoice,
  checkNumber,
  checkOptions,
  checkSignal,
  checkTexts,
  checkType,
} from "../os/arguments.ts";
import { type LinkMode, MODES } from "./ladder.ts";
import type { Fallback, OnLinkLimit, PlaceOptions } from "./place.ts";

/**
 * Options for `linkFile()`.
 *
 * @category Trees
 */
export interface LinkFileOptions {
  /**
   * How to put the file there. `auto` and `clone` (or `reflink`) try a clone, then a
   * hard link, then a copy; `private` tries a clone, then a copy, and so shares nothing
   * with the source; `hardlink` and `symlink` fall back to a copy. A clone needs
   * `--allow-ffi`; asked for without it, `Deno.copyFile` may make one or not, so it
   * counts as a copy.
   *
   * @default {"auto"}
   */
  mode?: "auto" | "private" | "reflink" | LinkMode;
  /**
   * What to do when something stands there. It is never written through: `replace`
   * renames the new over the old.
   *
   * @default {"error"}
   */
  ifExists?: "error" | "skip" | "replace";
  /**
   * What to do when the cached file has all the hard links that its file system
   * allows: give it a fresh inode, copy this one file, or fail.
   *
   * @default {"reset"}
   */
  onLinkLimit?: OnLinkLimit;
  /**
   * The number of links at which to act as if the limit were reached, for file
   * systems that have a low one (EFS 177, NTFS 1024).
   *
   * @default {Infinity}
   */
  maxLinks?: number;
  /**
   * Whether to fail instead of going down a rung.
   *
   * @default {false}
   */
  strict?: boolean;
  /**
   * Whether the file will be written to, so that it must share nothing: it is cloned or
   * copied.
   *
   * @default {false}
   */
  mutable?: boolean;
  /**
   * Whether to look only: nothing is changed, and the report says what would be. Which
   * mode would be used is not tried.
   *
   * @default {false}
   */
  dryRun?: boolean;
  /** Stops the work: the promise is rejected with its reason. */
  signal?: AbortSignal;
  /** Called about ten times a second while a large file is copied. */
  onProgress?: (progress: LinkProgress) => void;
}

/**
 * Options for `linkTree()`. Globs are matched against paths below the source, with `/`.
 *
 * @category Trees
 */
export interface LinkTreeOptions
  extends Omit<LinkFileOptions, "ifExists" | "mutable" | "signal"> {
  /**
   * What to do when something stands there. `replace` swaps the whole tree;
   * `merge` puts each file into what is there, replacing it atomically.
   *
   * @default {"error"}
   */
  ifExists?: "error" | "skip" | "replace" | "merge";
  /** Only files that one of these globs matches. Directories are made all the same. */
  include?: readonly string[];
  /** Neither files nor directories that one of these globs matches. */
  exclude?: readonly string[];
  /** Files that will be written to, which must share nothing: cloned or copied. */
  mutable?: readonly string[];
  /**
   * Threads, this one included. A second one is started only where it pays: from
   * about 1,500 files.
   *
   * @default {2}
   */
  jobs?: number;
  /**
   * How long to wait for a clear or a rebuild of the source, and, to replace the
   * destination, for those who have a lease on it; in milliseconds.
   *
   * @default {300_000}
   */
  wait?: number;
  /** Stops the work. The destination is then as it was, unless it is a merge. */
  signal?: AbortSignal;
  /** Called about ten times a second, and at the end, with what has been done. */
  onProgress?: (progress: LinkProgress) => void;
}

/**
 * How far `linkTree()` is.
 *
 * @category Trees
 */
export interface LinkProgress {
  /** Files that are in place. */
  readonly files: number;
  /** Directories that are complete. */
  readonly directories: number;
  /** The files' size in bytes, and what is copied already of a large one. */
  readonly bytes: number;
  /** How most of them got there; missing before the first one did. */
  readonly mode?: LinkMode;
}

/**
 * What `linkFile()` did.
 *
 * @category Trees
 */
export interface LinkFileReport {
  /** The absolute path of the destination. */
  readonly path: string;
  /**
   * What became of the destination; `skipped` if something stood there; `would-…`: a dry
   * run.
   */
  readonly outcome:
    | "linked"
    | "replaced"
    | "skipped"
    | "would-link"
    | "would-replace";
  /**
   * How the file got there; `created` if it is empty; `skipped` if something stood there;
   * `untried` in a dry run.
   */
  readonly mode: LinkMode | "created" | "skipped" | "untried";
  /** Whether the cached file was given a fresh inode. */
  readonly reset: boolean;
  /** The file's size in bytes; 0 if it was not put there. */
  readonly linkedBytes: number;
  /** Why it was not put there by the first rung. */
  readonly fallbacks: readonly Fallback[];
  /** What could not be kept of its owner, rights and attributes. */
  readonly notKept: readonly NotKept[];
  /** Milliseconds in all. */
  readonly durationMs: number;
}

/**
 * What `linkTree()` did: what it says is what was done.
 *
 * @category Trees
 */
export interface LinkReport {
  /** The absolute path of the destination. */
  readonly path: string;
  /**
   * What became of the destination; `unchanged` if a cache had put it there before;
   * `would-…`: a dry run.
   */
  readonly outcome:
    | "linked"
    | "replaced"
    | "merged"
    | "skipped"
    | "unchanged"
    | "would-link"
    | "would-replace"
    | "would-merge";
  /** Files that were put there; in a dry run, that would be. */
  readonly files: number;
  /** Files that were cloned, and proved to be. */
  readonly cloned: number;
  /** Files that were hard-linked. */
  readonly hardlinked: number;
  /** Files that were symbolically linked. */
  readonly symlinked: number;
  /** Files that were copied. Some file systems share a copy's blocks by themselves. */
  readonly copied: number;
  /** Empty files, which are made. (In a tree that macOS clones at once they are clones.) */
  readonly created: number;
  /** Symbolic links of the tree, which are made again. */
  readonly links: number;
  /** Directories below the destination. */
  readonly directories: number;
  /** Cached files that were given a fresh inode. */
  readonly reset: number;
  /** Earlier destinations of those, which stay on the old inode. */
  readonly stranded: number;
  /** The size in bytes of those files. */
  readonly linkedBytes: number;
  /** Why files were not put there by the first rung. */
  readonly fallbacks: readonly Fallback[];
  /** What could not be kept of owners, rights and attributes. */
  readonly notKept: readonly NotKept[];
  /** What of the tree that stood there could not be removed, and why. */
  readonly failures: readonly Failure[];
  /** Threads that worked, this one included. */
  readonly threads: number;
  /** Milliseconds in all. */
  readonly durationMs: number;
}

const IF_EXISTS = ["error", "skip", "replace"] as const;
const ON_LINK_LIMIT = ["reset", "copy", "error"] as const;

/**
 * Refuses invalid options, before anything is done.
 *
 * @throws {TypeError} If one has the wrong type, or is not one of the words that it may be.
 * @throws {RangeError} If a number is too small.
 */
export function checkLinkOptions(
  options: {
    readonly [Name in keyof (LinkFileOptions & LinkTreeOptions)]?: unknown;
  },
  what: "file" | "tree" | "entry",
): void {
  checkOptions(options);
  const more = { file: [], tree: ["merge"], entry: ["merge", "update"] };
  checkChoice("mode", options.mode, MODES);
  checkChoice("ifExists", options.ifExists, [...IF_EXISTS, ...more[what]]);
  checkChoice("onLinkLimit", options.onLinkLimit, ON_LINK_LIMIT);
  checkNumber("maxLinks", options.maxLinks, 1);
  checkType("strict", options.strict, "boolean");
  checkType("dryRun", options.dryRun, "boolean");
  checkSignal(options.signal);
  checkType("onProgress", options.onProgress, "function");
  if (what === "file") {
    checkType("mutable", options.mutable, "boolean");
    return;
  }
  const { include, exclude, mutable, jobs, wait } = options as LinkTreeOptions;
  checkTexts("include", include);
  checkTexts("exclude", exclude);
  checkTexts("mutable", mutable);
  checkNumber("jobs", jobs, 1);
  checkNumber("wait", wait, 0);
}

/** The options of {@linkcode LinkFileOptions} that say how a file is placed. */
export function placeOptions(
  options: LinkFileOptions | LinkTreeOptions,
): PlaceOptions {
  const { mode = "auto" } = options;
  return {
    mode: mode === "reflink" ? "clone" : mode,
    strict: options.strict ?? false,
    onLinkLimit: options.onLinkLimit ?? "reset",
    maxLinks: options.maxLinks ?? Infinity,
  };
}
