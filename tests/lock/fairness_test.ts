/** Who comes first, however long others have leases, and whoever they are. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { openDirectory } from "../../lib/fs/open.ts";
import { guard, lease } from "../../lib/lock/directory.ts";
import { Turn } from "../../lib/lock/fairness.ts";
import { LockedError } from "../../lib/lock/file.ts";
import { cliCommand, denoRun, Peer, run, runCli } from "../support/command.ts";
import { READ_WRITE, startProgram } from "../support/library.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";
import { exists, until } from "../support/until.ts";

/** Waits until somebody waits for the guard of `cache`. */
async function untilGuardWaits(dir: TempDir): Promise<void> {
  using parent = openDirectory(dir.path);
  using turn = new Turn(parent, "cache");
  await until("a guard that waits", () => turn.isTaken());
}

/** Processes that have leases which overlap all the time. */
async function startLeases(dir: string): Promise<AsyncDisposable> {
  await using peers = new AsyncDisposableStack();
  for (let i = 0; i < 4; i++) {
    const peer = peers.use(Peer.support("lease_often.ts", dir));
    await peer.says("held");
  }
  return peers.move();
}

Deno.test("guard() is granted although leases of other processes overlap all the time", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  await using _leases = await startLeases(dir.at("cache"));
  const { mtime } = Deno.statSync(dir.at("cache.lock"));
  for (let i = 0; i < 2; i++) {
    using _ = await guard(dir.at("cache"), { wait: 60_000 });
  }
  // It goes by no clock.
  assertEquals(Deno.statSync(dir.at("cache.lock")).mtime, mtime);
});

test(
  "rebuild-cache clears what another user has overlapping leases on",
  ["posix", "root"],
  async () => {
    await using dir = TempDir.make();
    Deno.chmodSync(dir.path, 0o777);
    dir.write({ cache: { old: "" } });
    Deno.chownSync(dir.at("cache"), 65534, 65534);
    await using _leases = await startLeases(dir.at("cache"));
    const module = denoRun("tests/support/as_nobody.ts");
    const args = ["--dir", dir.at("cache"), "--wait", "60"];
    const ran = await run([Deno.execPath(), ...module, ...args]);
    assertEquals(ran.code, 0, ran.stderr);
    assert(!exists(dir.at("cache/old")));
  },
);

test(
  "lease() waits behind a guard that waits, except for those who run inside the lease that it waits for",
  ["posix", "sh"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: {} });
    const cache = dir.at("cache");
    const inner = cliCommand(["use", "--dir", cache, "--wait", "1"]);
    const command = ["sh", "-c", 'echo using; read line; "$@"', "sh"];
    const echo = ["--", "echo", "inside"];
    await using user = Peer.cli([
      ...["use", "--dir", cache, "--", ...command, ...inner, ...echo],
    ]);
    await user.says("using");
    await using clear = Peer.cli(["--dir", cache]);
    await untilGuardWaits(dir);
    const late = await assertRejects(
      () => lease(cache, { wait: 0 }),
      LockedError,
    );
    assert(late.message.includes("waits to clear or rebuild"), late.message);
    const busy = await runCli(["--dir", cache, "--if-busy", "fail"]);
    assertEquals(busy.code, 75, busy.stderr);
    const used = await user.end();
    assertEquals(used.code, 0, used.heard);
    assert(used.heard.includes("inside"), used.heard);
    const cleared = await clear.end();
    assertEquals(cleared.code, 0, cleared.heard);
    assert(!exists(`${cache}.turn.lock`));
  },
);

Deno.test("lease() is granted to a process that has one although a guard waits for that", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  using _ = await lease(dir.at("cache"));
  const controller = new AbortController();
  const { signal } = controller;
  const given = assertRejects(() => guard(dir.at("cache"), { signal }));
  await untilGuardWaits(dir);
  using _second = await lease(dir.at("cache"));
  controller.abort();
  await given;
  assert(!exists(dir.at("cache.turn.lock")));
});

Deno.test("guard() that is killed while it waits keeps nobody away, and a clear removes its file", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  {
    using _ = await lease(dir.at("cache"));
    await using waiting = Peer.support("hold.ts", "guard", dir.at("cache"));
    await untilGuardWaits(dir);
    waiting.kill();
    await waiting.end();
  }
  assert(exists(dir.at("cache.turn.lock")));
  (await lease(dir.at("cache"), { wait: 0 }))[Symbol.dispose]();
  const cleared = await runCli(["--dir", dir.at("cache"), "--if-busy", "fail"]);
  assertEquals(cleared.code, 0, cleared.stderr);
  assert(!exists(dir.at("cache.turn.lock")));
});

Deno.test("guard() leaves a file that somebody has in its turn's place", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {}, "cache.turn.lock": "not ours" });
  {
    using _ = await lease(dir.at("cache"));
    await assertRejects(
      () => guard(dir.at("cache"), { wait: 50 }),
      LockedError,
    );
  }
  using _ = await guard(dir.at("cache"), { wait: 0 });
  assertEquals(Deno.readTextFileSync(dir.at("cache.turn.lock")), "not ours");
});

Deno.test("guard() of a program that may read and write only waits, and has its turn", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  const text = `import { guard } from "LIBRARY";
    using _ = await guard(Deno.args[0]!);
    console.log("had");`;
  const held = await lease(dir.at("cache"));
  const args = [dir.at("cache")];
  await using peer = startProgram(dir, text, READ_WRITE, args);
  await untilGuardWaits(dir);
  // In another process, which has no lease yet.
  const late = await runCli([
    ...["use", "--dir", dir.at("cache"), "--if-busy", "fail"],
    ...["--", Deno.execPath(), "--version"],
  ]);
  assertEquals(late.code, 75, late.stderr);
  held[Symbol.dispose]();
  const { code, heard } = await peer.end();
  assertEquals([code, heard.includes("had")], [0, true], heard);
  assert(!exists(dir.at("cache.turn.lock")));
});

Deno.test("lease() is granted between two guards that wait in vain", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  const cache = dir.at("cache");
  await using user = Peer.support("hold.ts", "lease", cache);
  await user.says("held");
  const stop = [new AbortController(), new AbortController()];
  const guards: Promise<unknown>[] = [];
  const wait = ({ signal }: AbortController) =>
    guards.push(assertRejects(() => guard(cache, { signal })));
  wait(stop[0]!);
  await untilGuardWaits(dir);
  wait(stop[1]!);
  const waiting = lease(cache);
  stop[0]!.abort();
  (await waiting)[Symbol.dispose]();
  await untilGuardWaits(dir);
  stop[1]!.abort();
  await Promise.all(guards);
});
