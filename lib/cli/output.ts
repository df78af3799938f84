/**
 * Results to standard output, everything else to standard error.
 *
 * @module
 */

import { osFailure } from "../error.ts";
import { printable } from "../os/text.ts";

const encoder = new TextEncoder();

/** Whether nobody reads standard output any more (`rebuild-cache … | head -1`). */
class BrokenPipe extends Error {}

function write(
  to: typeof Deno.stdout | typeof Deno.stderr,
  text: string,
): void {
  let bytes = encoder.encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(to.writeSync(bytes));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) throw new BrokenPipe();
    throw error;
  }
}

/** Longer than any message that is meant. */
export const LONGEST = 20_000;

/** Prints a result. Nobody listening any more is no failure. */
export function print(text: string): void {
  printRaw(`${text}\n`);
}

function printRaw(text: string): void {
  // Names of files and keys are anybody's: no control characters but our own lines.
  const lines = text.split("\n").map((line) => printable(line, Infinity));
  eraseMeter(); // both may be one terminal
  try {
    write(Deno.stdout, lines.join("\n"));
  } catch (error) {
    if (error instanceof BrokenPipe) return;
    throw osFailure("write to", "standard output", error);
  }
}

/** Prints a result of one line, whatever names are in it. */
export function printLine(text: string): void {
  print(printable(text, Infinity));
}

/** So much of `--json` is put together before it is written, in characters. */
const CHUNK = 1 << 16;

/**
 * Prints the one object of `--json`, piece by piece: it may be of very many keys, of
 * which there is no room for another copy.
 */
export function printJson(command: string, content: object): void {
  let text = "";
  for (const piece of jsonPieces({ version: 1, command, ...content }, "\n")) {
    text += piece;
    if (text.length < CHUNK) continue;
    printRaw(text);
    text = "";
  }
  print(text);
}

/** As `JSON.stringify(value, undefined, 2)` has it. */
function* jsonPieces(value: unknown, newline: string): Generator<string> {
  if (typeof value !== "object" || value === null) {
    yield JSON.stringify(value) ?? "null";
    return;
  }
  const isArray = Array.isArray(value);
  const all = Object.entries(value).filter(([, it]) => it !== undefined);
  const [open, close] = isArray ? "[]" : "{}";
  const inner = `${newline}  `;
  let separator = open!;
  for (const [name, it] of all) {
    yield `${separator}${inner}${isArray ? "" : `${JSON.stringify(name)}: `}`;
    yield* jsonPieces(it, inner);
    separator = ",";
  }
  yield all.length === 0 ? `${open}${close}` : `${newline}${close}`;
}

/** Tells the user what is wrong, in one line. */
export function complain(message: string): void {
  toStderr(`rebuild-cache: ${printable(message, LONGEST)}`);
}

let meter = false;

/** Back to the line's start, and all of it away. */
const ERASE_LINE = "\r\u001b[K";

/** Shows a line that stands until the next message comes, or it is erased. */
export function showMeter(line: string): void {
  writeToStderr(`${ERASE_LINE}${line}`);
  meter = true;
}

/** Takes that line away. */
export function eraseMeter(): void {
  if (meter) writeToStderr(ERASE_LINE);
  meter = false;
}

/** Prints a line to standard error, in place of a progress bar that stands there. */
export function toStderr(line: string): void {
  eraseMeter();
  writeToStderr(`${line}\n`);
}

function writeToStderr(text: string): void {
  try {
    write(Deno.stderr, text);
  } catch {
    // There is nowhere left to say it.
  }
}
