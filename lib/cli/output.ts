/**
 * Results to standard output, everything else to standard error.
 *
 * @module
 */

import { BaseHandler } from "@std/log/base-handler";
import { LogLevels } from "@std/log/levels";
import { Logger } from "@std/log/logger";
import { setLogSink } from "../log.ts";
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
const LONGEST = 20_000;

/** Prints a result. Nobody listening any more is no failure. */
export function print(text: string): void {
  // Names of files and keys are anybody's: no control characters but our own lines.
  const lines = text.split("\n").map((line) => printable(line, Infinity));
  try {
    write(Deno.stdout, lines.join("\n") + "\n");
  } catch (error) {
    if (!(error instanceof BrokenPipe)) throw error;
  }
}

/** Prints a result of one line, whatever names are in it. */
export function printLine(text: string): void {
  print(printable(text, Infinity));
}

/** Prints the one object of `--json`. */
export function printJson(command: string, content: object): void {
  print(JSON.stringify({ version: 1, command, ...content }, undefined, 2));
}

/** Tells the user what is wrong, in one line. */
export function complain(message: string): void {
  toStderr(`rebuild-cache: ${printable(message, LONGEST)}`);
}

let meter = false;

/** Says whether a progress bar stands in the line where the next message comes. */
export function setMeter(shown: boolean): void {
  meter = shown;
}

/** Back to the line's start, and all of it away. */
const ERASE_LINE = "\r\u001b[K";

function toStderr(line: string): void {
  try {
    write(Deno.stderr, `${meter ? ERASE_LINE : ""}${line}\n`);
  } catch {
    // There is nowhere left to say it.
  }
}

class StderrHandler extends BaseHandler {
  override log(message: string): void {
    toStderr(message);
  }
}

/**
 * Sends the library's messages to standard error: warnings by default, nothing
 * with `-q`, each step with `-v`, all details with the time of day with `-vv`.
 */
export function setUpLogging(quiet: boolean, verbosity: number): void {
  const level = verbosity > 0 ? "DEBUG" : quiet ? "ERROR" : "WARN";
  const logger = new Logger("rebuild-cache", level, {
    handlers: [
      new StderrHandler(level, {
        formatter: ({ level, msg, datetime }) => {
          const time = verbosity > 1
            ? `${datetime.toISOString().slice(11, 23)} `
            : "";
          const what = level >= LogLevels.WARN ? "warning: " : "";
          const line = printable(msg, LONGEST);
          return `${time}rebuild-cache: ${what}${line}`;
        },
      }),
    ],
  });
  setLogSink({
    debug: (message) => logger.debug(message),
    warn: (message) => logger.warn(message),
    ...verbosity > 1 && { trace: (message) => logger.debug(message) },
  });
}
