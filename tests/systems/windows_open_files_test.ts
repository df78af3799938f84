/** Windows renames no directory in which anything is open. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { Peer, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

/** Holds something open until it is told to let go, or for some seconds. */
async function hold(
  how: "file" | "working directory",
  path: string,
  seconds = 600,
): Promise<Peer> {
  const take = how === "file"
    ? "Deno.openSync(Deno.args[0])"
    : "Deno.chdir(Deno.args[0])";
  const script = `${take}; console.log("holds");
    setTimeout(() => Deno.exit(), ${seconds * 1000});
    Deno.stdin.read(new Uint8Array(1)).then(() => Deno.exit());`;
  const peer = new Peer([Deno.execPath(), "eval", script, path]);
  await peer.says("holds");
  return peer;
}

const BUILD = ["--", "cmd", "/c", "echo new> {}\\new"];

for (const how of ["file", "working directory"] as const) {
  test(
    `rebuild-cache clears in place, and rebuilds nothing, while somebody has a ${how} open in it`,
    [
      "windows",
    ],
    async () => {
      await using dir = TempDir.make();
      dir.write({ cache: { sub: { file: "old" }, other: "old" } });
      const held = how === "file" ? ["sub", "file"] : ["sub"];
      await using holder = await hold(how, dir.at("cache", ...held));

      const rebuilt = await runCli(["--dir", dir.at("cache"), ...BUILD]);
      if (rebuilt.code === 0) return; // a system that renames it all the same
      assertEquals(rebuilt.code, 1, rebuilt.stderr);
      assertStringIncludes(rebuilt.stderr, "The old cache is as it was");
      assertEquals(namesIn(dir.at("cache")), ["other", "sub"]);

      const cleared = await runCli(["--dir", dir.at("cache")]);
      assertStringIncludes(cleared.stdout + cleared.stderr, "cache");
      assertEquals(exists(dir.at("cache", "other")), false);
      await holder.end();

      assertEquals((await runCli(["--dir", dir.at("cache")])).code, 0);
      assertEquals(namesIn(dir.path).filter((it) => !it.endsWith("lock")), []);
    },
  );
}

test("rebuild-cache waits ten seconds for an indexer that has a file open", [
  "windows",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { file: "old" } });
  await using _ = await hold("file", dir.at("cache", "file"), 4);
  const { code, stderr } = await runCli(["--dir", dir.at("cache"), ...BUILD]);
  assertEquals(code, 0, stderr);
  assertEquals(namesIn(dir.at("cache")), ["new"]);
});
