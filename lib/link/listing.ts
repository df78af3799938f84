/**
 * What is in a tree, as it was written down when the tree was made. Whoever links the
 * tree compares: what somebody put there since is not handed out.
 *
 * A listing is text: a line for each directory, parents first. A line is the
 * directory's path as JSON, a tab (which JSON never has), and the rest as JSON. A
 * tree that is a file has one line, without a path. Names that are not UTF-8 have lone
 * surrogates (see `os/text.ts`), which JSON keeps.
 *
 * @module
 */

import { CacheError } from "../error.ts";
import type { EntryKind, Time } from "../fs/directory.ts";

/**
 * A file: name, bytes, mode, SHA-256 of its content, when it was last modified; and, if
 * it has several names in the tree, a number that all of them have.
 *
 * @category Remote
 */
export type ListedFile = readonly [
  name: string,
  size: number,
  mode: number,
  digest: string,
  seconds: number,
  nanoseconds: number,
  group?: number,
];

/**
 * A line of a listing: a directory, or a tree that is a file.
 *
 * @category Remote
 */
export interface ListedDirectory {
  /** Below the tree: `""`, `/a/b`; `undefined` for a tree that is a file. */
  readonly path: string | undefined;
  /** Its mode, with setuid, setgid and sticky. */
  readonly mode: number;
  /** Its files. */
  readonly files: readonly ListedFile[];
  /** Symbolic links. */
  readonly links: readonly ListedLink[];
  /** Names of subdirectories. */
  readonly directories: readonly string[];
  /** When it was last modified. */
  readonly modified?: readonly [seconds: number, nanoseconds: number];
}

/**
 * A symbolic link: name, text, and when it was last modified.
 *
 * @category Remote
 */
export type ListedLink = readonly [
  name: string,
  text: string,
  seconds?: number,
  nanoseconds?: number,
];

/** An entry of a listed directory. */
export interface ListedEntry {
  readonly kind: EntryKind;
  /** What is known of a file. */
  readonly file?: ExpectedFile;
}

/** A file as it was written down. */
export interface ExpectedFile {
  /** Bytes. */
  readonly size: number;
  /** Its own time; where it stands it has it, or another one with the mark. */
  readonly modified: Time;
  /** See {@linkcode markOf}. */
  readonly mark: number;
  /** The same for all names of one file; `undefined` if it has only one. */
  readonly group?: number;
}

/**
 * The nanoseconds that the modification time of a file has whose inode is shared by its
 * content: so whoever writes to it is noticed, and its seconds stay true.
 */
export function markOf(digest: string): number {
  return Number.parseInt(digest.slice(0, 12), 16) % 999_999_999 + 1;
}

/** Whether a time has the mark, as exactly as the file system, or Deno, keeps times. */
export function isMarked({ nanoseconds }: Time, mark: number): boolean {
  if (nanoseconds === mark) return true;
  const milliseconds = Math.floor(mark / 1e6) * 1e6;
  return nanoseconds === milliseconds || nanoseconds === mark - mark % 100; // NTFS
}

/** Writes a line, without its end. */
export function listingLine(directory: ListedDirectory): string {
  const { path = null, mode, files, links, directories, modified } = directory;
  const rest = { mode, files, links, directories, modified };
  return `${JSON.stringify(path)}\t${JSON.stringify(rest)}`;
}

/** The same without times, which are no content. */
export function contentLine(directory: ListedDirectory): string {
  const { path = null, mode, directories } = directory;
  const files = directory.files.map((file) => file.slice(0, 4));
  const links = directory.links.map((link) => link.slice(0, 2));
  const rest = { mode, files, links, directories };
  return `${JSON.stringify(path)}\t${JSON.stringify(rest)}`;
}

/** The directory of a line, checked: it may be anybody's text. */
export function parseListingLine(line: string): ListedDirectory {
  const tab = line.indexOf("\t");
  const path = parsePath(line.slice(0, tab < 0 ? undefined : tab));
  return parseRest(path, line.slice(tab + 1));
}

function parseRest(path: string | undefined, text: string): ListedDirectory {
  const { mode, files, links, directories, modified } = parseObject(text);
  const known = new Set<string>();
  const directory: ListedDirectory = {
    path,
    mode: mode as number,
    files: array(files) as ListedDirectory["files"],
    links: array(links) as ListedDirectory["links"],
    directories: array(directories) as ListedDirectory["directories"],
    ...modified !== undefined && {
      modified: modified as NonNullable<ListedDirectory["modified"]>,
    },
  };
  if (modified !== undefined && !isTime(...array(modified))) {
    throw damaged("a time");
  }
  if (!isMode(mode)) throw damaged(`mode ${String(mode)}`);
  for (const file of directory.files) checkFile(file, known, path);
  for (const link of directory.links) {
    const [, , ...time] = array(link);
    if (time.length > 0 && !isTime(...time)) throw damaged("a link");
    checkName(link[0], known);
    if (typeof link[1] !== "string" || /^$|\0/.test(link[1])) {
      throw damaged("a link");
    }
  }
  for (const name of directory.directories) checkName(name, known);
  const isFile = directory.files.length === 1 && known.size === 0;
  if (path === undefined && !isFile) throw damaged("what is not a file");
  return directory;
}

