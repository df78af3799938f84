import { WrongContent } from "../cache/remote.ts";
import type { Attempt } from "./http_attempt.ts";

/** What a request sends. */
export interface HttpBody {
  readonly size: number;
  /** Its SHA-256, in hexadecimal digits. */
  readonly hash: string;
  /** From its beginning. */
  read(): Iterable<Chunk> | AsyncIterable<Chunk>;
}

type Chunk = Uint8Array<ArrayBuffer>;

/** Small, so that a slow line is not taken for a dead one. */
const CHUNK = 64 << 10;
/** As much as a system may hold back of what it took from us. */
const BUFFERED = 4 << 20;

/** A body for `fetch` that sends its length, and lets the attempt wait for the server. */
export function bodyOf(
  body: HttpBody,
  attempt: Attempt,
  onBytes: (bytes: number) => void,
): BodyInit {
  if (body.size === 0) return new Uint8Array();
  return new SizedBody(body.size, () => streamOf(body, attempt, onBytes));
}

/**
 * A stream alone has no length, so it would be sent in chunks, which S3 and bazel-remote
 * refuse; and `fetch` takes a length from nothing but a Blob.
 */
class SizedBody extends Blob {
  readonly #size: number;
  readonly #stream: () => ReadableStream<Chunk>;

  constructor(size: number, stream: () => ReadableStream<Chunk>) {
    super();
    this.#size = size;
    this.#stream = stream;
  }

  override get size(): number {
    return this.#size;
  }

  override stream(): ReadableStream<Chunk> {
    return this.#stream();
  }
}

function streamOf(
  body: HttpBody,
  attempt: Attempt,
  onBytes: (bytes: number) => void,
): ReadableStream<Chunk> {
  const chunks = inChunks(body);
  // Not by cancel(): `fetch` forgets the stream where the answer comes early.
  attempt.atEnd(() => chunks.return(undefined));
  let left = body.size;
  return new ReadableStream({
    // Called when what came before is on its way: so the server has done something.
    async pull(controller) {
      attempt.rest();
      try {
        const { done, value } = await chunks.next();
        if (!done) {
          left -= value.length;
          onBytes(value.length);
          given(() => controller.enqueue(value));
        }
        if (done ? left > 0 : left < 0) {
          throw new WrongContent(`${body.hash}: not of ${body.size} bytes`);
        }
        if (done) given(() => controller.close());
      } catch (error) {
        attempt.fail(error);
        return controller.error(error);
      }
      // What was sent last is not there yet: no more is asked for, though it goes on.
      const buffered = Math.min(body.size, BUFFERED) / (1 << 20);
      attempt.wait(left > 0 ? 1 : 1 + buffered / 5);
    },
  }, { highWaterMark: 0 });
}

/** `fetch` drops a stream when it has all bytes, or an answer: that is no failure. */
function given(give: () => void): void {
  try {
    give();
  } catch { /* nobody wants it any more */ }
}

async function* inChunks(
  body: HttpBody,
): AsyncGenerator<Chunk, undefined, undefined> {
  for await (const piece of body.read()) {
    for (let at = 0; at < piece.length; at += CHUNK) {
      yield piece.subarray(at, at + CHUNK);
    }
  }
}
