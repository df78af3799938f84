/** Several keys for one entry. */
import { assertEquals, assertRejects } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { exists } from "../support/until.ts";
import { TempDir } from "../support/temp_dir.ts";
import { lookAtAll } from "../support/snapshot.ts";
import { test } from "../support/needs.ts";

const read = (path: string) => Deno.readTextFileSync(path);

test(
  "Cache.put() with alsoKeys puts the same under each key, and takes little room for it",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ tree: { a: "1".repeat(50_000), sub: { b: "b" } }, file: "f" });
    Deno.linkSync(dir.at("tree/a"), dir.at("tree/sub/a"));
    Deno.utimeSync(dir.at("tree/a"), 1, 2);
    const cache = openCache(dir.at("cache"));
    for (const what of ["tree", "file"]) {
      await cache.put(what, dir.at(what), { alsoKeys: [`${what}-2`, what] });
      using entry = (await cache.get(`${what}-2`))!;
      assertEquals([entry.key, entry.outcome], [`${what}-2`, "hit"]);
      await entry.link(dir.at(`out-${what}`));
      const source = await lookAtAll(dir.at(what));
      assertEquals(await lookAtAll(dir.at(`out-${what}`)), source);
    }
    assertEquals(cache.entries().length, 4);
    const { savedBytes, diskBytes } = await cache.stats();
    assertEquals(savedBytes > 50_000 && diskBytes < 150_000, true);
    assertEquals((await cache.verify()).damaged, []);
  },
);

Deno.test("Cache.ensure() with alsoKeys puts what it builds under each, and what it finds under none", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  for (const alsoKeys of [["two"], ["three"]]) {
    using _ = await cache.ensure(
      "one",
      (at) => Deno.writeTextFile(`${at}/x`, "x"),
      { alsoKeys },
    );
  }
  assertEquals(cache.entries().map(({ key }) => key), ["one", "two"]);
  await assertRejects(
    () => cache.ensure("k", () => {}, { alsoKeys: "two" as never }),
    TypeError,
  );
});

Deno.test("Cache.get() and ensure() with orKeys take exact keys in their order, then prefixes", async () => {
  await using dir = TempDir.make();
  dir.write({ one: "one", two: "two" });
  const cache = openCache(dir.at("cache"));
  await cache.put("key-1", dir.at("one"));
  await cache.put("key-22", dir.at("two"));
  const orKeys = ["key-2", "key-1"];
  {
    using entry = (await cache.get("key-3", { orKeys, fallback: ["key-2"] }))!;
    assertEquals([entry.outcome, entry.matchedKey], ["partial", "key-1"]);
  }
  using other = (await cache.get("x", { orKeys: ["y"], fallback: ["key-2"] }))!;
  assertEquals(other.matchedKey, "key-22");
  dir.write({ tree: { old: "old" } });
  await cache.put("tree-1", dir.at("tree"));
  using built = await cache.ensure(
    "tree-2",
    (at, { found }) => Deno.writeTextFile(`${at}/found`, `${found}`),
    { orKeys: ["tree-1"] },
  );
  assertEquals([built.outcome, built.matchedKey], ["built", "tree-1"]);
  assertEquals(read(`${built.path}/found`), "tree-1");
  assertEquals(exists(`${built.path}/old`), true);
});
