import { assert, assertEquals } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const TREE = { "a.js": "content", lib: { "b.js": "more" }, empty: {} };

Deno.test("Cache.verify() finds nothing in what is as it was put", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE });
  const cache = openCache(dir.at("cache"));
  await cache.put("tree", dir.at("tree"));
  await cache.put("file", dir.at("tree", "a.js"));
  const told: number[][] = [];
  const { archives, readBytes, damaged } = await cache.verify({
    onProgress: ({ bytes, totalArchives, totalBytes }) =>
      told.push([bytes, totalArchives, totalBytes]),
  });
  assertEquals([archives, readBytes, damaged], [2, 18, []]);
  // Two files, of which one is in both, and is read once.
  assertEquals(told.at(-1), [18, 2, 18]);
  const bytes = told.map(([bytes]) => bytes!);
  assertEquals(bytes, bytes.toSorted((a, b) => a - b));
  assert(bytes[0] === 7 && bytes.length >= 3);
});

const DAMAGE: Record<string, [(tree: string) => void, wrong: string]> = {
  "a byte": [(tree) => {
    Deno.writeTextFileSync(`${tree}/a.js`, "Content");
  }, '"/a.js" has changed'],
  "a missing file": [
    (tree) => Deno.removeSync(`${tree}/lib/b.js`),
    '"/lib/b.js" is missing',
  ],
  "a file more": [
    (tree) => Deno.writeTextFileSync(`${tree}/lib/c.js`, ""),
    '"/lib/c.js" was not there',
  ],
  "a missing directory": [
    (tree) => Deno.removeSync(`${tree}/empty`),
    '"/empty/" is missing',
  ],
  "a manifest cut short": [
    (tree) => Deno.truncateSync(`${tree}/../manifest`, 300),
    "",
  ],
  "a manifest that is none": [
    (tree) => Deno.writeTextFileSync(`${tree}/../manifest`, "{}"),
    "is no manifest",
  ],
  "no manifest": [(tree) => Deno.removeSync(`${tree}/../manifest`), ""],
  "no tree": [(tree) => Deno.removeSync(tree, { recursive: true }), ""],
};

for (const [what, [damage, wrong]] of Object.entries(DAMAGE)) {
  Deno.test(`Cache.verify() quarantines an archive with ${what}, and its key is a miss`, async () => {
    await using dir = TempDir.make();
    dir.write({ tree: TREE });
    const cache = openCache(dir.at("cache"));
    const { id } = await cache.put("bad", dir.at("tree"));
    await cache.put("good", dir.at("tree", "lib"));
    damage(dir.at("cache", "archive-v1", id, "tree"));
    const { damaged } = await cache.verify();
    assertEquals(damaged.map(({ outcome }) => outcome), ["quarantined"]);
    assert(damaged[0]!.wrong[0]!.includes(wrong), damaged[0]!.wrong.join());
    assertEquals(await cache.get("bad"), undefined);
    using _ = (await cache.get("good"))!;
    assertEquals(namesIn(dir.at("cache", "quarantine")), [id]);
    assertEquals((await cache.verify()).damaged, []);
  });
}

test("Cache.verify() finds a changed mode and a changed link", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE });
  Deno.symlinkSync("a.js", dir.at("tree", "link"));
  const cache = openCache(dir.at("cache"));
  for (
    const damage of [
      (tree: string) => Deno.chmodSync(`${tree}/a.js`, 0o755),
      (tree: string) => {
        Deno.removeSync(`${tree}/link`);
        Deno.symlinkSync("elsewhere", `${tree}/link`);
      },
    ]
  ) {
    const { id } = await cache.put("key", dir.at("tree"));
    damage(dir.at("cache", "archive-v1", id, "tree"));
    assertEquals((await cache.verify()).damaged.length, 1);
  }
});

Deno.test("Cache.verify() takes the key of a damaged archive in use away, and a prune the rest", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("tree"));
  {
    await using entry = await cache.get("key");
    Deno.writeTextFileSync(`${entry!.path}/a.js`, "CHANGED");
    const { damaged } = await cache.verify();
    assertEquals(damaged.map(({ outcome }) => outcome), ["in use"]);
    assertEquals(damaged.map(({ key }) => key), ["key"]);
    assertEquals(await cache.get("key"), undefined);
    assertEquals(namesIn(entry!.path), ["a.js", "empty", "lib"]);
  }
  assertEquals((await cache.prune()).unreferenced, 1);
});
