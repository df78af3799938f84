/**
 * A directory whose parent is a symbolic link to another device, as /tmp, /var and /etc
 * are on macOS. It is no mount point, though its parent's own device is another one.
 */

import { assertEquals } from "@std/assert";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { READ_WRITE, runProgram } from "../support/library.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

mountTest(
  import.meta.url,
  "rebuildCache(), linkTree() and clearCache() take a parent that is a symbolic link to another device",
  [],
  async (dir) => {
    const device = await makeFileSystem(dir, "tmpfs");
    Deno.symlinkSync(device, dir.at("tmp"));
    const text = `import { clearCache, linkTree, rebuildCache } from "LIBRARY";
      const [dir] = Deno.args;
      const build = (it) => Deno.writeTextFileSync(it + "/file", "x");
      const said = [];
      for (let i = 0; i < 2; i++) {
        said.push((await rebuildCache(dir + "/cache", build)).outcome);
      }
      const replace = { ifExists: "replace" };
      for (let i = 0; i < 2; i++) {
        said.push((await linkTree(dir + "/cache", dir + "/new", replace)).outcome);
      }
      said.push((await clearCache(dir + "/new")).strategy);
      console.log(said.join(" "));`;
    for (const permissions of [READ_WRITE, ["-A"]]) {
      const at = dir.at("tmp");
      const ran = await runProgram(dir, text, permissions, [at]);
      const expected = "rebuilt rebuilt linked replaced rename\n";
      assertEquals(ran.stdout, expected, ran.stderr);
      assertEquals(namesIn(device).filter((it) => !it.includes("lock")), [
        "cache",
      ]);
    }
  },
);

test("rebuildCache() takes a cache below /tmp and /var/folders", [
  "darwin",
], async () => {
  const places = ["/tmp", "/private/tmp", Deno.makeTempDirSync()];
  for (const place of places) {
    const path = Deno.makeTempDirSync({ dir: place });
    await using dir = TempDir.at(path);
    for (let i = 0; i < 2; i++) {
      const { outcome } = await rebuildCache(dir.at("cache"), (it) => {
        Deno.writeTextFileSync(`${it}/file`, "x");
      });
      assertEquals(outcome, "rebuilt", place);
    }
  }
});
