/**
 * Reads what is in a tree: all of it, so that it can be written down, or compared with
 * what was.
 *
 * @module
 */

import type { Hash } from "node:crypto";
import {
  type Directory,
  type Entry,
  inodeKey,
  type OpenFile,
  pathIn,
} from "../fs/directory.ts";
import { relativeText } from "../fs/links.ts";
import {
  contentLine,
  type ListedDirectory,
  type ListedFile,
  listingLine,
} from "../link/listing.ts";
import { Breath, patiently } from "../os/patience.ts";
import { TREE } from "./layout.ts";
import { failure, look } from "./root.ts";
import { NotKept, walk } from "./walk.ts";

/** What a tree holds. */
export interface Content {
  readonly files: number;
  readonly directories: number;
  /** Bytes of all files; what has several names counts once. */
  readonly bytes: number;
  /** Bytes that its files and directories take on the disk, as far as that is known. */
  readonly diskBytes: number;
  /** SHA-256 of the lines without times, in hexadecimal digits. */
  readonly digest: string;
  /** A listing of it. */
  readonly lines: readonly string[];
  /** Files of up to 1 MiB and symbolic links that have the mark in them: `bin/a`. */
  readonly marked: readonly string[];
}

/** How a tree is read. */
export interface ReadOptions {
  /** Stops the reading. */
  signal?: AbortSignal | undefined;
  /** Called after each file, and each MiB of a large one, with how much more was read. */
  onRead?: ((bytes: number, files: 0 | 1) => void) | undefined;
  /** A text in ASCII letters that is looked for in small files and symbolic links. */
  mark?: string | undefined;
  /**
   * The tree's paths. What Windows' junctions say by them is read as a link that leads
   * there wherever the tree stands.
   */
  trees?: readonly string[];
}

/**
 * Reads all of the tree in an archive's directory.
 *
 * @throws {NotKept} If there is something that a cache can't keep.
 * @throws {CacheError} If something can't be read.
 */
export async function readContent(
  archive: Directory,
  options: ReadOptions = {},
): Promise<Content> {
  const { createHash } = await crypt();
  const reader = new Reader(() => createHash("sha256"), options);
  const hash = createHash("sha256");
  const lines: string[] = [];
  const add = (directory: ListedDirectory) => {
    lines.push(listingLine(directory));
    hash.update(`${contentLine(directory)}\n`);
  };
  const status = look(archive, TREE);
  if (status && status.kind !== "directory") {
    add(await reader.single(archive));
  } else {
    await walk(
      archive,
      TREE,
      reader.breathe,
      async ({ directory, path, entries }) => {
        add(await reader.read(directory, path, entries));
      },
    );
  }
  const { files, bytes, diskBytes, directories, marked } = reader;
  const digest = hash.digest("hex");
  return { files, directories, bytes, diskBytes, digest, lines, marked };
}

/** The SHA-256 of a file, in hexadecimal digits. */
export async function digestOfFile(
  file: OpenFile,
  signal?: AbortSignal,
  onRead?: ReadOptions["onRead"],
): Promise<string> {
  const { createHash } = await crypt();
  const reader = new Reader(() => createHash("sha256"), { signal, onRead });
  return (await reader.digest(file)).digest;
}

/** Only who puts or verifies needs it: loading it takes some 10 ms. */
async function crypt(): Promise<typeof import("node:crypto")> {
  return await import("node:crypto");
}

/** A piece of a file: a fraction of what is done between two looks at a signal. */
const PIECE = 1 << 20;

class Reader {
  files = 0;
  directories = 0;
  bytes = 0;
  diskBytes = 0;
  readonly marked: string[] = [];
  readonly #mark: string | undefined;
  readonly #trees: readonly string[];
  readonly #newHash: () => Hash;
  readonly #onRead: ReadOptions["onRead"];
  readonly #signal: AbortSignal | undefined;
  readonly #breath: Breath;
  readonly #buffer = new Uint8Array(PIECE);
  /** Files that have more than one name, by inode. */
  readonly #seen = new Map<string, { digest: string; size: number }>();

