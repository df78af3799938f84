/**
 * What the threads of a build share: the next subtree that nobody has, what was done,
 * whether to stop, and which inodes with several names have been taken.
 *
 * @module
 */

import type { LinkProgress } from "./options.ts";

/** Places 32 bits wide. */
const NEXT = 0;
const BEGUN = 1;
const STOPPED = 2;

/** Places 64 bits wide. */
const FILES = 2;
const DIRECTORIES = 3;
const BYTES = 4;
const CLAIMS = 8;

/** So many inodes with several names are told apart, twice as few as places. */
const PLACES = 1 << 17;

/** What all threads share. Each makes one of these on the same buffer. */
export class Shared {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #longs: BigInt64Array<SharedArrayBuffer>;

  constructor(
    buffer: SharedArrayBuffer = new SharedArrayBuffer((CLAIMS + PLACES) * 8),
  ) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#longs = new BigInt64Array(buffer);
  }

  /** The number of the next subtree that nobody has taken. */
  next(): number {
    return Atomics.add(this.#words, NEXT, 1);
  }

  /** Says that a thread begins, and so may have taken something. */
  begin(): void {
    Atomics.add(this.#words, BEGUN, 1);
  }

  /** How many have begun. */
  get begun(): number {
    return Atomics.load(this.#words, BEGUN);
  }

  /** Nobody goes on. */
  stop(): void {
    Atomics.store(this.#words, STOPPED, 1);
    Atomics.store(this.#words, NEXT, 1 << 30);
  }

  throwIfStopped(): void {
    if (Atomics.load(this.#words, STOPPED)) throw new Error("Stopped");
  }

  /** Adds to what was done. */
  add({ files, directories, bytes }: LinkProgress): void {
    Atomics.add(this.#longs, FILES, BigInt(files));
    Atomics.add(this.#longs, DIRECTORIES, BigInt(directories));
    Atomics.add(this.#longs, BYTES, BigInt(bytes));
  }

  /** What was added. */
  get done(): LinkProgress {
    return {
      files: Number(Atomics.load(this.#longs, FILES)),
      directories: Number(Atomics.load(this.#longs, DIRECTORIES)),
      bytes: Number(Atomics.load(this.#longs, BYTES)),
    };
  }

  /**
   * Takes an inode. Whether nobody had it. All are of one file system, so the number
   * tells; when there is no place any more, each name is the first.
   */
  claim(inode: string): boolean {
    const number = BigInt(inode.slice(inode.indexOf(":") + 1)) + 1n;
    const key = BigInt.asIntN(64, number);
    let at = Number(BigInt.asUintN(53, number * 0x9e3779b97f4a7c15n >> 7n)) %
      PLACES;
    for (let tries = 0; tries < 64; tries++) {
      const found = Atomics.compareExchange(this.#longs, CLAIMS + at, 0n, key);
      if (found === 0n) return true;
      if (found === key) return false;
      at = (at + 1) % PLACES;
    }
    return true;
  }
}
