import { findServer } from "./server_tools.ts";
import { TempDir } from "./temp_dir.ts";

/** A server's process on loopback, with a directory of its own. */
export class ServerProcess implements AsyncDisposable {
  readonly dir: TempDir;
  readonly ports: readonly number[];
  readonly #path: string;
  readonly #args: readonly string[];
  #child!: Deno.ChildProcess;
  #heard!: Promise<string>;

  private constructor(
    path: string,
    args: readonly string[],
    dir: TempDir,
    ports: readonly number[],
  ) {
    this.#path = path;
    this.#args = args;
    this.dir = dir;
    this.ports = ports;
  }

  /**
   * Starts it, and waits until it takes connections on all of its ports.
   *
   * @param program One of {@linkcode SERVERS}.
   * @param ports How many it listens on.
   * @param prepare Fills its directory, and tells its arguments.
   */
  static async start(
    program: string,
    ports: number,
    prepare: (dir: TempDir, ports: readonly number[]) => string[],
  ): Promise<ServerProcess> {
    const path = findServer(program);
    if (path === undefined) throw new Error(`There is no ${program}`);
    for (let tries = 1;; tries++) {
      const dir = TempDir.make();
      try {
        const free = freePorts(ports);
        const args = prepare(dir, free);
        const server = new ServerProcess(path, args, dir, free);
        await server.#run();
        return server;
      } catch (error) {
        await dir[Symbol.asyncDispose]();
        // Somebody else may have taken a port that was free a moment ago.
        if (tries === 3) throw error;
      }
    }
  }

  async #run(): Promise<void> {
    const path = this.#path;
    const child = new Deno.Command(path, {
      args: [...this.#args],
      cwd: this.dir.path,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const heard = new Response(child.stderr).text();
    this.#child = child;
    this.#heard = heard;
    let over = false;
    child.status.then(() => over = true);
    const end = Date.now() + 60_000;
    for (const port of this.ports) {
      while (!await answers(port)) {
        if (over) {
          throw new Error(`${path} ended: ${(await heard).slice(-500)}`);
        }
        if (Date.now() > end) {
          await this.stop();
          throw new Error(`${path} does not listen: ${await heard}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }

  /** Ends it at once, and starts it again on what it has. */
  async restart(): Promise<void> {
    await this.stop();
    await this.#run();
  }

  /** Ends it at once. Its directory stays. */
  async stop(): Promise<void> {
    try {
      // None of them has to tidy up: its directory goes as a whole.
      this.#child.kill("SIGKILL");
    } catch { /* it has ended */ }
    await this.#child.status;
    await this.#heard;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.dir[Symbol.asyncDispose]();
  }
}

/** Ports that nobody listens on, all different. */
export function freePorts(count: number): number[] {
  const listeners = Array.from(
    { length: count },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  const ports = listeners.map(({ addr }) => addr.port);
  for (const it of listeners) it.close();
  return ports;
}

async function answers(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}
