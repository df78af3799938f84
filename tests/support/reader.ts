import { assertEquals } from "@std/assert";
import { cliCommand, must, type Ran } from "./command.ts";
import type { Need } from "./needs.ts";
import { TempDir, type Tree } from "./temp_dir.ts";

const isRoot = Deno.build.os !== "windows" && Deno.uid() === 0;

/** Who runs recipes if we are root. */
const ORDINARY = 65534;

/**
 * Makes a command that of an ordinary user. The tools of this machine may lie in root's
 * home, so that one may read everything; they own nothing of root's, and can't write to it.
 */
const AS_ORDINARY = isRoot
  ? [
    "setpriv",
    ...[`--reuid=${ORDINARY}`, `--regid=${ORDINARY}`, "--clear-groups"],
    ...["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"],
  ]
  : [];

/** What {@linkcode Reader} needs. */
export const READER: readonly Need[] = isRoot
  ? ["linux", "bash", "setpriv"]
  : ["posix", "bash"];

/** What of our own environment would lead a tool to somebody's caches or settings. */
const OURS =
  /^(HOME|USER|LOGNAME|VIRTUAL_ENV|TMPDIR|NODE_PATH|PIP_TARGET|PIP_CACHE_DIR|npm_config_cache|RUSTC_WRAPPER|GO(PATH|CACHE|MODCACHE|BIN))$|^(XDG|PYENV|CARGO|RUSTUP|DENO|REBUILD_CACHE|UV)_/;

/**
 * Somebody who pastes what our pages say: an ordinary user with an empty home, who works
 * in directories that have a space in their names.
 */
export class Reader implements AsyncDisposable {
  readonly #dir = TempDir.make();
  #path = Deno.env.get("PATH") ?? "";

