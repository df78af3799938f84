import { errorKind, osErrorText } from "../os/error.ts";
import { Ended, EXIT } from "./ending.ts";
import { onSignals } from "./signals.ts";

/** How a command is run. */
export interface ChildOptions {
  /** Variables of its environment, beside ours. */
  env?: Record<string, string>;
  /** If it is aborted already, nothing is run. */
  signal: AbortSignal;
  /** Whether its output goes to our standard error, since ours is one JSON object. */
  toStderr?: boolean;
}

/** The variable in which COMMAND finds the directory to fill. It sets no flag. */
const OUT = "REBUILD_CACHE_OUT";

/**
 * Runs a command that fills a directory, which it finds in `REBUILD_CACHE_OUT`, and
 * wherever `{}` stands in its arguments.
 *
 * @throws {Ended} If it does not exit with 0: its exit code comes back.
 */
export async function runBuild(
  [program, ...args]: readonly [string, ...string[]],
  dir: string,
  options: ChildOptions,
): Promise<void> {
  const code = await runChild(
    [program, ...args.map((arg) => arg.replaceAll("{}", () => dir))],
    { ...options, env: { [OUT]: dir } },
  );
  if (code !== 0) {
    throw new Ended(code, "command", `The command exited with code ${code}`);
  }
}

/**
 * Runs a command to its end, with the same input, output and errors, and passes on
 * the signals that come meanwhile.
 *
 * A Ctrl-C comes to the command from the terminal already, so it is passed on only
 * where there is none.
 *
 * @throws {Ended} If it can't be run.
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
      env,
      stdin: "inherit",
      stdout: toStderr ? "piped" : "inherit",
      stderr: "inherit",
    }).spawn();
  } catch (error) {
    const missing = errorKind(error) === "not-found";
    const why = missing ? "there is no such command" : osErrorText(error);
    throw new Ended(
      missing ? EXIT.notFound : EXIT.notExecutable,
      "command",
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
