import {
  type RemoteSink,
  type RemoteSource,
  WrongContent,
} from "../cache/remote.ts";
import { digestOf } from "./digest.ts";
import type { Digest } from "./engine.ts";

/** Takes one content into memory. It is for those whose size was looked at before. */
export class MemorySink implements RemoteSink {
  content: Uint8Array<ArrayBuffer> | undefined;

  has(): boolean {
    return false;
  }

  put(digest: Digest, content: Uint8Array): void {
    const { hash, size } = digestOf(content);
    if (hash !== digest.hash || size !== digest.size) throw wrong(digest);
    this.content = content.slice();
  }

  async stream(
    digest: Digest,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const whole = new Uint8Array(digest.size);
    let at = 0;
    for await (const piece of content) {
      if (at + piece.length > whole.length) throw wrong(digest);
      whole.set(piece, at);
      at += piece.length;
    }
    this.put(digest, whole.subarray(0, at));
  }
}

/** Has nothing: for uploads whose bytes are in memory. */
export const NO_SOURCE: RemoteSource = {
  read: nothing,
  stream: nothing,
};

function nothing(): never {
  throw new Error("A content that is in memory was asked for");
}

function wrong({ hash }: Digest): WrongContent {
  return new WrongContent(`what came is not ${hash}`);
}
