/**
 * Reads what is in a tree: all of it, so that it can be written down, or compared with
 * what was.
 *
 * @module
 */

import type { Hash } from "node:crypto";
import { kindOfError } from "../error.ts";
import {
  type Directory,
  type Entry,
  inodeKey,
  type OpenFile,
  pathIn,
  type Status,
  type Time,
} from "../fs/directory.ts";
import { relativeText } from "../fs/links.ts";
import {
  contentLine,
  type ListedDirectory,
  type ListedFile,
  type ListedLink,
  listingLine,
  parseListingLine,
} from "../link/listing.ts";
import { Breath, patiently } from "../os/patience.ts";
import type { ContentStore, SharingIn } from "./content_store.ts";
import { TREE } from "./layout.ts";
import { failure, look } from "./root.ts";
import { NotKept, walk } from "./walk.ts";

/** What a tree holds. */
export interface Content {
  readonly files: number;
  readonly directories: number;
  /** Bytes of all files; what has several names counts once. */
  readonly bytes: number;
  /** Bytes on the disk that it takes in addition to what others share with it. */
  readonly diskBytes: number;
  /** Bytes on the disk of what nobody can share: directories, files that are not stored. */
  readonly ownBytes: number;
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
  /** Where its files are shared by their content. Without it, nothing is changed. */
  store?: ContentStore | undefined;
  /** Inodes that were read already, for those who read several trees. */
  seen?: Map<string, SeenFile>;
  /**
   * Whether it is read to be put: modes are those that an archive has, and names of one
   * file are told.
   */
  isSource?: boolean;
  /** Called with each file. */
  onFile?: (digest: string, mode: number, size: number) => void;
}

/** A file that was read. */
export interface SeenFile {
  readonly digest: string;
  readonly size: number;
  readonly modified: Time;
  /** The number that all names of it have in a listing. */
  readonly group: number;
}

/**
 * Reads all of the tree in an archive's directory.
 *
 * @throws {NotKept} If there is something that a cache can't keep.
 * @throws {CacheError} If something can't be read.
 */
export function readContent(
  archive: Directory,
  options: ReadOptions = {},
): Promise<Content> {
  return readTree(archive, TREE, options);
}

/** Reads all of a tree, or a file. */
export async function readTree(
  parent: Directory,
  name: string,
  options: ReadOptions,
): Promise<Content> {
  const { createHash } = await crypt();
  const reader = new Reader(() => createHash("sha256"), options);
  const hash = createHash("sha256");
  const lines: string[] = [];
  const add = (directory: ListedDirectory) => {
    lines.push(listingLine(directory));
    hash.update(`${contentLine(directory)}\n`);
  };
  const status = look(parent, name);
  if (status && status.kind !== "directory") {
    add(await reader.single(parent, name));
  } else {
    await walk(
      parent,
      name,
      reader.breathe,
      async ({ directory, path, entries }) => {
        add(await reader.read(directory, path, entries));
      },
    );
  }
  const { files, bytes, diskBytes, ownBytes, directories, marked } = reader;
  const digest = hash.digest("hex");
  const size = { files, directories, bytes, diskBytes, ownBytes };
  return { ...size, digest, lines, marked };
}

/**
 * What a tree will have in it that is made of a listing, which may be anybody's: names
 * and all else are checked.
 *
 * @throws {CacheError} Of kind `damaged` if it is none.
 */
export async function contentOf(
  tree: readonly ListedDirectory[],
): Promise<Omit<Content, "diskBytes" | "ownBytes">> {
  const { createHash } = await crypt();
  const hash = createHash("sha256");
  const lines: string[] = [];
  const groups = new Set<number>();
  let [files, directories, bytes] = [0, 0, 0];
  for (const directory of inOrder(tree)) {
    const line = listingLine(directory);
    parseListingLine(line); // which checks it
    lines.push(line);
    hash.update(`${contentLine(directory)}\n`);
    files += directory.files.length;
    directories += directory.directories.length;
    for (const [, size, , , , , group] of directory.files) {
      if (group === undefined || !groups.has(group)) bytes += size;
      if (group !== undefined) groups.add(group);
    }
  }
  const digest = hash.digest("hex");
  return { files, directories, bytes, digest, lines, marked: [] };
}

