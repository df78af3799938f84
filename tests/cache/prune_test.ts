import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Cache, openCache } from "../../lib/cache/cache.ts";
import { CacheError } from "../../lib/error.ts";
import { linkTree } from "../../lib/link/tree.ts";
import { Peer, run } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const DAY = 24 * 60 * 60 * 1000;

/** A cache with keys that were last used so many days ago, each with 100 bytes. */
async function cacheOf(
  dir: TempDir,
  days: Record<string, number>,
): Promise<Cache> {
  const cache = openCache(dir.at("cache"));
  for (const [key, age] of Object.entries(days)) {
    Deno.writeTextFileSync(dir.at("source"), key.padEnd(100));
    const { id } = await cache.put(key, dir.at("source"));
    const then = new Date(Date.now() - age * DAY);
    Deno.utimeSync(dir.at("cache", "leases", `${id}.lock`), then, then);
  }
  return cache;
}

const keys = (cache: Cache) => cache.entries().map(({ key }) => key);

Deno.test("Cache.prune() removes the least recently used, beyond age, number or size", async () => {
  for (
    const [limits, left] of [
      [{}, ["a", "b", "c", "d"]],
      [{ maxAge: 5 * DAY }, ["a", "b"]],
      [{ maxEntries: 3 }, ["a", "b", "c"]],
      [{ maxSize: 250 }, ["a", "b"]],
      [{ maxAge: 5 * DAY, maxEntries: 1 }, ["a"]],
      [{ maxSize: 0 }, []],
    ] as const
  ) {
    await using dir = TempDir.make();
    const cache = await cacheOf(dir, { d: 30, b: 2, c: 10, a: 1 });
    const dry = await cache.prune({ ...limits, dryRun: true });
    assertEquals(keys(cache), ["a", "b", "c", "d"]);
    const report = await cache.prune(limits);
    assertEquals(keys(cache), [...left]);
    const gone = 4 - left.length;
    assertEquals(report.evicted.length, gone);
    assertEquals([report.bytes, report.freed], [gone * 100, gone * 100]);
    assertEquals([report.entries, report.size], [
      left.length,
      left.length * 100,
    ]);
    assertEquals({ ...dry, durationMs: 0 }, { ...report, durationMs: 0 });
    assertEquals(namesIn(dir.at("cache", "archive-v0")).length, left.length);
    const leases = [...Deno.readDirSync(dir.at("cache", "leases"))];
    assertEquals(leases.length, left.length);
  }
});

Deno.test("Cache.prune() goes by the last use, which a get notes once an hour", async () => {
  await using dir = TempDir.make();
  const cache = await cacheOf(dir, { a: 30, b: 20, c: 10 });
  (await cache.get("a"))![Symbol.dispose]();
  await cache.prune({ maxEntries: 1 });
  assertEquals(keys(cache), ["a"]);
  const { lastUse } = cache.entries()[0]!;
  (await cache.get("a"))![Symbol.dispose]();
  assertEquals(cache.entries()[0]!.lastUse, lastUse);
});

Deno.test("Cache.prune() skips what is in use and removes others instead, in another process, too", async () => {
  await using dir = TempDir.make();
  const cache = await cacheOf(dir, { a: 40, b: 30, c: 20, d: 10 });
  await using peer = Peer.support("hold_entry.ts", cache.path, "a");
  await peer.says("held");
  const long = new Date(Date.now() - 40 * DAY);
  const { id } = cache.entries()[0]!;
  Deno.utimeSync(dir.at("cache", "leases", `${id}.lock`), long, long);
  assertEquals(cache.entries().map(({ inUse }) => inUse), [
    true,
    false,
    false,
    false,
  ]);
  const report = await cache.prune({ maxEntries: 2 });
  assertEquals([report.inUse, report.inUseBytes], [1, 100]);
  assertEquals(keys(cache), ["a", "d"]);
  assertEquals((await cache.prune({ maxSize: 0 })).inUse, 1);
  assertEquals(keys(cache), ["a"]);
  peer.kill();
  await peer.end();
  assertEquals((await cache.prune({ maxSize: 0 })).evicted.length, 1);
});

Deno.test("Cache.prune() leaves what is being put alone, and removes what dead processes left", async () => {
  await using dir = TempDir.make();
  const cache = await cacheOf(dir, { a: 1 });
  const root = dir.at("cache");
  const dead = "0123456789abcdef".repeat(2);
  dir.write({
    tmp: {
      [dead]: { tree: { half: "half" } },
      [`${dead}.key`]: "../archive-v0/x/tree",
    },
    "archive-v0": { [dead]: { tree: "", manifest: "half" } },
    leases: { [`${dead}.lock`]: "", [`${"f".repeat(32)}.lock`]: "" },
    locks: { "build-default.x.lock": "" },
    quarantine: { [dead]: { tree: "" } },
  }, root);
  {
    await using staging = await cache.stage("new");
    Deno.writeTextFileSync(`${staging.path}/new`, "new");
    const report = await cache.prune({ maxSize: 0 });
    assertEquals(report.failures, []);
    await staging.commit();
  }
  assertEquals(keys(cache), ["new"]);
  assertEquals(namesIn(`${root}/tmp`), []);
  assertEquals(namesIn(`${root}/quarantine`), []);
  assertEquals(namesIn(`${root}/archive-v0`).length, 1);
  assertEquals([...Deno.readDirSync(`${root}/leases`)].length, 1);
  assert(!namesIn(`${root}/locks`).some((name) => name.startsWith("build-")));
});

