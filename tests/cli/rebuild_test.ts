import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { COMMANDS } from "../../lib/cli/commands.ts";
import { lease } from "../../lib/lock/directory.ts";
import { cliCommand, Peer, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { makeManyFiles, namesIn, TempDir } from "../support/temp_dir.ts";
import { exists, until } from "../support/until.ts";

const DENO = Deno.execPath();
/** A command that writes its arguments, and where it shall build. */
const TELL = [
  DENO,
  "eval",
  "Deno.writeTextFileSync(Deno.env.get('REBUILD_CACHE_OUT') + '/told', Deno.args.join())",
];
const EXIT = (code: number) => [DENO, "eval", `Deno.exit(${code})`];

Deno.test("rebuild-cache --dir DIR -- COMMAND swaps in what COMMAND built", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "old" } });
  const args = ["--dir", dir.at("cache"), "--json", "--", ...TELL, "--", "{}"];
  const { code, stdout, stderr } = await runCli([...args, "a{}b", "--json"]);
  assertEquals(code, 0, stderr);
  const { command, result } = JSON.parse(stdout);
  assertEquals([command, result.outcome], ["rebuild", "rebuilt"]);
  assertEquals(namesIn(dir.at("cache")), ["told"]);
  const told = Deno.readTextFileSync(dir.at("cache", "told")).split(",");
  assert(told[0]!.startsWith(dir.at("cache.partial-")), told[0]);
  assertEquals(told.slice(1), [`a${told[0]}b`, "--json"]);
  assertEquals(namesIn(dir.path), ["cache"]);
});

Deno.test("rebuild-cache --dir DIR -- COMMAND passes its exit code on, and keeps the old cache", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "old" } });
  for (
    const [command, expected, message] of [
      [EXIT(3), 3, "is as it was"],
      [["no-such-command"], 127, 'Cannot run "no-such-command"'],
    ] as const
  ) {
    const { code, stderr } = await runCli([
      "--dir",
      dir.at("cache"),
      "--",
      ...command,
    ]);
    assertEquals(code, expected);
    assertStringIncludes(stderr, message);
    assertEquals(stderr.trim().split("\n").length, 1, stderr);
  }
  assertEquals(namesIn(dir.at("cache")), ["old"]);
  assertEquals(namesIn(dir.path), ["cache"]);
});

Deno.test("rebuild-cache refuses what makes no sense with a command, and without", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "old" } });
  const cache = dir.at("cache");
  for (
    const args of [
      ["--dir", cache, "--"],
      ["--dir", cache, "--dir", dir.at("other"), "--", ...TELL],
      ["--dir", cache, "--background", "--", ...TELL],
      ["--dir", cache, "--recreate", "--", ...TELL],
      ["--dir", cache, "--in-place"],
      ["--dir", cache, "--share", "key"],
      ["--dir", cache, "--allow-empty"],
      ["--dir", cache, "--share", "key", "--no-lock", "--", ...TELL],
      ["--dir", cache, "--wait", "soon"],
      ["--dir", cache, "--if-busy", "skip", "--wait", "3"],
      ["--dir", cache, "word", "--", ...TELL],
      ["--", ...TELL],
      ["--dir", "/", "--", ...TELL],
      ["use", "--dir", cache],
      ["use", "--", ...TELL],
      ["use", "--dir", cache, "word", "--", ...TELL],
    ]
  ) {
    const { code, stderr } = await runCli(args);
    assertEquals(code, 2, args.join(" "));
    assertEquals(stderr.trim().split("\n").length, 1, stderr);
  }
  assertEquals(namesIn(cache), ["old"]);
  assertEquals(namesIn(dir.path), ["cache"]);
});

Deno.test("rebuild-cache --dry-run -- COMMAND runs nothing", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "old" } });
  const args = ["--dry-run", "--dir", dir.at("cache"), "--", ...EXIT(3)];
  const { code, stdout } = await runCli(args);
  assertEquals(code, 0);
  assertStringIncludes(stdout, "Would rebuild");
  assertEquals(namesIn(dir.at("cache")), ["old"]);
});

