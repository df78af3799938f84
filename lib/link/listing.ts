/**
 * What is in a tree, as it was written down when the tree was made: linking it out then
 * takes no listing of directories, and no look at files that are only hard-linked.
 *
 * @module
 */

/** A file: name, bytes, mode, SHA-256 of its content. */
export type ListedFile = [
  name: string,
  size: number,
  mode: number,
  digest: string,
];

/** One line of a listing: a directory, or a tree that is a file (then without `path`). */
export interface ListedDirectory {
  /** Below the tree: `""`, `/a/b`. */
  readonly path?: string;
  readonly mode?: number;
  readonly files: ListedFile[];
  /** Symbolic links: name and text. */
  readonly links: [name: string, text: string][];
  /** Names of subdirectories. */
  readonly directories: string[];
}

/** An entry of a directory, listed or read. */
export interface Item {
  readonly name: string;
  readonly isDirectory: boolean;
  readonly isSymlink: boolean;
  readonly isFile: boolean;
  /** Of a file, if it is known. */
  readonly size?: number;
}

/** Finds directories in a listing. A line is parsed when its directory is asked for. */
export class Listing {
  readonly #lines = new Map<string, string>();

  /** @param path A file with a header and lines of JSON, each a {@linkcode ListedDirectory}. */
  constructor(path: string) {
    for (const line of Deno.readTextFileSync(path).split("\n")) {
      const [, quoted] = /^\{"path":("(?:[^"\\]|\\.)*")/.exec(line) ?? [];
      if (quoted) this.#lines.set(JSON.parse(quoted), line);
    }
  }

  /** What is in a directory; `undefined` if it is not listed. */
  directory(path: string): Item[] | undefined {
    const line = this.#lines.get(path);
    if (line === undefined) return undefined;
    const { files, links, directories }: ListedDirectory = JSON.parse(line);
    return [
      ...files.map(([name, size]) => item(name, "file", size)),
      ...links.map(([name]) => item(name, "link")),
      ...directories.map((name) => item(name, "directory")),
    ];
  }
}

function item(
  name: string,
  kind: "file" | "link" | "directory",
  size?: number,
): Item {
  return {
    name,
    isDirectory: kind === "directory",
    isSymlink: kind === "link",
    isFile: kind === "file",
    ...size !== undefined && { size },
  };
}

/** What a file is, found out when it is asked for; its size is known. */
export class ListedInfo {
  readonly #path: string;
  #info: Deno.FileInfo | undefined;
  /** Its size in bytes. */
  readonly size: number;

  constructor(path: string, size: number) {
    this.#path = path;
    this.size = size;
  }

  #look(): Deno.FileInfo {
    return this.#info ??= Deno.lstatSync(this.#path);
  }

  get dev(): number {
    return this.#look().dev;
  }
  get ino(): number | null {
    return this.#look().ino;
  }
  get nlink(): number | null {
    return this.#look().nlink;
  }
  get mode(): number | null {
    return this.#look().mode;
  }
  get atime(): Date | null {
    return this.#look().atime;
  }
  get mtime(): Date | null {
    return this.#look().mtime;
  }
}
