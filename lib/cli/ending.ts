import type { Parsed } from "./flags.ts";
import { complain, printJson } from "./output.ts";

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

/** Says what went wrong, to people and, with `--json`, to programs. */
export function fail(parsed: Parsed, kind: string, message: string): void {
  if (parsed.count("json")) {
    printJson(parsed.command, { error: { kind, message } });
  }
  complain(message);
}
