/** Runs inside a lock that they would wait for: an error at once. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { INSIDE } from "../../lib/lock/inside.ts";
import { cliCommand, Peer, runCli } from "../support/command.ts";
import { everyPath } from "../support/look.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

const WAIT = ["--wait", "60"];

const cli = (...args: string[]) => cliCommand(args);

/** What runs inside what, of a directory or a cache at a path. */
const NESTED: Record<string, (path: string) => string[]> = {
  "a clear in a use": (path) => [
    ...["use", "--dir", path, "--"],
    ...cli("--dir", path, ...WAIT),
  ],
  "a clear in a use in a use": (path) => [
    ...["use", "--dir", path, "--"],
    ...cli("use", "--dir", path, "--"),
    ...cli("--dir", path, ...WAIT),
  ],
  "a rebuild in a use": (path) => [
    ...["use", "--dir", path, "--"],
    ...cli("--dir", path, ...WAIT, "--", "touch", `${path}/built`),
  ],
  "a rebuild in a rebuild": (path) => [
    ...["--dir", path, "--"],
    ...cli("--dir", path, ...WAIT, "--", "touch", `${path}/built`),
  ],
  "a use in a rebuild in place": (path) => [
    ...["--dir", path, "--in-place", "--"],
    ...cli("use", "--dir", path, ...WAIT, "--", "touch", `${path}/built`),
  ],
  "a link in place of what is used": (path) => [
    ...["use", "--dir", path, "--"],
    ...cli("link", `${path}-source`, path, "--if-exists", "replace"),
  ],
  "an ensure in an ensure of the same key": (path) => [
    ...["ensure", "--dir", path, "key", `${path}-got`, "--"],
    ...cli("ensure", "--dir", path, ...WAIT, "key", `${path}-linked`),
    ...["--", "touch", `${path}/built`],
  ],
  "a clear of a cache in an ensure": (path) => [
    ...["ensure", "--dir", path, "key", `${path}-got`, "--"],
    ...cli("--dir", path, ...WAIT),
  ],
};

for (const [what, args] of Object.entries(NESTED)) {
  test(`rebuild-cache says at once that ${what} would wait for itself`, [
    "posix",
  ], async () => {
    await using dir = TempDir.make();
    dir.write({ cache: {}, "cache-source": { linked: "" } });
    const path = dir.at("cache");
    const { code, stderr } = await runCli(args(path));
    assertEquals(code, 75, stderr);
    assertStringIncludes(stderr, "inside which this command runs");
    for (const left of ["/built", "/linked", "-linked"]) {
      assert(!exists(path + left), stderr);
    }
  });
}

test("rebuild-cache runs a rebuild of another directory inside a use", [
  "posix",
  "sh",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {}, other: {} });
  const ran = await runCli([
    ...["use", "--dir", dir.at("cache"), "--"],
    ...cli("--dir", dir.at("other"), ...WAIT),
    ...["--", "sh", "-c", 'touch "$1/built"', "sh", "{}"],
  ]);
  assertEquals(ran.code, 0, ran.stderr);
  assert(exists(dir.at("other/built")));
});

test(
  "rebuild-cache minds no variable of a process that has ended, nor one that is none of ours",
  [
    "posix",
    "sh",
    "true",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: {} });
    const cache = dir.at("cache");
    const says = `echo "said=$${INSIDE}"; cat`;
    const use = ["use", "--dir", cache, "--", "sh", "-c", says];
    const { stdout } = await runCli(use);
    const left = /^said=(.*)$/m.exec(stdout)![1]!;
    assertStringIncludes(left, "cache.lock");
    await using user = Peer.cli(use);
    await user.says("said=");
    for (
      const value of [left, "", "[", "{}", "[null, 1, {}]", "[".repeat(1e5)]
    ) {
      const env = { [INSIDE]: value };
      const used = await runCli(["use", "--dir", cache, "--", "true"], { env });
      assertEquals(used.code, 0, used.stderr);
      const busy = await runCli(["--dir", cache, "--if-busy", "fail"], { env });
      assertEquals(busy.code, 75, busy.stderr);
      assertStringIncludes(busy.stderr, `is in use by process ${user.pid} on`);
    }
  },
);

test("rebuild-cache says after a second for whom it waits, but not with -q", [
  "posix",
  "sh",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  const use = [
    "use",
    "--dir",
    dir.at("cache"),
    "--",
    "sh",
    "-c",
    "echo ok; cat",
  ];
  await using user = Peer.cli(use);
  await user.says("ok");
  await using clear = Peer.cli(["--dir", dir.at("cache")]);
  await clear.says("Waiting (");
  await clear.says(`is in use by process ${user.pid}`);
  const quiet = await runCli(["-q", "--dir", dir.at("cache"), "--wait", "2"]);
  assertEquals(quiet.code, 75, quiet.stderr);
  assert(!quiet.stderr.includes("Waiting"), quiet.stderr);
  await user.end();
  assertEquals((await clear.end()).code, 0);
});

/** Two that wait for each other. */
const CIRCLES: Record<string, (path: string, mine: string) => string[]> = {
  "ensures": (path, mine) => [
    ...["ensure", "--dir", `${path}-root`, mine, `${path}-${mine}`, "--"],
  ],
  "uses and clears": (path, mine) => ["use", "--dir", `${path}-${mine}`, "--"],
};

const INNER: typeof CIRCLES = {
  "ensures": (path, other) => [
    ...["ensure", "--dir", `${path}-root`, other, `${path}-${other}-inner`],
    ...["--", "sh", "-c", 'touch "$REBUILD_CACHE_OUT/built"'],
  ],
  "uses and clears": (path, other) => ["--dir", `${path}-${other}`],
};

for (const what of Object.keys(CIRCLES)) {
  test(`rebuild-cache tells one of two ${what} that wait for each other`, [
    "posix",
    "sh",
  ], async () => {
    await using dir = TempDir.make();
    const path = dir.at("it");
    if (what !== "ensures") dir.write({ "it-a": {}, "it-b": {} });
    const script = `touch "$1-begun-$2"
      [ -z "$REBUILD_CACHE_OUT" ] || touch "$REBUILD_CACHE_OUT/built"
      until [ -e "$1-begun-a" ] && [ -e "$1-begun-b" ]; do sleep 0.01; done
      shift 2; "$@"`;
    const peers = ["a", "b"].map((mine) => {
      const inner = cli(...INNER[what]!(path, mine === "a" ? "b" : "a"));
      return Peer.cli([
        ...CIRCLES[what]!(path, mine),
        ...["sh", "-c", script, "sh", path, mine, ...inner],
      ]);
    });
    await using _all = new AsyncDisposableStack();
    for (const peer of peers) _all.use(peer);
    const ends = await Promise.all(peers.map((peer) => peer.end()));
    const said = ends.map(({ heard }) => heard).join("\n---\n");
    assertEquals(ends.map(({ code }) => code).sort(), [0, 75], said);
    assertStringIncludes(said, "it would wait for itself");
    const left = [...everyPath(dir.path)].filter((it) => /[.]waits-/.test(it));
    assertEquals(left, []);
  });
}
