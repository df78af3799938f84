import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { openDirectory } from "../../lib/fs/open.ts";
import { attemptLock } from "../../lib/lock/file.ts";
import { cliCommand, must, Peer, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";
import { exists, until } from "../support/until.ts";

/** A `rebuild-cache` that works on the cache in `dir`, and its JSON. */
function commandIn(dir: TempDir) {
  return async (name: string, ...args: string[]) => {
    const cache = ["--dir", dir.at("cache"), "--json"];
    const ran = await runCli([name, ...cache, ...args], { cwd: dir.path });
    const text = ran.stdout;
    // deno-lint-ignore no-explicit-any -- what a program would see
    const json: any = text ? JSON.parse(text) : undefined;
    return { ...ran, json };
  };
}

Deno.test("rebuild-cache put, get, ls and prune keep a cache", async () => {
  await using dir = TempDir.make();
  dir.write({ src: { a: "content", sub: { b: "more" } } });
  const command = commandIn(dir);
  assertEquals((await command("put", "a key", "src")).json.result.files, 2);
  assertEquals((await command("put", "file", "src/a")).code, 0);
  assertEquals(
    (await command("get", "a key", "out")).json.result.outcome,
    "hit",
  );
  assertEquals(Deno.readTextFileSync(dir.at("out", "sub", "b")), "more");
  assertEquals((await command("get", "file", "out-file")).code, 0);
  assertEquals(Deno.readTextFileSync(dir.at("out-file")), "content");
  const { entries } = (await command("ls")).json.result;
  assertEquals(entries.map(({ key }: { key: string }) => key), [
    "a key",
    "file",
  ]);
  const plain = await runCli(["ls", "--dir", dir.at("cache")]);
  assert(
    /^a key +11 B +2 files +\d+ s old +used \d+ s ago$/m.test(plain.stdout),
  );
  const most = entries[0].diskBytes + entries[1].diskBytes - 1;
  const { result } = (await command("prune", "--max-size", `${most}B`)).json;
  assertEquals([result.entries, result.evicted.length], [1, 1]);
  assertEquals((await command("verify")).json.result.archives, 1);
});

Deno.test("rebuild-cache get writes nothing on a miss, and nothing over what is there", async () => {
  await using dir = TempDir.make();
  dir.write({ src: { a: "content" }, there: { old: "old" } });
  const command = commandIn(dir);
  for (let i = 0; i < 2; i++) {
    const miss = await command("get", "nothing", "out");
    assertEquals([miss.code, miss.json.result.outcome], [4, "miss"]);
    assertStringIncludes(miss.stderr, '"nothing" is not in the cache');
    assertEquals(namesIn(dir.path).includes("out"), false);
    await command("put", "key", "src");
  }
  const taken = await command("get", "key", "there");
  assertEquals([taken.code, taken.json.error.kind], [1, "already-exists"]);
  const merged = await command("get", "--if-exists", "merge", "key", "there");
  assertEquals(merged.code, 0, merged.stderr);
  assertEquals(namesIn(dir.at("there")), ["a", "old"]);
});

test("rebuild-cache ensure runs a command once for four, then not at all", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  const script = `echo run >> ${dir.at("runs")}; while [ ! -e ${
    dir.at("go")
  } ]; do sleep 0.01; done; echo built > "$REBUILD_CACHE_OUT"/file; test {} = "$REBUILD_CACHE_OUT"`;
  const args = (to: string) => [
    ...["ensure", "-v", "--dir", dir.at("cache"), "key", dir.at(to)],
    ...["--", "sh", "-c", script],
  ];
  await using first = Peer.cli(args("one"));
  await until("the first run", () => exists(dir.at("runs")));
  await using stack = new AsyncDisposableStack();
  const others = ["two", "three", "four"]
    .map((to) => stack.use(Peer.cli(args(to))));
  for (const other of others) {
    await other.says(`in use by process ${first.pid} `);
  }
  Deno.writeTextFileSync(dir.at("go"), "");
  for (const peer of [first, ...others]) {
    const { code, heard } = await peer.end();
    assertEquals(code, 0, heard);
  }
  const warm = await runCli(args("five"));
  assertEquals(warm.code, 0, warm.stderr);
  assertEquals(Deno.readTextFileSync(dir.at("runs")), "run\n");
  for (const to of ["one", "two", "three", "four", "five"]) {
    assertEquals(Deno.readTextFileSync(dir.at(to, "file")), "built\n");
  }
});

