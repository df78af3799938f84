import { pause } from "../os/patience.ts";
import { insideVariables } from "../lock/inside.ts";
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
 * each signal that comes meanwhile, so that it never goes on without us.
 *
 * What a terminal sends, it sends to the command, too; so that is passed on only where
 * there is no terminal.
 *
 * @throws {Ended} If it can't be run.
 * @returns Its exit code; 128 and the number of the signal that killed it.
 */
export async function runChild(
  [program, ...args]: readonly [string, ...string[]],
  { env = {}, signal, toStderr = false }: ChildOptions,
): Promise<number> {
  signal.throwIfAborted();
  let child: Deno.ChildProcess | undefined;
  const isTerminal = Deno.stdin.isTerminal();
  using _ = onSignals((name) => {
    if (Deno.build.os === "windows") return;
    if (isTerminal && BY_TERMINAL.has(name)) return;
    try {
      child?.kill(name);
    } catch {
      // It has ended.
    }
  });
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
    throw new Ended(
      missing ? EXIT.notFound : EXIT.notExecutable,
      "command",
      `Cannot run "${program}": ${why}`,
    );
  }
  if (toStderr) return await untilEnd(child);
  return (await child.status).code;
}

/** Signals that a terminal sends to all that runs in its foreground. */
const BY_TERMINAL: ReadonlySet<Deno.Signal> = new Set([
  "SIGINT",
  "SIGQUIT",
  "SIGWINCH",
]);

/** How long nothing must come, in milliseconds, for the output to be over. */
const DRAIN = 100;

/** More than a pipe holds. */
const MOST = 2 ** 20;

/**
 * Passes a command's output on to our standard error until the command has ended. What
 * it left running may keep the pipe open for ever.
 */
async function untilEnd(child: Deno.ChildProcess): Promise<number> {
  const reader = child.stdout.getReader();
  let [bytes, isWriting, isOver] = [0, false, false];
  const passOn = async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      bytes += value.length;
      isWriting = true;
      await write(value);
      isWriting = false;
    }
    isOver = true;
  };
  const passing = passOn();
  const { code } = await child.status;
  const most = bytes + MOST;
  for (let before = -1; !isOver && bytes < most;) {
    if (!isWriting && bytes === before) break;
    before = bytes;
    await Promise.race([passing, pause(DRAIN)]);
  }
  await reader.cancel();
  await passing;
  return code;
}

async function write(bytes: Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < bytes.length;) {
      at += await Deno.stderr.write(bytes.subarray(at));
    }
  } catch {
    // Nobody reads it.
  }
}
