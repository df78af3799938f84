import { assert, assertEquals } from "@std/assert";
import { siblingName } from "../../lib/fs/names.ts";
import { openDirectory } from "../../lib/fs/open.ts";
import { openStaging, sweepStagings, TREE } from "../../lib/fs/staging.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

test(
  "openStaging() makes a directory for us alone, which goes when it is disposed",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    using parent = openDirectory(dir.path);
    {
      await using staging = openStaging(parent, "cache");
      assertEquals(staging.directory.status().mode & 0o777, 0o700);
      Deno.mkdirSync(`${staging.tree}/sub`, { recursive: true });
      assertEquals(staging.directory.look(TREE)!.kind, "directory");
    }
    assertEquals(namesIn(dir.path), []);
  },
);

Deno.test("sweepStagings() deletes those of dead builders, and leaves a living one's", async () => {
  await using dir = TempDir.make();
  using parent = openDirectory(dir.path);
  const dead = siblingName("cache", "partial");
  const empty = siblingName("cache", "partial");
  const other = siblingName("cache2", "partial");
  dir.write({
    [dead]: { ".lock": "", tree: { sub: { file: "x" } } },
    [empty]: {},
    [other]: { ".lock": "" },
  });
  await using staging = openStaging(parent, "cache");
  Deno.mkdirSync(staging.tree);
  const swept = await sweepStagings(parent, "cache");
  assertEquals(swept.sort(), [dir.at(dead), dir.at(empty)].sort());
  assertEquals(namesIn(dir.path).length, 2);
  assert(namesIn(dir.path).includes(other));
});

Deno.test("sweepStagings() sweeps what a sweep that was killed left", async () => {
  await using dir = TempDir.make();
  using parent = openDirectory(dir.path);
  // The tree goes first, the lock last, so that it is always known to be dead.
  dir.write({ [siblingName("cache", "partial")]: { ".lock": "" } });
  assertEquals((await sweepStagings(parent, "cache")).length, 1);
  assertEquals(namesIn(dir.path), []);
});

test(
  "sweepStagings() leaves what only bears a staging's name, and where it leads",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    using parent = openDirectory(dir.path);
    dir.write({ outside: { ".lock": "", tree: { precious: "x" } } });
    dir.write({ [siblingName("cache", "partial")]: "a file" });
    Deno.symlinkSync("outside", dir.at(siblingName("cache", "partial")));
    assertEquals(await sweepStagings(parent, "cache"), []);
    assertEquals(namesIn(dir.path).length, 3);
    assertEquals(namesIn(dir.at("outside", "tree")), ["precious"]);
  },
);

test(
  "sweepStagings() leaves somebody else's, unless the cache is theirs, too",
  [
    "linux",
    "ffi",
    "root",
  ],
  async () => {
    await using dir = TempDir.make();
    using parent = openDirectory(dir.path);
    const name = siblingName("cache", "partial");
    dir.write({ [name]: { ".lock": "" } });
    Deno.chownSync(dir.at(name), 65534, 65534);
    assertEquals(await sweepStagings(parent, "cache"), []);
    assertEquals(await sweepStagings(parent, "cache", 65534), [dir.at(name)]);
  },
);