  constructor(
    newHash: () => Hash,
    { signal, onRead, mark, trees = [] }: ReadOptions,
  ) {
    this.#newHash = newHash;
    this.#mark = mark;
    this.#trees = Deno.build.os === "windows" ? trees : [];
    this.#onRead = onRead;
    this.#signal = signal;
    this.#breath = new Breath(signal);
    signal?.throwIfAborted();
  }

  /** A pause to await if it is time for one. */
  readonly breathe = (): Promise<void> | undefined => this.#breath.due();

  async single(archive: Directory): Promise<ListedDirectory> {
    const kind = look(archive, TREE)?.kind;
    if (kind !== "file") throw notKept(pathIn(archive, TREE));
    const [, ...file] = await this.#file(archive, TREE, ".");
    return {
      path: undefined,
      mode: 0,
      files: [["", ...file]],
      links: [],
      directories: [],
    };
  }

  async read(
    directory: Directory,
    path: string,
    entries: readonly Entry[],
  ): Promise<ListedDirectory> {
    const files: ListedFile[] = [];
    const links: [string, string][] = [];
    const directories: string[] = [];
    for (const { name, kind } of entries) {
      if (kind === "directory") directories.push(name);
      else if (kind === "symlink") {
        const said = linkText(directory, name);
        const text = relativeText(said, path, this.#trees) ?? said;
        if (this.#mark !== undefined && text.includes(this.#mark)) {
          this.marked.push(`${path}/${name}`.slice(1));
        }
        links.push([name, text]);
      } else if (kind === "file") {
        const inner = `${path}/${name}`.slice(1);
        files.push(await this.#file(directory, name, inner));
      } else throw notKept(pathIn(directory, name));
    }
    const pause = this.#breath.due();
    if (pause) await pause;
    this.directories += directories.length;
    const { mode, allocated = 0 } = directory.opened;
    this.diskBytes += allocated;
    return { path, mode, files, links, directories };
  }

  async #file(
    directory: Directory,
    name: string,
    inner: string,
  ): Promise<ListedFile> {
    this.files++;
    const pause = this.#breath.due(); // an empty file has no piece after which to
    if (pause) await pause;
    try {
      using file = patiently(() => directory.openFile(name, "read"));
      const { links, mode, modified } = file.opened;
      const { seconds, nanoseconds } = modified;
      const inode = links > 1 ? inodeKey(file.opened) : undefined;
      let read = inode === undefined ? undefined : this.#seen.get(inode);
      if (!read) {
        read = await this.digest(file, inner);
        this.bytes += read.size;
        this.diskBytes += file.opened.allocated ?? read.size;
        if (inode !== undefined) this.#seen.set(inode, read);
      }
      return [name, read.size, mode, read.digest, seconds, nanoseconds];
    } catch (error) {
      if (error === this.#signal?.reason) throw error;
      throw failure("read", pathIn(directory, name), error);
    }
  }

  async digest(
    file: OpenFile,
    inner = "",
  ): Promise<{ digest: string; size: number }> {
    const hash = this.#newHash();
    let [size, told] = [0, 0];
    for (let n; (n = file.read(this.#buffer)) > 0;) {
      const piece = this.#buffer.subarray(0, n);
      hash.update(piece);
      // What is longer than a piece is no script, and no configuration.
      if (this.#mark !== undefined && n === file.opened.size) {
        if (latin1.decode(piece).includes(this.#mark)) this.marked.push(inner);
      }
      size += n;
      if (n === PIECE) {
        this.#onRead?.(n, 0);
        told += n;
      }
      const pause = this.#breath.due();
      if (pause) await pause;
    }
    this.#onRead?.(size - told, 1);
    return { digest: hash.digest("hex"), size };
  }
}

const latin1 = new TextDecoder("latin1");

function linkText(directory: Directory, name: string): string {
  try {
    return directory.readLink(name);
  } catch (error) {
    throw failure("read", pathIn(directory, name), error);
  }
}

function notKept(path: string): NotKept {
  return new NotKept(
    `Cannot keep "${path}": it is not a file, a directory or a symbolic link in a directory`,
    path,
    "unsupported",
  );
}
