/**
 * Builds a tree from another, directory by directory. What runs in the main thread
 * and in workers alike.
 *
 * @module
 */

import { CacheError, kindOfError } from "../error.ts";
import type { CopyControl } from "../fs/copy.ts";
import {
  type Directory,
  type Entry,
  inodeKey,
  type LinkedFiles,
  pathIn,
  type Status,
} from "../fs/directory.ts";
import {
  type Keep,
  Keeper,
  type NotKept,
  removeInherited,
} from "../fs/fidelity.ts";
import { leadsToDirectory, makeLink, relativeText } from "../fs/links.ts";
import { type Breathe, listWhole } from "../fs/list.ts";
import { removeQuietly } from "../fs/names.ts";
import { errorKind } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { foldName } from "../os/text.ts";
import { LinkError, linkFailure } from "./error.ts";
import { LADDERS, type LadderState, pairState } from "./ladder.ts";
import { type ExpectedFile, Listing } from "./listing.ts";
import {
  Candidate,
  type Counts,
  damaged,
  groupKey,
  type Later,
  type PlaceContext,
  type Placed,
  placeFile,
  type PlaceOptions,
} from "./place.ts";
import { nothingDone } from "./report.ts";

/** What to build. A plain object: it travels to workers. */
export interface BuildJob {
  /** Whether there may be something there already, which is replaced file by file. */
  readonly merge: boolean;
  /** Of a merge: whether two names that differ in case, or normal form, may be one. */
  readonly folds: boolean;
  /** How files are placed. */
  readonly place: PlaceOptions;
  readonly keep: Keep;
  /** Patterns on paths below the source, with `/` on every platform. */
  readonly include: readonly RegExp[];
  readonly exclude: readonly RegExp[];
  readonly mutable: readonly RegExp[];
  /** The text of a listing of the source, if there is one. */
  readonly listing?: string;
}

/** The directories that a build works in. Held open as long as it lasts. */
export interface Rooms {
  readonly source: Directory;
  readonly destination: Directory;
  /** A directory of ours beside the destination, for what is not yet in place. */
  readonly scratch: Directory;
}

/** A file that waits until all others are in place. */
export interface Waiting {
  /** Its directory below the source: `""`, `/a/b`. */
  readonly folder: string;
  readonly name: string;
  readonly why: Later;
  readonly mutable: boolean;
}

/** A directory that gets its mode and times when all is in place. */
export interface Unfinished {
  readonly folder: string;
  readonly status: Status;
}

/** What was built. */
export interface Built extends Counts {
  directories: number;
  /** Symbolic links of the tree that were made again. */
  links: number;
  readonly notKept: Map<string, NotKept>;
  readonly waiting: Waiting[];
  readonly unfinished: Unfinished[];
  /** Where the first name of an inode with several was put: folder and name. */
  readonly firstNames: Map<string, readonly [folder: string, name: string]>;
}

/** Nothing built yet. */
export function nothingBuilt(): Built {
  return {
    ...nothingDone(),
    waiting: [],
    unfinished: [],
    firstNames: new Map(),
  };
}

/** Deeper than any path that the operating system takes can lead. */
const DEEPEST = 1000;

/** The mode that most directories have. */
const USUAL = 0o755;

/** So many files are placed between two looks at the clock. */
const STRIDE = 64;

/** Builds directories, and counts. */
export class Builder implements Disposable {
  readonly built: Built = nothingBuilt();
  readonly rooms: Rooms;
  readonly context: PlaceContext;
  readonly #job: BuildJob;
  readonly #onDirectory: ((built: Built) => void) | undefined;
  readonly #listing: Listing | undefined;
  readonly #keeper: Keeper;
  #temporaries = 0;
  readonly #sources: Descent;
  readonly #targets: Descent;

