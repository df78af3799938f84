import { dirname } from "@std/path/dirname";
import { fromFileUrl } from "@std/path/from-file-url";
import { resolve } from "@std/path/resolve";
import { exists, until } from "./until.ts";

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

/** What is tested instead of `deno run cli.ts`, if that was asked for. */
const BINARY = binaryToTest();

/**
 * The path that `REBUILD_CACHE_BIN` has. It must do without our sources and without
 * Deno, so from now on the working directory and the PATH have neither.
 */
function binaryToTest(): string | undefined {
  const name = Deno.env.get("REBUILD_CACHE_BIN");
  if (!name) return undefined;
  const binary = resolve(name);
  if (!exists(binary)) throw new Error(`REBUILD_CACHE_BIN: no ${binary}`);
  // For the processes of these tests that load this again.
  Deno.env.set("REBUILD_CACHE_BIN", binary);
  const windows = Deno.build.os === "windows";
  const separator = windows ? ";" : ":";
  // A folder of the system's own tools stays: nothing would run without them.
  const folders = (Deno.env.get("PATH") ?? "").split(separator).filter((it) =>
    !exists(`${it}/deno${windows ? ".exe" : ""}`) || exists(`${it}/sh`)
  );
  Deno.env.set("PATH", folders.join(separator));
  const beside = Deno.makeTempDirSync();
  Deno.removeSync(beside);
  Deno.chdir(dirname(beside));
  return binary;
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

/** The command line that starts `rebuild-cache`, or what `REBUILD_CACHE_BIN` names. */
export function cliCommand(args: string[], wrap: string[] = []): string[] {
  const command = BINARY ? [BINARY] : [Deno.execPath(), ...denoRun("cli.ts")];
  return [...wrap, ...command, ...args];
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

/** A process of the tests that runs until it is told to end, or killed. */
export class Peer implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  #heard = "";
  #over = false;
  readonly #ended: Promise<void>;

  /** Starts any command. */
  constructor([program, ...args]: string[], options: RunOptions = {}) {
    this.#child = new Deno.Command(program!, {
      args,
      ...options.cwd !== undefined && { cwd: options.cwd },
      env: { NO_COLOR: "1", ...options.env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#child.status.then(() => this.#over = true);
    const { stdout, stderr } = this.#child;
    this.#ended = Promise.all([stdout, stderr].map(async (stream) => {
      for await (const text of stream.pipeThrough(new TextDecoderStream())) {
        this.#heard += text;
      }
    })).then(() => {});
  }

  /** A module of tests/support. */
  static support(name: string, ...args: string[]): Peer {
    const module = denoRun(`tests/support/${name}`);
    return new Peer([Deno.execPath(), ...module, ...args]);
  }

  /** `rebuild-cache`. */
  static cli(args: string[], options: RunOptions = {}): Peer {
    return new Peer(cliCommand(args, options.wrap), options);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** What it has said so far. */
  get heard(): string {
    return this.#heard;
  }

  /** Whether it has ended. */
  get over(): boolean {
    return this.#over;
  }

  /** Waits until it has said something. */
  async says(text: string): Promise<void> {
    await until(`"${text}" of: ${this.#heard}`, () => {
      if (this.#over && !this.#heard.includes(text)) {
        throw new Error(this.#heard);
      }
      return this.#heard.includes(text);
    });
  }

  kill(signal: Deno.Signal = "SIGKILL"): void {
    this.#child.kill(signal);
  }

  /** Lets it end, and gives its exit code. */
  async end(): Promise<{ code: number; heard: string }> {
    try {
      await this.#child.stdin.close();
    } catch {
      // closed already
    }
    const { code } = await this.#child.status;
    await this.#ended;
    return { code, heard: this.#heard };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.end();
  }
}

/** Runs `rebuild-cache` as the user 65534; only root can. */
export function runAsNobody(
  args: string[],
  options: RunOptions = {},
): Promise<Ran> {
  const module = denoRun("tests/support/as_nobody.ts");
  return run([Deno.execPath(), ...module, ...args], options);
}
