import { fromFileUrl } from "@std/path/from-file-url";

const root = new URL("../../", import.meta.url);

/** The checkout. */
export const ROOT = fromFileUrl(root);

/** The arguments that make `deno` run a module as it runs this one. */
export function denoRun(module: string): string[] {
  // Set by scripts/deno where JSR is out of reach.
  const map = Deno.env.get("REBUILD_CACHE_IMPORT_MAP");
  return [
    "run",
    "-A",
    "--no-check",
    "--no-lock",
    `--config=${fromFileUrl(new URL("deno.json", root))}`,
    ...map ? [`--import-map=${map}`] : [],
    fromFileUrl(new URL(module, root)),
  ];
}

/** How a command went. */
export interface Ran {
  code: number;
  signal: Deno.Signal | null;
  stdout: string;
  stderr: string;
}

/** How to run it. */
export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** What stands before `deno`: `strace …`, `setpriv …`. */
  wrap?: string[];
}

/** Runs any command to its end. */
export async function run(
  [program, ...args]: string[],
  { cwd, env }: RunOptions = {},
): Promise<Ran> {
  const output = await new Deno.Command(program!, {
    args,
    ...cwd !== undefined && { cwd },
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  return {
    code: output.code,
    signal: output.signal,
    stdout: decoder.decode(output.stdout),
    stderr: decoder.decode(output.stderr),
  };
}

/** The command line that starts `rebuild-cache`. */
export function cliCommand(args: string[], wrap: string[] = []): string[] {
  return [...wrap, Deno.execPath(), ...denoRun("cli.ts"), ...args];
}

/** Runs `rebuild-cache` to its end. */
export function runCli(args: string[], options: RunOptions = {}): Promise<Ran> {
  return run(cliCommand(args, options.wrap), options);
}

/** Runs any command, and throws if it fails: for what a test prepares. */
export async function must(...command: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command);
  if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr || stdout}`);
  return stdout;
}
