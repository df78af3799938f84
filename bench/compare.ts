/** Whole processes against each other, interleaved, each run checked. */

import { join } from "@std/path/join";

/** One way of doing the job. */
export interface Contender {
  readonly name: string;
  /** The command, for a run with its own directory. */
  readonly command: (dir: string) => string[];
}

/** What each run needs, and what must be so after it. */
export interface Job {
  /** Makes what a run works on, untimed. */
  readonly prepare: (dir: string) => void;
  /** Throws unless the run's work is complete, untimed. */
  readonly check: (dir: string) => void;
}

/**
 * Runs all contenders in turn, the order reversed every other round, after a round
 * that only warms up. Returns each one's milliseconds.
 */
export function interleave(
  place: string,
  runs: number,
  contenders: readonly Contender[],
  { prepare, check }: Job,
): Map<string, number[]> {
  const root = Deno.makeTempDirSync({ dir: place, prefix: "bench-" });
  const taken = new Map(contenders.map(({ name }) => [name, [] as number[]]));
  try {
    for (let round = -1; round < runs; round++) {
      const order = round % 2 ? contenders.toReversed() : contenders;
      for (const { name, command } of order) {
        // A fresh directory: ext4 is slow where much was just deleted.
        const dir = join(root, `${round + 1}-${name.replaceAll(/\W/g, "")}`);
        Deno.mkdirSync(dir);
        prepare(dir);
        new Deno.Command("sync").outputSync();
        const ms = time(command(dir));
        check(dir);
        Deno.removeSync(dir, { recursive: true });
        if (round >= 0) taken.get(name)!.push(ms);
      }
    }
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
  return taken;
}

function time([program, ...args]: string[]): number {
  const started = performance.now();
  const { code, stderr } = new Deno.Command(program!, {
    args,
    env: { NO_COLOR: "1" },
  }).outputSync();
  const took = performance.now() - started;
  if (code !== 0) {
    throw new Error(`${program}: ${code} ${new TextDecoder().decode(stderr)}`);
  }
  return took;
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2
    ? sorted[middle]!
    : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A table's rows: median, range, and how many times as fast as `base`. */
export function rows(
  title: string,
  taken: ReadonlyMap<string, number[]>,
  base: string,
): string {
  const peer = median(taken.get(base)!);
  return [...taken].map(([name, values]) => {
    const ms = median(values);
    const range = `(${Math.min(...values).toFixed(0)}–${
      Math.max(...values).toFixed(0)
    })`;
    return `${title.padEnd(28)} ${name.padEnd(24)} ${
      ms.toFixed(0).padStart(6)
    } ms ${range.padEnd(13)} ${(peer / ms).toFixed(2)} × ${base}`;
  }).join("\n");
}

/** What one job took, for the chart. */
export interface Result {
  /** What was done, and on which file system. */
  readonly job: string;
  /** The peer that the others are compared with. */
  readonly base: string;
  /** Medians in milliseconds, by name. */
  readonly medians: Readonly<Record<string, number>>;
}

/** Appends a result to a file of one JSON object a line, if one is named. */
export function record(
  file: string | undefined,
  job: string,
  base: string,
  taken: ReadonlyMap<string, number[]>,
): void {
  if (file === undefined) return;
  const medians = Object.fromEntries(
    [...taken].map(([name, values]) => [name, Math.round(median(values))]),
  );
  const result: Result = { job, base, medians };
  Deno.writeTextFileSync(file, JSON.stringify(result) + "\n", {
    append: true,
  });
}

/** The type of the file system that a directory is on. */
export function typeAt(place: string): string {
  const args = ["-f", "-c", "%T", place];
  const { stdout } = new Deno.Command("stat", { args }).outputSync();
  const type = new TextDecoder().decode(stdout).trim();
  return type === "ext2/ext3" ? "ext4" : type;
}