test(
  "rebuild-cache --share KEY -- COMMAND runs once for three who asked before",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "old" } });
    const script = `echo run >> ${dir.at("runs")}; while [ ! -e ${
      dir.at("go")
    } ]; do sleep 0.01; done; echo new > {}/new`;
    const args = ["-v", "--dir", dir.at("cache"), "--share", "key"];
    args.push("--", "sh", "-c", script);
    await using first = Peer.cli(args);
    await until("the first run", () => exists(dir.at("runs")));
    await using stack = new AsyncDisposableStack();
    const others = [1, 2, 3].map(() => stack.use(Peer.cli(args)));
    for (const other of others) {
      await other.says(`in use by process ${first.pid} `);
    }
    Deno.writeTextFileSync(dir.at("go"), "");
    for (const peer of [first, ...others]) {
      const { code, heard } = await peer.end();
      assertEquals(code, 0, heard);
    }
    // The first one's build had begun when the others asked.
    assertEquals(Deno.readTextFileSync(dir.at("runs")), "run\nrun\n");
    assertEquals(namesIn(dir.at("cache")), ["new"]);
  },
);

for (const way of [[], ["--in-place"]]) {
  Deno.test(`rebuild-cache ${["", ...way].join(" ").trim()} -- COMMAND fails when nothing was built, unless --allow-empty`, async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "old" } });
    const args = [...way, "--dir", dir.at("cache")];
    const forgot = await runCli([...args, "--", ...EXIT(0)]);
    assertEquals(forgot.code, 1);
    assertStringIncludes(forgot.stderr, "REBUILD_CACHE_OUT");
    assertStringIncludes(forgot.stderr, "--allow-empty");
    assertEquals(forgot.stderr.trim().split("\n").length, 1, forgot.stderr);
    const kept = way.length === 0 ? ["old"] : [];
    assertEquals(namesIn(dir.at("cache")), kept);
    const meant = await runCli([...args, "--allow-empty", "--", ...EXIT(0)]);
    assertEquals(meant.code, 0, meant.stderr);
    assertEquals(namesIn(dir.at("cache")), []);
  });
}

test("rebuild-cache -- COMMAND gives COMMAND no variable that sets a flag", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  const script = "env > {}/env";
  const args = ["--dir", dir.at("cache"), "--", "sh", "-c", script];
  const { code, stderr } = await runCli(args);
  assertEquals(code, 0, stderr);
  const names = Deno.readTextFileSync(dir.at("cache", "env")).split("\n")
    .map((line) => line.split("=", 1)[0]!);
  assert(names.includes("REBUILD_CACHE_OUT"));
  const flags = COMMANDS.flatMap(({ flags }) => flags)
    .map(({ variable }) => variable as string | undefined);
  assertEquals(names.filter((name) => flags.includes(name)), []);
});

for (const during of ["the clear", "the command"]) {
  test(
    `rebuild-cache --in-place -- COMMAND exits with 130 when it is interrupted in ${during}`,
    [
      "posix",
    ],
    async () => {
      await using dir = TempDir.make();
      const cache = dir.at("cache");
      if (during === "the clear") makeManyFiles(cache, 1000, 10);
      const script = "echo begun; while :; do sleep 0.01; done";
      const args = ["--in-place", "--dir", cache, "--", "sh", "-c", script];
      await using peer = Peer.cli(args);
      if (during === "the command") await peer.says("begun");
      else {await until("the clear", () =>
          namesIn(dir.path).some((it) =>
            it.includes(".stale-")
          ));}
      peer.kill("SIGINT");
      const { code, heard } = await peer.end();
      assertEquals(code, 130, heard);
    },
  );
}

for (const [signal, code] of [["SIGTERM", 143], ["SIGINT", 130]] as const) {
  test(`rebuild-cache -- COMMAND keeps the old cache when ${signal} comes`, [
    "posix",
  ], async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "old" } });
    // It takes the signal for a reason to end well; the work may be half done.
    const script = `trap 'echo heard; exit 0' TERM INT; echo new > {}/new
      echo begun; while :; do sleep 0.01; done`;
    await using peer = Peer.cli([
      "--dir",
      dir.at("cache"),
      "--",
      "sh",
      "-c",
      script,
    ]);
    await peer.says("begun");
    peer.kill(signal);
    const { code: ended, heard } = await peer.end();
    assertEquals(ended, code, heard);
    assertStringIncludes(heard, "heard");
    assertEquals(namesIn(dir.at("cache")), ["old"]);
    assertEquals(namesIn(dir.path), ["cache"]);
  });
}

test(
  "rebuild-cache -- COMMAND that is killed leaves a staging, which the next one deletes",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "old" } });
    const build = (script: string) => [
      "--dir",
      dir.at("cache"),
      "--",
      "sh",
      "-c",
      script,
    ];
    await using peer = Peer.cli(
      build("echo half > {}/half; echo begun; exec sleep 0.3"),
    );
    await peer.says("begun");
    peer.kill("SIGKILL");
    await peer.end();
    assertEquals(namesIn(dir.at("cache")), ["old"]);
    assertEquals(namesIn(dir.path).length, 3); // and its note that it rebuilds
    const { code, stderr } = await runCli(build("echo new > {}/new"));
    assertEquals(code, 0, stderr);
    assertEquals(namesIn(dir.at("cache")), ["new"]);
    assertEquals(namesIn(dir.path), ["cache"]);
  },
);

