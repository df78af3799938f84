import { osFailure } from "../error.ts";
import { fileSystemType } from "../os/mounts.ts";
import { siblingName } from "../fs/names.ts";
import { openParent } from "../fs/open.ts";
import { removeTree } from "../fs/remove.ts";
import { checkNumber, checkOptions, checkPath } from "../os/arguments.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { dirname, join, toPath } from "../os/path.ts";
import { cloneContent } from "../fs/copy.ts";
import { openDirectory } from "../fs/open.ts";
import { cloneOnMacos, hasMacosCalls } from "../os/macos.ts";
import { canClone } from "./place.ts";
import { LADDERS, type LinkMode } from "./ladder.ts";

/**
 * Whether something works, and if not, what the operating system said.
 *
 * @category Trees
 */
export interface Ability {
  /** Whether it was tried and worked. */
  readonly works: boolean;
  /** Why not. */
  readonly reason?: string;
}

/**
 * What `probe()` found out by trying.
 *
 * @category Trees
 */
export interface Capabilities {
  /** The directory that files come from. */
  readonly source: string;
  /** The directory that they go to; of a path that does not exist, the nearest that does. */
  readonly destination: string;
  /** Types of their file systems, such as `ext4`. Known on Linux with `--allow-all`. */
  readonly fileSystems: readonly [
    source: string | undefined,
    destination: string | undefined,
  ];
  /** Whether the operating system calls them one device. That does not prove that they can be linked. */
  readonly sameDevice: boolean;
  /** Whether a clone can be made, and proved. Not without `--allow-ffi`. */
  readonly clone: Ability;
  /** Whether a file can be hard-linked. */
  readonly hardlink: Ability;
  /** Whether a symbolic link can be made. */
  readonly symlink: Ability;
  /** Whether a junction can be made (Windows). */
  readonly junction: Ability;
  /** Whether a lock of one handle keeps out another, at the source. */
  readonly lock: Ability;
  /** Whether two names that differ in case are two, at the destination. */
  readonly caseSensitive: boolean;
  /** Whether `é` in one character and in two are two names, at the destination. */
  readonly normalSensitive: boolean;
  /** Bytes (in ASCII letters) of the longest name, at the destination. */
  readonly longestName: number;
  /** How many hard links one file could have, of those tried. */
  readonly links: number;
  /** Whether that is the limit; otherwise no more were tried. */
  readonly linksAreLimited: boolean;
  /** What `auto` uses for a file. */
  readonly auto: LinkMode;
}

/**
 * Options for `probe()`.
 *
 * @category Trees
 */
export interface ProbeOptions {
  /**
   * How many hard links to try at most.
   *
   * @default {1100}
   */
  links?: number;
}

/** More than NTFS allows (1024), and done in 10 ms. */
const LINKS = 1100;

/**
 * Finds out what the file systems of a directory, or of a source and a destination,
 * can do, by trying it with small files in a directory of its own, which it removes.
 *
 * Needs `--allow-read` and `--allow-write` for both; for everything, to try a
 * symbolic link. A clone can be tried with `--allow-ffi`.
 *
 * @param dir Where files come from; it must exist and be writable.
 * @param dst Where they go. The same, if it is not given.
 * @param options How much to try.
 * @returns What works, and what does not and why.
 * @throws {CacheError} If one of them can't be written.
 * @throws {TypeError | RangeError} If an argument is invalid.
 *
 * @example Asking whether hard links work
 * ```ts
 * import { probe } from "@rebuild/cache";
 *
 * const dir = await Deno.makeTempDir();
 * const { hardlink, links, linksAreLimited } = await probe(dir);
 * console.log(hardlink.works, links, linksAreLimited);
 * await Deno.remove(dir);
 * ```
 *
 * @category Trees
 */
export async function probe(
  dir: string | URL,
  dst: string | URL = dir,
  options: ProbeOptions = {},
): Promise<Capabilities> {
  checkPath("dir", dir);
  checkPath("dst", dst);
  checkOptions(options);
  const { links = LINKS } = options;
  checkNumber("links", links, 1);
  const source = realDirectory(toPath(dir));
  const destination = realDirectory(nearest(toPath(dst)));
  const from = room(source);
  try {
    const to = room(destination);
    try {
      return look(source, destination, from, to, links);
    } finally {
      await removeRoom(to);
    }
  } finally {
    await removeRoom(from);
  }
}