/** Finds directories in a listing. A line is parsed when its directory is asked for. */
export class Listing {
  /** All of it. It may travel to a worker. */
  readonly text: string;
  /** What follows a path in its line. */
  readonly #lines = new Map<string, string>();

  /**
   * A listing.
   *
   * @throws {CacheError} Of kind `damaged` if it is none.
   */
  constructor(text: string) {
    this.text = text;
    for (let at = 0; at < text.length;) {
      const end = text.indexOf("\n", at);
      const line = text.slice(at, end < 0 ? undefined : end);
      at = end < 0 ? text.length : end + 1;
      const tab = Math.max(0, line.indexOf("\t"));
      const path = parsePath(line.slice(0, tab));
      const key = path ?? FILE;
      if (this.#lines.has(key)) throw damaged(`${JSON.stringify(path)} twice`);
      this.#lines.set(key, line.slice(tab + 1));
    }
  }

  /**
   * All of it, parents first.
   *
   * @throws {CacheError} Of kind `damaged` if a line is damaged.
   */
  *directories(): Generator<ListedDirectory> {
    for (const line of this.text.split("\n")) {
      if (line !== "") yield parseListingLine(line);
    }
  }

  /** Whether the tree is a file. */
  get isFile(): boolean {
    return this.#lines.has(FILE);
  }

  /**
   * What is known of a tree that is a file; `undefined` if it is a directory.
   *
   * @throws {CacheError} Of kind `damaged` if its line is damaged.
   */
  get file(): ExpectedFile | undefined {
    return this.directory(FILE)?.get("")?.file;
  }

  /**
   * What is in a directory, by name; `undefined` if it is not listed.
   *
   * @throws {CacheError} Of kind `damaged` if its line is damaged.
   */
  directory(path: string): ReadonlyMap<string, ListedEntry> | undefined {
    const text = this.#lines.get(path);
    if (text === undefined) return undefined;
    const { files, links, directories } = parseRest(
      path === FILE ? undefined : path,
      text,
    );
    const entries = new Map<string, ListedEntry>();
    for (const [name, ...known] of files) {
      const [size, , digest, seconds, nanoseconds, group] = known;
      const file: ExpectedFile = {
        size,
        modified: { seconds, nanoseconds },
        mark: markOf(digest),
        ...group !== undefined && { group },
      };
      entries.set(name, { kind: "file", file });
    }
    for (const [name] of links) entries.set(name, { kind: "symlink" });
    for (const name of directories) entries.set(name, { kind: "directory" });
    return entries;
  }
}

/** What no path is: each is empty or begins with a slash. */
const FILE = "file";

function damaged(what: string): CacheError {
  return new CacheError(`A listing is damaged: ${what}`, "", "damaged");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw damaged("a line is not JSON");
  }
}

function parsePath(text: string): string | undefined {
  const path = parse(text);
  if (path === null) return undefined;
  if (path === "") return "";
  if (typeof path === "string" && path.startsWith("/")) {
    if (path.slice(1).split("/").every(isName)) return path;
  }
  throw damaged("a path");
}

function parseObject(text: string): Record<string, unknown> {
  const value = parse(text);
  if (typeof value === "object" && value !== null) {
    return value as Record<string, unknown>;
  }
  throw damaged("a line");
}

function array(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw damaged("a list");
}

function checkFile(
  file: unknown,
  known: Set<string>,
  path: string | undefined,
): void {
  const fields = array(file);
  const [name, size, mode, digest, seconds, nanoseconds, group] = fields;
  if (path !== undefined) checkName(name, known);
  else if (name !== "") throw damaged("a file's name");
  const isSize = Number.isSafeInteger(size) && (size as number) >= 0;
  const isGroup = group === undefined || Number.isSafeInteger(group);
  const isWhole = isSize && isMode(mode) && isDigest(digest) &&
    isTime(seconds, nanoseconds) && isGroup;
  if (!isWhole || fields.length > 7) {
    throw damaged(`the file ${JSON.stringify(name)}`);
  }
}

function checkName(name: unknown, known: Set<string>): void {
  if (typeof name !== "string" || !isName(name) || known.has(name)) {
    throw damaged(`the name ${JSON.stringify(name)}`);
  }
  known.add(name);
}

/** What a directory can have, and nothing that leads out of it. */
function isName(name: string): boolean {
  if (name === "" || name === "." || name === ".." || name.includes("\0")) {
    return false;
  }
  return !name.includes("/") &&
    !(Deno.build.os === "windows" && name.includes("\\"));
}

function isTime(
  seconds?: unknown,
  nanoseconds?: unknown,
  ...more: unknown[]
): boolean {
  return more.length === 0 && Number.isSafeInteger(seconds) &&
    Number.isInteger(nanoseconds) && (nanoseconds as number) >= 0 &&
    (nanoseconds as number) < 1e9;
}

function isMode(mode: unknown): boolean {
  return Number.isInteger(mode) && (mode as number) >= 0 &&
    (mode as number) <= 0o7777;
}

function isDigest(digest: unknown): boolean {
  return typeof digest === "string" && /^[0-9a-f]{64}$/.test(digest);
}