test(
  "rebuild-cache ensure puts nothing when the command fails or is interrupted",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    const command = commandIn(dir);
    const build = (script: string) => ["key", "out", "--", "sh", "-c", script];
    dir.write({ taken: {} });
    for (
      const [dst, kind] of [["taken", "already-exists"], [
        "no/dst",
        "not-found",
      ]]
    ) {
      const [key, , ...run] = build("echo run > ran");
      const how = kind === "not-found" ? ["--if-exists", "error"] : [];
      const early = await command("ensure", ...how, key!, dst!, ...run);
      assertEquals([early.code, early.json.error.kind], [1, kind]);
    }
    assertEquals(namesIn(dir.path), ["taken"]); // and the command was not run
    Deno.removeSync(dir.at("taken"));
    const failed = await command("ensure", ...build("echo x > {}/x; exit 4"));
    assertEquals(failed.code, 4);
    assertStringIncludes(failed.stderr, 'nothing was put under "key"');
    await using peer = Peer.cli([
      ...["ensure", "--dir", dir.at("cache")],
      ...build("echo begun; exec sleep 60"),
    ], { cwd: dir.path });
    await peer.says("begun");
    peer.kill("SIGTERM");
    assertEquals((await peer.end()).code, 143);
    assertEquals((await command("ls")).json.result.entries, []);
    assertEquals(namesIn(dir.path), ["cache"]);
    assertEquals(namesIn(dir.at("cache", "tmp")), []);
  },
);

test(
  "rebuild-cache ensure and get update what the cache put there",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    const command = commandIn(dir);
    const ensure = async (key: string, ...how: string[]) => {
      const run = [
        "--",
        "sh",
        "-c",
        `echo ${key} > {}/${key}; echo >> ../runs`,
      ];
      const { code, stderr, json } = await command(
        ...["ensure", ...how, key, "new/out", ...run],
      );
      assertEquals(code, 0, stderr);
      return [json.result.outcome, json.result.link.outcome];
    };
    const out = () => namesIn(dir.at("new", "out"));
    assertEquals(await ensure("one"), ["built", "linked"]);
    assertEquals(await ensure("one"), ["hit", "unchanged"]);
    assertEquals(await ensure("two"), ["built", "replaced"]);
    assertEquals(out(), ["two"]);
    assertEquals(await ensure("one", "--if-exists", "skip"), [
      "hit",
      "skipped",
    ]);
    assertEquals(out(), ["two"]);
    const got = await command("get", "one", "new/out");
    assertEquals([got.code, got.json.result.link.outcome], [0, "replaced"]);
    const again = await command("get", "one", "new/out");
    assertEquals(again.json.result.link.outcome, "unchanged");
    assertEquals(out(), ["one"]);
  },
);

test(
  "rebuild-cache ensure --if-busy skip exits with 75, also when another tree is there",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    const command = commandIn(dir);
    const ensure = (key: string, run: string) =>
      command(
        ...["ensure", "--if-busy", "skip", key, "out"],
        ...["--", "sh", "-c", run],
      );
    await using peer = Peer.cli([
      ...["ensure", "--dir", dir.at("cache"), "key", dir.at("peer")],
      ...["--", "sh", "-c", "echo begun; exec sleep 60"],
    ]);
    await peer.says("begun");
    const busy = await ensure("key", "echo > ran");
    assertEquals([busy.code, busy.json.error.kind], [75, "locked"]);
    await ensure("other", "echo > {}/other");
    const skipped = await ensure("key", "echo > ran");
    assertEquals([skipped.code, skipped.json.error.kind], [75, "locked"]);
    assertEquals(namesIn(dir.at("out")), ["other"]);
    assertEquals(exists(dir.at("ran")), false);
    peer.kill("SIGTERM");
    assertEquals((await peer.end()).code, 143);
  },
);