Deno.test("rebuild-cache use runs a command, with its exit code, while nobody may clear", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { a: "" } });
  const cache = dir.at("cache");
  const { code } = await runCli(["use", "--dir", cache, "--", ...EXIT(7)]);
  assertEquals(code, 7);
  const wait =
    `console.log("in use"); await Deno.stdin.read(new Uint8Array(1)); Deno.exit(9)`;
  const args = ["use", "--dir", cache, "--", DENO, "eval", wait];
  await using peer = Peer.cli(args);
  await peer.says("in use");
  const clear = (...flags: string[]) => runCli(["--dir", cache, ...flags]);
  const failed = await clear("--if-busy", "fail");
  assertEquals(failed.code, 75);
  assertStringIncludes(failed.stderr, `"${cache}" is in use by process`);
  assertStringIncludes(failed.stderr, "rebuild-cache use --dir");
  assertEquals(failed.stderr.trim().split("\n").length, 1);
  assertEquals((await clear("--wait", "0.05")).code, 75);
  const skipped = await clear("--if-busy", "skip", "--json");
  assertEquals(skipped.code, 0);
  assertEquals(JSON.parse(skipped.stdout).skipped[0].kind, "locked");
  const other = await runCli(["use", "--dir", cache, "--", ...EXIT(0)]);
  assertEquals(other.code, 0, "two may use it");
  const rebuilt = await runCli([
    ...["--if-busy", "fail", "--dir", cache, "--"],
    ...TELL,
  ]);
  assertEquals(rebuilt.code, 75);
  assertEquals(namesIn(cache), ["a"]);
  assertEquals((await peer.end()).code, 9);
  assertEquals((await clear()).code, 0);
  assertEquals(namesIn(dir.path), []);
});

test(
  "rebuild-cache --in-place ends with 130 when SIGINT comes while it clears",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    makeManyFiles(dir.at("cache"), 300, 10);
    await using peer = Peer.cli([
      ...["--dir", dir.at("cache"), "--in-place", "--", DENO, "eval", "0"],
    ]);
    await until(
      "the old cache is aside",
      () => namesIn(dir.path).some((name) => name.startsWith("cache.stale-")),
    );
    peer.kill("SIGINT");
    const { code, heard } = await peer.end();
    assertEquals(code, 130, heard);
    const lines = heard.trim().split("\n");
    assertStringIncludes(lines.at(-1)!, "rebuild-cache: Interrupted");
    // Before it, where there still is something.
    const warned =
      /^rebuild-cache: warning: .* is cleared, but .* still has files/;
    assertEquals(lines.slice(0, -1).filter((it) => !warned.test(it)), []);
  },
);

test("rebuild-cache says with 126 that a command can't be run", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "old" }, program: "not for running" });
  for (const way of [["use"], []]) {
    const { code, stderr } = await runCli([
      ...[...way, "--dir", dir.at("cache"), "--", dir.at("program")],
    ]);
    assertEquals(code, 126);
    assertStringIncludes(stderr, `Cannot run "${dir.at("program")}"`);
    assertEquals(stderr.trim().split("\n").length, 1, stderr);
  }
  assertEquals(namesIn(dir.at("cache")), ["old"]);
});

test("rebuild-cache use passes signals on, and the code of who was killed", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  const use = (script: string) =>
    Peer.cli(["use", "--dir", dir.at("cache"), "--", "sh", "-c", script]);
  await using polite = use(
    "trap 'exit 5' TERM; echo begun; while :; do sleep 0.01; done",
  );
  await polite.says("begun");
  polite.kill("SIGTERM");
  assertEquals((await polite.end()).code, 5);
  await using killed = use("echo begun; kill -KILL $$");
  assertEquals((await killed.end()).code, 137);
  using _ = await lease(dir.at("cache"));
});

test("rebuild-cache use ends when it is interrupted while it waits", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  await using peer = Peer.support("hold.ts", "guard", dir.at("cache"));
  await peer.says("held");
  await using user = new Peer(
    cliCommand(["use", "-v", "--dir", dir.at("cache"), "--", "echo", "run"]),
  );
  await user.says("Waiting: ");
  user.kill("SIGINT");
  const { code, heard } = await user.end();
  assertEquals(code, 130);
  assert(!heard.includes("run\n"), heard);
});
