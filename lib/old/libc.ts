/**
 * The parts of calling the C library that more than one module needs.
 *
 * @module
 */

import { describeOsError } from "../os/error.ts";

/** What {@linkcode errnoReader} needs of glibc. errno, read without UnsafePointerView. */
export const ERRNO = {
  __errno_location: { parameters: [], result: "pointer" },
  memcpy: { parameters: ["buffer", "pointer", "usize"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Reads errno, which must happen right after the call: any other call may change it. */
export function errnoReader(
  c: Deno.StaticForeignLibraryInterface<typeof ERRNO>,
): () => number {
  const word = new Int32Array(1);
  return () => {
    c.memcpy(word, c.__errno_location(), 4n);
    return word[0]!;
  };
}

/** Whether Deno may call the C library. Asked, because Deno would stop and ask the user. */
export function mayCallC(): boolean {
  return Deno.permissions.querySync({ name: "ffi" }).state === "granted";
}

/** An error as Deno would make it, so that it is classified like all others. */
export function cError(
  errno: number,
  what: string,
  source: string,
  destination: string,
): Error {
  const text = `(os error ${errno})`;
  const { name = `Cannot ${what}` } = describeOsError(new Error(text));
  return new Error(`${name} ${text}: ${what} '${source}' -> '${destination}'`);
}