Deno.test("rebuild-cache --hash makes another key of other files", async () => {
  await using dir = TempDir.make();
  dir.write({ src: { a: "1" }, "x.json": "1", "y.json": "1" });
  const command = commandIn(dir);
  const hash = ["--hash", "*.json", "--hash", "!y.*"];
  await command("put", ...hash, "key", "src");
  const [{ key }] = (await command("ls")).json.result.entries;
  assertMatch(key, /^key-[0-9a-f]{64}$/);
  Deno.writeTextFileSync(dir.at("y.json"), "2");
  assertEquals((await command("get", ...hash, "key", "out")).code, 0);
  Deno.writeTextFileSync(dir.at("x.json"), "2");
  const miss = await command("get", ...hash, "key", "out");
  assertEquals(miss.json.result.outcome, "miss");
  assertMatch(miss.json.result.key, /^key-[0-9a-f]{64}$/);
  const none = await command("get", "--hash", "*.none", "key", "out");
  assertEquals(none.json.error.kind, "not-found");
  assertStringIncludes(none.stderr, '"*.none": it matches no file');
});

Deno.test("rebuild-cache --hash passes over what is put, gotten or cached", async () => {
  await using dir = TempDir.make();
  dir.write({ "main.rs": "1", out: { "made.rs": "1" } });
  const hash = ["--hash", "**/*.rs"];
  const run = async (...args: string[]) =>
    await runCli(args, { cwd: dir.path });
  const put = await run("put", "--dir", "cache", ...hash, "key", "out");
  assertEquals(put.code, 0);
  Deno.removeSync(dir.at("out"), { recursive: true });
  const ensure = ["ensure", "--dir", "cache", ...hash, "key", "out", "--"];
  for (const said of ["Linked", "Unchanged"]) {
    const { code, stdout } = await run(...ensure, "false");
    assertEquals(code, 0);
    assertStringIncludes(stdout, said);
  }
  const get = await run("get", "--dir", "cache", ...hash, "key", "out");
  assertStringIncludes(get.stdout, "Unchanged");
  Deno.writeTextFileSync(dir.at("main.rs"), "2");
  const miss = await run("get", "--dir", "cache", ...hash, "key", "out");
  assertEquals(miss.code, 4);
});

Deno.test("rebuild-cache verify exits with 1 when something is damaged", async () => {
  await using dir = TempDir.make();
  dir.write({ src: "content" });
  const command = commandIn(dir);
  const { id } = (await command("put", "key", "src")).json.result;
  assertEquals((await command("verify")).code, 0);
  Deno.writeTextFileSync(dir.at("cache", "archive-v1", id, "tree"), "x");
  const { code, stderr, json } = await command("verify");
  assertEquals([code, json.result.damaged.length], [1, 1]);
  assertStringIncludes(stderr, '("key") is damaged, and quarantined');
});

Deno.test("rebuild-cache says in one line that a cache is none, and touches nothing", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "precious" });
  for (
    const args of [
      ["get", "key", "out"],
      ["ensure", "key", "out", "--", "true"],
      ["ls"],
      ["prune"],
      ["verify"],
    ]
  ) {
    const [name, ...more] = args as [string];
    const ran = await runCli([name, "--dir", "file", ...more], {
      cwd: dir.path,
    });
    assertEquals(ran.code, 1, ran.stderr);
    assertEquals(ran.stderr.trim().split("\n").length, 1, ran.stderr);
    assertStringIncludes(ran.stderr.toLowerCase(), "not a directory");
  }
  assertEquals([...Deno.readDirSync(dir.path)].length, 1);
  assertEquals(Deno.readTextFileSync(dir.at("file")), "precious");
});

