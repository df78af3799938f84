// deno-lint-ignore-file no-console
/**
 * Clears trees with `rebuild-cache --dir` and with its peers, whole processes,
 * interleaved in one run, and prints medians and ratios.
 *
 *     deno run -A bench/clear.ts [--runs 7] [--files 30000] [--at DIR …]
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
import {
  type Contender,
  interleave,
  median,
  record,
  rows,
  typeAt,
} from "./compare.ts";

const options = parseArgs(Deno.args, {
  string: ["runs", "files", "at", "record"],
  collect: ["at"],
  default: { runs: "7", files: "30000" },
}) as unknown as {
  runs: string;
  files: string;
  at: string[];
  record?: string;
};
const runs = Number(options.runs);
const files = Number(options.files);
const places = options.at.length > 0
  ? options.at
  : [Deno.env.get("TMPDIR") ?? "/tmp"];

const contenders: Contender[] = [
  { name: "rm -rf", command: (dir) => ["rm", "-rf", `${dir}/cache`] },
  {
    name: "rebuild-cache",
    command: (dir) => cliCommand(["--quiet", "--dir", `${dir}/cache`]),
  },
];

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
  Deno.removeSync(root, { recursive: true });
  console.log(`${String(count).padStart(8)} files ${median(gone).toFixed(2)}`);
}

console.log(
  `Removal of ${files} files in ${
    files / 10
  } directories, median of ${runs}, ms`,
);
for (const place of places) {
  const taken = interleave(place, runs, contenders, {
    prepare: (dir) => makeManyFiles(`${dir}/cache`, files / 10, 10),
    check: (dir) => {
      for (const { name } of Deno.readDirSync(dir)) {
        if (name !== "cache.lock") throw new Error(`${name} is left`);
      }
    },
  });
  console.log(rows(place, taken, "rm -rf"));
  record(options.record, `clear on ${typeAt(place)}`, "rm -rf", taken);
}
