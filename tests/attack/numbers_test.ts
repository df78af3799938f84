/**
 * Numbers that are larger than what anybody tries first: any number of
 * keys, and no more threads than the machine can use, whatever was asked for.
 */

import { assert, assertEquals } from "@std/assert";
import { cliCommand, must, Peer, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { makeManyFiles, TempDir } from "../support/temp_dir.ts";
import { ALL, runProgram } from "../support/library.ts";

const KEYS = 130_000;

/** Puts the first key; all others point to the same archive, under their own names. */
const FILL = `import { openCache } from "LIBRARY";
  const [root, src, count] = Deno.args;
  await openCache(root).put("a key", src);
  const bucket = root + "/default-v1";
  const [{ name }] = [...Deno.readDirSync(bucket)];
  const text =
    Deno.lstatSync(bucket + "/" + name).isSymlink
    ? Deno.readLinkSync(bucket + "/" + name) : undefined;
  const content = text ?? Deno.readTextFileSync(bucket + "/" + name);
  for (let i = 1; i < Number(count); i++) {
    const path = bucket + "/key-" + i.toString(16).padStart(40, "0");
    if (text) Deno.symlinkSync(text, path);
    else Deno.writeTextFileSync(path, content);
  }`;

test("rebuild-cache ls and prune take any number of keys", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ src: { file: "content" } });
  const root = dir.at("root");
  const args = [root, dir.at("src"), `${KEYS}`];
  const filled = await runProgram(dir, FILL, ALL, args);
  assertEquals(filled.code, 0, filled.stderr);
  for (const [name, ...more] of [["ls"], ["prune", "--dry-run"], ["verify"]]) {
    const ran = await runCli([name!, ...more, "--dir", root]);
    assert(!/call stack|^\s+at /m.test(ran.stderr), ran.stderr.slice(0, 500));
    assertEquals(ran.code, 0, ran.stderr.slice(0, 500));
  }
});

test(
  "rebuild-cache link --jobs 300 starts no more threads than there are cores",
  [
    "linux",
  ],
  async () => {
    await using dir = TempDir.make();
    makeManyFiles(dir.at("src"), 100, 60);
    const threadsOf = async (jobs: number): Promise<number> => {
      const out = dir.at(`out-${jobs}`);
      const args = ["link", dir.at("src"), out, "--mode", "copy"];
      await using peer = Peer.cli([...args, "--jobs", `${jobs}`]);
      let most = 0;
      while (!peer.over) {
        try {
          const status = Deno.readTextFileSync(`/proc/${peer.pid}/status`);
          most = Math.max(most, Number(/^Threads:\s+(\d+)/m.exec(status)?.[1]));
        } catch {
          break; // it has ended
        }
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      const { code, heard } = await peer.end();
      assertEquals(code, 0, heard);
      return most;
    };
    await must(...cliCommand(["--version"]));
    const [few, many] = [await threadsOf(2), await threadsOf(300)];
    // A worker of the runtime has some threads of its own.
    const most = few + 4 * navigator.hardwareConcurrency + 8;
    assert(many <= most, `${many} threads, where 2 jobs have ${few}`);
  },
);