test("rebuild-cache verify names what it can't read, and leaves it alone", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ src: { a: "content" }, elsewhere: {} });
  const command = commandIn(dir);
  const { id } = (await command("put", "key", "src")).json.result;
  const bucket = dir.at("cache", "other-v1");
  Deno.symlinkSync(dir.at("elsewhere"), bucket);
  const { code, stderr, json } = await command("verify");
  assertEquals([code, json.result.damaged], [1, []]);
  assertEquals(json.result.failures[0].path, bucket);
  assertStringIncludes(stderr, `Cannot read "${bucket}", which is left alone`);
  assertEquals(namesIn(dir.at("cache", "archive-v1")), [id]);
});

Deno.test("rebuild-cache prints keys without control characters, and none as a command", async () => {
  await using dir = TempDir.make();
  dir.write({ src: "content" });
  const cache = ["--dir", dir.at("cache")];
  for (const key of ["a\u001b[31m\nb", "::add-mask::x"]) {
    for (const args of [["put", key, "src"], ["get", `${key}-`, "out"]]) {
      const [name, ...more] = args as [string];
      const ran = await runCli([name, ...cache, ...more], { cwd: dir.path });
      const lines = (ran.stdout + ran.stderr).split("\n");
      assertEquals(lines.length, 2);
      assert(!lines[0]!.includes("\u001b"));
    }
  }
  const { stdout } = await runCli(["ls", ...cache]);
  assertEquals(stdout.trim().split("\n").length, 3);
  assert(!stdout.includes("\u001b") && !/^::/m.test(stdout), stdout);
});

Deno.test("rebuild-cache refuses what makes no sense of a cache, in one line", async () => {
  await using dir = TempDir.make();
  const command = commandIn(dir);
  for (
    const args of [
      ["put", "key"],
      ["put", "key", "src", "more"],
      ["put", "", "src"],
      ["put", "key", "."], // the cache would lie in it
      ["get", "key"],
      ["get", "--bucket", "../x", "key", "dst"],
      ["ensure", "key", "dst"],
      ["ensure", "key", "--", "true"],
      ["prune", "--max-age", "3 years"],
      ["prune", "--max-size", "-1"],
      ["prune", "--max-entries", "few"],
      ["prune", "word"],
      ["ls", "word"],
      ["verify", "word"],
    ]
  ) {
    const { code, stderr, json } = await command(...args as [string]);
    assertEquals(code, 2, `${args.join(" ")}: ${stderr}`);
    assertEquals(stderr.trim().split("\n").length, 1, stderr);
    assert(json.error.message);
  }
  assertEquals(namesIn(dir.path), []);
  const XDG_CACHE_HOME = dir.at("none"); // the user's cache is not there yet
  const none = await runCli(["ls"], { env: { XDG_CACHE_HOME } });
  assertEquals([none.code, none.stderr], [0, ""]);
});

test(
  "rebuild-cache --if-busy fail waits for a cache's own locks, which are held for an instant",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ src: { file: "content" } });
    const root = ["--dir", dir.at("root")];
    await must(...cliCommand(["put", ...root, "key", dir.at("src")]));
    for (const folder of ["locks", "leases"]) {
      using held = new DisposableStack();
      using place = openDirectory(dir.at("root", folder));
      for (const name of namesOf(place.path)) {
        const lock = attemptLock(place, name, true, "existing");
        held.use(lock!);
      }
      const args = folder === "locks"
        ? ["put", ...root, "key", dir.at("src"), "--if-busy", "fail"]
        : ["verify", ...root];
      await using peer = Peer.cli(args);
      await peer.says("Waiting (");
      held.dispose();
      const { code, heard } = await peer.end();
      assertEquals(code, 0, heard);
      assert(!heard.includes("skipped"), heard);
    }
  },
);

