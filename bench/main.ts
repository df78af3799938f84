// deno-lint-ignore-file no-console
/**
 * Runs all benchmarks, prints their tables, and draws what came out as charts, light
 * and dark: `docs/benchmark-light.svg` and `docs/benchmark-dark.svg`.
 *
 *     deno task bench [--runs 7] [--files 30000] [--at DIR] [--clone-at DIR] [--pnpm DIR]
 *
 * `--clone-at` is a directory on a file system that can clone.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { denoRun, ROOT } from "../tests/support/command.ts";
import { chart } from "./chart.ts";
import type { Result } from "./compare.ts";

const {
  at = Deno.env.get("TMPDIR") ?? "/tmp",
  runs = "7",
  files = "30000",
  ...options
} = parseArgs(Deno.args, {
  string: ["runs", "files", "at", "clone-at", "pnpm"],
}) as Record<string, string | undefined>;

const record = Deno.makeTempFileSync();
const common = ["--runs", runs, "--files", files, "--record", record];
const pnpm = options.pnpm ? ["--pnpm", options.pnpm] : [];

async function run(name: string, ...args: string[]): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: [...denoRun(`bench/${name}.ts`), ...common, ...args],
    stdin: "null",
  }).spawn().status;
  if (!success) console.error(`bench/${name}.ts failed: not in the chart`);
}

await run("clear", "--at", at);
for (const mode of ["hardlink", "copy"]) {
  await run("link", "--mode", mode, "--at", at, ...pnpm);
}
const clonesAt = options["clone-at"];
if (clonesAt) await run("link", "--mode", "clone", "--at", clonesAt, ...pnpm);

await run("remote", "--at", at);

const results: Result[] = Deno.readTextFileSync(record).trim().split("\n")
  .map((line) => JSON.parse(line));
Deno.removeSync(record);
const machine = `${processor()}, ${navigator.hardwareConcurrency} cores`;
const date = new Date().toISOString().slice(0, 10);
const note =
  `${files} files, medians of ${runs} interleaved runs of whole processes. ${machine}, Deno ${Deno.version.deno}, ${date}`;
for (const theme of ["light", "dark"] as const) {
  const path = `${ROOT}/docs/benchmark-${theme}.svg`;
  Deno.writeTextFileSync(path, chart(results, note, theme));
}
console.log("Drawn: docs/benchmark-light.svg, docs/benchmark-dark.svg");

function processor(): string {
  try {
    const text = Deno.readTextFileSync("/proc/cpuinfo");
    const [, name] = /^model name\s*:\s*(.*)$/m.exec(text) ?? [];
    return (name ?? Deno.build.arch).replaceAll(/\((R|TM)\)/g, "");
  } catch {
    return Deno.build.arch;
  }
}
