import { denoRun } from "./command.ts";

/** A process that does one thing whenever it is told to, and can be traced meanwhile. */
export class Traced implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #rest = "";

  private constructor(module: string) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: denoRun(module),
      stdin: "piped",
      stdout: "piped",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
  }

  /** Starts a module of tests/support, and waits until it has said a first line. */
  static async start(name: string): Promise<Traced> {
    const traced = new Traced(`tests/support/${name}`);
    await traced.#line();
    return traced;
  }

  /**
   * Tells it to do `request` under `strace -e inject=…`, and gives its answer and
   * the calls of its main thread.
   */
  async run(
    request: unknown,
    trace: string,
    inject?: string,
  ): Promise<{ answer: unknown; calls: string[] }> {
    const log = Deno.makeTempFileSync();
    const tracer = new Deno.Command("strace", {
      args: [
        ...["-f", "-o", log, "-p", String(this.#child.pid)],
        ...["-s", "512", "-e", `trace=${trace}`],
        ...inject ? ["-e", `inject=${inject}`] : [],
      ],
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const said = tracer.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let heard = "";
    while (!heard.includes("attached")) {
      const { value, done } = await said.read();
      if (done) throw new Error(`strace: ${heard}`);
      heard += value;
    }
    await this.#writer.write(new TextEncoder().encode(JSON.stringify(request)));
    const answer = JSON.parse(await this.#line());
    tracer.kill("SIGINT");
    while (!(await said.read()).done);
    await tracer.status;
    const calls = Deno.readTextFileSync(log).split("\n")
      .filter((line) => line.startsWith(`${this.#child.pid} `));
    Deno.removeSync(log);
    return { answer, calls };
  }

  async #line(): Promise<string> {
    while (!this.#rest.includes("\n")) {
      const { value, done } = await this.#reader.read();
      if (done) throw new Error("It ended");
      this.#rest += value;
    }
    const [line, ...rest] = this.#rest.split("\n");
    this.#rest = rest.join("\n");
    return line!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close();
    while (!(await this.#reader.read()).done);
    await this.#child.status;
  }
}
