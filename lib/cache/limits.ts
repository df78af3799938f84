/**
 * How much may stay in a cache.
 *
 * @module
 */

/** Limits of a cache. What is least recently used goes first. */
export interface Limits {
  /** What has not been used for so many milliseconds goes. */
  maxAge?: number;
  /** So many bytes may be taken on the disk; see `Archive.diskBytes`. */
  maxSize?: number;
  /** So many keys and blobs may stay. */
  maxEntries?: number;
}

/**
 * Refuses what is no limit. `Infinity` is one that nothing reaches.
 *
 * @throws {TypeError} If one is not a number.
 * @throws {RangeError} If one is `NaN`, below 0, or no whole number of bytes or entries.
 */
export function checkLimits({ maxAge, maxSize, maxEntries }: Limits): void {
  check("maxAge", maxAge, "milliseconds");
  check("maxSize", maxSize, "bytes");
  check("maxEntries", maxEntries, "entries");
}

function check(name: string, value: unknown, unit: string): void {
  if (value === undefined || value === Infinity) return;
  if (typeof value !== "number") {
    const given = typeof value === "string" ? JSON.stringify(value) : value;
    throw new TypeError(`${name} is a number of ${unit}, not ${given}`);
  }
  // What is left of an age by a calculation may be no whole number.
  const isWhole = unit === "milliseconds" || Number.isInteger(value);
  if (value >= 0 && isWhole) return;
  throw new RangeError(
    `${name} is a whole number of ${unit}, 0 or more, not ${value}`,
  );
}
