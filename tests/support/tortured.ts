import { denoRun } from "./command.ts";

/** What an operation answered. */
export interface Answer {
  done?: unknown;
  error?: { name: string; message: string; kind?: string };
  warnings?: string[];
}

/** A system call, as strace shows it. */
export interface Call {
  name: string;
  /** Its arguments, and what came of it if that is on the same line. */
  text: string;
  /** Whether the main thread made it. */
  main: boolean;
  /** The how-manieth call of that name it is, in its thread. */
  nth: number;
  injected: boolean;
}

/** What is watched, and what goes wrong. */
export interface Trace {
  calls: readonly string[];
  /** Which threads: strace counts the calls of each by itself. */
  threads: "all" | "main" | "others";
  /** `openat:error=EIO:when=3` */
  inject?: string;
  /** Only calls that name one of these, or have a descriptor of it. */
  paths?: readonly string[];
}

/** After so many milliseconds, what takes some at most hangs. */
const PATIENCE = 60_000;

/** A process of torture_target.ts. */
export class Tortured implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #rest = "";
  #over = false;

  private constructor(wrap: readonly string[]) {
    const [program, ...args] = [
      ...[...wrap, Deno.execPath()],
      ...denoRun("tests/support/torture_target.ts"),
    ];
    this.#child = new Deno.Command(program!, {
      args,
      stdin: "piped",
      stdout: "piped",
      // Where a `closedir` fails, Rust's standard library panics.
      stderr: "null",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
  }

  /** Starts one, and waits until it is ready. */
  static async start(): Promise<Tortured> {
    const tortured = new Tortured([]);
    await tortured.#line();
    return tortured;
  }

  /**
   * Lets a process of its own do one thing under strace, from its start: only the
   * calls that are watched are slow then, which pays where there are many.
   */
  static async once(
    request: unknown,
    { calls, inject, paths = [] }: Omit<Trace, "threads">,
  ): Promise<{ answer: Answer | undefined; calls: Call[] }> {
    const log = Deno.makeTempFileSync();
    // With --seccomp-bpf, strace never delivers a signal that it is to inject.
    const fast = inject?.includes("signal=") ? [] : ["--seccomp-bpf"];
    const tortured = new Tortured([
      ...["strace", "-f", ...fast, "-o", log],
      ...["-e", `trace=${calls.map((call) => `?${call}`).join()}`],
      ...inject ? ["-e", `inject=${inject}`] : [],
      ...paths.flatMap((path) => ["-P", path]),
    ]);
    await tortured.#line();
    const tracer = tortured.#child.pid;
    const children = `/proc/${tracer}/task/${tracer}/children`;
    const pid = Deno.readTextFileSync(children).trim();
    const answer = await tortured.ask(request);
    await tortured.#writer.close().catch(() => {});
    while (await tortured.#line() !== undefined);
    await tortured.#child.status;
    const text = Deno.readTextFileSync(log);
    Deno.removeSync(log);
    return { answer, calls: parse(text, pid, pid) };
  }

  /** Whether it has ended. */
  get over(): boolean {
    return this.#over;
  }

  /** Whether it did not answer, and had to be killed. */
  hung = false;

  /** Lets it do something. No answer: it was killed. */
  async ask(request: unknown): Promise<Answer | undefined> {
    await this.#writer.write(new TextEncoder().encode(JSON.stringify(request)));
    const patience = setTimeout(() => {
      this.hung = true;
      this.#child.kill("SIGKILL");
    }, PATIENCE);
    const line = await this.#line();
    clearTimeout(patience);
    return line === undefined ? undefined : JSON.parse(line);
  }

  /** Lets it do something under strace. */
  async trace(
    request: unknown,
    { calls, threads, inject, paths = [] }: Trace,
  ): Promise<{ answer: Answer | undefined; calls: Call[] }> {
    const log = Deno.makeTempFileSync();
    const pid = `${this.#child.pid}`;
    const ids = threads === "others"
      ? [...Deno.readDirSync(`/proc/${pid}/task`)].map(({ name }) => name)
        .filter((id) => id !== pid)
      : [pid];
    const tracer = new Deno.Command("strace", {
      args: [
        ...["-y", "-o", log, ...ids.flatMap((id) => ["-p", id])],
        ...threads === "all" ? ["-f"] : [],
        ...["-e", `trace=${calls.map((call) => `?${call}`).join()}`],
        ...inject ? ["-e", `inject=${inject}`] : [],
        ...paths.flatMap((path) => ["-P", path]),
      ],
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const said = tracer.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let heard = "";
    while (heard.split(" attached").length <= ids.length) {
      const { value, done } = await said.read();
      if (done) throw new Error(`strace: ${heard}`);
      heard += value;
    }
    const answer = await this.ask(request);
    // It ends by itself with what it traces, but not in the middle of a panic.
    try {
      if (!answer) this.#child.kill("SIGKILL");
      else tracer.kill("SIGINT");
    } catch { /* It has ended. */ }
    while (!(await said.read()).done);
    await tracer.status;
    const text = Deno.readTextFileSync(log);
    Deno.removeSync(log);
    return { answer, calls: parse(text, pid, ids[0]!) };
  }

  async #line(): Promise<string | undefined> {
    while (!this.#rest.includes("\n")) {
      const { value, done } = await this.#reader.read();
      if (done) {
        this.#over = true;
        return undefined;
      }
      this.#rest += value;
    }
    const [line, ...rest] = this.#rest.split("\n");
    this.#rest = rest.join("\n");
    return line;
  }

  /** Kills it. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* It has ended. */ }
    await this.#writer.close().catch(() => {});
    while (!(await this.#reader.read()).done);
    await this.#child.status;
    this.#over = true;
  }
}

/** The calls of a log of strace. Of one thread `only`, it does not say which. */
function parse(log: string, pid: string, only: string): Call[] {
  const counts = new Map<string, number>();
  const calls: Call[] = [];
  for (const line of log.split("\n")) {
    const match = /^(?:(\d+) +)?(\w+)\((.*)$/.exec(line);
    if (!match) {
      // What was injected is said when the call ends.
      const resumed = /^(?:(\d+) +)?<\.\.\. (\w+) resumed>.*\(INJECTED\)/
        .exec(line);
      const last = resumed &&
        calls.findLast(({ name, main }) =>
          name === resumed[2] && main === ((resumed[1] ?? only) === pid)
        );
      if (last) last.injected = true;
      continue;
    }
    const [, thread = only, name, text] = match;
    const counter = `${thread} ${name}`;
    const nth = (counts.get(counter) ?? 0) + 1;
    counts.set(counter, nth);
    calls.push({
      name: name!,
      text: text!,
      main: thread === pid,
      nth,
      injected: text!.endsWith("(INJECTED)"),
    });
  }
  return calls;
}
