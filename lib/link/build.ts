/**
 * Builds a tree from another, directory by directory. What runs in the main thread
 * and in workers alike.
 *
 * @module
 */

import { errorKind } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { removeIfThere, siblingPath } from "../fs/names.ts";
import { type Cloner, openCloner } from "./clone.ts";
import { LinkError, linkFailure } from "./error.ts";
import { type LadderState, pairState } from "./ladder.ts";
import { type Item, ListedInfo, Listing } from "./listing.ts";
import {
  type Counts,
  keepTimes,
  noCounts,
  placeFile,
  type PlaceOptions,
  placeVia,
} from "./place.ts";

/** What to build. A plain object: it travels to workers. */
export interface BuildJob {
  /** The tree to take from: an absolute path without symbolic links. */
  readonly source: string;
  /** The path of a listing of it, if there is one. */
  readonly listing?: string;
  /** The directory to build in, which exists. */
  readonly destination: string;
  /** Its device. */
  readonly device: number;
  /** Whether there may be something in it already, which is replaced file by file. */
  readonly merge: boolean;
  /** How files are placed. */
  readonly place: PlaceOptions;
  /** Patterns on paths below `source`, with `/` on every platform. */
  readonly include: readonly RegExp[];
  readonly exclude: readonly RegExp[];
  readonly mutable: readonly RegExp[];
  /** The mode that a new directory has by itself, by the umask. */
  readonly defaultMode: number | null;
  /** Whether two names that differ in case, or normal form, may be one there. */
  readonly folds: boolean;
}

/** What was built. */
export interface Built extends Counts {
  directories: number;
  /** Symbolic links of the tree that were made again. */
  links: number;
  /** Directories that get their mode at the end: their owner could not enter them. */
  readonly late: [path: string, mode: number][];
}

/** Nothing built yet. */
export function nothingBuilt(): Built {
  return { ...noCounts(), directories: 0, links: 0, late: [] };
}

/** Files that are in place. */
export function filesIn(built: Counts): number {
  return built.cloned + built.hardlinked + built.symlinked + built.copied +
    built.created;
}

/** Builds directories, and counts. */
export class Builder implements Disposable {
  readonly built: Built = nothingBuilt();
  readonly #job: BuildJob;
  readonly #ladder: LadderState;
  readonly #cloner: Cloner | undefined;
  readonly #onDirectory: ((built: Built) => void) | undefined;
  readonly #listing: Listing | undefined;

  constructor(
    job: BuildJob,
    ladder: LadderState,
    onDirectory?: (built: Built) => void,
  ) {
    this.#job = job;
    this.#ladder = ladder;
    this.#onDirectory = onDirectory;
    this.#listing = job.listing === undefined
      ? undefined
      : new Listing(job.listing);
    const { mode } = job.place;
    this.#cloner = mode === "auto" || mode === "clone"
      ? openCloner()
      : undefined;
  }

  [Symbol.dispose](): void {
    this.#cloner?.[Symbol.dispose]();
  }

  /** Builds a directory and all below it. */
  subtree(relative: string): void {
    const open = [relative];
    for (let next; (next = open.pop()) !== undefined;) {
      this.directory(next, open);
    }
  }

  /**
   * Builds the entries of one directory, which exists at the destination. Its
   * subdirectories are made, and put on the list.
   *
   * @param relative Its path below the source, `""` or `/a/b`.
   */
  directory(relative: string, open: string[]): void {
    const from = this.#job.source + relative;
    const to = this.#job.destination + relative;
    try {
      this.#build(relative, from, to, open);
    } catch (error) {
      if (error instanceof LinkError) throw error;
      throw linkFailure(`Cannot link "${from}" to "${to}"`, from, to, error);
    }
    this.#onDirectory?.(this.built);
  }

