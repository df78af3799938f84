/**
 * The messages of a tree, read and checked one by one.
 *
 * @module
 */

import type { ListedFile, ListedLink } from "../link/listing.ts";
import { printable } from "../os/text.ts";
import { EMPTY, readDigest } from "./digest.ts";
import { type Digest, RemoteError } from "./engine.ts";
import { LIMITS } from "./tree.ts";
import { Reader } from "./wire.ts";

/** A directory of the message. */
export interface Node {
  mode: number;
  isFile: boolean;
  readonly files: ListedFile[];
  modified?: readonly [seconds: number, nanoseconds: number];
  readonly links: ListedLink[];
  readonly directories: [name: string, hash: string][];
  /** Known when it was measured. */
  size?: Size;
}

/** What it is with all that is in it. */
export interface Size {
  readonly entries: number;
  readonly depth: number;
  readonly directories: number;
  /** Characters of the names, and of the paths below it. */
  readonly characters: number;
}

/** What all directories of a message have in common. */
export class Parsing {
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

/** A tree that is none. */
export function wrong(why: string): RemoteError {
  return new RemoteError("wrong", `its tree is not to be trusted: ${why}`);
}

/** One that would not fit. */
export function tooMany(): RemoteError {
  return wrong(`it says that it has more than ${LIMITS.entries} entries`);
}
