import {
  assert,
  assertEquals,
  assertObjectMatch,
  assertRejects,
} from "@std/assert";
import { type Cache, openCache } from "../../lib/cache/cache.ts";
import type { Listed } from "../../lib/cache/list.ts";
import type { PruneOptions } from "../../lib/cache/prune_options.ts";
import { CacheError } from "../../lib/error.ts";
import { linkTree } from "../../lib/link/tree.ts";
import { must, Peer, run } from "../support/command.ts";
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
    const [{ maxArchives, ...given }, left] of [
      [{}, ["a", "b", "c", "d"]],
      [{ maxAge: 5 * DAY }, ["a", "b"]],
      [{ maxEntries: 3 }, ["a", "b", "c"]],
      [{ maxArchives: 2.5 }, ["a", "b"]],
      [{ maxAge: 5 * DAY, maxEntries: 1 }, ["a"]],
      [{ maxSize: 0 }, []],
    ] as [PruneOptions & { maxArchives?: number }, string[]][]
  ) {
    await using dir = TempDir.make();
    const cache = await cacheOf(dir, { d: 30, b: 2, c: 10, a: 1 });
    const { diskBytes } = cache.entries()[0]!;
    const maxSize = maxArchives && maxArchives * diskBytes;
    const limits = { ...given, ...maxSize && { maxSize } };
    const dry = await cache.prune({ ...limits, dryRun: true });
    assertEquals(keys(cache), ["a", "b", "c", "d"]);
    const report = await cache.prune(limits);
    assertEquals(keys(cache), [...left]);
    const gone = 4 - left.length;
    assertEquals(report.evicted.length, gone);
    assertEquals(
      report.evicted.map(({ key }) => key),
      ["d", "c", "b", "a"].filter((key) => !left.includes(key)),
    );
    assertEquals(report.removedBytes, gone * 100);
    assertEquals(
      [report.entries, report.diskBytes],
      [left.length, left.length * diskBytes],
    );
    assertEquals([dry.outcome, report.outcome], ["would-prune", "pruned"]);
    const { outcome: _, durationMs: __, ...done } = report;
    assertObjectMatch(dry, done);
    assertEquals(namesIn(dir.at("cache", "archive-v1")).length, left.length);
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
      [`${dead}.key`]: "../archive-v1/x/tree",
    },
    "archive-v1": { [dead]: { tree: "", manifest: "half" } },
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
  assertEquals(namesIn(`${root}/archive-v1`).length, 1);
  assertEquals([...Deno.readDirSync(`${root}/leases`)].length, 1);
  assert(!namesIn(`${root}/locks`).some((name) => name.startsWith("build-")));
});

test("Cache.prune() removes keys that are damaged, and nothing else", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  const cache = await cacheOf(dir, { a: 1 });
  const bucket = dir.at("cache", "default-v1");
  const name = (it: string) => `${bucket}/${it}-${"0".repeat(40)}`;
  Deno.symlinkSync("/etc/passwd", name("outside"));
  Deno.symlinkSync(`../archive-v1/${"0".repeat(32)}/tree`, name("none"));
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

Deno.test("Cache.prune() and verify() refuse what is not a cache", async () => {
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
  const { unreferenced, evicted, removedBytes } = await cache.prune();
  assertEquals([unreferenced, evicted.length, removedBytes], [1, 0, 100]);
  await using entry = await cache.get("a");
  assertEquals(Deno.readTextFileSync(entry!.path), "another");
});

test(
  "Cache.prune() keeps an archive as long as one of several keys points to it",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    const cache = await cacheOf(dir, { a: 1 });
    const bucket = dir.at("cache", "default-v1");
    const [name] = namesIn(bucket);
    const text = Deno.readLinkSync(`${bucket}/${name}`);
    Deno.symlinkSync(text, `${bucket}/copy-${"0".repeat(40)}`);
    const { evicted, removedBytes } = await cache.prune({ maxEntries: 1 });
    assertEquals([evicted.length, removedBytes], [1, 0]);
    assertEquals(keys(cache), ["a"]);
    assertEquals((await cache.prune({ maxEntries: 0 })).removedBytes, 100);
  },
);

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
      Deno.writeTextFileSync(`${staging.path}/shared`, "x".repeat(1e6));
      Deno.writeTextFileSync(`${staging.path}/twice`, "x".repeat(10));
      Deno.linkSync(`${staging.path}/twice`, `${staging.path}/again`);
      const { bytes, diskBytes } = await staging.commit();
      assertEquals(bytes, 1_000_010);
      assert(diskBytes > 1e6 && diskBytes < 1.1e6, `${diskBytes}`);
    }
    {
      await using entry = await cache.get("key");
      await linkTree(entry!.path, dir.at("out"), {
        mode: "hardlink",
        include: ["shared"],
      });
    }
    const report = await cache.prune({ maxSize: 0 });
    assertEquals(report.removedBytes, 1_000_010);
    assert(report.freedBytes < 1e5, `${report.freedBytes}`);
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
  Deno.symlinkSync("../archive-v1/none/tree", dir.at("cache", "tmp", key));
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
    const report = await cache.prune({ maxSize: 0 });
    assertEquals(report.evicted.length, 2);
    assertEquals([report.failures.length, report.outcome], [1, "incomplete"]);
  } finally {
    const [doomed] = namesIn(dir.at("cache", "tmp"));
    await run(["chattr", "-i", dir.at("cache", "tmp", doomed!, "tree")]);
  }
  assertEquals((await cache.prune()).failures, []);
});

