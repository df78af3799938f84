/**
 * What is in an archive, written down when it is put: so that it can be verified, and
 * counted without being walked.
 *
 * A manifest is lines of JSON: a header, then each directory, in an order that
 * depends on nothing but the names.
 *
 * @module
 */

import type { Hash } from "node:crypto";
import { CacheError, osFailure } from "../error.ts";
import type { ListedDirectory, ListedFile } from "../link/listing.ts";
import { osErrorText } from "../os/error.ts";

/** The first line. */
export interface Header {
  readonly version: 1;
  readonly bucket: string;
  readonly key: string;
  /** When it was put: an ISO 8601 date and time. */
  readonly created: string;
  readonly files: number;
  readonly directories: number;
  /** Bytes of all files; what has several names counts once. */
  readonly bytes: number;
  /** SHA-256 of the other lines, in hexadecimal digits. */
  readonly digest: string;
}

/** What a walk over a tree finds. */
export interface Content {
  readonly files: number;
  readonly directories: number;
  readonly bytes: number;
  readonly digest: string;
  /** The lines after the header. */
  readonly lines: readonly string[];
}

/** Called with each path of a tree before it is read. Says whether it changed it. */
export type Visit = (path: string, info: Deno.FileInfo) => boolean;

/** How a tree is read. */
export interface ReadOptions {
  /** Stops the reading. */
  signal?: AbortSignal;
  visit?: Visit;
  /** Called with the size of each file that was read. */
  onFile?: (bytes: number) => void;
}

/**
 * Walks a tree and reads all of it.
 *
 * @throws {CacheError} If there is something that is no file, directory or link.
 */
export async function readContent(
  tree: string,
  options: ReadOptions = {},
): Promise<Content> {
  // Only who puts or verifies needs it: loading it takes some 10 ms.
  const { createHash } = await import("node:crypto");
  const walk = new Walk(() => createHash("sha256"), options);
  const lines: string[] = [];
  if (!Deno.lstatSync(tree).isDirectory) {
    lines.push(JSON.stringify(walk.single(tree)));
  } else {
    const open = [""];
    for (let path; (path = open.pop()) !== undefined;) {
      const line = walk.directory(tree, path);
      lines.push(JSON.stringify(line));
      for (const name of line.directories.toReversed()) {
        open.push(`${path}/${name}`);
      }
      if (lines.length % 64 === 0 && options.signal) {
        await new Promise((resolve) => setTimeout(resolve, 0));
        options.signal.throwIfAborted();
      }
    }
  }
  const hash = createHash("sha256");
  for (const line of lines) hash.update(`${line}\n`);
  const { files, bytes, directories } = walk;
  return { files, directories, bytes, digest: hash.digest("hex"), lines };
}

class Walk {
  files = 0;
  directories = 0;
  bytes = 0;
  readonly #newHash: () => Hash;
  readonly #visit: Visit | undefined;
  readonly #onFile: ((bytes: number) => void) | undefined;
  readonly #buffer = new Uint8Array(1 << 20);
  /** Files that have more than one name here, by device and inode. */
  readonly #seen = new Map<string, string>();

  constructor(newHash: () => Hash, { visit, onFile }: ReadOptions) {
    this.#newHash = newHash;
    this.#visit = visit;
    this.#onFile = onFile;
  }

