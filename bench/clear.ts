// deno-lint-ignore-file no-console
/**
 * Clears trees with `rebuild-cache --dir` and with its peers, whole processes,
 * interleaved in one run, and prints medians and ratios.
 *
 *     deno run -A bench/clear.ts [--runs 7] [--files 30000] [--at DIR …] [--peer rimraf=PATH]
 *
 * `--at` names directories on the file systems to compare (default: the temp
 * directory). A ratio above 1 says that rebuild-cache was faster.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { join } from "@std/path/join";
import { cliCommand } from "../tests/support/command.ts";
import { makeManyFiles } from "../tests/support/temp_dir.ts";

const options = parseArgs(Deno.args, {
  string: ["runs", "files", "at"],
  collect: ["at"],
  default: { runs: "7", files: "30000" },
}) as unknown as { runs: string; files: string; at: string[] };
const runs = Number(options.runs);
const files = Number(options.files);
const places = options.at.length > 0
  ? options.at
  : [Deno.env.get("TMPDIR") ?? "/tmp"];

interface Contender {
  name: string;
  command: (dir: string) => string[];
}

const contenders: Contender[] = [
  { name: "rm -rf", command: (dir) => ["rm", "-rf", dir] },
  {
    name: "rebuild-cache",
    command: (dir) => cliCommand(["--quiet", "--dir", dir]),
  },
];

function sync(): void {
  new Deno.Command("sync").outputSync();
}

function time(command: string[]): number {
  const [program, ...args] = command;
  const started = performance.now();
  const { code, stderr } = new Deno.Command(program!, {
    args,
    env: { NO_COLOR: "1" },
  }).outputSync();
  const took = performance.now() - started;
  if (code !== 0) {
    throw new Error(
      `${command.join(" ")}: ${code} ${new TextDecoder().decode(stderr)}`,
    );
  }
  return took;
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2
    ? sorted[middle]!
    : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

console.log("Milliseconds until the directory is gone, median of 5:");
for (const count of [100, 10_000, 100_000]) {
  const root = Deno.makeTempDirSync({ dir: places[0]!, prefix: "bench-gone-" });
  const gone: number[] = [];
  for (let round = 0; round < 5; round++) {
    makeManyFiles(join(root, "cache"), count / 10, 10);
    const [program, ...args] = cliCommand([
      "--json",
      "--dir",
      join(root, "cache"),
    ]);
    const { stdout } = new Deno.Command(program!, { args }).outputSync();
    const { results } = JSON.parse(new TextDecoder().decode(stdout));
    gone.push(results[0].goneMs);
  }
  Deno.removeSync(root);
  console.log(`${String(count).padStart(8)} files ${median(gone).toFixed(2)}`);
}

console.log(
  `Removal of ${files} files in ${
    files / 10
  } directories, median of ${runs}, ms`,
);
for (const place of places) {
  const root = Deno.makeTempDirSync({ dir: place, prefix: "bench-clear-" });
  try {
    const taken = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    for (let round = -1; round < runs; round++) {
      const order = round % 2 ? contenders.toReversed() : contenders;
      for (const { name, command } of order) {
        const dir = join(root, "cache");
        makeManyFiles(dir, files / 10, 10);
        sync();
        const ms = time(command(dir));
        const left = [...Deno.readDirSync(root)];
        if (left.length > 0) throw new Error(`${name} left ${left[0]!.name}`);
        if (round >= 0) taken.get(name)!.push(ms); // the first only warms up
      }
    }
    const base = median(taken.get("rm -rf")!);
    for (const [name, values] of taken) {
      const ms = median(values);
      const range = `${Math.min(...values).toFixed(0)}–${
        Math.max(...values).toFixed(0)
      }`;
      console.log(
        `${place.padEnd(24)} ${name.padEnd(14)} ${
          ms.toFixed(0).padStart(6)
        }  ` +
          `(${range})  ${(base / ms).toFixed(2)} × rm -rf`,
      );
    }
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
}
