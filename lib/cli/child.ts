import { errorKind, osErrorText } from "../os_error.ts";
import { complain } from "./output.ts";
import { SIGNALS } from "./signals.ts";

/** Exit codes of a command that could not be run, as shells have them. */
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

/**
 * Runs a command to its end, with the same input, output and errors, and passes on
 * the signals that come meanwhile.
 *
 * A Ctrl-C comes to the command from the terminal already, so it is passed on only
 * where there is none.
 *
 * @param signal If it is aborted already, nothing is run.
 * @returns Its exit code; 128 and the number of the signal that killed it.
 */
export async function runChild(
  [program, ...args]: readonly [string, ...string[]],
  env: Record<string, string>,
  signal: AbortSignal,
): Promise<number> {
  signal.throwIfAborted();
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args,
      env,
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    }).spawn();
  } catch (error) {
    complain(`Cannot run "${program}": ${osErrorText(error)}`);
    return errorKind(error) === "not-found" ? NOT_FOUND : NOT_EXECUTABLE;
  }
  const terminal = Deno.stdin.isTerminal();
  const handlers = SIGNALS.map(([name]) => {
    const handler = () => {
      if (Deno.build.os === "windows" || (name === "SIGINT" && terminal)) {
        return;
      }
      try {
        child.kill(name);
      } catch {
        // It has ended.
      }
    };
    Deno.addSignalListener(name, handler);
    return [name, handler] as const;
  });
  try {
    return (await child.status).code;
  } finally {
    for (const [name, handler] of handlers) {
      Deno.removeSignalListener(name, handler);
    }
  }
}
