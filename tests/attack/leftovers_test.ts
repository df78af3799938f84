/**
 * What a run that was killed leaves is swept by the next: in a
 * merge's destination, beside a linked file, beside and in a cached tree, and beside
 * a keyed cache.
 */

import { assert, assertEquals } from "@std/assert";
import { cliCommand, must, Peer, run, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

/** Of a keyed cache, notes are swept by a prune. */
async function maintain(at: TempDir, what: string): Promise<void> {
  for (const name of ["verify", "prune"]) {
    const ran = await runCli([name, "--dir", at.at("root")]);
    assertEquals(ran.code, 0, `${name}, ${what}: ${ran.stderr}`);
  }
}

/** Everything below a directory, except locks that stay beside what they guard. */
function all(at: string, below = ""): string[] {
  return [...Deno.readDirSync(at + below)].flatMap(({ name, isDirectory }) => {
    const path = `${below}/${name}`;
    if (name.endsWith(".lock")) return [];
    return isDirectory ? [path, ...all(at, path)] : [path];
  }).sort();
}

/** What has the same name in each run; what is counted and noted there is not. */
function lasting(at: string): string[] {
  return all(at).filter((it) => !/[0-9a-f]{32}|\/stats\//.test(it));
}

interface Case {
  name: string;
  prepare(dir: TempDir): Promise<void> | void;
  args(dir: TempDir): string[];
  /** How it ends. */
  code?: number;
  /** The next run, unless it is the same. */
  next?(dir: TempDir): string[];
  /** Calls to be killed at. */
  calls: string[];
}

const many = Object.fromEntries(
  Array.from({ length: 12 }, (_, i) => [`file-${i}`, `${i}`]),
);

const put = async (dir: TempDir) => {
  const args = ["put", "key", dir.at("src"), "--dir", dir.at("root")];
  await must(...cliCommand(args));
};

const CASES: Case[] = [
  {
    name: "link --if-exists merge",
    prepare: (dir) =>
      dir.write({
        src: { ...many, sub: many },
        dst: { "file-3": "old", mine: "mine", sub: { "file-4": "old" } },
      }),
    args: (dir) => [
      ...["link", dir.at("src"), dir.at("dst"), "--if-exists", "merge"],
      ...["--mode", "copy"],
    ],
    calls: ["openat", "rename", "renameat", "renameat2", "mkdirat"],
  },
  {
    name: "link FILE",
    prepare: (dir) => dir.write({ src: "content" }),
    args: (dir) => ["link", dir.at("src"), dir.at("dst"), "--mode", "copy"],
    calls: ["openat", "rename", "renameat", "renameat2", "mkdirat"],
  },
  {
    name: "link FILE --if-exists replace",
    prepare: (dir) => dir.write({ src: "content", dst: "old" }),
    args: (dir) => [
      ...["link", dir.at("src"), dir.at("dst"), "--mode", "hardlink"],
      ...["--if-exists", "replace"],
    ],
    calls: ["linkat", "link", "rename", "renameat", "renameat2", "unlinkat"],
  },
  {
    name: "link with resets",
    prepare: async (dir) => {
      dir.write({ src: many });
      await must("cp", "-al", dir.at("src"), dir.at("used"));
    },
    args: (dir) => [
      ...["link", dir.at("src"), dir.at("dst"), "--mode", "hardlink"],
      ...["--max-links", "2"],
    ],
    calls: ["openat", "linkat", "link", "rename", "renameat", "renameat2"],
  },
  {
    name: "link FILE with a reset",
    prepare: (dir) => {
      dir.write({ src: "content" });
      Deno.linkSync(dir.at("src"), dir.at("used"));
    },
    args: (dir) => [
      ...["link", dir.at("src"), dir.at("dst"), "--mode", "hardlink"],
      ...["--max-links", "2"],
    ],
    calls: ["openat", "linkat", "link", "rename", "renameat", "renameat2"],
  },
  {
    // Its lock must not go first.
    name: "--dir DIR -- COMMAND that failed",
    prepare: (dir) => dir.write({ dst: { old: "old" } }),
    args: (dir) => {
      const build = 'mkdir "$1/sub"; echo x > "$1/x"; echo x > "$1/sub/x"';
      const command = ["sh", "-c", `${build}; exit 3`, "sh", "{}"];
      return ["--dir", dir.at("dst"), "--", ...command];
    },
    code: 3,
    next: (dir) => {
      const command = ["sh", "-c", 'echo old > "$1/old"', "sh", "{}"];
      return ["--dir", dir.at("dst"), "--", ...command];
    },
    calls: ["unlinkat", "unlink", "rmdir"],
  },
  {
    name: "get with resets",
    prepare: async (dir) => {
      dir.write({ src: many });
      await put(dir);
      const get = ["get", "key", dir.at("used"), "--dir", dir.at("root")];
      await must(...cliCommand([...get, "--mode", "hardlink"]));
    },
    args: (dir) => [
      ...["get", "key", dir.at("dst"), "--dir", dir.at("root")],
      ...["--mode", "hardlink", "--max-links", "2"],
    ],
    calls: ["openat", "linkat", "link", "rename", "renameat", "renameat2"],
  },
];

for (const { name, prepare, args, calls, code = 0, next = args } of CASES) {
  test(
    `rebuild-cache ${name} that was killed leaves nothing that the next one does not sweep`,
    ["linux", "strace", "cp"],
    async () => {
      const make = async () => {
        const dir = TempDir.make();
        dir.write({ at: {} });
        const at = TempDir.at(dir.at("at"));
        await prepare(at);
        return { dir, at };
      };
      const named = calls.map((call) => `?${call}`).join();
      // Not by --seccomp-bpf, with which no signal is injected.
      const strace = (log: string) => [
        ...["strace", "-f", "-o", log, "-e", `trace=${named}`],
      ];
      // What is left when nothing goes wrong, and where it may be killed.
      await using first = (await make()).dir;
      const at = TempDir.at(first.at("at"));
      const log = first.at("log");
      const ran = await runCli(args(at), { wrap: strace(log) });
      assertEquals(ran.code, code, ran.stderr);
      const wanted = lasting(at.path);
      const made = Deno.readTextFileSync(log).split("\n").flatMap((line) => {
        const [, thread, call] = /^(\d+) +(\w+)\(/.exec(line) ?? [];
        return thread && call ? [{ thread, call, line }] : [];
      });
      const points: { call: string; nth: number }[] = [];
      const counts = new Map<string, number>();
      // Loading the modules is no part of it.
      const begin = made.findIndex(({ line }) =>
        line.includes(`"src"`) || line.includes(at.at("src")) ||
        line.includes(`.partial-`) || line.includes(at.at("root"))
      );
      for (const [i, { thread, call, line }] of made.entries()) {
        // strace counts those of each thread by itself.
        const nth = (counts.get(`${thread} ${call}`) ?? 0) + 1;
        counts.set(`${thread} ${call}`, nth);
        if (i < begin) continue;
        if (/O_RDONLY|O_PATH/.test(line)) continue;
        points.push({ call, nth });
      }
      assert(points.length > 0, "there is nothing to be killed at");
      let killed = 0;
      const step = Math.max(1, Math.floor(points.length / 16));
      for (let i = 0; i < points.length; i += step) {
        const { call, nth } = points[i]!;
        const { dir, at } = await make();
        await using _ = dir;
        const kill = `inject=${call}:signal=KILL:when=${nth}`;
        const wrap = [...strace("/dev/null"), "-e", kill];
        const ran = await run(cliCommand(args(at), wrap));
        if (ran.signal === "SIGKILL" || ran.code === 137) killed++;
        const left = all(at.path);
        const again = next(at);
        if (
          exists(at.at("dst")) && next === args &&
          !again.includes("--if-exists")
        ) {
          again.push("--if-exists", "replace");
        }
        const swept = await runCli(again);
        const what = `killed at ${call} ${nth}, with ${left} left`;
        assertEquals(swept.code, 0, `${what}: ${swept.stderr}`);
        if (exists(at.at("root"))) await maintain(at, what);
        const now = lasting(at.path);
        assertEquals(now, wanted, what);
      }
      assert(killed > 0, "nothing was ever killed");
    },
  );
}

test(
  "rebuild-cache clear sweeps the note of a clear that was killed when the cache was gone",
  ["linux", "strace"],
  async () => {
    await using dir = TempDir.make();
    const cache = dir.at("cache");
    let killed = 0;
    for (let nth = 1; nth < 20 && killed < 3; nth++) {
      dir.write({ cache: { file: "x" } });
      const wrap = ["strace", "-f", "-o", "/dev/null", "-e"];
      wrap.push("trace=?unlinkat,?unlink,?rmdir");
      wrap.push(
        "-e",
        `inject=?unlinkat,?unlink,?rmdir:signal=KILL:when=${nth}`,
      );
      const ran = await run(cliCommand(["--dir", cache], wrap));
      if (ran.signal === "SIGKILL" || ran.code === 137) killed++;
      else break;
      const next = await runCli(["--dir", cache]);
      assertEquals(next.code, 0, next.stderr);
      assertEquals(namesIn(dir.path), [], `killed at removal ${nth}`);
    }
    assert(killed > 0, "nothing was ever killed");
  },
);

// Notes of who held a lock.
for (const what of ["use", "rebuild", "ensure"] as const) {
  test(
    `rebuild-cache sweeps the note of a ${what} that was killed`,
    ["linux", "sh"],
    async () => {
      await using dir = TempDir.make();
      dir.write({ cache: { file: "x" }, src: { file: "x" } });
      const at = dir.at("cache");
      const wait = ["sh", "-c", 'echo at it; cat; echo x > "$1/x"', "sh", "{}"];
      const root = ["--dir", dir.at("root")];
      await must(...cliCommand(["put", "other", dir.at("src"), ...root]));
      const args = what === "use"
        ? ["use", "--dir", at, "--", ...wait]
        : what === "ensure"
        ? ["ensure", "key", dir.at("dst"), ...root, "--", ...wait]
        : ["--dir", at, "--", ...wait];
      {
        await using peer = Peer.cli(args);
        await peer.says("at it");
        peer.kill();
        await peer.end();
      }
      const child = what === "ensure"
        ? ["ensure", "key", dir.at("dst"), ...root, "--", ...wait]
        : ["--dir", at, ...what === "rebuild" ? ["--", ...wait] : []];
      const next = await runCli(child);
      assertEquals(next.code, 0, next.stderr);
      const pruned = await runCli(["prune", ...root]);
      assertEquals(pruned.code, 0, pruned.stderr);
      const left = all(dir.path)
        .filter((it) => /\.(holder|partial|stale)-/.test(it));
      assertEquals(left, []);
    },
  );
}
