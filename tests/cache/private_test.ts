// What a cache hands out is private, unless the user asks to share.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Cache, openCache } from "../../lib/cache/cache.ts";
import { LinkError } from "../../lib/link/error.ts";
import { runCli } from "../support/command.ts";
import { TempDir } from "../support/temp_dir.ts";

const TREE = { "a.js": "content", lib: { "b.js": "more" } };

async function read(cache: Cache, key: string, path = ""): Promise<string> {
  using entry = await cache.get(key);
  return Deno.readTextFileSync(entry!.path + path);
}

Deno.test("Entry.link() shares nothing when no mode is given", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE, file: "content" });
  const cache = openCache(dir.at("cache"));
  await cache.put("tree", dir.at("tree"));
  await cache.put("file", dir.at("file"));
  for (const key of ["tree", "file"]) {
    using entry = (await cache.get(key))!;
    const report = await entry.link(dir.at(`${key}-out`));
    assertEquals([report.hardlinked, report.symlinked], [0, 0]);
    assertEquals(report.cloned + report.copied, key === "tree" ? 2 : 1);
  }
  Deno.writeTextFileSync(dir.at("tree-out", "a.js"), "CHANGED");
  Deno.writeTextFileSync(dir.at("file-out"), "CHANGED");
  assertEquals(await read(cache, "tree", "/a.js"), "content");
  assertEquals(await read(cache, "file"), "content");
  assertEquals((await cache.verify()).damaged, []);
});

Deno.test("rebuild-cache get and ensure share nothing when no mode is given", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE, file: "content" });
  const cache = openCache(dir.at("cache"));
  await cache.put("tree", dir.at("tree"));
  await cache.put("file", dir.at("file"));
  const root = ["--json", "--dir", dir.at("cache")];
  for (const key of ["tree", "file"]) {
    const out = dir.at(`${key}-out`);
    const all = [
      ["get", ...root, key, `${out}-1`],
      ["ensure", ...root, key, `${out}-2`, "--", "false"],
    ];
    for (const args of all) {
      const { code, stdout, stderr } = await runCli(args);
      assertEquals([code, stderr], [0, ""]);
      const { link } = JSON.parse(stdout).result;
      assertEquals([link.hardlinked, link.symlinked], [0, 0]);
      Deno.writeTextFileSync(
        key === "tree" ? `${link.path}/a.js` : link.path,
        "CHANGED",
      );
    }
  }
  assertEquals((await cache.verify()).damaged, []);
});

Deno.test("Entry.link() takes the same options for a file as for a tree", async () => {
  await using dir = TempDir.make();
  dir.write({ "a.db": "content", there: "old" });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("a.db"));
  using entry = (await cache.get("key"))!;
  const mode = "hardlink";
  const shared = await entry.link(dir.at("shared"), { mode });
  assertEquals([shared.outcome, shared.hardlinked, shared.linkedBytes], [
    "linked",
    1,
    7,
  ]);
  const mutable = ["*.db"];
  const own = await entry.link(dir.at("own.db"), { mode, mutable });
  assertEquals([own.hardlinked, own.copied], [0, 1]);
  const told: number[] = [];
  const replaced = await entry.link(dir.at("there"), {
    ifExists: "replace",
    onProgress: ({ files }) => told.push(files),
  });
  assertEquals([replaced.outcome, ...told], ["replaced", 1]);
  const skipped = await entry.link(dir.at("there"), { ifExists: "skip" });
  assertEquals([skipped.outcome, skipped.copied], ["skipped", 0]);
  const merge = () => entry.link(dir.at("there"), { ifExists: "merge" });
  const error = await assertRejects(merge, LinkError);
  assertEquals(error.kind, "not-directory");
  const wrong = { mode: "hardlnik" } as object;
  const refused = await assertRejects(
    () => entry.link(dir.at("no"), wrong),
    TypeError,
  );
  assert(refused.message.includes('"hardlnik"'));
});
