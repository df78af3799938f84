import { createHash } from "node:crypto";
import {
  type Digest,
  type RemoteSink,
  type RemoteSource,
  WrongContent,
} from "../../lib/cache/remote.ts";

/** The digest of bytes. */
export function digestOf(content: Uint8Array): Digest {
  const hash = createHash("sha256").update(content).digest("hex");
  return { hash, size: content.length };
}

/** Bytes that no other test has, and that don't compress. */
export function randomContent(size: number): Uint8Array<ArrayBuffer> {
  const content = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) {
    crypto.getRandomValues(content.subarray(at, at + 65536));
  }
  return content;
}

/** Contents in memory that are pushed. */
export class MemorySource implements RemoteSource {
  readonly byHash = new Map<string, Uint8Array<ArrayBuffer>>();
  /** Streams that were begun, and not ended. */
  open = 0;

  /** Adds one. */
  add(content: Uint8Array<ArrayBuffer>): Digest {
    const digest = digestOf(content);
    this.byHash.set(digest.hash, content);
    return digest;
  }

  read({ hash }: Digest): Uint8Array<ArrayBuffer> {
    const content = this.byHash.get(hash);
    if (!content) throw new Error(`There is no ${hash}`);
    return content;
  }

  async *stream(digest: Digest): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    this.open++;
    try {
      const content = this.read(digest);
      for (let at = 0; at < content.length; at += 1 << 20) {
        await Promise.resolve();
        yield content.subarray(at, at + (1 << 20));
      }
    } finally {
      this.open--;
    }
  }
}

/** Takes what is pulled into memory, and checks it. */
export class MemorySink implements RemoteSink {
  readonly byHash = new Map<string, Uint8Array<ArrayBuffer>>();
  /** How often something came as a whole, and as it comes. */
  puts = 0;
  streams = 0;

  has({ hash }: Digest): boolean {
    return this.byHash.has(hash);
  }

  put(digest: Digest, content: Uint8Array): void {
    this.puts++;
    this.#take(digest, new Uint8Array(content));
  }

  async stream(
    digest: Digest,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    this.streams++;
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    for await (const it of content) chunks.push(new Uint8Array(it));
    this.#take(digest, new Uint8Array(await new Blob(chunks).arrayBuffer()));
  }

  #take(digest: Digest, content: Uint8Array<ArrayBuffer>): void {
    const { hash, size } = digestOf(content);
    if (hash !== digest.hash || size !== digest.size) {
      throw new WrongContent(`It is not ${digest.hash}`);
    }
    this.byHash.set(hash, content);
  }
}
