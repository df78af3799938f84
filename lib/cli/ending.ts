/**
 * How a run ends: its exit code, its last line and its JSON object, all in one place.
 *
 * @module
 */

import { CacheError, type CacheErrorKind, kindOfError } from "../error.ts";
import { osErrorNumber } from "../os/error.ts";
import { UsageError } from "./flag.ts";
import type { Call } from "./flags.ts";
import { complain, printJson, printLine } from "./output.ts";

/** The exit codes that are ours; see `docs/errors.md`. */
export const EXIT = {
  done: 0,
  failed: 1,
  /** Wrong use, or refused: nothing was touched. */
  refused: 2,
  miss: 4,
  /** EX_TEMPFAIL (sysexits(3)): it may work later. */
  busy: 75,
  /** As shells have them. */
  notExecutable: 126,
  notFound: 127,
} as const;

/** Commands after which something is there, or has run: to skip that is a failure. */
const NEEDED: ReadonlySet<string> = new Set(["use", "put", "get", "ensure"]);

/** Whether what is in use shall be left alone, without a failure. */
export function skipsBusy(command: string, ifBusy: unknown): boolean {
  return ifBusy === "skip" && !NEEDED.has(command);
}

/** A run that ends early, with an exit code of its own and one line. */
export class Ended extends Error {
  /** The exit code. */
  readonly code: number;
  /** What `--json` calls the reason. */
  readonly kind: "command" | "interrupted" | CacheErrorKind;

  constructor(code: number, kind: Ended["kind"], message: string) {
    super(message);
    this.code = code;
    this.kind = kind;
  }
}

/**
 * Does it until a signal comes, which then is the reason of how it ends.
 *
 * @param work It gets a signal that is aborted then.
 * @param kept What to say besides, if it is interrupted or its command fails: what is
 * as it was.
 */
export async function untilSignalled(
  work: (signal: AbortSignal) => Promise<number>,
  kept = "",
): Promise<number> {
  const { untilSignal } = await import("./signals.ts");
  using signals = untilSignal();
  try {
    return await work(signals.signal);
  } catch (error) {
    const { exitCode } = signals;
    if (error instanceof Ended && error.kind === "command") {
      throw new Ended(exitCode ?? error.code, "command", error.message + kept);
    }
    if (exitCode === undefined) throw error;
    if (error === signals.signal.reason) {
      throw new Ended(exitCode, "interrupted", `Interrupted${kept}`);
    }
    if (error instanceof CacheError && error.kind === "interrupted") {
      throw new Ended(exitCode, "interrupted", error.message);
    }
    throw error;
  }
}

/** What must be known of a run to end it, though it may not even be parsed. */
export interface Manner {
  command: string;
  json: boolean;
  quiet: boolean;
  /** Whether what is in use shall be left alone, without a failure. */
  skipBusy: boolean;
}

/** Ends a run by an error: says it once, and gives the exit code. */
export function endWith(error: unknown, manner: Manner): number {
  const { code, kind, message } = meaningOf(error, manner);
  const isSkipped = kind === "locked" && manner.skipBusy;
  // The line first: standard output may be what is full.
  if (!isSkipped) complain(message);
  try {
    if (manner.json) {
      const what = { kind, message, ...kind === "locked" && whoseLock(error) };
      printJson(
        manner.command,
        isSkipped ? { skipped: what } : {
          error: what,
        },
      );
    } else if (isSkipped && !manner.quiet) printLine(`Skipped: ${message}`);
  } catch (unprintable) {
    if (isSkipped) return endWith(unprintable, { ...manner, json: false });
    // What went wrong was said already, as far as it can be.
  }
  return isSkipped ? EXIT.done : code;
}

function meaningOf(
  error: unknown,
  { command }: Manner,
): { code: number; kind: string; message: string } {
  if (error instanceof UsageError) {
    const end = /[?…]$/.test(error.message) ? "" : ".";
    const help = command
      ? `rebuild-cache help ${command}`
      : "rebuild-cache help";
    const message = `${error.message}${end} Try ${help}`;
    return { code: EXIT.refused, kind: "usage", message };
  }
  if (error instanceof Ended) return error;
  const kind = kindOfError(error);
  if (!(error instanceof CacheError)) {
    return { code: EXIT.failed, kind, message: unexpected(error) };
  }
  const { message } = error;
  const code = kind === "locked"
    ? EXIT.busy
    : kind === "refused"
    ? EXIT.refused
    : EXIT.failed;
  return { code, kind, message };
}

/** What is known of who holds a lock that was not granted. */
function whoseLock(error: unknown): object {
  const { path, holders } = error as { path: string; holders?: unknown };
  return { path, holders };
}

/** What nobody has thought of: one line all the same. */
function unexpected(error: unknown): string {
  const said = error instanceof Error ? error.message : String(error);
  if (kindOfError(error) === "not-found" && !hasWorkingDirectory()) {
    return "The working directory does not exist any more: change to another one";
  }
  return osErrorNumber(error) !== undefined
    ? `Failed: ${said}`
    : `Unexpected: ${said}. Please report it with what you did: ${ISSUES}`;
}

function hasWorkingDirectory(): boolean {
  try {
    Deno.cwd();
    return true;
  } catch {
    return false; // whatever it says: that is what was asked
  }
}

const ISSUES = "https://github.com/rebuild-cache/rebuild-cache/issues";

/**
 * Says how it went: with `--json` to programs, else to people, unless `-q`.
 *
 * @param text A line, or several: whatever names are in one, it stays one.
 */
export function report(
  { command, values }: Call,
  result: unknown,
  text: () => string | readonly string[],
): void {
  if (values.json) printJson(command, { result });
  else if (!values.quiet) {
    for (const line of [text()].flat()) {
      printLine(line);
    }
  }
}