test("Cache.prune() removes keys that are damaged, and nothing else", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  const cache = await cacheOf(dir, { a: 1 });
  const bucket = dir.at("cache", "default-v0");
  const name = (it: string) => `${bucket}/${it}-${"0".repeat(40)}`;
  Deno.symlinkSync("/etc/passwd", name("outside"));
  Deno.symlinkSync(`../archive-v0/${"0".repeat(32)}/tree`, name("none"));
  Deno.writeTextFileSync(`${bucket}/notes.txt`, "somebody else's");
  const { evicted, failures } = await cache.prune();
  assertEquals([evicted.length, failures], [2, []]);
  assertEquals(keys(cache), ["a"]);
  assertEquals([...Deno.readDirSync(bucket)].length, 2);
});

Deno.test("Cache.prune() takes a cache that is just being made for an empty one", async () => {
  await using dir = TempDir.make();
  await cacheOf(dir, { a: 1 });
  const root = dir.at("cache");
  const beginning = { tmp: { [`${"0".repeat(32)}.tag`]: "half" }, leases: {} };
  for (const [name, tag] of [["untagged", ""], ["tagged", "CACHEDIR.TAG"]]) {
    dir.write({ [name!]: beginning });
    if (tag) Deno.copyFileSync(`${root}/${tag}`, dir.at(name!, tag));
    const report = await openCache(dir.at(name!)).prune({ maxSize: 0 });
    assertEquals([report.failures, report.entries], [[], 0]);
    assertEquals(namesIn(dir.at(name!, "tmp")).length, tag ? 0 : 1);
  }
});

Deno.test("Cache.prune() and verify() refuse what is no cache", async () => {
  await using dir = TempDir.make();
  const key = `a-${"0".repeat(40)}`;
  dir.write({ project: { "api-v0": { [key]: "precious" }, tmp: {} } });
  const cache = openCache(dir.at("project"));
  for (const call of [() => cache.prune(), () => cache.verify()]) {
    const error = await assertRejects(call, CacheError, "not a cache");
    assertEquals(error.kind, "refused");
  }
  assertEquals(namesIn(dir.at("project", "api-v0")), [key]);
});

Deno.test("Cache.prune() removes an archive whose key was replaced", async () => {
  await using dir = TempDir.make();
  const cache = await cacheOf(dir, { a: 1 });
  Deno.writeTextFileSync(dir.at("source"), "another");
  await cache.put("a", dir.at("source"));
  const { unreferenced, evicted, bytes } = await cache.prune();
  assertEquals([unreferenced, evicted.length, bytes], [1, 0, 100]);
  await using entry = await cache.get("a");
  assertEquals(Deno.readTextFileSync(entry!.path), "another");
});

test(
  "Cache.prune() tells what it frees from what is linked elsewhere, and counts inodes once",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    const cache = openCache(dir.at("cache"));
    {
      await using staging = await cache.stage("key");
      Deno.writeTextFileSync(`${staging.path}/shared`, "x".repeat(1000));
      Deno.writeTextFileSync(`${staging.path}/twice`, "x".repeat(10));
      Deno.linkSync(`${staging.path}/twice`, `${staging.path}/again`);
      assertEquals((await staging.commit()).bytes, 1010);
    }
    {
      await using entry = await cache.get("key");
      await linkTree(entry!.path, dir.at("out"), {
        mode: "hardlink",
        include: ["shared"],
      });
    }
    const report = await cache.prune({ maxSize: 0 });
    assertEquals([report.bytes, report.freed], [1010, 10]);
    assertEquals(namesIn(dir.at("out")), ["shared"]);
  },
);

test("Cache.prune() follows no symbolic link", ["posix"], async () => {
  await using dir = TempDir.make();
  dir.write({ outside: { precious: "p" } });
  const cache = openCache(dir.at("cache"));
  {
    await using staging = await cache.stage("key");
    Deno.symlinkSync(dir.at("outside"), `${staging.path}/link`);
    await staging.commit();
  }
  Deno.symlinkSync(dir.at("outside"), dir.at("cache", "tmp", "f".repeat(32)));
  Deno.symlinkSync(
    dir.at("outside"),
    dir.at("cache", "quarantine", "f".repeat(32)),
  );
  const key = `${"e".repeat(32)}.key`; // a publisher that died just before
  Deno.symlinkSync("../archive-v0/none/tree", dir.at("cache", "tmp", key));
  const { failures } = await cache.prune({ maxSize: 0 });
  assertEquals(failures, []);
  assertEquals(namesIn(dir.at("cache", "tmp")), []);
  assertEquals(namesIn(dir.at("cache", "quarantine")), []);
  assertEquals(namesIn(dir.at("outside")), ["precious"]);
});

test("Cache.prune() reports what it can't remove, and removes the rest", [
  "linux",
  "root",
  "chattr",
], async () => {
  await using dir = TempDir.make();
  const cache = await cacheOf(dir, { a: 1, b: 2 });
  await using entry = await cache.get("a");
  const file = entry!.path;
  entry![Symbol.dispose]();
  const { code } = await run(["chattr", "+i", file]);
  assertEquals(code, 0, "no immutable files here");
  try {
    const { failures, evicted } = await cache.prune({ maxSize: 0 });
    assertEquals(evicted.length, 2);
    assertEquals(failures.length, 1);
  } finally {
    const [doomed] = namesIn(dir.at("cache", "tmp"));
    await run(["chattr", "-i", dir.at("cache", "tmp", doomed!, "tree")]);
  }
  assertEquals((await cache.prune()).failures, []);
});
