/**
 * Trees that come from elsewhere: from the bytes of a `Tree` message to a listing. The
 * bytes are an enemy's until shown otherwise: all is checked, and counted before any of
 * it is made, since a few kilobytes can claim more files than there is room for.
 *
 * @module
 */

import type {
  ListedDirectory,
  ListedFile,
  ListedLink,
} from "../link/listing.ts";
import { printable } from "../os/text.ts";
import { digestOf, EMPTY, readDigest } from "./digest.ts";
import { type Digest, RemoteError } from "./engine.ts";
import { FILE_NAME, LIMITS } from "./tree.ts";
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

/** A directory of the message. */
interface Node {
  mode: number;
  isFile: boolean;
  modified?: readonly [seconds: number, nanoseconds: number];
  readonly files: ListedFile[];
  readonly links: ListedLink[];
  readonly directories: [name: string, hash: string][];
  /** What it is with all that is in it. Known when it was measured. */
  size?: Size;
}

interface Size {
  readonly entries: number;
  readonly depth: number;
  readonly directories: number;
  /** Characters of the names, and of the paths below it. */
  readonly characters: number;
}

/** What all directories of a message have in common. */
class Parsing {
  hasEmpty = false;
  readonly #contents = new Map<string, Digest>();
  readonly #sizes = new Map<string, number>();
  readonly #groups = new Map<number, string>();
  #entries = 0;

