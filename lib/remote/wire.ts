/**
 * Protobuf as far as trees and action results need it. By hand: what comes is anybody's
 * and is checked as it is read, digests are of the bytes as they came, and HTTP and S3
 * need no package for it. What is written is canonical.
 *
 * @module
 */

import { RemoteError } from "./engine.ts";

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Wire types: what follows a tag. */
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Writes a message. Fields go in the order of their numbers. */
export class Writer {
  #bytes = new Uint8Array(256);
  #length = 0;

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** A number. 0 is not written: it is what a missing one means. */
  number(field: number, value: number): void {
    if (value === 0) return;
    this.#varint(field * 8 + VARINT);
    if (value > 0) this.#varint(value);
    else this.#negative(value);
  }

  /** A text. An empty one is not written, unless it is one of several. */
  text(field: number, value: string, isRepeated = false): void {
    if (value === "" && !isRepeated) return;
    this.message(field, () => {
      this.#reserve(value.length * 3);
      const into = this.#bytes.subarray(this.#length);
      this.#length += encoder.encodeInto(value, into).written;
    });
  }

  /** Bytes, or a message that is encoded already: written even if they are empty. */
  bytes(field: number, value: Uint8Array): void {
    this.#varint(field * 8 + BYTES);
    this.#varint(value.length);
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** A message: what `write` writes. Written even if it is empty. */
  message(field: number, write: () => void): void {
    this.#varint(field * 8 + BYTES);
    this.#reserve(1);
    const start = ++this.#length;
    write();
    const length = this.#length - start;
    // One byte was left for the length. A longer one moves the body.
    const room = length < 128 ? 1 : Math.floor(Math.log2(length) / 7) + 1;
    if (room > 1) {
      this.#reserve(room - 1);
      this.#bytes.copyWithin(start + room - 1, start, this.#length);
    }
    this.#length = start - 1;
    this.#varint(length);
    this.#length += length;
  }

  /** What was written. The writer is empty again. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return bytes;
  }

  #varint(value: number): void {
    this.#reserve(10);
    for (; value >= 128; value = Math.floor(value / 128)) {
      this.#bytes[this.#length++] = value % 128 + 128;
    }
    this.#bytes[this.#length++] = value;
  }

  /** Two's complement in 64 bits, which are ten bytes. */
  #negative(value: number): void {
    this.#reserve(10);
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest > 127n; rest >>= 7n) {
      this.#bytes[this.#length++] = Number(rest & 127n) | 128;
    }
    this.#bytes[this.#length++] = Number(rest);
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, needed));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

/**
 * Reads a message, field by field: after {@linkcode Reader.next} one of the others takes
 * the value, or the next `next` passes it over.
 *
 * What is no message throws a {@linkcode RemoteError} of kind `wrong`.
 */
export class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #wire = -1;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The number of the next field; 0 at the end. */
  next(): number {
    if (this.#wire >= 0) this.#skip();
    if (this.#at === this.#bytes.length) return 0;
    const tag = this.#varint();
    const field = Math.floor(tag / 8);
    if (field < 1 || field > 0x1fffffff) throw noMessage("a field's number");
    this.#wire = tag % 8;
    return field;
  }

  /** A number that a `number` holds exactly. */
  number(): number {
    this.#take(VARINT);
    const value = this.#varint();
    if (!Number.isSafeInteger(value)) throw noMessage("a number is too large");
    return value;
  }

  /** What is in a message, or in bytes: a view. */
  bytes(): Uint8Array {
    this.#take(BYTES);
    const length = this.#varint();
    const end = this.#at + length;
    if (length < 0 || end > this.#bytes.length) throw noMessage("it is cut");
    const value = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return value;
  }

  text(): string {
    try {
      return strict.decode(this.bytes());
    } catch (error) {
      if (error instanceof RemoteError) throw error;
      throw noMessage("a text is not UTF-8");
    }
  }

  #take(wire: number): void {
    if (this.#wire !== wire) throw noMessage("a field of another type");
    this.#wire = -1;
  }

  #skip(): void {
    switch (this.#wire) {
      case VARINT:
        this.#take(VARINT);
        this.#varint();
        break;
      case BYTES:
        this.bytes();
        break;
      case FIXED64:
      case FIXED32:
        this.#at += this.#wire === FIXED64 ? 8 : 4;
        if (this.#at > this.#bytes.length) throw noMessage("it is cut");
        this.#wire = -1;
        break;
      default:
        throw noMessage(`wire type ${this.#wire}`);
    }
  }

  /** A signed integer of 64 bits; exact if it is a safe one. */
  #varint(): number {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw noMessage("it is cut");
      const bits = byte & 127;
      if (shift <= 28) low |= bits << shift;
      if (shift === 28) high |= bits >> 4;
      if (shift > 28) high |= bits << (shift - 32);
      if (byte < 128) return high * 0x1_0000_0000 + (low >>> 0);
    }
    throw noMessage("a number is too long");
  }
}

function noMessage(why: string): RemoteError {
  return new RemoteError(
    "wrong",
    `it is not the message that it should be: ${why}`,
  );
}
