/**
 * Trees that come from elsewhere: from the bytes of a `Tree` message to a listing. The
 * bytes are an enemy's until shown otherwise: all is checked, and counted before any of
 * it is made, since a few kilobytes can claim more files than there is room for.
 *
 * @module
 */

import type { ListedDirectory, ListedFile } from "../link/listing.ts";
import { digestOf } from "./digest.ts";
import type { Digest, RemoteError } from "./engine.ts";
import { FILE_NAME, LIMITS } from "./tree.ts";
import { type Node, Parsing, type Size, tooMany, wrong } from "./tree_parse.ts";
import { Reader } from "./wire.ts";

/** A tree that came. */
export interface DecodedTree {
  /** A line for each directory, parents first. */
  readonly tree: readonly ListedDirectory[];
  /** What is in its files, each content once, in the message's order. None is empty. */
  readonly contents: readonly Digest[];
  /** Whether a file in it is empty. */
  readonly hasEmpty: boolean;
}

/**
 * Decodes a tree, all of it checked.
 *
 * @throws {RemoteError} Of kind `wrong` if it is none, leads out of itself, or is too large.
 */
export function decodeTree(bytes: Uint8Array): DecodedTree {
  if (bytes.length > LIMITS.bytes) throw wrong("it is too large");
  const { root, children } = split(bytes);
  const parsing = new Parsing();
  const known = new Map<string, Node>();
  const top = parsing.directory(root);
  for (const child of children) {
    const { hash, size } = digestOf(child);
    if (known.has(hash)) throw wrong("a directory is in it twice");
    parsing.sized(hash, size);
    known.set(hash, parsing.directory(child));
  }
  const { contents, hasEmpty } = parsing;
  if (top.isFile) return { tree: [single(top, known)], contents, hasEmpty };
  measure(top, known);
  return { tree: expand(top, known), contents, hasEmpty };
}

/** A directory node takes at least so many bytes: the digest's. */
const LEAST = 68;

function split(bytes: Uint8Array) {
  const reader = new Reader(bytes);
  let root: Uint8Array | undefined;
  const children: Uint8Array[] = [];
  for (let field; (field = reader.next()) > 0;) {
    if (field === 1) {
      if (root) throw wrong("it has two roots");
      root = reader.bytes();
    } else if (field === 2) {
      children.push(reader.bytes());
      // Before each is hashed: something in it must name each.
      if (children.length * LEAST > bytes.length) throw unnamed();
    }
  }
  if (!root) throw wrong("it has no root");
  return { root, children };
}

function single(root: Node, known: Map<string, Node>): ListedDirectory {
  const [file, another] = root.files;
  const others = root.links.length + root.directories.length + known.size;
  if (file?.[0] !== FILE_NAME || another || others > 0) {
    throw wrong("it says that it is a file, and is none");
  }
  const { mode, links } = root;
  const files = [["", ...file.slice(1)] as unknown as ListedFile];
  return { path: undefined, mode, files, links, directories: [] };
}

/** Counts from the bottom up, each directory once, however many names it has. */
function measure(root: Node, known: ReadonlyMap<string, Node>): void {
  let reached = 0;
  const visit = (node: Node, level: number): Size => {
    if (node.size) return node.size;
    if (level > LIMITS.depth) throw tooDeep();
    let entries = node.files.length + node.links.length;
    let characters = 0;
    let depth = 0;
    let directories = 0;
    for (const [name] of node.files) characters += name.length;
    for (const [name, text] of node.links) {
      characters += name.length + text.length;
    }
    for (const [name, hash] of node.directories) {
      const inner = known.get(hash);
      if (!inner) throw wrong("a directory is missing");
      const size = visit(inner, level + 1);
      entries += 1 + size.entries;
      directories += 1 + size.directories;
      // Its name is in the path of each that is in it.
      characters += size.characters +
        (name.length + 1) * (1 + size.directories);
      depth = Math.max(depth, 1 + size.depth);
    }
    if (entries > LIMITS.entries) throw tooMany();
    if (characters > LIMITS.characters) throw tooMany();
    if (depth > LIMITS.depth) throw tooDeep();
    reached++;
    return node.size = { entries, depth, directories, characters };
  };
  visit(root, 0);
  if (reached <= known.size) {
    throw unnamed();
  }
}

function expand(
  root: Node,
  known: ReadonlyMap<string, Node>,
): ListedDirectory[] {
  const lines: ListedDirectory[] = [];
  const todo: [path: string, node: Node][] = [["", root]];
  for (let next; (next = todo.pop());) {
    const [path, { mode, files, links, directories, modified }] = next;
    const names = directories.map(([name]) => name);
    const line = { path, mode, files, links, directories: names };
    lines.push(modified ? { ...line, modified } : line);
    for (const [name, hash] of directories.toReversed()) {
      todo.push([`${path}/${name}`, known.get(hash)!]);
    }
  }
  return lines;
}

function unnamed(): RemoteError {
  return wrong("nothing names one of its directories");
}

function tooDeep(): RemoteError {
  return wrong(`it says that it is more than ${LIMITS.depth} directories deep`);
}
