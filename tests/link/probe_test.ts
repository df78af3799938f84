import { assert, assertEquals, assertRejects } from "@std/assert";
import { CacheError } from "../../lib/error.ts";
import { probe } from "../../lib/link/probe.ts";
import { runCli } from "../support/command.ts";
import {
  type FileSystem,
  makeFileSystem,
  mountTest,
  TOOLS,
} from "../support/mounts.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

mountTest(
  import.meta.url,
  "probe() finds what each file system can do, and leaves nothing",
  [...Object.values(TOOLS).flat()],
  async (dir) => {
    const expected: Record<FileSystem, string> = {
      "ext4": "hardlink, 1100+ links, 255 bytes, case matters",
      "xfs": "clone, 1100+ links, 255 bytes, case matters",
      "btrfs": "clone, 1100+ links, 255 bytes, case matters",
      // 4,096 bytes for all names of an inode in one directory.
      "btrfs-no-extref": "clone, fewer links, 255 bytes, case matters",
      "tmpfs": "hardlink, 1100+ links, 255 bytes, case matters",
      "overlay": "hardlink, 1100+ links, 255 bytes, case matters",
      "exfat": "copy, no links, 255 bytes, case folds",
    };
    for (const [kind, what] of Object.entries(expected)) {
      const mount = await makeFileSystem(dir, kind as FileSystem);
      const found = await probe(mount);
      const links = !found.hardlink.works
        ? "no"
        : found.linksAreLimited
        ? "fewer"
        : `${found.links}+`;
      const names = `${found.longestName} bytes`;
      const letters = found.caseSensitive ? "case matters" : "case folds";
      assertEquals(
        `${found.auto}, ${links} links, ${names}, ${letters}`,
        what,
        kind,
      );
      assert(found.lock.works, kind);
      assert(found.sameDevice);
      assertEquals(found.symlink.works, kind !== "exfat");
      assertEquals(namesIn(mount).filter((it) => it !== "lost+found"), []);
    }
  },
);

mountTest(
  import.meta.url,
  "probe() finds that two file systems share nothing, and takes a destination that does not exist",
  [],
  async (dir) => {
    const a = await makeFileSystem(dir, "tmpfs");
    const b = await makeFileSystem(dir, "tmpfs");
    const found = await probe(a, `${b}/not/there`);
    assertEquals([found.source, found.destination], [a, b]);
    assertEquals([found.sameDevice, found.auto], [false, "copy"]);
    assert(found.hardlink.reason!.includes("(os error 18)"));
  },
);

Deno.test("probe() says what it can't look at", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "x" });
  for (const name of ["file", "missing"]) {
    await assertRejects(() => probe(dir.at(name)), CacheError, dir.at(name));
  }
});

Deno.test("rebuild-cache doctor says what auto does, in words and in JSON", async () => {
  await using dir = TempDir.make();
  const { code, stdout } = await runCli(["doctor", dir.path]);
  assertEquals(code, 0);
  assert(/\nauto (clones|hard-links|copies) each file/.test(stdout), stdout);
  const json = await runCli(["doctor", dir.path, "--json", "--links", "5"]);
  const { result } = JSON.parse(json.stdout);
  assertEquals(result.source, dir.path);
  assert(result.links <= 5);
  for (const args of [[], ["a", "b", "c"], [dir.path, "--links", "x"]]) {
    assertEquals((await runCli(["doctor", ...args])).code, 2);
  }
  assertEquals((await runCli(["doctor", dir.at("missing")])).code, 1);
  assertEquals(namesIn(dir.path), []);
});
