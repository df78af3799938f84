/**
 * Trees as the Remote Execution API has them: from a listing to the bytes of a `Tree`
 * message. The way back is in `tree_decode.ts`.
 *
 * A `Tree` is a root directory and all directories below it, each once, parents first.
 * What it has no field for is in properties: `unix_mode` and `mtime`, which others know,
 * and of ours `link` (files of one number are one file with several names) and `kind`
 * (`file`: the tree is the one file in it).
 *
 * @module
 */

import type { ListedDirectory, ListedFile } from "../link/listing.ts";
import { printable } from "../os/text.ts";
import { digestOf, EMPTY, writeDigest } from "./digest.ts";
import type { Digest } from "./engine.ts";
import { Writer } from "./wire.ts";

/** More than this is neither sent nor taken. */
export const LIMITS = {
  /** Files, links and directories. */
  entries: 5_000_000,
  /** Directories in each other. */
  depth: 1000,
  /** Bytes of the message. */
  bytes: 64 << 20,
  /** Characters of all names and paths, which a listing has in full. */
  characters: 1 << 28,
} as const;

/** The name of the file in a tree that is a file. */
export const FILE_NAME = "tree";

/** A tree as it is sent. */
export interface EncodedTree {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly digest: Digest;
  /** What is in its files, each content once, in the message's order. None is empty. */
  readonly contents: readonly Digest[];
}

/** A tree that can't be sent: it is not the server's fault. */
export class UnsendableTree extends Error {
  override name = "UnsendableTree";
  /** The paths in the tree that it is about. */
  readonly paths: readonly string[];
  constructor(message: string, paths: readonly string[] = []) {
    super(message);
    this.paths = paths;
  }
}

/**
 * Encodes a tree.
 *
 * @param tree A line for each directory, parents first.
 * @throws {UnsendableTree} If a name is not UTF-8, or the tree is too large.
 */
export function encodeTree(tree: readonly ListedDirectory[]): EncodedTree {
  checkNames(tree);
  checkSize(tree);
  const first = tree[0];
  if (!first) throw new TypeError("tree must have a root");
  const writer = new Writer();
  const encoded = new Map<string, Encoded>();
  let length = 0;
  // Children first, since their digests are in their parents.
  for (let at = tree.length - 1; at >= 0; at--) {
    const line = tree[at]!;
    writeDirectory(writer, line, encoded);
    const bytes = writer.take();
    encoded.set(line.path ?? "", { line, bytes, digest: digestOf(bytes) });
    length += bytes.length;
    // A guess at what it will be: directories that are alike are sent once.
    if (length > 4 * LIMITS.bytes) throw tooLarge();
  }
  const order = parentsFirst(encoded, first.path ?? "");
  const root = order[0]!;
  writer.bytes(1, root.bytes);
  for (const { bytes } of order.slice(1)) {
    writer.bytes(2, bytes);
    if (writer.length > LIMITS.bytes) throw tooLarge();
  }
  if (writer.length > LIMITS.bytes) throw tooLarge();
  const bytes = writer.take();
  return { bytes, digest: digestOf(bytes), contents: contentsOf(order) };
}

