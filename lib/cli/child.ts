import { insideVariables } from "../lock/inside.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { onSignals } from "./signals.ts";

/** Exit codes of a command that could not be run, as shells have them. */
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

/** How a command is run. */
export interface ChildOptions {
  /** Variables of its environment, beside ours. */
  env?: Record<string, string>;
  /** If it is aborted already, nothing is run. */
  signal: AbortSignal;
  /** Whether its output goes to our standard error, since ours is one JSON object. */
  toStderr?: boolean;
}

/** The command failed, or could not be run: its exit code comes back. */
export class CommandFailed extends Error {
  /** Its exit code. */
  readonly code: number;

  constructor(code: number, message = `The command exited with code ${code}`) {
    super(message);
    this.code = code;
  }
}

/**
 * Runs a command that fills a directory, which it finds in `REBUILD_CACHE_DIR`, and
 * wherever `{}` stands in its arguments.
 *
 * @throws {CommandFailed} If it does not exit with 0.
 */
export async function runBuild(
  [program, ...args]: readonly [string, ...string[]],
  dir: string,
  options: ChildOptions,
): Promise<void> {
  const code = await runChild(
    [program, ...args.map((arg) => arg.replaceAll("{}", () => dir))],
    { ...options, env: { REBUILD_CACHE_DIR: dir } },
  );
  if (code !== 0) throw new CommandFailed(code);
}

/**
 * Runs a command to its end, with the same input, output and errors, and passes on
 * the signals that come meanwhile.
 *
 * A Ctrl-C comes to the command from the terminal already, so it is passed on only
 * where there is none.
 *
 * @throws {CommandFailed} If it can't be run.
 * @returns Its exit code; 128 and the number of the signal that killed it.
 */
export async function runChild(
  [program, ...args]: readonly [string, ...string[]],
  { env = {}, signal, toStderr = false }: ChildOptions,
): Promise<number> {
  signal.throwIfAborted();
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args,
      env: { ...insideVariables(), ...env },
      stdin: "inherit",
      stdout: toStderr ? "piped" : "inherit",
      stderr: "inherit",
    }).spawn();
  } catch (error) {
    const missing = errorKind(error) === "not-found";
    const why = missing ? "there is no such command" : osErrorText(error);
    throw new CommandFailed(
      missing ? NOT_FOUND : NOT_EXECUTABLE,
      `Cannot run "${program}": ${why}`,
    );
  }
  const terminal = Deno.stdin.isTerminal();
  using _ = onSignals((name) => {
    if (Deno.build.os === "windows" || (name === "SIGINT" && terminal)) return;
    try {
      child.kill(name);
    } catch {
      // It has ended.
    }
  });
  if (toStderr) {
    await child.stdout.pipeTo(Deno.stderr.writable, { preventClose: true });
  }
  return (await child.status).code;
}
