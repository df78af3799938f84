/**
 * Puts one file at a name that does not exist, by the ladder. The one place where
 * files are made.
 *
 * @module
 */

import { CacheError, type CacheErrorKind, kindOfError } from "../error.ts";
import { cloneContent, copyContent, type CopyControl } from "../fs/copy.ts";
import { DescriptorDirectory } from "../fs/descriptors.ts";
import {
  type Directory,
  inodeKey,
  isSameMoment,
  type OpenFile,
  pathIn,
  type Status,
} from "../fs/directory.ts";
import type { Keep, Keeper } from "../fs/fidelity.ts";
import { PathDirectory } from "../fs/paths.ts";
import { cloneOnMacos, hasMacosCalls } from "../os/macos.ts";
import { type ErrorKind, osErrorText } from "../os/error.ts";
import { patiently, sleepSync, TRIES } from "../os/patience.ts";
import { LinkError, linkFailure } from "./error.ts";
import { type ExpectedFile, isMarked } from "./listing.ts";
import {
  type AnyMode,
  LADDERS,
  type LinkMode,
  type PairState,
  verdict,
} from "./ladder.ts";

/**
 * What to do when a cached file has all the hard links that it can have.
 *
 * @category Trees
 */
export type OnLinkLimit = "reset" | "copy" | "error";

/** How files are placed. */
export interface PlaceOptions {
  readonly mode: AnyMode;
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

/**
 * Why files went down a rung.
 *
 * @category Trees
 */
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

/**
 * A file that waits until all others are in place: its `inode` has another name in
 * the tree, which is in place and will be linked to; or it has all the `links` that
 * it can have.
 */
export type Later = "inode" | "links";

/** What one run places all its files with. */
export interface PlaceContext {
  readonly options: PlaceOptions;
  readonly pair: PairState;
  readonly counts: Counts;
  readonly keeper: Keeper;
  readonly control: CopyControl;
  /** What new files have by themselves, by the mode that they are made with. */
  readonly made: Map<number, Status>;
  /**
   * Says whether this is the first name of an inode with several. Without it, each
   * name becomes a file of its own.
   */
  readonly claim?: ((inode: string) => boolean) | undefined;
  /** Whether resets are left to who called. */
  readonly defersLimit: boolean;
}

/** What became of a file. */
export type Placed = LinkMode | "created" | Later;

const COUNTER = {
  clone: "cloned",
  hardlink: "hardlinked",
  symlink: "symlinked",
  copy: "copied",
  created: "created",
} as const;

/** The error that what is in a directory is not what is listed. */
export function damaged(from: Directory, name?: string): CacheError {
  const path = name === undefined ? from.path : pathIn(from, name);
  return new CacheError(
    `"${path}" is not what was put into the cache`,
    path,
    "damaged",
  );
}

/** A file that is to be placed: looked at and opened when that is needed. */
export class Candidate implements Disposable {
  readonly from: Directory;
  readonly name: string;
  readonly #expected: ExpectedFile | undefined;
  /** Whether it is the first name of its inode: a second try is no second name. */
  isFirst = false;
  #status: Status | undefined;
  #file: OpenFile | undefined;

  /** @param expected What it must be, if that is known; else it is damaged. */
  constructor(from: Directory, name: string, expected?: ExpectedFile) {
    this.from = from;
    this.name = name;
    this.#expected = expected;
  }

  get path(): string {
    return pathIn(this.from, this.name);
  }

  /** What is known of it, through the open file if it is open. */
  get status(): Status {
    return this.#file?.opened ?? (this.#status ??= this.#look());
  }

  #look(): Status {
    const status = this.from.look(this.name);
    if (status?.kind === "file") return this.#asExpected(status);
    if (this.#expected) throw damaged(this.from, this.name);
    throw status
      ? new LinkError(
        `"${this.path}" is not a regular file any more`,
        this.path,
        this.path,
        "invalid",
      )
      : new Deno.errors.NotFound(`"${this.path}" is gone`);
  }

  /** The file, open for reading, at its beginning. */
  open(): OpenFile {
    this[Symbol.dispose](); // a second rung reads it from the beginning
    const file = patiently(() => this.from.openFile(this.name, "read"));
    this.#file = file;
    this.#asExpected(file.opened);
    return file;
  }

  /** Before it is shared, which needs no look at it. */
  check(): void {
    if (this.#expected) this.#asExpected(this.status);
  }

  /** What a copy of it is to have: its inode's time may be another archive's. */
  get kept(): Status {
    const { status } = this;
    const expected = this.#expected;
    return expected ? { ...status, modified: expected.modified } : status;
  }

  /** Whether what shares its inode has its time, too, to the second. */
  get sharesTime(): boolean {
    const expected = this.#expected;
    return expected?.modified.seconds === undefined ||
      expected.modified.seconds === this.status.modified.seconds;
  }

  /** What all names of one file have in common; `undefined` if it has only this one. */
  get identity(): string | undefined {
    return this.#expected
      ? groupKey(this.#expected)
      : this.status.links > 1
      ? inodeKey(this.status)
      : undefined;
  }

  #asExpected(status: Status): Status {
    const expected = this.#expected;
    if (
      !expected || status.size === expected.size &&
        (isMarked(status.modified, expected.mark) ||
          isSameMoment(expected.modified, status.modified))
    ) return status;
    throw damaged(this.from, this.name);
  }

  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]();
    this.#file = undefined;
  }
}

