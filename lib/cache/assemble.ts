/**
 * Makes a tree of what a listing says: files whose content is stored already are linked,
 * all others come from elsewhere.
 *
 * @module
 */

import { type Directory, pathIn, type Time } from "../fs/directory.ts";
import { leadsToDirectory, makeLink } from "../fs/links.ts";
import { type ListedFile, parseListingLine } from "../link/listing.ts";
import { type Breath, patiently } from "../os/patience.ts";
import type { ContentStore, SharingIn } from "./content_store.ts";
import { TREE } from "./layout.ts";
import { failure } from "./root.ts";

/** A file to be made. */
export interface Wanted {
  readonly file: ListedFile;
  /** Its directory below the tree: `""`, `/a/b`; `undefined` for a tree that is a file. */
  readonly folder: string | undefined;
}

/**
 * Makes a file with the content of the digest, and the mode; its time is given to it
 * afterwards.
 */
export type Provide = (
  wanted: Wanted,
  to: Directory,
  name: string,
) => Promise<void> | void;

/** What an assembled tree takes on the disk. */
export interface Assembled {
  readonly diskBytes: number;
  readonly ownBytes: number;
}

/**
 * Makes the tree in a slot.
 *
 * @param lines A listing, checked, of directories in the order in which they are walked.
 * @param onFile Called after each file.
 */
export async function assemble(
  slot: Directory,
  lines: readonly string[],
  store: ContentStore,
  provide: Provide,
  breath: Breath,
  onFile?: (file: ListedFile) => void,
): Promise<Assembled> {
  const assembly = new Assembly(slot, store, provide, breath, onFile);
  try {
    for (const line of lines) await assembly.directory(line);
    assembly.finish();
  } finally {
    assembly[Symbol.dispose]();
  }
  return assembly;
}

/** A directory that is being filled. */
interface Open {
  readonly path: string;
  readonly directory: Directory;
  readonly mode: number;
  readonly modified: Time | undefined;
}

class Assembly implements Assembled, Disposable {
  diskBytes = 0;
  ownBytes = 0;
  readonly #slot: Directory;
  readonly #store: ContentStore;
  readonly #provide: Provide;
  readonly #breath: Breath;
  readonly #onFile: ((file: ListedFile) => void) | undefined;
  /** From the top to the directory that is being filled. */
  readonly #stack: Open[] = [];
  /** Where the first name of each file with several is. */
  readonly #first = new Map<number, { folder: string; name: string }>();

  constructor(
    slot: Directory,
    store: ContentStore,
    provide: Provide,
    breath: Breath,
    onFile: ((file: ListedFile) => void) | undefined,
  ) {
    this.#slot = slot;
    this.#store = store;
    this.#provide = provide;
    this.#breath = breath;
    this.#onFile = onFile;
  }

  [Symbol.dispose](): void {
    for (const { directory } of this.#stack) directory[Symbol.dispose]();
  }

  async directory(line: string): Promise<void> {
    const { path, mode, files, links, directories, modified } =
      parseListingLine(line);
    if (path === undefined) {
      using sharing = this.#store.in(this.#slot);
      await this.#file(this.#slot, undefined, files[0]!, sharing);
      return;
    }
    const time = modified &&
      { seconds: modified[0], nanoseconds: modified[1] };
    const directory = this.#enter(path, mode, time);
    {
      using sharing = this.#store.in(directory);
      for (const file of files) {
        const pause = this.#breath.due();
        if (pause) await pause;
        await this.#file(directory, path, file, sharing);
      }
    }
    for (const [name, text, seconds, nanoseconds] of links) {
      this.#tried(directory, name, () => {
        const leads = leadsToDirectory(directory, name);
        makeLink(directory, name, text, leads, directory.path);
      });
      if (seconds === undefined || nanoseconds === undefined) continue;
      const modified = { seconds, nanoseconds };
      // By itself: tried again together, the link would stand there already.
      this.#tried(directory, name, () => {
        directory.setAccessOf(name, { accessed: modified, modified });
      });
    }
    for (const name of directories) {
      this.#tried(directory, name, () => directory.make(name, 0o700));
    }
  }

  /** Finishes all that is open. */
  finish(): void {
    while (this.#stack.length > 0) this.#leave();
  }

  #enter(path: string, mode: number, modified: Time | undefined): Directory {
    if (path === "") {
      this.#tried(this.#slot, TREE, () => this.#slot.make(TREE, 0o700));
    }
    const cut = path.lastIndexOf("/");
    const [folder, name] = [
      path.slice(0, Math.max(0, cut)),
      path.slice(cut + 1),
    ];
    while (path !== "" && this.#stack.at(-1)?.path !== folder) this.#leave();
    const above = this.#stack.at(-1)?.directory ?? this.#slot;
    const directory = patiently(() => above.open(path === "" ? TREE : name));
    const { allocated = 0 } = directory.opened;
    this.diskBytes += allocated;
    this.ownBytes += allocated;
    this.#stack.push({ path, directory, mode, modified });
    return directory;
  }

  /** Mode and times last: what is put into a directory changes them. */
  #leave(): void {
    const { directory, mode, modified } = this.#stack.pop()!;
    using _ = directory;
    const times = modified && { accessed: modified, modified };
    this.#tried(directory, ".", () => {
      directory.setAccess({
        ...Deno.build.os !== "windows" && { mode },
        ...times,
      });
    });
  }

  async #file(
    to: Directory,
    folder: string | undefined,
    file: ListedFile,
    sharing: SharingIn,
  ): Promise<void> {
    const [listed, size, mode, digest, seconds, nanoseconds, group] = file;
    const name = folder === undefined ? TREE : listed;
    const first = group === undefined ? undefined : this.#first.get(group);
    try {
      if (first) this.#linkAgain(first, to, name);
      else {
        const allocated = this.#store.link(digest, mode, size, to, name);
        if (allocated === undefined) {
          await this.#provide({ file, folder }, to, name);
          const modified = { seconds, nanoseconds };
          const times = { accessed: modified, modified };
          const status = { ...to.look(name)!, ...times };
          const { allocated = size } = status;
          const how = sharing.file(name, status, digest);
          if (how === "own") to.setAccessOf(name, times); // else it has the store's
          if (how !== "known") this.diskBytes += allocated;
          if (how === "own") this.ownBytes += allocated;
        }
      }
    } catch (error) {
      throw failure("put", pathIn(to, name), error);
    }
    if (group !== undefined && !first) {
      this.#first.set(group, { folder: folder ?? "", name });
    }
    this.#onFile?.(file);
  }

  #linkAgain(
    first: { folder: string; name: string },
    to: Directory,
    name: string,
  ): void {
    const known = this.#stack.find(({ path }) => path === first.folder);
    if (known) {
      return patiently(() => known.directory.link(first.name, to, name));
    }
    let at = patiently(() => this.#slot.open(TREE));
    try {
      for (const part of first.folder.split("/").slice(1)) {
        using above = at;
        at = patiently(() => above.open(part));
      }
      patiently(() => at.link(first.name, to, name));
    } finally {
      at[Symbol.dispose]();
    }
  }

  #tried(directory: Directory, name: string, call: () => void): void {
    try {
      patiently(call);
    } catch (error) {
      throw failure("put", pathIn(directory, name), error);
    }
  }
}
