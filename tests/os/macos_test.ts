import { assertEquals } from "@std/assert";
import { cloneFlags } from "../../lib/os/macos.ts";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

Deno.test("cloneFlags() follows no link, and keeps an owner only where all is kept", () => {
  // CLONE_NOFOLLOW 1, CLONE_NOOWNERCOPY 2 of sys/clonefile.h.
  assertEquals(cloneFlags("all"), 1);
  assertEquals(cloneFlags("content"), 3);
});

test("rebuild-cache loads no library from the working directory", [
  "darwin",
], async () => {
  await using dir = TempDir.make();
  const bad = { "libSystem.dylib": "bad", "libSystem.B.dylib": "bad" };
  dir.write({ ...bad, src: { file: "content" } });
  const link = ["link", "--mode", "clone", "--strict", "src", "new"];
  const { code, stderr } = await runCli(link, { cwd: dir.path });
  assertEquals(code, 0, stderr);
});

test(
  "rebuildCache() exchanges two directories",
  ["darwin", "ffi"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "" } });
    const { exchanged } = await rebuildCache(dir.at("cache"), (at) => {
      Deno.writeTextFileSync(`${at}/new`, "");
    });
    assertEquals(exchanged, true);
  },
);
