import { createHash } from "node:crypto";
import {
  type Digest,
  type RemoteSink,
  type RemoteSource,
  WrongContent,
} from "../../lib/cache/remote.ts";

/** Contents in memory, to be sent. */
export class MemorySource implements RemoteSource {
  readonly #contents = new Map<string, Uint8Array<ArrayBuffer>>();

  /** Takes contents. @returns Their digests. */
  add(...contents: Uint8Array<ArrayBuffer>[]): Digest[] {
    return contents.map((content) => {
      const digest = digestOf(content);
      this.#contents.set(digest.hash, content);
      return digest;
    });
  }

  read(digest: Digest): Uint8Array<ArrayBuffer> {
    const content = this.#contents.get(digest.hash);
    if (content) return content;
    throw new Deno.errors.NotFound(`There is no ${digest.hash}`);
  }

  async *stream(digest: Digest): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const content = this.read(digest);
    for (let at = 0; at < content.length; at += 1 << 20) {
      await Promise.resolve();
      yield content.subarray(at, at + (1 << 20));
    }
  }
}

/** Keeps the digests of contents that came, and takes none that is wrong. */
export class MemorySink implements RemoteSink {
  /** The hashes of those that came by `put`, and by `stream`. */
  readonly whole = new Set<string>();
  readonly streamed = new Set<string>();

  has(): boolean {
    return false;
  }

  put(digest: Digest, content: Uint8Array): void {
    check(digest, digestOf(content));
    this.whole.add(digest.hash);
  }

  async stream(
    digest: Digest,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const hash = createHash("sha256");
    let size = 0;
    for await (const piece of content) {
      hash.update(piece);
      size += piece.length;
    }
    check(digest, { hash: hash.digest("hex"), size });
    this.streamed.add(digest.hash);
  }
}

/** A content's digest. */
export function digestOf(content: Uint8Array): Digest {
  const hash = createHash("sha256").update(content).digest("hex");
  return { hash, size: content.length };
}

/** Bytes that don't get smaller by compression. */
export function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 1 << 16) {
    crypto.getRandomValues(bytes.subarray(at, at + (1 << 16)));
  }
  return bytes;
}

function check(wanted: Digest, found: Digest): void {
  if (wanted.hash === found.hash && wanted.size === found.size) return;
  throw new WrongContent(`${found.hash} came for ${wanted.hash}`);
}