/** The order of names: by code point, as UTF-8 has it, and not by UTF-16 units. */
export function byCodePoint(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const x = a.charCodeAt(at);
    const y = b.charCodeAt(at);
    if (x !== y) return weight(x) - weight(y);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points that are above all others. */
function weight(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

interface Encoded {
  readonly line: ListedDirectory;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly digest: Digest;
}

function tooLarge(): UnsendableTree {
  const most = LIMITS.bytes / (1 << 20);
  return new UnsendableTree(
    `the tree is too large: its list takes more than ${most} MiB`,
  );
}

function checkNames(tree: readonly ListedDirectory[]): void {
  const wrong: string[] = [];
  for (const { path = "", files, links, directories } of tree) {
    const names = [
      ...files.map(([name]) => name),
      ...links.map(([name, text]) =>
        text.isWellFormed() ? name : `${name}\udc80`
      ),
      ...directories,
    ];
    for (const name of names) {
      if (!name.isWellFormed()) wrong.push(`${path}/${name}`.slice(1));
    }
  }
  if (wrong.length === 0) return;
  const more = wrong.length > 3 ? ` and ${wrong.length - 3} more` : "";
  const some = wrong.slice(0, 3).map((it) => `"${printable(it)}"`).join(", ");
  throw new UnsendableTree(
    `names that are not UTF-8 can't be sent: ${some}${more}`,
    wrong,
  );
}

function checkSize(tree: readonly ListedDirectory[]): void {
  let entries = 0;
  for (const { path = "", files, links, directories } of tree) {
    entries += files.length + links.length + directories.length;
    if (path.length >= LIMITS.depth && path.split("/").length > LIMITS.depth) {
      throw new UnsendableTree(
        `the tree is too deep: more than ${LIMITS.depth} directories in each other`,
        [path.slice(1)],
      );
    }
  }
  if (entries <= LIMITS.entries) return;
  throw new UnsendableTree(
    `the tree is too large: it has ${entries} entries, and ${LIMITS.entries} is the most`,
  );
}

/** Each directory once, before all that are in it; and else in the order of names. */
function parentsFirst(
  encoded: ReadonlyMap<string, Encoded>,
  root: string,
): Encoded[] {
  const order: Encoded[] = [];
  const seen = new Set<string>();
  const visit = (path: string) => {
    const directory = encoded.get(path)!;
    if (seen.has(directory.digest.hash)) return;
    seen.add(directory.digest.hash);
    // From the end on, so that the reverse of it is in order.
    const names = directory.line.directories.toSorted(byCodePoint);
    for (const name of names.reverse()) visit(`${path}/${name}`);
    order.push(directory);
  };
  visit(root);
  return order.reverse();
}

function contentsOf(directories: readonly Encoded[]): Digest[] {
  const contents = new Map<string, Digest>();
  for (const { line } of directories) {
    for (const [, size, , hash] of sorted(line.files)) {
      if (hash !== EMPTY.hash) contents.set(hash, { hash, size });
    }
  }
  return [...contents.values()];
}

function sorted<T extends readonly [name: string, ...unknown[]]>(
  entries: readonly T[],
): T[] {
  return entries.toSorted(([a], [b]) => byCodePoint(a, b));
}

function writeDirectory(
  writer: Writer,
  { path, mode, files, links, directories, modified }: ListedDirectory,
  encoded: ReadonlyMap<string, Encoded>,
): void {
  for (const file of sorted(files)) {
    const name = path === undefined ? FILE_NAME : file[0];
    writer.message(1, () => writeFile(writer, name, file));
  }
  for (const name of directories.toSorted(byCodePoint)) {
    const inner = encoded.get(`${path}/${name}`);
    if (!inner) throw new TypeError("tree must have a line for each directory");
    writer.message(2, () => {
      writer.text(1, name);
      writeDigest(writer, 2, inner.digest);
    });
  }
  for (const [name, text, ...time] of sorted(links)) {
    writer.message(3, () => {
      writer.text(1, name);
      writer.text(2, text);
      const [seconds, nanoseconds = 0] = time;
      if (seconds === undefined) return;
      writer.message(4, () => writeTime(writer, seconds, nanoseconds));
    });
  }
  writer.message(5, () => {
    if (path === undefined) writeProperty(writer, "kind", "file");
    if (modified) writeTime(writer, ...modified);
    writeMode(writer, mode);
  });
}

function writeFile(writer: Writer, name: string, file: ListedFile): void {
  const [, size, mode, hash, seconds, nanoseconds, group] = file;
  writer.text(1, name);
  writeDigest(writer, 2, { hash, size });
  writer.number(4, mode & 0o100 ? 1 : 0);
  writer.message(6, () => {
    if (group !== undefined) writeProperty(writer, "link", String(group));
    writeTime(writer, seconds, nanoseconds);
    writeMode(writer, mode);
  });
}

function writeTime(writer: Writer, seconds: number, nanoseconds: number): void {
  writer.message(2, () => {
    writer.number(1, seconds);
    writer.number(2, nanoseconds);
  });
}

function writeProperty(writer: Writer, name: string, value: string): void {
  writer.message(1, () => {
    writer.text(1, name);
    writer.text(2, value);
  });
}

function writeMode(writer: Writer, mode: number): void {
  writer.message(3, () => writer.number(1, mode & 0o777));
}
