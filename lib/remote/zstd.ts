/**
 * zstd by node:zlib, frame by frame: see {@linkcode FrameSplitter}.
 *
 * @module
 */

import zlib from "node:zlib";
import { RemoteError } from "./engine.ts";
import { type FramePart, FrameSplitter } from "./zstd_frames.ts";

/** Compresses, as one frame. Fast rather than small: networks of today are fast, too. */
export function compress(content: Uint8Array): Uint8Array<ArrayBuffer> {
  const { ZSTD_c_compressionLevel: level } = zlib.constants;
  return owned(zlib.zstdCompressSync(content, { params: { [level]: 1 } }));
}

/**
 * Decompresses all of a content, however many frames it has.
 *
 * @param size What must come out. No more than that is ever made.
 * @throws {RemoteError} `wrong`, if that is not what it is.
 */
export function decompress(
  compressed: Uint8Array,
  size: number,
): Uint8Array<ArrayBuffer> {
  const content = new Uint8Array(size);
  const splitter = new FrameSplitter();
  let [at, held] = [0, new Uint8Array() as Uint8Array];
  for (const { bytes, isLast } of splitter.feed(compressed)) {
    held = held.length > 0 ? joined(held, bytes) : bytes;
    if (!isLast) continue;
    const part = decompressFrame(held, size - at);
    content.set(part, at);
    at += part.length;
    held = new Uint8Array();
  }
  splitter.end();
  if (at < size) throw tooShort();
  return content;
}

/**
 * The same for a content that comes in pieces, and goes on in pieces: neither a frame nor
 * the content need fit in memory.
 */
export async function* decompressStream(
  compressed: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array> {
  const parts = partsOf(compressed);
  let left = size;
  try {
    for (;;) {
      const first = await parts.next();
      if (first.done) break;
      for await (const piece of frameStream(first.value, parts)) {
        left -= piece.length;
        if (left < 0) throw tooLong();
        yield piece;
      }
    }
  } finally {
    // Not awaited: a read of it may be under way, which ends when its call is ended.
    parts.return(undefined).catch(() => {});
  }
  if (left > 0) throw tooShort();
}

/** Compresses each piece as a frame: a receiver then needs no more memory than for one. */
export async function* compressStream(
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for await (const piece of content) yield compress(piece);
}

async function* partsOf(
  compressed: AsyncIterable<Uint8Array>,
): AsyncGenerator<FramePart, undefined> {
  const splitter = new FrameSplitter();
  for await (const chunk of compressed) yield* splitter.feed(chunk);
  splitter.end();
}

/** Decompresses one frame, of which a part is there already. */
async function* frameStream(
  part: FramePart,
  more: AsyncGenerator<FramePart, undefined>,
): AsyncGenerator<Uint8Array> {
  const decoder = zlib.createZstdDecompress({ chunkSize: PIECE });
  const feed = async () => {
    for (;;) {
      const isRoom = decoder.write(part.bytes);
      if (part.isLast) return decoder.end();
      if (!isRoom) await new Promise((go) => decoder.once("drain", go));
      const next = await more.next();
      if (next.done) return decoder.destroy();
      part = next.value;
    }
  };
  const failures: unknown[] = [];
  feed().catch((error) => {
    failures.push(error);
    decoder.destroy();
  });
  try {
    for await (const piece of decoder) yield piece;
  } catch (error) {
    if (failures.length > 0) throw failures[0];
    throw new RemoteError("wrong", "Compressed content is damaged", error);
  } finally {
    decoder.destroy();
  }
  if (failures.length > 0) throw failures[0];
}

const PIECE = 1 << 17;

function decompressFrame(frame: Uint8Array, room: number): Uint8Array {
  let part: Uint8Array;
  try {
    // One byte more, to tell what is too long from what is damaged.
    part = zlib.zstdDecompressSync(frame, { maxOutputLength: room + 1 });
  } catch (error) {
    if (error instanceof RangeError) throw tooLong();
    throw new RemoteError("wrong", "Compressed content is damaged", error);
  }
  if (part.length > room) throw tooLong();
  return part;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer
    ? bytes as Uint8Array<ArrayBuffer>
    : new Uint8Array(bytes);
}

function tooLong(): RemoteError {
  return new RemoteError("wrong", "Content is longer than its digest says");
}

function tooShort(): RemoteError {
  return new RemoteError("wrong", "Content is shorter than its digest says");
}
