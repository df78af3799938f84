/**
 * Programs that are asked for credentials.
 *
 * @module
 */

import { osErrorText } from "../os/error.ts";
import { RemoteError } from "./engine.ts";

/** How long one may take, in milliseconds. */
const LONGEST = 10_000;

/** How much one may say, in characters. */
const MOST = 1 << 20;

/** What is run. */
export interface HelperCommand {
  /** What it is called in an error. */
  readonly what: string;
  readonly program: string;
  readonly args: readonly string[];
  /** What it gets on stdin. */
  readonly input?: string;
}

/**
 * Runs a program, and gives the JSON that it prints. Nothing of what it prints is ever in
 * an error.
 *
 * @throws {RemoteError} Of kind `refused` if it can't be run, fails, takes more than 10 s,
 * or prints something else.
 */
export async function askHelper(
  { what, program, args, input = "" }: HelperCommand,
  signal: AbortSignal,
): Promise<object> {
  signal.throwIfAborted();
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args: [...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
  } catch (error) {
    throw refused(`${what} can't be run: ${osErrorText(error)}`, error);
  }
  const reader = child.stdout.getReader();
  let isLate = false;
  const stop = () => {
    try {
      child.kill("SIGKILL");
    } catch { /* it has ended */ }
    // What it started may hold the pipe open.
    reader.cancel().catch(() => {});
  };
  const timer = setTimeout(() => {
    isLate = true;
    stop();
  }, LONGEST);
  signal.addEventListener("abort", stop);
  try {
    const told = tell(child.stdin, input);
    const text = await readText(reader);
    if (text === undefined) stop();
    const { success, code } = await child.status;
    await told;
    signal.throwIfAborted();
    if (isLate) throw refused(`${what} has not answered within 10 s`);
    if (text === undefined) throw refused(`${what} printed too much`);
    if (!success) throw refused(`${what} failed: it ended with ${code}`);
    return parseObject(text) ?? fail(`${what} printed no JSON object`);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}

async function tell(
  stdin: WritableStream<Uint8Array<ArrayBuffer>>,
  input: string,
): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  } catch {
    // It does not read, which is its own affair.
    await writer.abort().catch(() => {});
  }
}

/** All of it; `undefined` if it is too much. */
async function readText(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += decoder.decode(value, { stream: true });
    if (text.length > MOST) return undefined;
  }
}

function parseObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value ? value : undefined;
  } catch {
    return undefined;
  }
}

function fail(why: string): never {
  throw refused(why);
}

function refused(why: string, cause?: unknown): RemoteError {
  return new RemoteError("refused", why, cause);
}
