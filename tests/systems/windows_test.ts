/** What only Windows has: NTFS' numbers, drives that are shares, npm's .cmd files. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { linkTree } from "../../lib/link/tree.ts";
import { run, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

test("put, get, verify and link work where NTFS has used its records often", [
  "junctions", // so NTFS, or ReFS
], async () => {
  await using dir = TempDir.make();
  dir.write({ tree: {}, used: {} });
  // A number has the count of its record's uses in front: from 32 on Deno rounds it.
  for (let cycle = 0; cycle < 100; cycle++) {
    Deno.mkdirSync(dir.at("cycle"));
    for (let i = 0; i < 2000; i++) {
      Deno.writeTextFileSync(dir.at("cycle", `${i}`), "");
    }
    const { ino } = Deno.lstatSync(dir.at("cycle", "1999"));
    Deno.removeSync(dir.at("cycle"), { recursive: true });
    if (!Number.isSafeInteger(ino)) break;
  }
  for (let i = 0; i < 200; i++) {
    Deno.writeTextFileSync(dir.at("tree", `${i}`), `content ${i}`);
    Deno.linkSync(dir.at("tree", `${i}`), dir.at("tree", `${i} again`));
  }
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("tree"));
  assertEquals((await cache.verify()).damaged, []);
  using entry = (await cache.get("key"))!;
  await entry.link(dir.at("got"));
  await linkTree(dir.at("tree"), dir.at("new"), { mode: "copy" });
  for (const at of ["got", "new"]) {
    for (let i = 0; i < 200; i++) {
      for (const name of [`${i}`, `${i} again`]) {
        const text = Deno.readTextFileSync(dir.at(at, name));
        assertEquals(text, `content ${i}`, name);
      }
    }
  }
  // It knows again what it has put there.
  assertEquals(
    (await entry.link(dir.at("got"), { ifExists: "update" })).outcome,
    "unchanged",
  );
});

test(
  "rebuild-cache works on a share and a drive that is one, and refuses their roots and homes",
  [
    "windows",
  ],
  async () => {
    await using dir = TempDir.make();
    const share = `\\\\localhost\\${dir.path[0]}$`;
    const { code } = await run(["net", "use", "R:", share]);
    if (code !== 0) return; // an ordinary user, or R: is taken
    try {
      const below = dir.path.slice(2);
      const home = Deno.env.get("USERPROFILE")!.slice(2);
      for (const root of [share, "R:"]) {
        dir.write({ src: { file: "content" } });
        const cache = ["--dir", `${root}${below}\\cache`];
        for (
          const args of [
            ["link", `${root}${below}\\src`, `${root}${below}\\new`],
            ["put", ...cache, "key", `${root}${below}\\src`],
            ["get", ...cache, "key", `${root}${below}\\got`],
            ["verify", ...cache],
            ["--dir", `${root}${below}\\got`],
            ["--dir", `${root}${below}\\new`],
            cache,
          ]
        ) {
          const { code, stderr } = await runCli(args);
          assertEquals(code, 0, `${args.join(" ")}: ${stderr}`);
        }
        assertEquals(namesIn(dir.path), ["src"]);
        for (const path of [`${root}\\`, `${root}${home}`]) {
          const { code, stderr } = await runCli(["--dir", path, "--dry-run"]);
          assertEquals(code, 2, `${path}: ${stderr}`);
        }
      }
    } finally {
      await run(["net", "use", "R:", "/delete", "/y"]);
    }
  },
);

test(
  "rebuild-cache runs a .cmd by its name, and one in a path with blanks and &",
  [
    "windows",
  ],
  async () => {
    await using dir = TempDir.make();
    const tools = "my tools & more";
    dir.write({ [tools]: { "tool.cmd": "@echo built> %1\\file\r\n" } });
    const env = { PATH: `${dir.at(tools)};${Deno.env.get("PATH")}` };
    for (const tool of ["tool", "tool.cmd", dir.at(tools, "tool.cmd")]) {
      const args = ["--dir", dir.at("a cache"), "--", tool, "{}"];
      const { code, stderr } = await runCli(args, { env });
      assertEquals(code, 0, `${tool}: ${stderr}`);
      const built = Deno.readTextFileSync(dir.at("a cache", "file"));
      assertEquals(built.trim(), "built");
    }
  },
);

test("packages of an npm workspace are found after ensure and rebuild", [
  "junctions",
  "npm.cmd",
  "node.exe",
], async () => {
  await using dir = TempDir.make();
  dir.write({
    src: {
      "package.json": `{ "name": "all", "workspaces": ["packages/*"] }`,
      packages: {
        one: {
          "package.json": `{ "name": "one", "version": "1.0.0" }`,
          "index.js": "module.exports = 'found';",
        },
      },
    },
  });
  const build = [
    ...["--", "cmd", "/c"],
    "xcopy /e /i /q src {} && cd /d {} && npm install --no-audit --no-fund",
  ];
  for (
    const args of [
      ["--dir", "rebuilt", ...build],
      ["ensure", "--dir", "cache", "key", "got", ...build],
    ]
  ) {
    const { code, stderr } = await runCli(args, { cwd: dir.path });
    assertEquals(code, 0, stderr);
  }
  for (const name of ["rebuilt", "got"]) {
    const ran = await run(["node", "-p", "require('one')"], {
      cwd: dir.at(name),
    });
    assertEquals(ran.stdout.trim(), "found", ran.stderr);
  }
});

/** Ends a process as Ctrl-Break does: Python's `send_signal` makes the right call. */
const BREAK = `
import signal, subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], creationflags=subprocess.CREATE_NEW_PROCESS_GROUP)
time.sleep(5)
child.send_signal(signal.CTRL_BREAK_EVENT)
print(child.wait())
`;

test(
  "rebuild-cache ends in good order at Ctrl-Break",
  ["windows", "python.exe"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { file: "old" }, "break.py": BREAK });
    const { cliCommand } = await import("../support/command.ts");
    const wait = [Deno.execPath(), "eval", "setTimeout(() => {}, 60_000)"];
    const args = ["--dir", dir.at("cache"), "--", ...wait];
    const ran = await run(["python", dir.at("break.py"), ...cliCommand(args)]);
    assert(ran.stdout.trim() !== "0", ran.stderr);
    assertEquals(namesIn(dir.at("cache")), ["file"]);
    // What it had begun goes with the next run at the latest.
    assertEquals((await runCli(["--dir", dir.at("cache")])).code, 0);
    const left = namesIn(dir.path).filter((it) => it.startsWith("cache."));
    assertEquals(left.filter((it) => !it.endsWith("lock")), []);
  },
);

test(
  "rebuild-cache refuses the home directory with a dot behind it, and in other case",
  [
    "windows",
  ],
  async () => {
    const home = Deno.env.get("USERPROFILE")!;
    for (
      const path of [`${home}.`, `${home}\\.`, home.toUpperCase(), `${home} `]
    ) {
      const { code, stderr } = await runCli(["--dir", path, "--dry-run"]);
      assertEquals(code, 2, path);
      assertStringIncludes(stderr, "home directory", path);
    }
  },
);
