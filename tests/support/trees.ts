/** Trees for the tests of remotes. */

import { createHash } from "node:crypto";
import {
  type Digest,
  type RemoteSink,
  type RemoteSource,
  WrongContent,
} from "../../lib/cache/remote.ts";
import type { ListedDirectory, ListedFile } from "../../lib/link/listing.ts";
import { digestOf } from "./memory_contents.ts";

export { digestOf };

/** A file's line, for a content. */
export function listedFile(
  name: string,
  content: Uint8Array | string,
  mode = 0o644,
): ListedFile {
  const bytes = typeof content === "string"
    ? new TextEncoder().encode(content)
    : content;
  const { hash, size } = digestOf(bytes);
  return [name, size, mode, hash, 1_700_000_000, 123_456_789];
}

/** Lists a directory as a cache does, in some order of names. */
export function listTree(root: string, path = ""): ListedDirectory[] {
  const files: ListedFile[] = [];
  const links: [string, string][] = [];
  const directories: string[] = [];
  for (const { name, isFile, isSymlink } of Deno.readDirSync(root + path)) {
    const at = `${root}${path}/${name}`;
    if (isSymlink) links.push([name, Deno.readLinkSync(at)]);
    else if (isFile) {
      const mode = (Deno.lstatSync(at).mode ?? 0o644) & 0o777;
      files.push(listedFile(name, Deno.readFileSync(at), mode));
    } else directories.push(name);
  }
  const mode = (Deno.lstatSync(root + path).mode ?? 0o755) & 0o777;
  return [
    { path, mode, files, links, directories },
    ...directories.flatMap((name) => listTree(root, `${path}/${name}`)),
  ];
}

/** What is in a tree, whatever the order of names. */
export function sortedTree(tree: readonly ListedDirectory[]) {
  const byName = <T>(entries: readonly T[]) =>
    [...entries].sort((a, b) => String(a) < String(b) ? -1 : 1);
  return [...tree].map(({ files, links, directories, ...rest }) => ({
    ...rest,
    files: byName(files),
    links: byName(links),
    directories: byName(directories),
  })).sort((a, b) => String(a.path) < String(b.path) ? -1 : 1);
}

/** Contents in a directory, by their hashes: a cache's store. */
export class DirectorySink implements RemoteSink {
  readonly #path: string;
  /** Hashes of what came. */
  readonly came: string[] = [];

  constructor(path: string) {
    this.#path = path;
    Deno.mkdirSync(path, { recursive: true });
  }

  at({ hash }: { hash: string }): string {
    return `${this.#path}/${hash}`;
  }

  has(digest: Digest): boolean {
    try {
      return Deno.lstatSync(this.at(digest)).size === digest.size;
    } catch {
      return false;
    }
  }

  put(digest: Digest, content: Uint8Array): void {
    if (digestOf(content).hash !== digest.hash) {
      throw new WrongContent(`${digest.hash} is another content`);
    }
    Deno.writeFileSync(this.at(digest), content);
    this.came.push(digest.hash);
  }

  async stream(
    digest: Digest,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const hash = createHash("sha256");
    const temporary = `${this.at(digest)}.${crypto.randomUUID()}`;
    {
      using file = await Deno.open(temporary, { write: true, createNew: true });
      for await (const piece of content) {
        hash.update(piece);
        for (let at = 0; at < piece.length;) {
          at += await file.write(piece.subarray(at));
        }
      }
    }
    if (hash.digest("hex") !== digest.hash) {
      await Deno.remove(temporary);
      throw new WrongContent(`${digest.hash} is another content`);
    }
    await Deno.rename(temporary, this.at(digest));
    this.came.push(digest.hash);
  }
}

/** Contents of the files of a directory, found by their hashes. */
export class DirectorySource implements RemoteSource {
  readonly #paths = new Map<string, string>();
  /** How often a content was read. */
  reads = 0;

  constructor(root: string) {
    for (const { path, files } of listTree(root)) {
      for (const [name, , , hash] of files) {
        this.#paths.set(hash, `${root}${path}/${name}`);
      }
    }
  }

  read(digest: Digest): Uint8Array<ArrayBuffer> {
    this.reads++;
    return Deno.readFileSync(this.#pathOf(digest));
  }

  async *stream(digest: Digest): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    this.reads++;
    using file = await Deno.open(this.#pathOf(digest));
    for (;;) {
      const piece = new Uint8Array(1 << 20);
      const length = await file.read(piece);
      if (length === null) return;
      yield piece.subarray(0, length);
    }
  }

  #pathOf({ hash }: Digest): string {
    const path = this.#paths.get(hash);
    if (path === undefined) throw new Error(`no file has the content ${hash}`);
    return path;
  }
}