function look(
  source: string,
  destination: string,
  from: string,
  to: string,
  most: number,
): Capabilities {
  const file = join(from, "file");
  Deno.writeTextFileSync(file, "something"); // an empty file says nothing
  const clone = cloneAbility(file, to);
  const hardlink = ability(() => Deno.linkSync(file, join(to, "hardlink")));
  const { links, limited } = hardlink.works
    ? countLinks(file, to, most)
    : { links: 1, limited: false };
  return {
    source,
    destination,
    fileSystems: [fileSystemType(source), fileSystemType(destination)],
    sameDevice: Deno.statSync(from).dev === Deno.statSync(to).dev,
    clone,
    hardlink,
    symlink: ability(() =>
      Deno.symlinkSync(file, join(to, "symlink"), { type: "file" })
    ),
    junction: Deno.build.os === "windows"
      ? ability(() =>
        Deno.symlinkSync(from, join(to, "junction"), { type: "junction" })
      )
      : { works: false, reason: "only Windows has them" },
    lock: lockAbility(join(from, "lock")),
    caseSensitive: areTwo(to, "rebuild-cache", "REBUILD-CACHE"),
    normalSensitive: areTwo(to, "\u00e9", "e\u0301"),
    longestName: longestName(to),
    links,
    linksAreLimited: limited,
    auto: LADDERS.auto.find((mode) =>
      mode === "clone"
        ? clone.works
        : mode === "hardlink"
        ? hardlink.works
        : true
    )!,
  };
}

/** The path itself, or the nearest above it that exists. */
function nearest(path: string): string {
  for (let at = path;; at = dirname(at)) {
    try {
      Deno.statSync(at);
      return at;
    } catch (error) {
      if (errorKind(error) !== "not-found" || dirname(at) === at) return at;
    }
  }
}

function realDirectory(path: string): string {
  try {
    const real = Deno.realPathSync(path);
    if (Deno.statSync(real).isDirectory) return real;
  } catch (error) {
    throw osFailure("probe", path, error);
  }
  throw osFailure(
    "probe",
    path,
    new Deno.errors.NotADirectory("Not a directory"),
  );
}

/** A directory to try things in. */
function room(directory: string): string {
  const path = join(directory, siblingName("", "partial"));
  try {
    Deno.mkdirSync(path, { mode: 0o700 });
    return path;
  } catch (error) {
    throw osFailure("try anything in", directory, error);
  }
}

function ability(attempt: () => void): Ability {
  try {
    attempt();
    return { works: true };
  } catch (error) {
    return { works: false, reason: osErrorText(error) };
  }
}

function cloneAbility(file: string, to: string): Ability {
  using directory = openDirectory(to);
  if (!canClone(directory)) {
    const reason = Deno.build.os === "windows"
      ? "Windows has no call for it; a copy shares blocks by itself on a Dev Drive"
      : "without --allow-ffi no clone can be proved";
    return { works: false, reason };
  }
  return ability(() => {
    if (hasMacosCalls()) return cloneOnMacos(file, join(to, "clone"), "all");
    using place = openParent(file);
    using source = place.parent.openFile(place.name, "read");
    using target = directory.openFile("clone", "create");
    cloneContent(source, target);
  });
}

async function removeRoom(path: string): Promise<void> {
  using place = openParent(path);
  await removeTree(place.parent, place.name, { busyTimeout: 1000 });
}

function lockAbility(path: string): Ability {
  return ability(() => {
    const options = { read: true, write: true, create: true };
    using first = Deno.openSync(path, options);
    using second = Deno.openSync(path, options);
    if (!first.tryLockSync(true)) throw new Error("a fresh file was locked");
    if (second.tryLockSync(true)) throw new Error("a lock keeps nobody out");
  });
}

/** Names as long as those of a package manager's store: on btrfs the limit depends on them. */
function countLinks(
  file: string,
  to: string,
  most: number,
): { links: number; limited: boolean } {
  let links = Deno.lstatSync(file).nlink ?? 2;
  for (; links < most; links++) {
    const name = `${links}-`.padEnd(64, "x");
    try {
      Deno.linkSync(file, join(to, name));
    } catch {
      return { links, limited: true };
    }
  }
  return { links, limited: false };
}

/** Also where the first can't be written at all: then nothing is mistaken for it. */
function areTwo(directory: string, name: string, other: string): boolean {
  return !ability(() => {
    Deno.writeTextFileSync(join(directory, name), "");
    Deno.lstatSync(join(directory, other));
  }).works;
}

/** By halving: longer than any file system allows, 1,024, does not work. */
function longestName(directory: string): number {
  let [works, fails] = [1, 1024];
  while (fails - works > 1) {
    const length = (works + fails) >> 1;
    const { works: fits } = ability(() =>
      Deno.writeTextFileSync(join(directory, "n".repeat(length)), "")
    );
    if (fits) works = length;
    else fails = length;
  }
  return works;
}
