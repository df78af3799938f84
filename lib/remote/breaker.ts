/**
 * A server that was down is not asked for a minute, by no process: each would wait for it
 * anew. A file says so, whose modification time is when that was.
 *
 * @module
 */

import type { Notes } from "./notes.ts";

/** How long a server is left alone, in milliseconds. */
const MINUTE = 60_000;

/** How far the clock of a file system may be ahead. */
const AHEAD = 5_000;

/** Whether a server is left alone. */
export class Breaker {
  readonly #notes: Notes;
  readonly #name: string;
  /** When it was down, if that could not be noted. */
  #time: number | undefined;

  /** @param hash What stands for the server in names. */
  constructor(notes: Notes, hash: string) {
    this.#notes = notes;
    this.#name = `${hash}.down`;
  }

  /** Whether it was down less than a minute ago: one look at the disk. */
  isOpen(): boolean {
    const time = this.#time ?? this.#notes.timeOf(this.#name);
    if (time === undefined) return false;
    const age = Date.now() - time;
    // One of the future is of a clock that was wrong.
    return age > -AHEAD && age < MINUTE;
  }

  /** Notes that it is down. */
  open(reason: string): void {
    const isNoted = this.#notes.write(this.#name, `${reason}\n`);
    this.#time = isNoted ? undefined : Date.now();
  }

  /** It was there: whoever comes next may ask it. */
  close(): void {
    this.#time = undefined;
    if (this.isOpen()) this.#notes.remove(this.#name);
  }
}

/**
 * Keys of which something was missing on the server, although it has an entry: it may
 * believe that it has all of it, so the next push asks nothing and sends everything.
 */
export class LostKeys {
  readonly #notes: Notes;
  readonly #server: string;
  readonly #known = new Set<string>();

  /** @param server What stands for the server in names. */
  constructor(notes: Notes, server: string) {
    this.#notes = notes;
    this.#server = server;
  }

  /** @param address The hash of the key's action. */
  add(address: string): void {
    this.#known.add(address);
    this.#notes.write(this.#nameOf(address), "");
  }

  has(address: string): boolean {
    return this.#known.has(address) ||
      this.#notes.timeOf(this.#nameOf(address)) !== undefined;
  }

  delete(address: string): void {
    if (!this.has(address)) return;
    this.#known.delete(address);
    this.#notes.remove(this.#nameOf(address));
  }

  /** Both are hashes: parts of them are enough. */
  #nameOf(address: string): string {
    return `${this.#server.slice(0, 20)}-${address.slice(0, 40)}.lost`;
  }
}
