import type { LockedError, LockOptions } from "../lock/file.ts";
import { type Parsed, seconds, UsageError } from "./flags.ts";
import { complain, printJson, printLine } from "./output.ts";

/** What the flags of {@linkcode LOCKS} say. */
export function lockOptions(
  parsed: Parsed,
  signal: AbortSignal,
): LockOptions & { lock: boolean } {
  const [ifBusy = "wait"] = parsed.values("if-busy");
  const wait = seconds(parsed, "wait");
  if (wait !== undefined && ifBusy !== "wait") {
    throw new UsageError(`--wait makes no sense with --if-busy ${ifBusy}`);
  }
  return {
    lock: parsed.count("no-lock") === 0,
    purpose: parsed.typed,
    signal,
    ...ifBusy !== "wait"
      ? { wait: 0 }
      : wait !== undefined && { wait: wait * 1000 },
  };
}

/** The exit code of EX_TEMPFAIL (sysexits(3)): it may work later. */
export const BUSY = 75;

/** Commands after which something is there, or has run: to skip that is a failure. */
const NEEDED: ReadonlySet<string> = new Set(["use", "put", "get", "ensure"]);

/** Whether what is in use shall be left alone, without a failure. */
export function skipsBusy(parsed: Parsed): boolean {
  return parsed.values("if-busy")[0] === "skip" && !NEEDED.has(parsed.command);
}

/** Says that a lock was not had, and gives the exit code. */
export function endBusy(
  parsed: Parsed,
  { message, kind, path, holders }: LockedError,
): number {
  const skip = skipsBusy(parsed);
  if (parsed.count("json")) {
    const what = { kind, path, message, holders };
    printJson(parsed.command, skip ? { skipped: what } : { error: what });
  } else if (skip && !parsed.count("quiet")) printLine(`Skipped: ${message}`);
  if (skip) return 0;
  complain(message);
  return BUSY;
}