/**
 * What stands for the inode of a listed file: archives share theirs by content, so only
 * the listing tells which names are one file. No inode has so high a number.
 */
export function groupKey({ group }: ExpectedFile): string | undefined {
  return group === undefined
    ? undefined
    : `listed:${2n ** 60n + BigInt(group)}`;
}

/**
 * Puts a file at a name that does not exist.
 *
 * @param size Its size in bytes where it is known without a look.
 * @param mutable Whether it will be written to, so that it must share nothing.
 * @param failed What was said to a hard link that was tried already.
 * @returns What became of it; a promise only where a big file is copied.
 */
export function placeFile(
  source: Candidate,
  to: Directory,
  name: string,
  mutable: boolean,
  context: PlaceContext,
  size?: number,
  failed?: unknown,
): Placed | Promise<Placed> {
  const { options, pair, counts } = context;
  for (const mode of LADDERS[options.mode]) {
    if (mutable && (mode === "hardlink" || mode === "symlink")) continue;
    if (pair.retired.has(mode)) continue;
    if (mode === "hardlink" && !failed && (size ?? source.status.size) === 0) {
      // Made anew, as every empty file is.
      return tryRung("copy", source, to, name, context)!;
    }
    if (mode === "hardlink" && !failed && !source.sharesTime) {
      const why = new Error(OTHER_TIME);
      if (options.strict) throw wrap(mode, source, to, name, why);
      noteFallback(counts, mode, "unsupported", why, source.path);
      continue;
    }
    const known = mode === "hardlink" ? failed : undefined;
    const placed = tryRung(mode, source, to, name, context, known);
    if (placed === undefined) continue;
    if (
      typeof placed === "string" && placed !== "inode" && placed !== "links"
    ) {
      counts.bytes += (mode === "hardlink" ? size : undefined) ??
        source.status.size;
    }
    return placed;
  }
  throw new Error("unreachable: a copy is made, or it throws");
}

const OTHER_TIME =
  "it shares its inode with a file of another time, which a hard link would have";

/** What became of it, or `undefined` if the next rung is to be tried. */
function tryRung(
  mode: LinkMode,
  source: Candidate,
  to: Directory,
  name: string,
  context: PlaceContext,
  failed?: unknown,
): Placed | Promise<Placed> | undefined {
  const { options, pair, counts } = context;
  for (let tries = 0;; tries++) {
    try {
      if (failed !== undefined && tries === 0) throw failed;
      if (
        mode === "hardlink" && options.maxLinks < Infinity &&
        source.status.links >= options.maxLinks
      ) return atLimit(source, to, name, context, undefined);
      const placed = rung(mode, source, to, name, context);
      if (placed === undefined) return undefined;
      if (typeof placed !== "string") {
        return placed.then((placed) => {
          counts[COUNTER[placed]]++;
          counts.bytes += source.status.size;
          return placed;
        }, (error) => {
          throw wrap("copy", source, to, name, error);
        });
      }
      if (placed === "inode") return placed;
      counts[COUNTER[placed]]++;
      pair.worked.add(mode);
      return placed;
    } catch (error) {
      if (error instanceof LinkError) throw error;
      const kind = kindOfError(error);
      const means = isOurs(kind) ? "stop" : verdict(mode, kind);
      if (means === "retry" && tries < TRIES) {
        sleepSync(2 ** tries);
        continue;
      }
      // A name that was replaced between two looks at it: linkat(2) says ENOENT of an
      // inode that has just lost its last name, though the name is there.
      if (
        kind === "not-found" && mode === "hardlink" && tries < TRIES &&
        source.from.look(source.name)
      ) continue;
      if (means === "limit") return atLimit(source, to, name, context, error);
      if (means === "stop" || options.strict || mode === "copy") {
        throw wrap(mode, source, to, name, error);
      }
      if (means === "retire" || !pair.worked.has(mode)) {
        pair.retired.set(mode, osErrorText(error));
      }
      noteFallback(counts, mode, kind as ErrorKind, error, source.path);
      return undefined;
    }
  }
}

/** What only we say, so that no other rung helps. */
function isOurs(
  kind: CacheErrorKind,
): kind is Exclude<CacheErrorKind, ErrorKind> | "mount" {
  return kind === "refused" || kind === "locked" || kind === "empty" ||
    kind === "unfinished" || kind === "damaged" || kind === "mount";
}

