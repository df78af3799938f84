import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { guard } from "../../lib/lock/directory.ts";
import { LockedError } from "../../lib/lock/file.ts";
import { Peer, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

/** Signals that would end us, and what a shell calls them. */
const SIGNALS = [
  "HUP INT QUIT ABRT ALRM PROF TERM USR1 USR2 VTALRM XCPU XFSZ",
  Deno.build.os === "linux" ? "IO PWR STKFLT" : "",
].join(" ").trim().split(" ");

test(
  "rebuild-cache use passes on each signal that would end it before its command",
  [
    "posix",
    "bash",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: {} });
    const traps = SIGNALS.map((name) => `trap 'echo got ${name}.' ${name}`);
    const script = `${traps.join("\n")}
    trap 'exit 7' WINCH
    echo begun; while :; do sleep 0.01; done`;
    const use = ["use", "--dir", dir.at("cache"), "--"];
    await using user = Peer.cli([...use, "bash", "-c", script]);
    await user.says("begun");
    for (const name of SIGNALS) {
      user.kill(`SIG${name}` as Deno.Signal);
      await user.says(`got ${name}.`);
    }
    const error = await guard(dir.at("cache"), { wait: 0 }).catch((it) => it);
    assert(error instanceof LockedError, `${error}`);
    user.kill("SIGWINCH");
    const { code, heard } = await user.end();
    assertEquals(code, 7, heard);
    using _ = await guard(dir.at("cache"), { wait: 0 });
  },
);

test("rebuild-cache use exits as its command does that a signal has killed", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  const use = ["use", "--dir", dir.at("cache"), "--", "sh", "-c"];
  const script = "echo begun; while :; do sleep 0.01; done";
  await using user = Peer.cli([...use, script]);
  await user.says("begun");
  user.kill("SIGALRM");
  assertEquals((await user.end()).code, 128 + 14);
});

test(
  "rebuild-cache use --json ends with its command, whatever that leaves running",
  [
    "posix",
    "sh",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: {} });
    const many =
      "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done";
    const script = `sleep 1000 2>/dev/null & echo $! > pid; ${many}; exit 3`;
    const use = ["use", "--dir", "cache", "--json", "--", "sh", "-c", script];
    const ran = await runCli(use, { cwd: dir.path });
    const daemon = Number(Deno.readTextFileSync(dir.at("pid")));
    try {
      Deno.kill(daemon, "SIGCONT"); // still there
      using _ = await guard(dir.at("cache"), { wait: 0 });
    } finally {
      Deno.kill(daemon);
    }
    assertEquals(ran.code, 3, ran.stderr);
    assertEquals(JSON.parse(ran.stdout).result, { code: 3 });
    assertStringIncludes(ran.stderr, "line 0\n");
    assertStringIncludes(ran.stderr, "line 4999\n");
  },
);

test(
  "rebuild-cache --if-busy skip exits with 75 where what was asked for is not there",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: {}, src: { file: "" } });
    const cache = dir.at("cache");
    const root = ["--dir", cache, "--if-busy", "skip"];
    const touch = ["--", "touch", dir.at("run")];
    const put = await runCli(["put", "--dir", cache, "key", dir.at("src")]);
    assertEquals(put.code, 0, put.stderr);
    using _ = await guard(cache);
    for (
      const [args, wanted] of [
        [["use", ...root, ...touch], 75],
        [["get", ...root, "key", dir.at("run")], 75],
        [["put", ...root, "key", dir.at("src")], 75],
        [["ensure", ...root, "key", dir.at("run"), ...touch], 75],
        [root, 0],
        [["prune", ...root], 0],
      ] as const
    ) {
      const { code, stderr } = await runCli([...args]);
      assertEquals(code, wanted, `${args.join(" ")}: ${stderr}`);
      assertEquals(stderr.includes("is in use"), wanted === 75, stderr);
      assert(!exists(dir.at("run")), args.join(" "));
    }
  },
);

test(
  "rebuild-cache use makes what a missing directory lies in, and keeps it from being cleared",
  [
    "posix",
    "sh",
  ],
  async () => {
    await using dir = TempDir.make();
    const cache = dir.at(".cache/pip");
    const script = "mkdir -p .cache/pip && echo begun && read -r _";
    const use = ["use", cache, "--", "sh", "-c", script];
    await using user = Peer.cli(use, { cwd: dir.path });
    await user.says("begun");
    const cleared = await runCli(["clear", cache, "--if-busy", "fail"]);
    assertEquals(cleared.code, 75, cleared.stderr);
    assert(exists(cache));
    await user.end();
    assertEquals((await runCli(["clear", cache])).code, 0);
  },
);