  /**
   * A builder.
   *
   * @param claim Whether a name is the first one of its inode, among all threads.
   */
  constructor(
    job: BuildJob,
    rooms: Rooms,
    ladder: LadderState,
    control: CopyControl,
    claim: (inode: string) => boolean,
    onDirectory?: (built: Built) => void,
  ) {
    this.#job = job;
    this.rooms = rooms;
    this.#onDirectory = onDirectory;
    this.#listing = job.listing === undefined
      ? undefined
      : new Listing(job.listing);
    this.#keeper = new Keeper(job.keep, this.built.notKept);
    this.#sources = new Descent(rooms.source);
    this.#targets = new Descent(rooms.destination);
    const { source, destination } = rooms;
    this.context = {
      options: job.place,
      pair: pairState(ladder, source.opened.device, destination.opened.device),
      counts: this.built,
      keeper: this.#keeper,
      control,
      made: new Map(),
      claim: (inode) => {
        const isFirst = claim(inode);
        if (isFirst) this.built.firstNames.set(inode, this.#current);
        return isFirst;
      },
      defersLimit: true,
    };
  }

  [Symbol.dispose](): void {
    this.#sources[Symbol.dispose]();
    this.#targets[Symbol.dispose]();
  }

  /** Builds a directory and all below it, which nobody else builds. */
  async subtree(folder: string): Promise<void> {
    const [from, to] = this.#openBoth(folder);
    const stack = [{ from, to, folder }];
    const names: string[][] = [];
    try {
      const enter = async ({ from, to, folder }: typeof stack[0]) => {
        const below: string[] = [];
        names.push(below);
        await this.directory(from, to, folder, below);
      };
      await enter(stack[0]!);
      while (stack.length > 0) {
        const { from, to, folder } = stack.at(-1)!;
        const name = names.at(-1)!.pop();
        if (name === undefined) {
          names.pop();
          stack.pop();
          from[Symbol.dispose]();
          to[Symbol.dispose]();
          continue;
        }
        const next = this.#enter(from, to, name, `${folder}/${name}`);
        stack.push(next);
        if (stack.length > DEEPEST) throw tooDeep(this.rooms);
        await enter(next);
      }
    } finally {
      for (const { from, to } of stack) {
        from[Symbol.dispose]();
        to[Symbol.dispose]();
      }
    }
  }

  #enter(from: Directory, to: Directory, name: string, folder: string) {
    const inner = this.#wrap(from, to, () => patiently(() => from.open(name)));
    try {
      const target = this.#wrap(
        from,
        to,
        () => patiently(() => to.open(name, "use", this.#made)),
      );
      this.#noteMade(target);
      return { from: inner, to: target, folder };
    } catch (error) {
      inner[Symbol.dispose]();
      throw error;
    }
  }

  /** Builds one directory, whose place is there already. */
  async one(folder: string, below: string[]): Promise<void> {
    const [source, target] = this.#openBoth(folder);
    using from = source;
    using to = target;
    await this.directory(from, to, folder, below);
  }

  #openBoth(folder: string): [from: Directory, to: Directory] {
    const { source, destination } = this.rooms;
    return this.#wrap(source, destination, () => {
      const from = this.#sources.open(folder);
      try {
        return [from, this.#targets.open(folder)];
      } catch (error) {
        from[Symbol.dispose]();
        throw error;
      }
    });
  }

  /**
   * Builds the entries of one directory. Its subdirectories are made, and their names
   * put on a list.
   */
  async directory(
    from: Directory,
    to: Directory,
    folder: string,
    below: string[],
  ): Promise<void> {
    try {
      await this.#build(from, to, folder, below);
    } catch (error) {
      throw wrapped(error, from, to);
    }
    this.#onDirectory?.(this.built);
  }

  #wrap<T>(from: Directory, to: Directory, call: () => T): T {
    try {
      return call();
    } catch (error) {
      throw wrapped(error, from, to);
    }
  }

  async #build(
    from: Directory,
    to: Directory,
    folder: string,
    below: string[],
  ): Promise<void> {
    const { merge, exclude, include, mutable } = this.#job;
    const { control } = this.context;
    if (merge) this.context.made.clear();
    const breathe = () => {
      control.check();
      return control.breathe?.();
    };
    const listed = this.#listing && expected(this.#listing, folder, from);
    const folds = this.#job.folds ? new Map<string, string>() : undefined;
    const plainly = this.#mayLinkPlainly();
    const filters = exclude.length + include.length + mutable.length > 0;
    const linked: LinkedFiles = { files: 0, bytes: 0 };
    const entries = plainly && !listed && !folds && !filters
      ? await this.#linkFiles(from, to, linked, breathe)
      : await listWhole(from, breathe);
    const { failed: refused } = linked;
    if (listed && listed.size !== entries.length) throw damaged(from);
    for (let i = 0; i < entries.length; i++) {
      const { name, kind } = entries[i]!;
      if (i % STRIDE === 0) {
        control.check();
        const pause = control.breathe?.();
        if (pause) await pause;
      }
      const item = listed?.get(name);
      if (listed && item?.kind !== kind) throw damaged(from, name);
      const path = filters ? `${folder}/${name}`.slice(1) : "";
      if (filters && matches(exclude, path)) continue;
      if (folds) checkFold(folds, name, from, to);
      if (kind === "directory") {
        this.#makeDirectory(from, to, name, folder);
        below.push(name);
      } else if (kind === "symlink") {
        this.#current = [folder, name];
        if (!this.copyLink(from, to, name, this.context.claim)) {
          this.built.waiting.push({
            folder,
            name,
            why: "inode",
            mutable: false,
          });
        }
      } else if (kind === "file") {
        if (filters && include.length > 0 && !matches(include, path)) continue;
        const isMutable = filters && matches(mutable, path);
        let failed = name === refused?.name ? refused.error : undefined;
        if (plainly && !isMutable && !failed) {
          failed = this.#linkPlainly(from, to, name, item?.file);
          if (failed === true) continue;
        }
        const placed = this.#place(
          from,
          to,
          name,
          folder,
          isMutable,
          item?.file,
          failed || undefined,
        );
        if (placed) await placed;
      } else throw specialFile(pathIn(from, name), pathIn(to, name));
    }
    if (!merge) this.#finish(from, to, folder);
  }

  /** Links what can be linked without ado, at one go. Gives what is left. */
  async #linkFiles(
    from: Directory,
    to: Directory,
    done: LinkedFiles,
    breathe: Breathe,
  ): Promise<Entry[]> {
    try {
      return await listWhole(from, breathe, {
        pieces: () => from.linkFiles(to, done),
        isDone: (name) => to.look(name) !== undefined,
      });
    } finally {
      this.built.hardlinked += done.files;
      this.built.bytes += done.bytes;
    }
  }

  /**
   * A hard link to a file that has content, without ado.
   *
   * @returns `true` if it was made; the error, which is for the ladder; `false` for
   * what is another case.
   */
  #linkPlainly(
    from: Directory,
    to: Directory,
    name: string,
    known: ExpectedFile | undefined,
  ): unknown {
    const size = known?.size ?? from.sizeOf(name);
    if (size <= 0) return false;
    if (known) {
      const { modified: { seconds }, mark } = known;
      const isShared = from.isFile(name, size, { seconds, nanoseconds: mark });
      // Of its own time; or damaged, which whoever places it says.
      if (!isShared && !from.isFile(name, size, known.modified)) return false;
    }
    const error = from.tryLink(name, to);
    if (error !== undefined) return error;
    this.built.hardlinked++;
    this.built.bytes += size;
    return true;
  }

  /** What all names of one file of the source have in common. */
  identityOf(
    folder: string,
    name: string,
    status: Status,
  ): string | undefined {
    if (!this.#listing || status.kind !== "file") return inodeKey(status);
    if (this.#known?.folder !== folder) {
      const entries = this.#listing.directory(folder);
      this.#known = { folder, entries };
    }
    const listed = this.#known.entries?.get(name)?.file;
    return listed && groupKey(listed);
  }

  /** The directory of the listing that was asked for last. */
  #known:
    | { folder: string; entries: ReturnType<Listing["directory"]> }
    | undefined;

  /** Whether hard links are the first that is tried, and nothing speaks against one. */
  #mayLinkPlainly(): boolean {
    const { options: { mode, maxLinks }, pair } = this.context;
    if (this.#job.merge || maxLinks < Infinity) return false;
    return LADDERS[mode].find((rung) => !pair.retired.has(rung)) === "hardlink";
  }

  /** Puts one file in place, or on the list of those that wait. */
  #place(
    from: Directory,
    to: Directory,
    name: string,
    folder: string,
    mutable: boolean,
    known: ExpectedFile | undefined,
    failed: unknown,
  ): Promise<void> | undefined {
    const candidate = new Candidate(from, name, known);
    const note = (placed: Placed) => {
      if (placed === "inode" || placed === "links") {
        this.built.waiting.push({ folder, name, why: placed, mutable });
      }
    };
    this.#current = [folder, name];
    if (this.#job.merge) {
      return this.#placeOver(candidate, to, mutable).then(note);
    }
    let placed: Placed | Promise<Placed>;
    try {
      placed = placeFile(
        candidate,
        to,
        name,
        mutable,
        this.context,
        known?.size,
        failed,
      );
    } catch (error) {
      candidate[Symbol.dispose]();
      if (kindOfError(error) !== "already-exists") throw error;
      throw folded(from, to, name, error);
    }
    if (typeof placed !== "string") {
      return placed.then(note).finally(() => candidate[Symbol.dispose]());
    }
    candidate[Symbol.dispose]();
    note(placed);
    return undefined;
  }

  /** The file that is being placed. */
  #current: readonly [folder: string, name: string] = ["", ""];

  /**
   * Puts a file over what stands there: made in the scratch, and renamed. Some file
   * systems say only at the rename that an inode can have no more links (btrfs).
   */
  async #placeOver(
    candidate: Candidate,
    to: Directory,
    mutable: boolean,
  ): Promise<Placed> {
    using _ = candidate;
    const { scratch } = this.rooms;
    const { name } = candidate;
    const temporary = `${this.#prefix}${this.#temporaries++}`;
    try {
      const placed = await this.#intoScratch(
        candidate,
        temporary,
        pathIn(to, name),
        mutable,
      );
      if (placed === "links" || placed === "inode") return placed;
      try {
        patiently(() => scratch.rename(temporary, to, name));
        return placed;
      } catch (error) {
        if (placed !== "hardlink" || errorKind(error) !== "link-limit") {
          throw error;
        }
      }
      this.built.hardlinked--;
      this.built.bytes -= candidate.status.size;
      return "links";
    } finally {
      // Of two links to one inode the rename does nothing, and leaves this one.
      removeQuietly(scratch, temporary);
    }
  }

  /** Whatever goes wrong there, people know the file by where it is to be. */
  async #intoScratch(
    candidate: Candidate,
    name: string,
    path: string,
    mutable: boolean,
  ): Promise<Placed> {
    const { scratch } = this.rooms;
    try {
      return await placeFile(candidate, scratch, name, mutable, this.context);
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      const source = candidate.path;
      const said = error.cause ?? error;
      const what = `Cannot link "${source}" to "${path}"`;
      throw linkFailure(what, source, path, said, error.kind);
    }
  }

  readonly #prefix = `file-${crypto.randomUUID().slice(0, 8)}-`;

  /** What new directories of a staging are like: all the same. */
  #made: Status | undefined;

  #noteMade(target: Directory): void {
    if (!this.#job.merge) this.#made ??= target.opened;
  }

  #makeDirectory(
    from: Directory,
    to: Directory,
    name: string,
    folder: string,
  ): void {
    this.built.directories++;
    const { merge } = this.#job;
    try {
      // In a staging, which is nobody else's, the mode that most have: few need another.
      patiently(() => to.make(name, merge ? 0o700 : USUAL));
      if (!merge) return;
      const status = from.look(name);
      if (status) {
        this.built.unfinished.push({ folder: `${folder}/${name}`, status });
      }
    } catch (error) {
      const [source, target] = [pathIn(from, name), pathIn(to, name)];
      if (errorKind(error) === "already-exists") {
        if (merge && to.look(name)?.kind === "directory") return;
        if (!merge) throw folded(from, to, name, error);
      }
      throw linkFailure(`Cannot make "${target}"`, source, target, error);
    }
  }

  /** Makes a symbolic link again. False if its inode has a name already. */
  copyLink(
    from: Directory,
    to: Directory,
    name: string,
    claim: PlaceContext["claim"],
  ): boolean {
    const status = from.look(name);
    if (status && status.links > 1 && claim) {
      const inode = inodeKey(status);
      if (inode !== undefined && !claim(inode)) return false;
    }
    const text = this.#linkText(from, name);
    const { merge } = this.#job;
    const place = merge ? this.rooms.scratch : to;
    const at = merge ? `${this.#prefix}${this.#temporaries++}` : name;
    try {
      makeLink(place, at, text, leadsToDirectory(from, name), to.path);
      if (status) this.#keeper.keepLink(from, name, status, place, at);
      if (merge) patiently(() => place.rename(at, to, name));
    } catch (error) {
      if (merge) removeQuietly(place, at);
      const target = pathIn(to, name);
      if (!merge && errorKind(error) === "already-exists") {
        throw folded(from, to, name, error);
      }
      const what = `Cannot make "${target}"`;
      throw linkFailure(what, pathIn(from, name), target, error);
    }
    this.built.links++;
    return true;
  }

  /** What an archive's junction says leads into the archive; it shall lead into the copy. */
  #linkText(from: Directory, name: string): string {
    const text = from.readLink(name);
    const { keep, listing } = this.#job;
    const isOurs = keep === "content" || listing !== undefined;
    if (Deno.build.os !== "windows" || !isOurs) return text;
    const { path } = this.rooms.source;
    const folder = from.path.slice(path.length).replaceAll("\\", "/");
    return relativeText(text, folder, [path]) ?? text;
  }

  /** Mode and times last: what is put into a directory changes them. */
  #finish(from: Directory, to: Directory, folder: string): void {
    const status = from.opened;
    // One that can't be searched is finished when nobody needs to pass through it; the
    // top when it is in its place.
    if (folder === "" || (status.mode & 0o100) === 0) {
      this.built.unfinished.push({ folder, status });
    } else this.#keeper.keep(from, status, to, to.opened);
  }

  /** Finishes a directory that could not be finished before. */
  finish({ folder, status }: Unfinished, to?: Directory): void {
    using from = descend(this.rooms.source, folder);
    using target = to?.again() ?? descend(this.rooms.destination, folder);
    if (this.#job.merge) removeInherited(target, from.attributes());
    this.#keeper.keep(from, status, target, target.status());
  }
}

