import type { Parsed } from "./flags.ts";
import { complain, printJson, printLine } from "./output.ts";

/** Does it until a signal comes, of which the exit code then is. */
export async function untilInterrupted(
  signals: { signal: AbortSignal; exitCode: number | undefined },
  parsed: Parsed,
  command: () => Promise<number>,
): Promise<number> {
  try {
    return await command();
  } catch (error) {
    if (signals.exitCode === undefined || error !== signals.signal.reason) {
      throw error;
    }
    fail(parsed, "interrupted", "Interrupted");
    return signals.exitCode;
  }
}

/** Says how it went: with `--json` to programs, else to people, but for `-q`. */
export function report(
  parsed: Parsed,
  result: unknown,
  text: () => string,
): void {
  if (parsed.count("json")) printJson(parsed.command, { result });
  else if (!parsed.count("quiet")) printLine(text());
}

/** Says what went wrong, to people and, with `--json`, to programs. */
export function fail(parsed: Parsed, kind: string, message: string): void {
  if (parsed.count("json")) {
    printJson(parsed.command, { error: { kind, message } });
  }
  complain(message);
}
