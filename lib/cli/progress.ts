/**
 * How far something is, in one line of a terminal on standard error: only for work that
 * takes longer than half a second, and erased when it is over.
 *
 * @module
 */

import type { PutProgress } from "../cache/archive.ts";
import { printable } from "../os/text.ts";
import type { Call } from "./flags.ts";
import { eraseMeter, showMeter } from "./output.ts";
import { size, span, thousands } from "./render.ts";

/** How far something is. */
export interface Progress {
  /** What is being done now: "Copying". */
  readonly verb: string;
  /** What is counted, in the plural. */
  readonly what: string;
  /** So many of them are done. */
  readonly done: number;
  /** Of so many, if that is known. */
  readonly total?: number | undefined;
  /** Bytes that are done. */
  readonly bytes?: number | undefined;
  /** Of so many, if that is known. */
  readonly totalBytes?: number | undefined;
}

/** Is told how far something is. */
export type Update = (progress: Progress) => void;

/** How long there is nothing to see, in milliseconds. */
const PATIENCE = 500;

/** How long a line stands, in milliseconds. */
const INTERVAL = 100;

/**
 * Does some work, and shows how far it is from its first word on, if it takes long.
 *
 * @param name What it is done to. Shown where there is room.
 */
export async function withMeter<T>(
  { values }: Pick<Call, "values">,
  name: string,
  work: (update: Update) => Promise<T>,
): Promise<T> {
  if (!isWanted(values)) return await work(() => {});
  using meter = new Meter(name);
  return await work((progress) => meter.update(progress));
}

/** How far a put is, in words. */
export function putProgress(
  { phase, files, bytes, totalFiles, totalBytes }: PutProgress,
): Progress {
  const verb = VERBS[phase];
  const done = { done: files, total: totalFiles, bytes, totalBytes };
  return { verb, what: "files", ...done };
}

const VERBS = {
  copying: "Copying",
  hashing: "Hashing",
  pulling: "Pulling",
  pushing: "Pushing",
} as const satisfies Record<PutProgress["phase"], string>;

function isWanted({ json, quiet, verbose }: Call["values"]): boolean {
  if (json || quiet || verbose > 0 || !Deno.stderr.isTerminal()) return false;
  // What every CI sets; a terminal that moves no cursor.
  return !Deno.env.get("CI") && Deno.env.get("TERM") !== "dumb";
}

class Meter implements Disposable {
  readonly #name: string;
  /** Since when something has been done: who waits, waits for somebody else. */
  #begun = 0;
  // https://no-color.org
  readonly #hasColor = !Deno.env.get("NO_COLOR");
  /** Since when the same is being done, so that its rate is known. */
  #since = 0;
  #progress: Progress | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  update(progress: Progress): void {
    if (progress.verb !== this.#progress?.verb) {
      this.#since = performance.now();
    }
    if (!this.#progress) this.#begun = this.#since;
    this.#progress = progress;
    this.#timer ??= setInterval(() => this.#show(), INTERVAL);
  }

  #show(): void {
    const now = performance.now();
    if (!this.#progress || now - this.#begun < PATIENCE) return;
    const line = meterLine(this.#progress, {
      name: this.#name,
      elapsed: now - this.#since,
      columns: columns(),
    });
    const { length } = this.#progress.verb;
    const [verb, rest] = [line.slice(0, length), line.slice(length)];
    showMeter(this.#hasColor ? `\u001b[1;36m${verb}\u001b[0m${rest}` : line);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    eraseMeter();
  }
}

/** As wide as the terminal is now. One that does not know says 0. */
function columns(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80;
  }
}

/** What a line is made for. */
export interface Frame {
  /** What it is done to. */
  readonly name: string;
  /** How long the same has been done, in milliseconds. */
  readonly elapsed: number;
  /** The width of the terminal. */
  readonly columns: number;
}

/** The bars that there are, by their lengths; one of a fixed length does not jump. */
const BARS = [32, 22, 12];

/** Before that nobody knows how long the rest takes, in milliseconds. */
const KNOWN = 1000;

/**
 * The line: `Hashing cached [====>   ] 42%, 840 of 2,000 files, 12.3 MB of 29.3 MB,
 * 4.1 MB/s, 5 s left`. What has no room is left out whole, the least important first;
 * no number is ever cut.
 */
export function meterLine(
  { verb, what, done, total, bytes, totalBytes }: Progress,
  { name, elapsed, columns }: Frame,
): string {
  const share = totalBytes
    ? (bytes ?? 0) / totalBytes
    : total
    ? done / total
    : undefined;
  // What is counted may grow meanwhile.
  const known = share === undefined ? undefined : Math.min(1, share);
  const percent = known === undefined ? "" : `${Math.floor(100 * known)}%`;
  const of = total ? ` of ${thousands(total)}` : "";
  const ofBytes = totalBytes ? ` of ${size(totalBytes)}` : "";
  const seconds = elapsed / 1000;
  const isKnown = elapsed >= KNOWN;
  const rate = !isKnown
    ? ""
    : bytes
    ? `${size(Math.round(bytes / seconds))}/s`
    : done > 0
    ? `${thousands(Math.round(done / seconds))} ${what}/s`
    : "";
  const left = isKnown && known
    ? `${span(Math.ceil(seconds * (1 / known - 1)) * 1000)} left`
    : "";
  const counted = done > 0 || of ? `${thousands(done)}${of} ${what}` : "";
  const more = { bar: "", data: "", rate: "", name: "" };
  const parts: Parts = { percent, counted, left, ...more };
  if (!counted && !bytes) parts.left = span(elapsed);
  const most = columns - 1; // in the last column, some terminals go on
  const fits = () => width(lineOf(verb, parts)) <= most;
  if (!fits()) parts.left = "";
  // The percentage tells as much, in less.
  if (!fits()) parts.counted = percent ? "" : thousands(done);
  if (!fits()) parts.counted = "";
  if (!fits()) parts.percent = "";
  const add = (part: keyof Parts, text: string) => {
    const before = parts[part];
    parts[part] = text;
    if (!fits()) parts[part] = before;
  };
  const bar = (length: number) =>
    known === undefined ? "" : `[${filled(known, length - 2)}]`;
  add("bar", bar(BARS.at(-1)!));
  if (bytes) add("data", size(bytes));
  add("rate", rate);
  if (bytes) add("data", `${size(bytes)}${ofBytes}`);
  add("name", printable(name, most));
  const room = most - width(lineOf(verb, parts)) + parts.bar.length;
  if (parts.bar) parts.bar = bar(BARS.find((it) => it <= room)!);
  return lineOf(verb, parts).slice(0, Math.max(0, most));
}

interface Parts {
  name: string;
  bar: string;
  percent: string;
  counted: string;
  data: string;
  rate: string;
  left: string;
}

function lineOf(verb: string, parts: Parts): string {
  const { name, bar, percent, counted, data, rate, left } = parts;
  const numbers = [percent, counted, data, rate, left].filter((it) => it);
  return [verb, name, bar, numbers.join(", ")].filter((it) => it).join(" ");
}

/** `====>     `: ASCII is one column wide on every terminal. */
function filled(share: number, length: number): string {
  const full = Math.floor(share * length);
  const head = full < length ? ">" : "";
  return ("=".repeat(full) + head).padEnd(length);
}

/** Columns, at most: what is not ASCII may take two. */
function width(text: string): number {
  let columns = 0;
  for (const character of text) columns += character < "\u007f" ? 1 : 2;
  return columns;
}