  constructor() {
    Deno.chmodSync(this.#dir.path, 0o755);
    this.#dir.write({ bin: {}, home: {}, "my projects": {}, calls: "" });
    Deno.chmodSync(this.#dir.at("calls"), 0o666);
    this.#path = `${this.#dir.at("bin")}:${this.#path}`;
    this.#command(denoDir());
    // Where install.sh puts it.
    Deno.mkdirSync(this.#dir.at("home", ".local", "bin"), { recursive: true });
    Deno.symlinkSync(
      this.#dir.at("bin", "rebuild-cache"),
      this.#dir.at("home", ".local", "bin", "rebuild-cache"),
    );
    this.#own(this.#dir.at("home"));
  }

  /** Their home. */
  get home(): string {
    return this.#dir.at("home");
  }

  /** A folder beside their home, for tools. */
  get tools(): string {
    return this.#dir.at("tools");
  }

  /** Puts a folder in front of their PATH. */
  addToPath(folder: string): void {
    this.#path = `${folder}:${this.#path}`;
  }

  /** Gives them a Python of their own, with these packages. */
  async addPython(...packages: string[]): Promise<void> {
    const which = "import sys; print(sys._base_executable)";
    const python = (await must("python3", "-c", which)).trim();
    await must(python, "-m", "venv", this.tools);
    this.addToPath(`${this.tools}/bin`);
    if (packages.length > 0) {
      await must(`${this.tools}/bin/pip`, "install", "-q", ...packages);
    }
  }

  /**
   * Gives them the packages that a remote needs, for which Deno must be able to write
   * beside them if they lie in root's home.
   */
  async addPackages(): Promise<void> {
    const own = this.#dir.at("deno");
    Deno.mkdirSync(own);
    if (isDirectory(`${denoDir()}/npm`)) {
      await must("cp", "-R", `${denoDir()}/npm`, `${own}/npm`);
    }
    this.#own(own);
    this.#command(own);
  }

  /** Notes each call of a tool on the PATH; see {@linkcode calls}. */
  note(name: string): void {
    const found = this.#path.split(":").map((it) => `${it}/${name}`)
      .find((it) => isFile(it))!;
    const folder = this.#dir.at("noted");
    Deno.mkdirSync(folder, { recursive: true });
    this.#script(`${folder}/${name}`, [found], this.#dir.at("calls"));
    if (!this.#path.startsWith(`${folder}:`)) this.addToPath(folder);
  }

  /** How often noted tools were called with these words at the beginning. */
  calls(words: string): number {
    return Deno.readTextFileSync(this.#dir.at("calls")).split("\n")
      .filter((it) => it.startsWith(words)).length;
  }

  /** Makes a project of theirs; `prepare` is run there first, as us. */
  async project(name: string, files: Tree, prepare?: string): Promise<string> {
    const path = this.#dir.at("my projects", name);
    this.#dir.write({ [name]: files }, this.#dir.at("my projects"));
    if (prepare) {
      const script = `cd '${path}' && PATH='${this.#path}' && ${prepare}`;
      await must("bash", "-ec", script);
    }
    this.#own(this.#dir.at("my projects"));
    Deno.writeTextFileSync(this.#dir.at("calls"), "");
    return path;
  }

  /** Pastes a text into a shell, in a directory. */
  async paste(text: string, cwd: string, {
    shell = ["bash", "-eu", "-o", "pipefail", "-c"],
    env = {},
  }: { shell?: string[]; env?: Record<string, string> } = {}): Promise<Ran> {
    const inherited = Object.entries(Deno.env.toObject())
      .filter(([name]) => !OURS.test(name));
    const [program, ...args] = [...AS_ORDINARY, ...shell, text];
    const output = await new Deno.Command(program!, {
      args,
      cwd,
      clearEnv: true,
      env: {
        ...Object.fromEntries(inherited),
        PATH: this.#path,
        HOME: this.home,
        NO_COLOR: "1",
        ...env,
      },
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    const ran: Ran = {
      code: output.code,
      signal: output.signal,
      stdout: decoder.decode(output.stdout),
      stderr: decoder.decode(output.stderr),
    };
    assertEquals(ran.code, 0, `${text}\n${ran.stdout}${ran.stderr}`);
    return ran;
  }

  #command(denoDir: string): void {
    const words = ["env", `DENO_DIR=${denoDir}`, ...cliCommand([])];
    this.#script(this.#dir.at("bin", "rebuild-cache"), words);
  }

  /** A script on the PATH that runs a command with more arguments. */
  #script(path: string, command: string[], calls?: string): void {
    const name = path.slice(path.lastIndexOf("/") + 1);
    const note = calls ? `echo "${name} $*" >>'${calls}'\n` : "";
    const words = command.map((it) => `'${it}'`).join(" ");
    Deno.writeTextFileSync(path, `#!/bin/sh\n${note}exec ${words} "$@"\n`);
    Deno.chmodSync(path, 0o755);
  }

  /** Gives them what we made. */
  #own(path: string): void {
    if (!isRoot) return;
    const args = ["-Rh", `${ORDINARY}:${ORDINARY}`, path];
    const { success } = new Deno.Command("chown", { args }).outputSync();
    if (!success) throw new Error(`chown ${path}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Go's modules are read-only, and not everybody who removes them is root.
    const args = ["-R", "u+w", this.#dir.path];
    await new Deno.Command("chmod", { args, stderr: "null" }).output();
    await this.#dir[Symbol.asyncDispose]();
  }
}

/** Where Deno of ours keeps what it has fetched. */
function denoDir(): string {
  return Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** A block of code on a page. */
export interface Block {
  readonly language: string;
  readonly text: string;
}

/** The blocks of a page that can be run, by the heading that they stand under. */
export function blocksOf(page: string): Map<string, Block[]> {
  const found = new Map<string, Block[]>();
  for (const section of page.split(/^##+ /m).slice(1)) {
    const blocks = [...section.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
      .map(([, language, text]) => ({ language: language!, text: text! }))
      .filter(({ language }) => language !== "text");
    if (blocks.length > 0) found.set(section.split("\n")[0]!, blocks);
  }
  return found;
}

/** The scripts of `- |` and `run: |` in YAML. */
export function scriptsOf(yaml: string): string[] {
  const lines = yaml.split("\n");
  const scripts: string[] = [];
  for (const [at, line] of lines.entries()) {
    if (!/(?:^\s*-|\brun:) \|$/.test(line)) continue;
    const depth = indent(lines[at + 1]!);
    const end = lines.findIndex((it, i) =>
      i > at && it.trim() !== "" && indent(it) < depth
    );
    const body = lines.slice(at + 1, end === -1 ? undefined : end);
    scripts.push(body.map((it) => it.slice(depth)).join("\n"));
  }
  return scripts;
}

function indent(line: string): number {
  return line.length - line.trimStart().length;
}