test("Cache.prune() frees what du says that it takes", [
  "linux",
  "du",
], async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  {
    await using staging = await cache.stage("key");
    for (let i = 0; i < 50; i++) {
      Deno.mkdirSync(`${staging.path}/${i}`);
      Deno.writeTextFileSync(`${staging.path}/${i}/small`, "x");
    }
    Deno.linkSync(`${staging.path}/0/small`, `${staging.path}/again`);
    using sparse = Deno.createSync(`${staging.path}/sparse`);
    sparse.truncateSync(30e6);
    await staging.commit();
  }
  const archives = dir.at("cache", "archive-v1");
  const [id] = namesIn(archives);
  const du = await must("du", "-s", "--block-size=1", `${archives}/${id}`);
  const [entry] = cache.entries();
  assertEquals(entry!.bytes, 30_000_050);
  assertEquals(entry!.diskBytes, Number.parseInt(du));
  const { removedBytes, freedBytes } = await cache.prune({ maxSize: 0 });
  assertEquals([removedBytes, freedBytes], [30_000_050, Number.parseInt(du)]);
});

Deno.test("Cache.prune() evicts for the size on the disk, not for that of the content", async () => {
  await using dir = TempDir.make();
  const cache = await cacheOf(dir, { a: 1, b: 2 });
  const { bytes, diskBytes } = cache.entries()[0]!;
  assert(diskBytes >= bytes);
  if (diskBytes === bytes) return; // not known here
  const { evicted } = await cache.prune({ maxSize: 2 * diskBytes - 1 });
  assertEquals(evicted.map(({ key }) => key), ["b"]);
});

Deno.test("Cache.prune() refuses invalid limits, and removes nothing", async () => {
  await using dir = TempDir.make();
  const cache = await cacheOf(dir, { a: 1 });
  for (
    const [limits, type, message] of [
      [{ maxSize: NaN }, RangeError, "not NaN"],
      [{ maxSize: -1 }, RangeError, "not -1"],
      [{ maxSize: 0.5 }, RangeError, "not 0.5"],
      [{ maxEntries: 1.5 }, RangeError, "not 1.5"],
      [{ maxEntries: -Infinity }, RangeError, "not -Infinity"],
      [{ maxAge: -5 }, RangeError, "not -5"],
      [{ maxAge: "12h" }, TypeError, 'not "12h"'],
      [{ maxSize: null }, TypeError, "not null"],
      [{ maxEntries: 1n }, TypeError, "not 1"],
    ] as const
  ) {
    const wrong = limits as PruneOptions;
    await assertRejects(() => cache.prune(wrong), type, message);
  }
  assertEquals(keys(cache), ["a"]);
  const all = { maxSize: Infinity, maxAge: Infinity, maxEntries: Infinity };
  assertEquals((await cache.prune(all)).evicted, []);
});

Deno.test("Cache.prune() tells which keys would go, and what they are, in a dry run", async () => {
  await using dir = TempDir.make();
  const cache = await cacheOf(dir, { a: 1, b: 2, c: 3 });
  const [, { bucket, key, id, bytes, diskBytes, lastUse }] = cache
    .entries() as [unknown, Listed];
  const { evicted, outcome } = await cache.prune({
    maxEntries: 1,
    dryRun: true,
  });
  assertEquals(outcome, "would-prune");
  assertEquals(evicted.map(({ key }) => key), ["c", "b"]);
  assertEquals(evicted[1], { bucket, key, id, bytes, diskBytes, lastUse });
  assertEquals((await openCache(dir.at("none")).prune()).outcome, "absent");
});
