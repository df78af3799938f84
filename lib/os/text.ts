/**
 * Names as strings, without loss. A name on a POSIX file system is bytes, most of
 * them UTF-8. A byte that is not part of valid UTF-8 stands in a string as a lone
 * surrogate, U+DC00 and the byte, as in Python (PEP 383): no text has those.
 *
 * @module
 */

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Writes a string as bytes. Gives how many. There must be room for three bytes a unit. */
export function encodeText(text: string, into: Uint8Array): number {
  if (text.isWellFormed()) return encoder.encodeInto(text, into).written;
  let at = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (code >= 0xdc80 && code <= 0xdcff) into[at++] = code - 0xdc00;
    else at += encoder.encodeInto(character, into.subarray(at)).written;
  }
  return at;
}

/** Reads bytes as a string. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return decodeLossless(bytes);
  }
}

function decodeLossless(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const length = validLength(bytes, at);
    if (length > 0) text += strict.decode(bytes.subarray(at, at + length));
    else text += String.fromCharCode(0xdc00 + bytes[at]!);
    at += length || 1;
  }
  return text;
}

/** The length of the character that begins there; 0 if none does. */
function validLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  try {
    strict.decode(bytes.subarray(at, at + length));
    return at + length <= bytes.length ? length : 0;
  } catch {
    return 0;
  }
}

/** What two names have in common that are one where case, or composition, is not heeded. */
export function foldName(name: string): string {
  return name.normalize("NFC").toLowerCase();
}

/**
 * A text that may be anybody's, for a terminal or a log: without control characters
 * (and line and direction marks), and not too long.
 */
export function printable(text: string, longest = 200): string {
  const line = text.slice(0, longest + 1).replaceAll(
    // deno-lint-ignore no-control-regex -- they are what is looked for
    /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g,
    "?",
    // Bytes that are not UTF-8, as shells write them.
  ).replaceAll(
    /[\udc80-\udcff]/gu,
    (byte) => `\\x${(byte.charCodeAt(0) - 0xdc00).toString(16)}`,
  );
  return line.length > longest ? `${line.slice(0, longest - 1)}…` : line;
}