  get contents(): Digest[] {
    return [...this.#contents.values()];
  }

  /** Refuses a digest that is there with another size. */
  sized(hash: string, size: number): void {
    const known = this.#sizes.get(hash);
    if (known === undefined) this.#sizes.set(hash, size);
    else if (known !== size) throw wrong("it has a digest with two sizes");
  }

  directory(bytes: Uint8Array): Node {
    const node: Node = {
      mode: 0o755,
      isFile: false,
      files: [],
      links: [],
      directories: [],
    };
    const names = new Set<string>();
    const reader = new Reader(bytes);
    for (let field; (field = reader.next()) > 0;) {
      if (field <= 3 && ++this.#entries > LIMITS.entries) throw tooMany();
      if (field === 1) node.files.push(this.#file(reader.bytes(), names));
      else if (field === 2) {
        node.directories.push(this.#child(reader.bytes(), names));
      } else if (field === 3) node.links.push(parseLink(reader.bytes(), names));
      else if (field === 5) {
        const { mode = 0o755, kind, ...time } = parseProperties(reader.bytes());
        const { seconds, nanoseconds = 0 } = time;
        node.mode = mode;
        node.isFile = kind === "file";
        if (seconds !== undefined) node.modified = [seconds, nanoseconds];
      }
    }
    return node;
  }

  #file(bytes: Uint8Array, names: Set<string>): ListedFile {
    const reader = new Reader(bytes);
    let name = "";
    let digest: Digest | undefined;
    let isExecutable = false;
    let properties: Properties = {};
    for (let field; (field = reader.next()) > 0;) {
      if (field === 1) name = reader.text();
      else if (field === 2) digest = readDigest(reader.bytes());
      else if (field === 4) isExecutable = reader.number() !== 0;
      else if (field === 6) properties = parseProperties(reader.bytes());
    }
    checkName(name, names);
    if (!digest) throw wrong(`"${printable(name)}" has no digest`);
    const { hash, size } = digest;
    this.sized(hash, size);
    if (hash === EMPTY.hash) this.hasEmpty = true;
    else if (!this.#contents.has(hash)) this.#contents.set(hash, digest);
    const { mode = isExecutable ? 0o755 : 0o644, link } = properties;
    const { seconds = 0, nanoseconds = 0 } = properties;
    const file: ListedFile = [name, size, mode, hash, seconds, nanoseconds];
    return link === undefined ? file : this.#grouped(file, link);
  }

  /** One file with several names has one content, mode and time. */
  #grouped(file: ListedFile, link: string): ListedFile {
    const group = /^\d{1,15}$/.test(link) ? Number(link) : NaN;
    const same = file.slice(1).join(" ");
    const known = this.#groups.get(group) ?? same;
    if (known !== same || String(group) !== link) {
      throw wrong("it has a hard link that is none");
    }
    this.#groups.set(group, same);
    const [name, size, mode, digest, seconds, nanoseconds] = file;
    return [name, size, mode, digest, seconds, nanoseconds, group];
  }

  #child(bytes: Uint8Array, names: Set<string>): [string, string] {
    const reader = new Reader(bytes);
    let name = "";
    let digest: Digest | undefined;
    for (let field; (field = reader.next()) > 0;) {
      if (field === 1) name = reader.text();
      else if (field === 2) digest = readDigest(reader.bytes());
    }
    checkName(name, names);
    // A directory without anything, not even a mode, is no bytes.
    const { hash, size } = digest ?? EMPTY;
    this.sized(hash, size);
    return [name, hash];
  }
}

function parseLink(bytes: Uint8Array, names: Set<string>): ListedLink {
  const reader = new Reader(bytes);
  let name = "";
  let text = "";
  let time: Properties = {};
  for (let field; (field = reader.next()) > 0;) {
    if (field === 1) name = reader.text();
    else if (field === 2) text = reader.text();
    else if (field === 4) time = parseProperties(reader.bytes());
  }
  checkName(name, names);
  if (text === "" || text.includes("\0")) {
    throw wrong(`the link "${printable(name)}" leads nowhere`);
  }
  const { seconds, nanoseconds = 0 } = time;
  if (seconds === undefined) return [name, text];
  return [name, text, seconds, nanoseconds];
}

interface Properties {
  mode?: number;
  seconds?: number;
  nanoseconds?: number;
  kind?: string;
  link?: string;
}

function parseProperties(bytes: Uint8Array): Properties {
  const reader = new Reader(bytes);
  const found: Properties = {};
  for (let field; (field = reader.next()) > 0;) {
    if (field === 1) {
      const { 1: name, 2: value = "" } = parseTexts(reader.bytes());
      if (name === "kind" || name === "link") found[name] = value;
    } else if (field === 2) {
      const { 1: seconds = 0, 2: nanoseconds = 0 } = parseNumbers(
        reader.bytes(),
      );
      if (nanoseconds < 0 || nanoseconds >= 1e9) throw wrong("it has no time");
      Object.assign(found, { seconds, nanoseconds });
    } else if (field === 3) {
      // Neither setuid nor setgid nor sticky come from elsewhere.
      found.mode = (parseNumbers(reader.bytes())[1] ?? 0) % 0o1000;
      if (found.mode < 0) throw wrong("it has a mode that is none");
    }
  }
  return found;
}

function parseTexts(bytes: Uint8Array): { [field: number]: string } {
  const reader = new Reader(bytes);
  const found: { [field: number]: string } = {};
  for (let field; (field = reader.next()) > 0;) {
    if (field <= 2) found[field] = reader.text();
  }
  return found;
}

function parseNumbers(bytes: Uint8Array): { [field: number]: number } {
  const reader = new Reader(bytes);
  const found: { [field: number]: number } = {};
  for (let field; (field = reader.next()) > 0;) {
    if (field <= 2) found[field] = reader.number();
  }
  return found;
}

const isWindows = Deno.build.os === "windows";

/** What a directory can have once, and nothing that leads out of it. */
function checkName(name: string, known: Set<string>): void {
  const isBad = name === "" || name === "." || name === ".." ||
    name.includes("/") || name.includes("\0") ||
    (isWindows && name.includes("\\"));
  if (isBad) throw wrong(`"${printable(name)}" is no name`);
  if (known.has(name)) {
    throw wrong(`"${printable(name)}" is twice in a directory`);
  }
  known.add(name);
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

function wrong(why: string): RemoteError {
  return new RemoteError("wrong", `its tree is not to be trusted: ${why}`);
}

function unnamed(): RemoteError {
  return wrong("nothing names one of its directories");
}

function tooMany(): RemoteError {
  return wrong(`it says that it has more than ${LIMITS.entries} entries`);
}

function tooDeep(): RemoteError {
  return wrong(`it says that it is more than ${LIMITS.depth} directories deep`);
}
