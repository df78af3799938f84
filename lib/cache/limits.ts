/**
 * How much may stay in a cache, and the prune that sees to it when something is put.
 *
 * @module
 */

import { log } from "../log.ts";
import { checkCount, checkNumber } from "../os/arguments.ts";
import { osErrorText } from "../os/error.ts";
import { lastPrune } from "./counters.ts";
import type { ArchiveId } from "./layout.ts";
import type { Done } from "./prune_options.ts";
import type { Root } from "./root.ts";
import type { Store } from "./store.ts";

/**
 * Limits of a cache. What is least recently used goes first.
 *
 * @category Keyed cache
 */
export interface Limits {
  /** Removes what has not been used for that many milliseconds. */
  maxAge?: number;
  /** Keeps at most that many bytes on the disk; see `Archive.diskBytes`. */
  maxSize?: number;
  /** Keeps at most that many keys and blobs. */
  maxEntries?: number;
}

/**
 * Limits that are kept whenever something is put.
 *
 * @category Keyed cache
 */
export interface StandingLimits extends Limits {
  /**
   * How long a call that puts something may be kept waiting for it, in milliseconds. What is not
   * removed by then is left for the next time.
   *
   * @default {1000}
   */
  budget?: number;
}

/** How long a cache that was pruned is left alone, in milliseconds. */
const PAUSE = 5 * 60 * 1000;

/**
 * Prunes a cache that has limits, after something was put: not longer than it may take,
 * and not if it was pruned in the last five minutes. What was put is in the cache
 * whatever comes of it, so nothing is thrown, and the log says what was done.
 *
 * @param keep What was put.
 */
export async function pruneWhenDue(
  root: Root,
  store: Store,
  keep?: ArchiveId,
): Promise<void> {
  const { limits, signal } = store.options;
  if (!limits) return;
  const { budget = 1000 } = limits;
  const time = new AbortController();
  const longest = Math.min(budget, 2 ** 31 - 1); // as a timer takes it
  const timer = setTimeout(() => time.abort(), longest);
  try {
    if (!isDue(root)) return;
    const signals = signal ? [signal, time.signal] : [time.signal];
    // Imports what imports this.
    const { Prune } = await import("./prune.ts");
    const prune = new Prune(root, store, {
      ...limits,
      ...keep !== undefined && { keep },
      signal: AbortSignal.any(signals),
    });
    try {
      await prune.run();
    } finally {
      tell(root, prune.report());
    }
  } catch (error) {
    const why = time.signal.aborted ? "it takes longer" : osErrorText(error);
    log.debug(() => `"${root.path}" is not wholly pruned: ${why}`);
  } finally {
    clearTimeout(timer);
  }
}

function isDue(root: Root): boolean {
  const last = lastPrune(root);
  // One in the future is of a clock that was wrong.
  return last === undefined || last > Date.now() || last < Date.now() - PAUSE;
}

function tell({ path }: Root, report: Done): void {
  const { evicted, blobs, unreferenced, removedBytes, failures } = report;
  const what = [
    `${evicted.length} keys`,
    `${blobs} blobs`,
    `${unreferenced} archives without a key`,
    `${removedBytes} bytes`,
  ];
  log.debug(() => `Pruned "${path}": ${what.join(", ")}`);
  for (const { path, message } of failures) {
    log.debug(() => `Not pruned: "${path}": ${message}`);
  }
}

/**
 * Refuses invalid limits. `Infinity` is one that nothing reaches.
 *
 * @throws {TypeError} If one is not a number.
 * @throws {RangeError} If one is `NaN`, below 0, or not a whole number of bytes or entries.
 */
export function checkLimits(limits: StandingLimits): void {
  const { maxAge, maxSize, maxEntries, budget } = limits;
  // What is left of a time by a calculation may be no whole number.
  checkNumber("budget", budget, 0);
  checkNumber("maxAge", maxAge, 0);
  checkCount("maxSize", maxSize);
  checkCount("maxEntries", maxEntries);
}
