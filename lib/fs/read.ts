/**
 * Reads files that are open, without trust in their size.
 *
 * @module
 */

import type { OpenFile } from "./directory.ts";

/**
 * Reads to the end, or as much as is wanted.
 *
 * @param expected How long it is, as far as that is known.
 */
export function readAll(
  file: Pick<OpenFile, "read">,
  longest = Infinity,
  expected = 0,
): Uint8Array<ArrayBuffer> {
  let bytes = new Uint8Array(
    Math.min(longest, Math.max(4096, expected + 1)),
  );
  let length = 0;
  for (let n; (n = file.read(bytes.subarray(length))) > 0;) {
    length += n;
    if (length < bytes.length) continue;
    if (length >= longest) break;
    const longer = new Uint8Array(Math.min(longest, bytes.length * 2));
    longer.set(bytes);
    bytes = longer;
  }
  return bytes.subarray(0, length);
}

/** Reads a short text, such as a note, that may be anybody's and of any length. */
export function readText(file: Pick<OpenFile, "read">, longest: number) {
  return new TextDecoder().decode(readAll(file, longest));
}