function namesOf(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name);
}
Deno.test("rebuild-cache ls, verify and get tell a cache from what is not one", async () => {
  await using dir = TempDir.make();
  dir.write({ empty: {}, other: { file: "precious" } });
  for (const command of ["ls", "verify"]) {
    for (
      const [at, code, line] of [
        ["typo", 1, `There is no cache at "${dir.at("typo")}"`],
        ["empty", 1, `There is no cache at "${dir.at("empty")}"`],
        ["other", 2, "is not a cache with keys"],
      ] as const
    ) {
      const ran = await runCli([command, "--dir", dir.at(at)]);
      assertEquals([ran.code, ran.stdout], [code, ""], ran.stderr);
      assertStringIncludes(ran.stderr, line);
    }
  }
  const out = dir.at("out");
  const none = await runCli(["get", "--dir", dir.at("typo"), "key", out]);
  assertEquals(none.code, 4, "nothing was put yet");
  const other = await runCli(["get", "--dir", dir.at("other"), "key", out]);
  assertEquals(other.code, 2, other.stderr);
  const pruned = await runCli(["prune", "--dir", dir.at("typo")]);
  assertEquals(pruned.code, 0, pruned.stderr);
  assertStringIncludes(pruned.stdout, "there is no cache at");
  assertEquals(namesIn(dir.path), ["empty", "other"]);
});

Deno.test("rebuild-cache put, get and ensure take a key that begins with a -", async () => {
  await using dir = TempDir.make();
  dir.write({ src: { a: "content" } });
  const command = commandIn(dir);
  assertEquals((await command("put", "--", "-key", "src")).code, 0);
  assertEquals((await command("get", "--", "-key", "out")).code, 0);
  const exit = [Deno.execPath(), "eval", "Deno.exit(3)"];
  const hit = await command("ensure", "--", "-key", "again", "--", ...exit);
  assertEquals([hit.code, hit.json.result.outcome], [0, "hit"], hit.stderr);
  assertEquals(namesIn(dir.at("again")), ["a"]);
});

Deno.test("rebuild-cache link says in words what could not be done as asked", async () => {
  await using dir = TempDir.make();
  dir.write({ src: { a: "content" } });
  const link = async (...flags: string[]) => {
    const { code, stdout, stderr } = await runCli([
      ...["link", dir.at("src"), dir.at("out"), "--if-exists", "replace"],
      ...flags,
    ]);
    assertEquals(code, 0, stderr);
    return stdout;
  };
  const limited = ["--max-links", "2", "--on-link-limit", "copy"];
  for (const flags of [[], ["--mode", "hardlink"], ["--mode", "copy"]]) {
    const told = await link(...flags);
    assertEquals(told.includes("; "), false, told);
  }
  // The first of them has the only link that is allowed.
  await runCli(["link", dir.at("src", "a"), dir.at("b"), "--mode", "hardlink"]);
  const copied = await link("--mode", "hardlink", ...limited);
  assertStringIncludes(copied, "1 copied");
  assertStringIncludes(copied, "; no hard link: ");
  const reset = await link("--mode", "hardlink", "--max-links", "2");
  assertStringIncludes(reset, "1 hardlinked");
  assertStringIncludes(reset, "1 cached file has a fresh inode");
});

Deno.test("rebuild-cache rm and stats tell what went, and what is there", async () => {
  await using dir = TempDir.make();
  dir.write({ src: { a: "content" } });
  const command = commandIn(dir);
  assertEquals((await command("put", "key", "src")).code, 0);
  assertEquals((await command("get", "key", "out")).code, 0);
  assertEquals((await command("get", "key", "out")).code, 0, "unchanged");
  assertEquals((await command("get", "nothing", "never")).code, 4);
  const { json } = await command("stats");
  const { entries, archives, files, hits, misses } = json.result;
  assertEquals([entries, archives, files, hits, misses], [1, 1, 1, 2, 1]);
  const root = ["--dir", dir.at("cache")];
  const told = await runCli(["stats", ...root]);
  assertEquals(told.stdout.split("\n").length, 9, told.stdout);
  assertMatch(told.stdout, /^ {2}asked +3 times, 2 hits \(66 %\)$/m);
  const both = await runCli(["rm", ...root, "key", "nothing"]);
  assertEquals([both.code, both.stdout], [4, "Removed key\n"]);
  assertStringIncludes(both.stderr, '"nothing" is not in the cache');
  assertEquals((await command("get", "key", "again")).code, 4);
});
