import { RemoteError } from "./engine.ts";

/** A part of a frame, as it came. */
export interface FramePart {
  readonly bytes: Uint8Array;
  /** Whether the frame ends with it. */
  readonly isLast: boolean;
}

/**
 * Tells where zstd's frames begin and end (RFC 8878, 3.1), and leaves out those that are
 * to be skipped. For node's decoder stops after one frame, be it a skippable one, and
 * takes half a frame for a whole one; both without a word.
 */
export class FrameSplitter {
  #steps = steps();
  #step = this.#steps.next().value as Step;
  /** The bytes of a header that came so far. */
  #header = new Uint8Array(16);
  #filled = 0;

  /** Parts of frames. A part may be empty, and the last of its frame. */
  *feed(chunk: Uint8Array): Generator<FramePart> {
    for (let [at, from] = [0, 0]; at < chunk.length;) {
      const step = this.#step;
      const count = Math.min(step.bytes - this.#filled, chunk.length - at);
      if (step.isHeader) {
        this.#header.set(chunk.subarray(at, at + count), this.#filled);
      }
      this.#filled += count;
      at += count;
      const isDone = this.#filled === step.bytes;
      if (isDone) this.#advance(this.#header.subarray(0, step.bytes));
      // What a magic number begins is known when all four bytes of it are there.
      if (step.of === "unknown") {
        if (isDone && this.#step.of === "frame") {
          yield { bytes: this.#header.slice(0, 4), isLast: false };
        }
        from = at;
      } else if (step.of === "skipped") from = at;
      else if (isDone && this.#step.of === "unknown") {
        yield { bytes: chunk.subarray(from, at), isLast: true };
        from = at;
      } else if (at === chunk.length) {
        yield { bytes: chunk.subarray(from, at), isLast: false };
      }
    }
  }

  /** Says that no more comes. @throws {RemoteError} In the middle of a frame. */
  end(): void {
    if (this.#step.of === "unknown" && this.#filled === 0) return;
    throw new RemoteError("wrong", "Compressed content was cut short");
  }

  #advance(header: Uint8Array): void {
    this.#step = this.#steps.next(header).value as Step;
    this.#filled = 0;
  }
}

/** What comes next: a header that must be looked at, or bytes of which only the number counts. */
interface Step {
  readonly of: "unknown" | "frame" | "skipped";
  readonly isHeader: boolean;
  readonly bytes: number;
}

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50; // and the 15 after it
const RUN = 1; // a block of one byte that is repeated

/** Endless. Is given the bytes of each header that it asked for. */
function* steps(): Generator<Step, never, Uint8Array> {
  for (;;) {
    const magic = number(yield header("unknown", 4));
    if ((magic & ~15) >>> 0 === SKIPPABLE) {
      const bytes = number(yield header("skipped", 4));
      if (bytes > 0) yield { of: "skipped", isHeader: false, bytes };
      continue;
    }
    if (magic !== MAGIC) {
      throw new RemoteError("wrong", "Compressed content is not of zstd");
    }
    yield* frame();
  }
}

function* frame(): Generator<Step, void, Uint8Array> {
  const [descriptor = 0] = yield header("frame", 1);
  const isSingle = descriptor >> 5 & 1;
  const window = 1 - isSingle;
  const dictionary = [0, 1, 2, 4][descriptor & 3]!;
  const size = descriptor >> 6 ? 1 << (descriptor >> 6) : isSingle;
  const rest = window + dictionary + size;
  if (rest > 0) yield header("frame", rest);
  for (let isLast = false; !isLast;) {
    const block = number(yield header("frame", 3));
    isLast = (block & 1) === 1;
    const bytes = (block >> 1 & 3) === RUN ? 1 : block >> 3;
    if (bytes > 0) yield { of: "frame", isHeader: false, bytes };
  }
  const hasChecksum = descriptor >> 2 & 1;
  if (hasChecksum) yield header("frame", 4);
}

function header(of: Step["of"], bytes: number): Step {
  return { of, isHeader: true, bytes };
}

/** Least significant byte first. */
function number(bytes: Uint8Array): number {
  return bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
}