/** Directories and entries in the order in which they are walked. */
function* inOrder(
  tree: readonly ListedDirectory[],
): Generator<ListedDirectory> {
  const byPath = new Map(tree.map((it) => [it.path, it]));
  type Named = readonly [name: string, ...unknown[]];
  const byName = ([a]: Named, [b]: Named) => a < b ? -1 : 1;
  const todo = tree[0] ? [tree[0]] : [];
  for (let next; (next = todo.pop());) {
    const directories = next.directories.toSorted();
    yield {
      ...next,
      files: next.files.toSorted(byName),
      links: next.links.toSorted(byName),
      directories,
    };
    for (const name of directories.toReversed()) {
      const inner = byPath.get(`${next.path}/${name}`);
      if (inner) todo.push(inner);
    }
  }
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

/**
 * Gives the SHA-256 of a file by its name, and whether it had to be read; `undefined` if
 * it is gone.
 */
export type DigestIn = (
  directory: Directory,
  name: string,
) => Promise<{ digest: string; isFirst: boolean } | undefined>;

/** Reads files that are in no tree. */
export async function digester(options: ReadOptions): Promise<DigestIn> {
  const { createHash } = await crypt();
  const reader = new Reader(() => createHash("sha256"), options);
  return async (directory, name) => {
    try {
      return await reader.alone(directory, name);
    } catch (error) {
      if (kindOfError(error) === "not-found") return undefined;
      throw error;
    }
  };
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
  ownBytes = 0;
  readonly marked: string[] = [];
  readonly #mark: string | undefined;
  readonly #trees: readonly string[];
  readonly #newHash: () => Hash;
  readonly #onRead: ReadOptions["onRead"];
  readonly #signal: AbortSignal | undefined;
  readonly #breath: Breath;
  readonly #buffer = new Uint8Array(PIECE);
  /** Files that have more than one name, by inode. */
  readonly #seen: Map<string, SeenFile>;
  readonly #store: ContentStore | undefined;
  readonly #isSource: boolean;
  /** Whether names of one file are told. */
  readonly #groups: boolean;
  readonly #onFile: ReadOptions["onFile"];

  constructor(
    newHash: () => Hash,
    { signal, onRead, mark, trees = [], store, seen, ...how }: ReadOptions,
  ) {
    this.#isSource = how.isSource === true;
    this.#groups = this.#isSource || store !== undefined;
    this.#onFile = how.onFile;
    this.#store = store;
    this.#seen = seen ?? new Map();
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

  async single(parent: Directory, name: string): Promise<ListedDirectory> {
    const kind = look(parent, name)?.kind;
    if (kind !== "file") throw notKept(pathIn(parent, name));
    using sharing = this.#store?.in(parent);
    const [, ...file] = await this.#file(parent, name, ".", sharing);
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
    using sharing = this.#store?.in(directory);
    const files: ListedFile[] = [];
    const links: ListedLink[] = [];
    const directories: string[] = [];
    for (const { name, kind } of entries) {
      if (kind === "directory") directories.push(name);
      else if (kind === "symlink") {
        const said = linkText(directory, name);
        const text = relativeText(said, path, this.#trees) ?? said;
        if (this.#mark !== undefined && text.includes(this.#mark)) {
          this.marked.push(`${path}/${name}`.slice(1));
        }
        const { seconds, nanoseconds } = look(directory, name)?.modified ??
          directory.opened.modified;
        links.push([name, text, seconds, nanoseconds]);
      } else if (kind === "file") {
        const inner = `${path}/${name}`.slice(1);
        files.push(await this.#file(directory, name, inner, sharing));
      } else throw notKept(pathIn(directory, name));
    }
    const pause = this.#breath.due();
    if (pause) await pause;
    this.directories += directories.length;
    const { mode: all, allocated = 0 } = directory.opened;
    // As what copies it for an archive does.
    const mode = this.#isSource ? all & 0o1777 : all;
    this.diskBytes += allocated;
    this.ownBytes += allocated;
    const { seconds, nanoseconds } = directory.opened.modified;
    const modified = [seconds, nanoseconds] as const;
    return { path, mode, files, links, directories, modified };
  }

  async #file(
    directory: Directory,
    name: string,
    inner: string,
    sharing: SharingIn | undefined,
  ): Promise<ListedFile> {
    this.files++;
    const pause = this.#breath.due(); // an empty file has no piece after which to
    if (pause) await pause;
    try {
      const { status, read, isFirst } = await this.#read(
        directory,
        name,
        inner,
      );
      const { size, digest, modified, group } = read;
      const { seconds, nanoseconds } = modified;
      // Others may lose their names here: what is known of it is from before.
      const how = sharing?.file(name, { ...status, modified }, digest) ?? "own";
      const onDisk = isFirst ? status.allocated ?? size : 0;
      if (isFirst) this.bytes += size;
      if (how !== "known") this.diskBytes += onDisk;
      if (how === "own") this.ownBytes += onDisk;
      const isAlone = group < 0 || !this.#groups;
      const mode = this.#isSource ? status.mode & 0o777 : status.mode;
      this.#onFile?.(digest, mode, size);
      const file = [name, size, mode, digest, seconds, nanoseconds];
      return (isAlone ? file : [...file, group]) as unknown as ListedFile;
    } catch (error) {
      if (error === this.#signal?.reason) throw error;
      throw failure("read", pathIn(directory, name), error);
    }
  }

  async alone(directory: Directory, name: string) {
    const { read, isFirst } = await this.#read(directory, name, name);
    return { digest: read.digest, isFirst };
  }

  /** Reads a file, unless it was read by another name. */
  async #read(
    directory: Directory,
    name: string,
    inner: string,
  ): Promise<{ status: Status; read: SeenFile; isFirst: boolean }> {
    using file = patiently(() => directory.openFile(name, "read"));
    const status = file.opened;
    const { links, modified } = status;
    // Of a file that is shared meanwhile, the last name is alone.
    const mayBeSeen = links > 1 || this.#groups && this.#seen.size > 0;
    const inode = mayBeSeen ? inodeKey(status) : undefined;
    // An inode that was read and is another's by now has changed since.
    const key = inode === undefined || this.#groups
      ? inode
      : `${inode}:${modified.seconds}:${modified.nanoseconds}:${status.size}`;
    const seen = key === undefined ? undefined : this.#seen.get(key);
    if (seen) {
      // Of several trees that share it, each has it.
      if (!this.#groups) this.#onRead?.(seen.size, 1);
      return { status, read: seen, isFirst: false };
    }
    const { digest, size } = await this.digest(file, inner);
    const isGroup = key !== undefined && links > 1;
    const group = isGroup ? this.#seen.size : -1;
    const read = { digest, size, modified, group };
    if (isGroup) this.#seen.set(key, read);
    return { status, read, isFirst: true };
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