  single(path: string): ListedDirectory {
    const info = this.#look(path);
    if (!info.isFile) throw notKept(path);
    return { files: [this.#file(path, "", info)], links: [], directories: [] };
  }

  directory(tree: string, path: string): ListedDirectory {
    const full = tree + path;
    const mode = this.#look(full).mode ?? 0;
    const line: Required<ListedDirectory> = {
      path,
      mode: mode & 0o777,
      files: [],
      links: [],
      directories: [],
    };
    const entries = [...Deno.readDirSync(full)]
      .sort((a, b) => a.name < b.name ? -1 : 1);
    for (const { name, isDirectory, isSymlink, isFile } of entries) {
      const inner = `${full}/${name}`;
      if (isDirectory) line.directories.push(name);
      else if (isSymlink) line.links.push([name, Deno.readLinkSync(inner)]);
      else if (isFile) {
        line.files.push(this.#file(inner, name, this.#look(inner)));
      } else {
        throw notKept(inner);
      }
    }
    this.directories += line.directories.length;
    return line;
  }

  #look(path: string): Deno.FileInfo {
    const info = Deno.lstatSync(path);
    return this.#visit?.(path, info) ? Deno.lstatSync(path) : info;
  }

  #file(path: string, name: string, info: Deno.FileInfo): ListedFile {
    this.files++;
    const { nlink, dev, ino, size, mode } = info;
    const inode = (nlink ?? 1) > 1 ? `${dev}:${ino}` : undefined;
    let digest = inode && this.#seen.get(inode);
    if (!digest) {
      this.bytes += size;
      digest = this.#digest(path);
      this.#onFile?.(size);
      if (inode) this.#seen.set(inode, digest);
    }
    return [name, size, (mode ?? 0) & 0o777, digest];
  }

  #digest(path: string): string {
    const hash = this.#newHash();
    using file = Deno.openSync(path);
    for (let read; (read = file.readSync(this.#buffer)) !== null;) {
      hash.update(this.#buffer.subarray(0, read));
    }
    return hash.digest("hex");
  }
}

function notKept(path: string): CacheError {
  return new CacheError(
    `Cannot keep "${path}": it is no file, directory or symbolic link in a directory`,
    path,
    "unsupported",
  );
}

/** The text of a manifest. */
export function manifestText(header: Header, { lines }: Content): string {
  return [JSON.stringify(header), ...lines, ""].join("\n");
}

/** Reads the first line only. */
export function readHeader(path: string): Header {
  const decoder = new TextDecoder();
  let text = "";
  using file = Deno.openSync(path);
  const buffer = new Uint8Array(4096);
  for (let read; (read = file.readSync(buffer)) !== null;) {
    text += decoder.decode(buffer.subarray(0, read), { stream: true });
    const end = text.indexOf("\n");
    if (end >= 0) return parseHeader(path, text.slice(0, end));
  }
  return parseHeader(path, text);
}

function parseHeader(path: string, line: string): Header {
  try {
    const header: Header = JSON.parse(line);
    if (header.version === 1 && typeof header.key === "string") return header;
  } catch {
    // said below
  }
  throw new CacheError(`"${path}" is no manifest`, path, "invalid");
}

/**
 * Compares an archive with its manifest.
 *
 * @returns What is wrong, the first ten of it; empty if nothing is.
 */
export async function checkArchive(
  archive: string,
  options: ReadOptions = {},
): Promise<string[]> {
  let lines: string[];
  let now: Content;
  try {
    const manifest = `${archive}/manifest`;
    const { digest } = readHeader(manifest);
    lines = Deno.readTextFileSync(manifest).split("\n").slice(1, -1);
    now = await readContent(`${archive}/tree`, options);
    const same = lines.length === now.lines.length &&
      lines.every((line, i) => line === now.lines[i]);
    if (same && now.digest === digest) return [];
  } catch (error) {
    if (options.signal?.aborted) throw error;
    return [
      error instanceof CacheError ? error.message : osErrorText(error),
    ];
  }
  const wrong = [...differences(lines, now.lines)];
  if (wrong.length === 0) wrong.push("The manifest itself is damaged");
  return wrong.slice(0, 10);
}

function* differences(
  before: readonly string[],
  after: readonly string[],
): Generator<string> {
  const then = byPath(before);
  const now = byPath(after);
  for (const [path, what] of then) {
    const is = now.get(path);
    if (is === undefined) yield `"${path}" is missing`;
    else if (is !== what) yield `"${path}" has changed`;
  }
  for (const path of now.keys()) {
    if (!then.has(path)) yield `"${path}" was not there`;
  }
}

function byPath(lines: readonly string[]): Map<string, string> {
  const all = new Map<string, string>();
  for (const text of lines) {
    let line: ListedDirectory;
    try {
      line = JSON.parse(text);
    } catch {
      continue; // then its digest does not match
    }
    const { path = "", mode, files, links } = line;
    if (mode !== undefined) all.set(`${path}/`, String(mode));
    for (const [name, ...what] of [...files, ...links]) {
      all.set(`${path}/${name}`, JSON.stringify(what));
    }
  }
  return all;
}

/** Wraps what the OS said to a walk. */
export function contentFailure(path: string, error: unknown): CacheError {
  return error instanceof CacheError ? error : osFailure("read", path, error);
}
