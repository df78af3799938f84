/**
 * One directory with very many names: whoever lists it still hears of a signal. What is
 * counted is what is done after it, not how long that takes.
 */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { listSlowly } from "../../lib/fs/list.ts";
import { openDirectory } from "../../lib/fs/open.ts";
import { cliCommand, Peer, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

const FILES = 4000;

/** A piece of a listing is as many names as have room in a buffer: here, some 300. */
const LONG = "-".repeat(200);

/** All in one directory. */
function makeOneDirectory(dir: TempDir): void {
  Deno.mkdirSync(dir.at("src"));
  for (let i = 0; i < FILES; i++) {
    Deno.writeTextFileSync(dir.at("src", `${i}${LONG}`), "cached");
  }
}

test(
  "listSlowly() ends between two pieces of a directory when nobody wants the rest",
  ["linux", "ffi"],
  async () => {
    await using dir = TempDir.make();
    makeOneDirectory(dir);
    using directory = openDirectory(dir.at("src"));
    const all = await listSlowly(directory, () => undefined);
    assertEquals(new Set(all.map(({ name }) => name)).size, FILES);
    let asked = 0;
    const stop = () => {
      if (++asked === 2) throw new Error("enough");
      return undefined;
    };
    await assertRejects(() => listSlowly(directory, stop), Error, "enough");
    assertEquals(asked, 2);
  },
);

for (
  const args of [
    ["clear", "src"],
    ["link", "src", "out", "--mode", "hardlink"],
    ["put", "k", "src", "--dir", "store"],
    ["verify", "--dir", "store"],
  ]
) {
  test(
    `rebuild-cache ${
      args[0]
    } hears SIGINT while it lists a directory with many names`,
    ["linux", "strace", "ffi"],
    async () => {
      await using dir = TempDir.make();
      makeOneDirectory(dir);
      const cwd = dir.path;
      if (args[0] === "verify") {
        const put = await runCli(["put", "k", "src", "--dir", "store"], {
          cwd,
        });
        assertEquals(put.code, 0, put.stderr);
      }
      const log = dir.at("log");
      const wrap = [
        ...["strace", "-f", "-o", log, "-e", "trace=getdents64"],
        ...["-e", "inject=getdents64:delay_enter=200000"],
      ];
      await using peer = new Peer(cliCommand([...args], wrap), { cwd });
      const full = /^(\d+) +getdents64\(.* = 6\d{4}\b.*$/gm;
      let pid = 0;
      await until("a piece of the directory is listed", () => {
        if (peer.over) throw new Error(`It was over: ${peer.heard}`);
        try {
          pid = Number(full.exec(Deno.readTextFileSync(log))?.[1]);
        } catch {
          return false; // the log is not there yet
        }
        return pid > 0;
      });
      Deno.kill(pid, "SIGINT");
      const { code, heard } = await peer.end();
      assertEquals(code, 130, heard);
      const traced = Deno.readTextFileSync(log);
      const [before = "", after = ""] = traced.split("--- SIGINT");
      assert(after !== "", traced);
      const all = (before + after).match(full)!.length;
      assert((after.match(full) ?? []).length <= 3, `${all}: ${after}`);
    },
  );
}

const BUILD = ["sh", "-c", 'cp src/* "$1"; kill -INT $PPID; cat', "sh", "{}"];

for (
  const { args, next, left } of [
    {
      args: ["link", "src", "out", "--mode", "hardlink"],
      next: ["clear", "out"],
      left: ".",
    },
    {
      args: ["--dir", "out", "--", ...BUILD],
      next: ["clear", "out"],
      left: ".",
    },
    {
      args: ["ensure", "k", "out", "--dir", "store", "--", ...BUILD],
      next: ["prune", "--dir", "store"],
      left: "store/tmp",
    },
  ]
) {
  test(
    `rebuild-cache ${
      args[0]
    } leaves what is half made to a later run when that is much, and it is interrupted`,
    ["linux", "strace", "ffi", "sh", "cp"],
    async () => {
      await using dir = TempDir.make();
      makeOneDirectory(dir);
      const cwd = dir.path;
      const halfMade = () =>
        namesIn(dir.at(left)).filter((name) =>
          left !== "." || name.includes(".partial-")
        ).length;
      const wrap = [
        ...["strace", "-f", "-o", "/dev/null"],
        ...["-e", "trace=?linkat,?link,?unlinkat,?unlink"],
        ...args[0] === "link" ? ["-e", "inject=linkat:signal=INT:when=50"] : [],
        // As if there were very many.
        ...["-e", "inject=?unlinkat,?unlink:delay_enter=400000"],
      ];
      const ran = await runCli(args, { cwd, wrap });
      assertEquals(ran.code, 130, ran.stderr);
      assertStringIncludes(ran.stderr, "A later run deletes it");
      assertEquals(halfMade(), 1);
      const { code, stderr } = await runCli(next, { cwd });
      assertEquals(code, 0, stderr);
      assertEquals(halfMade(), 0);
    },
  );
}