  #build(relative: string, from: string, to: string, open: string[]): void {
    const { merge, exclude, folds } = this.#job;
    const info = Deno.lstatSync(from);
    const context = {
      options: this.#job.place,
      pair: pairState(this.#ladder, info.dev, this.#job.device),
      counts: this.built,
      cloner: this.#cloner,
    };
    const names = folds ? new Map<string, string>() : undefined;
    const items: Iterable<Item> = this.#listing?.directory(relative) ??
      Deno.readDirSync(from);
    for (const entry of items) {
      const path = `${relative}/${entry.name}`;
      if (matches(exclude, path)) continue;
      const target = `${to}/${entry.name}`;
      if (names) checkFold(names, entry.name, from, to);
      if (entry.isDirectory) {
        this.#makeDirectory(target, from, entry.name);
        open.push(path);
      } else if (entry.isSymlink) {
        this.#copySymlink(`${from}/${entry.name}`, target);
      } else if (entry.isFile) {
        if (!this.#wanted(path)) continue;
        const file = `${from}/${entry.name}`;
        const fileInfo = entry.size === undefined
          ? Deno.lstatSync(file)
          : new ListedInfo(file, entry.size);
        const mutable = matches(this.#job.mutable, path);
        if (!merge) placeFile(file, target, fileInfo, mutable, context);
        else {
          const temporary = siblingPath(target, "partial");
          const publish = () =>
            patiently(() => Deno.renameSync(temporary, target));
          placeVia(temporary, publish, file, fileInfo, mutable, context);
        }
      } else {
        throw specialFile(`${from}/${entry.name}`, target);
      }
    }
    this.#finish(to, info);
  }

  #wanted(path: string): boolean {
    const { include } = this.#job;
    return include.length === 0 || matches(include, path);
  }

  #makeDirectory(target: string, from: string, name: string): void {
    this.built.directories++;
    try {
      patiently(() => Deno.mkdirSync(target));
    } catch (error) {
      if (
        errorKind(error) === "already-exists" && this.#job.merge &&
        Deno.lstatSync(target).isDirectory
      ) return;
      throw linkFailure(
        `Cannot make "${target}"`,
        `${from}/${name}`,
        target,
        error,
      );
    }
  }

  #copySymlink(file: string, target: string): void {
    this.built.links++;
    const text = Deno.readLinkSync(file);
    const place = this.#job.merge ? siblingPath(target, "partial") : target;
    try {
      patiently(() => Deno.symlinkSync(text, place, linkType(file)));
    } catch (error) {
      throw linkFailure(`Cannot make "${target}"`, file, target, error);
    }
    if (this.#job.merge) publish(file, place, target);
  }

  /** Mode and times last: what is put into a directory changes them. */
  #finish(to: string, info: Deno.FileInfo): void {
    const { merge, defaultMode } = this.#job;
    if (merge) return; // it may be somebody else's, too
    if (info.mode !== null && defaultMode !== null) {
      const mode = info.mode & 0o7777;
      if ((mode & 0o700) !== 0o700) this.built.late.push([to, mode]);
      else if (mode !== defaultMode) Deno.chmodSync(to, mode);
    }
    keepTimes(to, info);
  }
}

/** The error that a tree has something in it that is no file, directory or link. */
export function specialFile(source: string, target: string): LinkError {
  return new LinkError(
    `Cannot link "${source}": it is a FIFO, a socket or a device`,
    source,
    target,
    "unsupported",
  );
}

/** Windows must be told what a symbolic link leads to. */
function linkType(file: string): Deno.SymlinkOptions | undefined {
  if (Deno.build.os !== "windows") return undefined;
  try {
    return { type: Deno.statSync(file).isDirectory ? "dir" : "file" };
  } catch {
    return { type: "file" };
  }
}

/** Renames a file over what stands there. Never writes through it. */
function publish(file: string, place: string, target: string): void {
  try {
    patiently(() => Deno.renameSync(place, target));
  } catch (error) {
    removeIfThere(place);
    throw linkFailure(`Cannot replace "${target}"`, file, target, error);
  }
  // Of two links to one inode the rename does nothing, and leaves this one.
  removeIfThere(place);
}

function matches(patterns: readonly RegExp[], path: string): boolean {
  return patterns.some((pattern) => pattern.test(path.slice(1)));
}

/** Two names of a directory that would be one at the destination are an error. */
function checkFold(
  names: Map<string, string>,
  name: string,
  from: string,
  to: string,
): void {
  const folded = name.normalize("NFC").toLowerCase();
  const other = names.get(folded);
  if (other !== undefined) {
    throw new LinkError(
      `Cannot link "${from}/${other}" and "${from}/${name}" to one directory: ` +
        `their names are the same on the file system of "${to}"`,
      `${from}/${name}`,
      `${to}/${name}`,
      "already-exists",
    );
  }
  names.set(folded, name);
}

/** Adds what a worker has built. */
export function addBuilt(to: Built, more: Built): void {
  for (
    const key of [
      "cloned",
      "hardlinked",
      "symlinked",
      "copied",
      "created",
      "reset",
      "stranded",
      "bytes",
      "directories",
      "links",
    ] as const
  ) to[key] += more[key];
  for (const [key, fallback] of more.fallbacks) {
    const known = to.fallbacks.get(key);
    if (known) known.count += fallback.count;
    else to.fallbacks.set(key, fallback);
  }
  to.late.push(...more.late);
}