/** Makes the calls of a rung. `undefined` where there are no such calls here. */
function rung(
  mode: LinkMode,
  source: Candidate,
  to: Directory,
  name: string,
  context: PlaceContext,
): Exclude<Placed, "links"> | Promise<"copy" | "created"> | undefined {
  switch (mode) {
    case "clone":
      if (!canClone(to)) return noClone(source, to, name, context);
      if (to instanceof PathDirectory) {
        cloneOnMacos(source.path, to.entry(name), context.keeper.what);
        dropPower(source.status, to, name, context.keeper.what);
        if (!source.sharesTime) {
          const { accessed, modified } = source.kept;
          to.setAccessOf(name, { accessed, modified });
        }
        return mode;
      }
      return make(mode, source, to, name, context);
    case "hardlink":
      source.check();
      source.from.link(source.name, to, name);
      return mode;
    case "symlink":
      source.check();
      to.symlink(source.path, name);
      return mode;
    case "copy":
      return make(mode, source, to, name, context);
  }
}

/** A clone that has another owner than its source gets none of that owner's power. */
export function dropPower(
  source: Status,
  to: Directory,
  name: string,
  keep: Keep,
): void {
  const special = source.mode & 0o6000; // setuid, setgid
  if (special === 0) return;
  const made = to.look(name);
  if (!made || (keep === "all" && made.uid === source.uid)) return;
  to.setAccessOf(name, { mode: made.mode & ~special });
}

/** Whether the OS's own call for it can be made, which fails where no block is shared. */
export function canClone(to: Directory): boolean {
  return to instanceof DescriptorDirectory || hasMacosCalls();
}

/** Asked for, it is the copy that may be a clone; by itself, the next rung. */
function noClone(
  source: Candidate,
  to: Directory,
  name: string,
  { options, pair, counts }: PlaceContext,
): undefined {
  const reason = "without --allow-ffi no clone can be proved";
  if (options.strict && options.mode === "clone") {
    throw new LinkError(
      `Cannot clone "${source.path}": ${reason}`,
      source.path,
      pathIn(to, name),
      "not-capable",
    );
  }
  if (options.mode === "clone") pair.retired.set("hardlink", reason);
  pair.retired.set("clone", reason);
  noteFallback(counts, "clone", "not-capable", new Error(reason), source.path);
}

/** A new file, with the source's content and what it keeps. */
function make(
  mode: "clone" | "copy",
  source: Candidate,
  to: Directory,
  name: string,
  context: PlaceContext,
): "clone" | "copy" | "created" | "inode" | Promise<"copy" | "created"> {
  const { keeper, control, made, claim } = context;
  const from = source.open();
  const status = source.kept;
  if (claim && !source.isFirst) {
    const identity = source.identity;
    if (identity !== undefined && !claim(identity)) return "inode";
    source.isFirst = true;
  }
  // The rights of others come last, when it is whole and has its owner.
  const wanted = status.mode & 0o777;
  const target = patiently(() => to.openFile(name, "create", wanted));
  const finish = () => {
    let fresh = made.get(wanted);
    if (!fresh) made.set(wanted, fresh = target.status());
    keeper.keep(from, status, target, fresh);
    target.close();
    source[Symbol.dispose]();
  };
  const undo = () => {
    target[Symbol.dispose]();
    try {
      patiently(() => to.remove(name));
    } catch (error) {
      if (kindOfError(error) === "not-found") return;
      // Half a file is left: no other rung may take its place as if nothing were.
      const at = pathIn(to, name);
      throw linkFailure(`Cannot remove "${at}"`, source.path, at, error);
    }
  };
  try {
    if (mode === "clone" && status.size > 0) {
      cloneContent(from, target);
      finish();
      return mode;
    }
    const copying = copyContent(from, target, status, control);
    if (!copying) {
      finish();
      return status.size === 0 ? "created" : "copy";
    }
    return copying.then(() => {
      finish();
      return "copy" as const;
    }).catch((error) => {
      undo();
      throw error;
    });
  } catch (error) {
    undo();
    throw error;
  }
}

/** The error of a rung, with both paths. */
function wrap(
  mode: LinkMode,
  source: Candidate,
  to: Directory,
  name: string,
  error: unknown,
): unknown {
  const said = kindOfError(error);
  const isAbort = said === "interrupted" ||
    said === "other" && !isOsError(error);
  if (error instanceof LinkError || isAbort) return error;
  const [from, at] = [source.path, pathIn(to, name)];
  return linkFailure(`Cannot ${mode} "${from}" to "${at}"`, from, at, error);
}

/** An abort's reason, or a bug of ours, goes on as it is. */
function isOsError(error: unknown): boolean {
  return error instanceof Error && /\(os error \d+\)/.test(error.message);
}

/** Notes why a file went down a rung. */
export function noteFallback(
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
function atLimit(
  source: Candidate,
  to: Directory,
  name: string,
  context: PlaceContext,
  error: unknown,
): Placed | Promise<Placed> {
  const { options, counts } = context;
  const limit = error ?? new Error(
    `It has ${source.status.links} links, and --max-links allows no more`,
  );
  if (options.onLinkLimit === "error") {
    const [from, at] = [source.path, pathIn(to, name)];
    const what = `Cannot hardlink "${from}" to "${at}"`;
    throw new LinkError(
      `${what}: ${osErrorText(limit)}`,
      from,
      at,
      "link-limit",
      limit,
    );
  }
  if (options.onLinkLimit === "reset" && context.defersLimit) return "links";
  noteFallback(counts, "hardlink", "link-limit", limit, source.path);
  return tryRung("copy", source, to, name, context)!;
}
