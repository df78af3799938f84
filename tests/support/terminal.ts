import { fromFileUrl } from "@std/path/from-file-url";
import { cliCommand, type Ran, run } from "./command.ts";

/** What was to be seen on a terminal. */
export interface Seen extends Ran {
  /** What stood in the progress bar's line, one after the other. */
  bars: string[];
  /** What stands there in the end, and what was printed above it. */
  screen: string;
}

/** How to run it there. */
export interface TerminalOptions {
  columns: number;
  /** Before `rebuild-cache`: `strace …`. */
  wrap?: string[];
  env?: Record<string, string>;
  cwd?: string;
}

/** Files that the program opens before its work: its own modules, which a binary has in it. */
const OWN_FILES = Deno.env.get("REBUILD_CACHE_BIN") ? 50 : 300;

/** What makes calls of the file system slow, so that a small tree takes long. */
export const SLOWLY = [
  ...["strace", "-f", "-o", "/dev/null"],
  ...["-e", "trace=openat,linkat,unlinkat"],
  ...["-e", `inject=openat:delay_enter=8000:when=${OWN_FILES}+`],
  ...["-e", "inject=linkat:delay_enter=10000"],
  // By many threads.
  ...["-e", "inject=unlinkat:delay_enter=50000"],
];

/** Runs `rebuild-cache` in a terminal of so many columns. Needs python3. */
export async function runInTerminal(
  args: string[],
  { columns, wrap = [], env = {}, ...options }: TerminalOptions,
): Promise<Seen> {
  const program = fromFileUrl(new URL("terminal.py", import.meta.url));
  const ran = await run(
    ["python3", program, `${columns}`, ...cliCommand(args, wrap)],
    { ...options, env: { TERM: "xterm", CI: "", NO_COLOR: "", ...env } },
  );
  const bars: string[] = [];
  const screen: string[] = [];
  // Deno itself erases what it may have said of modules that it loads.
  const said = ran.stdout.replaceAll("\u001b[0G\u001b[2K\u001b[J", "");
  for (const line of said.split("\r\n")) {
    const states = line.split(ERASE_LINE);
    screen.push(states.at(-1)!);
    bars.push(...states.slice(1).filter((it) => it !== ""));
    // The last state of a line that ended is a message, in place of the bar.
    if (states.length > 1 && states.at(-1) !== "") bars.pop();
  }
  return { ...ran, bars, screen: screen.join("\n") };
}

const ERASE_LINE = "\r\u001b[K";