/** Opens a directory below another, name by name. */
export function descend(root: Directory, folder: string): Directory {
  if (folder === "") return root.again();
  let at = root;
  for (const name of folder.slice(1).split("/")) {
    try {
      const next = patiently(() => at.open(name));
      if (at !== root) at[Symbol.dispose]();
      at = next;
    } catch (error) {
      if (at !== root) at[Symbol.dispose]();
      throw error;
    }
  }
  return at;
}

/** Opens directories below another, of which many lie side by side. */
class Descent implements Disposable {
  readonly #root: Directory;
  #folder = "";
  #parent: Directory | undefined;

  constructor(root: Directory) {
    this.#root = root;
  }

  open(folder: string): Directory {
    const cut = folder.lastIndexOf("/");
    if (cut <= 0) return descend(this.#root, folder);
    const parent = folder.slice(0, cut);
    if (!this.#parent || this.#folder !== parent) {
      this[Symbol.dispose]();
      this.#parent = descend(this.#root, parent);
      this.#folder = parent;
    }
    const inner = this.#parent;
    return patiently(() => inner.open(folder.slice(cut + 1)));
  }

  [Symbol.dispose](): void {
    this.#parent?.[Symbol.dispose]();
    this.#parent = undefined;
  }
}

function wrapped(error: unknown, from: Directory, to: Directory): unknown {
  if (error instanceof LinkError) return error;
  if (error instanceof CacheError) {
    return new LinkError(error.message, from.path, to.path, error.kind, error);
  }
  if (!(error instanceof Error) || !/\(os error \d+\)/.test(error.message)) {
    return error; // an abort's reason, or a bug of ours
  }
  const what = `Cannot link "${from.path}" to "${to.path}"`;
  return linkFailure(what, from.path, to.path, error);
}

function tooDeep({ source, destination }: Rooms): LinkError {
  return new LinkError(
    `Cannot link "${source.path}": it is more than ${DEEPEST} directories deep`,
    source.path,
    destination.path,
    "name-too-long",
  );
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

/** Of a tree that is built anew, so that only a name like it can stand there. */
function folded(
  from: Directory,
  to: Directory,
  name: string,
  cause: unknown,
): LinkError {
  const source = pathIn(from, name);
  const other = from.list().find((it) =>
    it.name !== name && foldName(it.name) === foldName(name)
  );
  const both = other ? `"${pathIn(from, other.name)}" and ` : "";
  return new LinkError(
    `Cannot link ${both}"${source}" to one directory: ` +
      `their names are the same on the file system of "${to.path}"`,
    source,
    pathIn(to, name),
    "already-exists",
    cause,
  );
}

/** Two names of a directory that would be one at the destination are an error. */
function checkFold(
  names: Map<string, string>,
  name: string,
  from: Directory,
  to: Directory,
): void {
  const key = foldName(name);
  if (names.has(key)) throw folded(from, to, name, undefined);
  names.set(key, name);
}

function expected(listing: Listing, folder: string, from: Directory) {
  return listing.directory(folder) ?? raise(damaged(from));
}

function raise(error: Error): never {
  throw error;
}

function matches(patterns: readonly RegExp[], path: string): boolean {
  return patterns.some((pattern) => pattern.test(path));
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
  for (const [what, it] of more.notKept) {
    const known = to.notKept.get(what);
    const count = it.count + (known?.count ?? 0);
    to.notKept.set(what, { ...(known ?? it), count });
  }
  for (const it of more.waiting) to.waiting.push(it);
  for (const it of more.unfinished) to.unfinished.push(it);
  for (const [inode, name] of more.firstNames) to.firstNames.set(inode, name);
}
