// deno-lint-ignore-file no-console
/**
 * Puts a tree in place with `rebuild-cache link` and with its peers, whole
 * processes, interleaved in one run, and prints medians and ratios. After each run
 * the files and directories at the destination are counted.
 *
 *     deno run -A bench/link.ts [--runs 7] [--files 30000] --at DIR [--mode hardlink]
 *
 * `--at` is a directory on the file system to compare on; `--mode` is `hardlink`,
 * `clone` or `copy`. `--pnpm` is a `node_modules` that
 * `npm install @pnpm/fs.indexed-pkg-importer @pnpm/logger` has made.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { fromFileUrl } from "@std/path/from-file-url";
import { denoRun } from "../tests/support/command.ts";
import { makeManyFiles } from "../tests/support/temp_dir.ts";
import { type Contender, interleave, record, rows, typeAt } from "./compare.ts";

const options = parseArgs(Deno.args, {
  string: ["runs", "files", "at", "mode", "pnpm", "record"],
  default: { runs: "7", files: "30000", at: "/tmp", mode: "hardlink" },
}) as unknown as {
  runs: string;
  files: string;
  at: string;
  mode: string;
  pnpm?: string;
  record?: string;
};
const files = Number(options.files);

function own(name: string, permissions: string[]): Contender {
  const args = denoRun("cli.ts").flatMap((it) =>
    it === "-A" ? permissions : [it]
  );
  return {
    name,
    command: (dir) => [
      Deno.execPath(),
      ...args,
      "link",
      "--quiet",
      "--mode",
      options.mode,
      `${dir}/source`,
      `${dir}/there`,
    ],
  };
}

const cp = (name: string, ...flags: string[]): Contender => ({
  name,
  command: (dir) => ["cp", ...flags, `${dir}/source`, `${dir}/there`],
});

const PEERS: Record<string, Contender[]> = {
  hardlink: [
    cp("cp -al", "-al"),
    {
      name: "rsync --link-dest",
      command: (dir) => [
        "rsync",
        "-a",
        `--link-dest=${dir}/source`,
        `${dir}/source/`,
        `${dir}/there/`,
      ],
    },
  ],
  clone: [cp("cp -a --reflink=always", "-a", "--reflink=always")],
  copy: [cp("cp -a", "-a", "--reflink=never")],
};

const peers = PEERS[options.mode]!;
if (options.pnpm) {
  const script = fromFileUrl(new URL("pnpm_import.mjs", import.meta.url));
  const importer = options.pnpm;
  peers.push({
    name: "pnpm's importer",
    command: (dir) => [
      ...["node", script, importer, options.mode],
      ...[`${dir}/source`, `${dir}/there`],
    ],
  });
}
const contenders = [
  ...peers,
  own("rebuild-cache", ["-A"]),
  own("rebuild-cache, no FFI", ["-A", "--deny-ffi"]),
];

const taken = interleave(options.at, Number(options.runs), contenders, {
  prepare: (dir) => makeManyFiles(`${dir}/source`, files / 10, 10),
  check: (dir) => {
    const [expected, found] = ["source", "there"].map((it) =>
      count(`${dir}/${it}`)
    );
    if (expected !== found) throw new Error(`${found}, not ${expected}`);
  },
});

function count(directory: string): string {
  let [files, directories] = [0, 0];
  const open = [directory];
  for (let next; (next = open.pop());) {
    directories++;
    for (const { name, isDirectory } of Deno.readDirSync(next)) {
      if (isDirectory) open.push(`${next}/${name}`);
      else files++;
    }
  }
  return `${files} files, ${directories} directories`;
}

console.log(`${options.mode} of ${files} files in ${files / 10} directories`);
console.log(rows(options.at, taken, peers[0]!.name));
const job = `${options.mode} on ${typeAt(options.at)}`;
record(options.record, job, peers[0]!.name, taken);
