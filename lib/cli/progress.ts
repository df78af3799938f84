/**
 * A progress bar on standard error: only on a terminal, and only for work that takes
 * longer than half a second.
 *
 * @module
 */

import type { ProgressBar } from "@std/cli/unstable-progress-bar";
import type { Call } from "./flags.ts";
import { setMeter } from "./output.ts";
import { size, thousands } from "./render.ts";

/** How far something is. */
export interface Progress {
  /** What is counted, in the plural. */
  readonly what: string;
  /** So many of them are done. */
  readonly done: number;
  /** Of so many, if that is known. */
  readonly total?: number;
  /** Bytes that are done. */
  readonly bytes?: number;
  /** Of so many, if that is known. */
  readonly totalBytes?: number;
}

/** Is told how far something is. */
export type Update = (progress: Progress) => void;

/** How long there is nothing to see, in milliseconds. */
const PATIENCE = 500;

/** Does some work, and shows how far it is as long as it goes on. */
export async function withMeter<T>(
  call: Call,
  verb: string,
  work: (update: Update) => Promise<T>,
): Promise<T> {
  if (!isWanted(call)) return await work(() => {});
  await using bar = new Bar(verb);
  return await work((progress) => bar.update(progress));
}

function isWanted({ values: { json, quiet, verbose } }: Call): boolean {
  if (json || quiet || verbose > 0 || !Deno.stderr.isTerminal()) return false;
  // https://no-color.org; what every CI sets; a terminal that moves no cursor
  const unset = (name: string) => !Deno.env.get(name);
  return unset("CI") && unset("NO_COLOR") && Deno.env.get("TERM") !== "dumb";
}

class Bar implements AsyncDisposable {
  readonly #verb: string;
  readonly #started = performance.now();
  /** Loaded meanwhile, since most runs end before it is needed. */
  #loading: Promise<void> | undefined;
  #bar: ProgressBar | undefined;
  #progress: Progress = { what: "", done: 0 };

  constructor(verb: string) {
    this.#verb = verb;
  }

  update(progress: Progress): void {
    this.#progress = progress;
    if (performance.now() - this.#started < PATIENCE) return;
    this.#loading ??= this.#open();
    if (!this.#bar) return;
    const { done, total, bytes, totalBytes } = progress;
    this.#bar.max = totalBytes ?? total ?? 0;
    this.#bar.value = totalBytes === undefined ? done : bytes ?? 0;
  }

  async #open(): Promise<void> {
    const { ProgressBar } = await import("@std/cli/unstable-progress-bar");
    setMeter(true);
    this.#bar = new ProgressBar({
      max: 0,
      clear: true,
      interval: 100,
      barLength: 20,
      fillChar: "█",
      emptyChar: "░",
      formatter: ({ progressBar, max }) =>
        this.#line(max > 0 ? progressBar : ""),
    });
  }

  /** As long as the terminal is wide now, so that it never wraps. */
  #line(bar: string): string {
    const { what, done, total, bytes } = this.#progress;
    const seconds = (performance.now() - this.#started) / 1000;
    const of = total === undefined ? "" : ` of ${thousands(total)}`;
    const data = bytes === undefined
      ? ""
      : `, ${size(bytes)}, ${size(Math.round(bytes / seconds))}/s`;
    const line = `${this.#verb} ${bar && `${bar} `}${
      thousands(done)
    }${of} ${what}${data}`;
    return line.slice(0, Deno.consoleSize().columns - 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loading;
    await this.#bar?.stop();
    setMeter(false);
  }
}
