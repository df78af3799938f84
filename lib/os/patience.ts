/**
 * All waiting: calls that are made again, time that may be spent on what is busy,
 * and pauses that let a signal be heard.
 *
 * @module
 */

import {
  describeOsError,
  type ErrorKind,
  errorKind,
  PLATFORM,
  type Platform,
} from "./error.ts";

/**
 * Whether the same call may succeed a moment later, so that it is worth trying
 * again within a budget: also where somebody uses the file.
 */
export function mayPass(kind: ErrorKind): boolean {
  return isTransient(kind) || kind === "busy" || kind === "text-busy";
}

/**
 * Whether the same call most likely succeeds a moment later. On Windows that
 * includes "access denied": it is what a virus scanner's or an indexer's open
 * handle looks like from outside.
 */
export function isTransient(
  kind: ErrorKind,
  platform: Platform = PLATFORM,
): boolean {
  return kind === "transient" ||
    (kind === "permission" && platform === "windows");
}

/** How often a call is made again: after 1, 2, 4 … ms, a second in all. */
export const TRIES = 10;

/** Makes a call again, as long as its error is one that passes, for a second. */
export function patiently<T>(call: () => T): T {
  for (let tries = 0;; tries++) {
    try {
      return call();
    } catch (error) {
      if (tries >= TRIES || !isTransient(errorKind(error))) throw error;
      sleepSync(2 ** tries);
    }
  }
}

/** A call that is made again when a signal came before it had done anything. */
export function steady<A extends unknown[], R>(
  call: (...args: A) => R,
): (...args: A) => R {
  return (...args) => {
    for (;;) {
      try {
        return call(...args);
      } catch (error) {
        if (!(error instanceof Deno.errors.Interrupted)) throw error;
      }
    }
  };
}

const clock = new Int32Array(new SharedArrayBuffer(4));

/** Stops this thread for so many milliseconds. */
export function sleepSync(milliseconds: number): void {
  Atomics.wait(clock, 0, 0, milliseconds);
}

/** Lets other things happen for so many milliseconds. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Time that may be spent on waiting for what is busy, shared by a whole run. */
export class Budget {
  #left: number;
  readonly #signal: AbortSignal | undefined;

  constructor(milliseconds: number, signal?: AbortSignal) {
    this.#left = milliseconds;
    this.#signal = signal;
  }

  /** Waits 10 ms, 20, 40 … 320, by the number of tries. False when time is up. */
  async wait(tries: number): Promise<boolean> {
    const delay = 10 * 2 ** Math.min(tries, 5);
    if (delay > this.#left) return false;
    this.#left -= delay;
    await pause(delay);
    this.#signal?.throwIfAborted();
    return true;
  }
}

/** In milliseconds: so long uv's cache tries (uv-cache, `persist`), too. */
const LET_GO = 10_000;

/**
 * Makes a call that renames a directory. Windows renames none in which anything is open,
 * and an indexer, or a virus scanner, opens what was just made. There the call is made
 * again for ten seconds.
 *
 * @throws What the call throws in the end; the signal's reason.
 */
export async function untilLetGo<T>(
  call: () => T,
  signal?: AbortSignal,
  platform: Platform = PLATFORM,
  longest: number = LET_GO,
): Promise<T> {
  const budget = new Budget(longest, signal);
  for (let tries = 0;; tries++) {
    try {
      return call();
    } catch (error) {
      const { kind } = describeOsError(error, platform);
      const passes = platform === "windows" && isTransient(kind, platform);
      if (!passes || !await budget.wait(tries)) throw error;
    }
  }
}

/** How long nothing is heard of a signal, in milliseconds. 100 are promised. */
const BREATH = 50;

/**
 * Lets a signal be heard, and progress be told, twenty times a second. A turn of
 * the event loop takes a millisecond, so it is not taken more often.
 */
export class Breath {
  readonly #signal: AbortSignal | undefined;
  readonly #tell: (() => void) | undefined;
  #next = performance.now() + BREATH;

  constructor(signal?: AbortSignal, tell?: () => void) {
    this.#signal = signal;
    this.#tell = tell;
  }

  /** A pause to await if it is time for one. */
  due(): Promise<void> | undefined {
    if (performance.now() < this.#next) return undefined;
    return this.#take();
  }

  async #take(): Promise<void> {
    this.#tell?.();
    await pause(0);
    this.#signal?.throwIfAborted();
    this.#next = performance.now() + BREATH;
  }
}
