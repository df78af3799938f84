import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Cache, openCache } from "../../lib/cache/cache.ts";
import type { Limits } from "../../lib/cache/limits.ts";
import { setLogSink } from "../../lib/log.ts";
import { sleepSync } from "../../lib/os/patience.ts";
import { must, run } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const HOUR = 60 * 60 * 1000;

/** However slow the machine is. */
const budget = 10 * HOUR;

const keys = (cache: Cache) => cache.entries().map(({ key }) => key);

/** A cache with keys that were last used so many hours ago, never pruned. */
async function cacheOf(
  dir: TempDir,
  hours: Record<string, number>,
): Promise<Cache> {
  const cache = openCache(dir.at("cache"));
  for (const [key, age] of Object.entries(hours)) {
    dir.write({ file: `content of ${key}` });
    const { id } = await cache.put(key, dir.at("file"));
    const then = new Date(Date.now() - age * HOUR);
    Deno.utimeSync(dir.at("cache", "leases", `${id}.lock`), then, then);
  }
  return cache;
}

/** As if the last prune was so long ago. */
function setLastPrune(cache: Cache, age: number): void {
  const then = new Date(Date.now() - age);
  Deno.utimeSync(`${cache.path}/stats/pruned`, then, then);
}

Deno.test("openCache() with limits prunes after put(), stage() and ensure()", async () => {
  for (const how of ["put", "stage", "ensure"] as const) {
    await using dir = TempDir.make();
    const limits = { budget, maxEntries: 2 };
    await cacheOf(dir, { a: 3, b: 2, c: 1 });
    const cache = openCache(dir.at("cache"), { limits });
    const write = (path: string) => Deno.writeTextFileSync(`${path}/x`, "x");
    if (how === "put") await cache.put("new", dir.at("file"));
    else if (how === "stage") {
      await using staging = await cache.stage("new");
      write(staging.path);
      await staging.commit();
    } else (await cache.ensure("new", write))[Symbol.dispose]();
    assertEquals(keys(cache), ["c", "new"], how);
    assert((await cache.stats()).lastPrune !== undefined);
  }
});

Deno.test("openCache() with limits prunes by age and by size, and keeps what was put", async () => {
  await using dir = TempDir.make();
  const before = await cacheOf(dir, { a: 30, b: 2, c: 1 });
  const { diskBytes } = before.entries()[0]!;
  const aged = openCache(dir.at("cache"), {
    limits: { budget, maxAge: 24 * HOUR },
  });
  await aged.put("d", dir.at("file"));
  assertEquals(keys(aged), ["b", "c", "d"]);
  setLastPrune(aged, HOUR);
  const limits = { budget, maxSize: 3 * diskBytes };
  const sized = openCache(dir.at("cache"), { limits });
  dir.write({ file: "content of e" });
  await sized.put("e", dir.at("file"));
  assertEquals(keys(sized), ["c", "d", "e"]);
  for (const lock of [true, false]) {
    setLastPrune(sized, HOUR);
    const none = openCache(dir.at("cache"), {
      lock,
      limits: { budget, maxSize: 0 },
    });
    await none.put("last", dir.at("file"));
    assertEquals(keys(none), ["last"]);
  }
});

Deno.test("openCache() with limits leaves a cache alone that was pruned just now", async () => {
  await using dir = TempDir.make();
  const plain = await cacheOf(dir, { a: 3, b: 2 });
  const cache = openCache(dir.at("cache"), {
    limits: { budget, maxEntries: 1 },
  });
  await plain.prune();
  await cache.put("c", dir.at("file"));
  assertEquals(keys(cache), ["a", "b", "c"]);
  // A clock that was wrong is no reason not to prune ever again.
  for (const [key, age] of [["d", 6 * 60 * 1000], ["e", -HOUR]] as const) {
    setLastPrune(cache, age);
    await cache.put(key, dir.at("file"));
    assertEquals(keys(cache), [key]);
  }
});

Deno.test("openCache() with limits keeps what is in use", async () => {
  await using dir = TempDir.make();
  const plain = await cacheOf(dir, { a: 3, b: 2 });
  using entry = (await plain.get("a"))!;
  const cache = openCache(dir.at("cache"), {
    limits: { budget, maxEntries: 0 },
  });
  await cache.put("c", dir.at("file"));
  assertEquals(keys(cache), ["a", "c"]);
  assertEquals(Deno.readTextFileSync(entry.path), "content of a");
});

Deno.test("openCache() with limits evicts after a blob was fetched", async () => {
  await using dir = TempDir.make();
  await cacheOf(dir, { a: 3, b: 2 });
  const cache = openCache(dir.at("cache"), {
    limits: { budget, maxEntries: 2 },
  });
  const digest =
    "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
  const fetch = (path: string) => Deno.writeTextFileSync(path, "content");
  await cache.blob(digest, dir.at("blob"), { fetch });
  assertEquals(keys(cache), ["b"]);
  assertEquals((await cache.stats()).blobs, 1);
});

Deno.test("openCache() with limits says in the log what was pruned", async () => {
  await using dir = TempDir.make();
  await cacheOf(dir, { a: 3, b: 2 });
  const said: string[] = [];
  const note = (message: string) => said.push(message);
  const before = setLogSink({ debug: note, warn: note });
  try {
    const cache = openCache(dir.at("cache"), {
      limits: { budget, maxEntries: 1 },
    });
    await cache.put("c", dir.at("file"));
  } finally {
    setLogSink(before);
  }
  assert(
    said.some((it) => it.startsWith("Pruned ") && it.includes("2 keys")),
    said.join("\n"),
  );
});

test("openCache() with limits fails no put when nothing can be pruned", [
  "linux",
  "root",
  "chattr",
], async () => {
  await using dir = TempDir.make();
  const plain = await cacheOf(dir, { a: 3 });
  const { id } = plain.entries()[0]!;
  const file = dir.at("cache", "archive-v1", id, "tree");
  const { code } = await run(["chattr", "+i", file]);
  assertEquals(code, 0, "no immutable files here");
  try {
    const cache = openCache(dir.at("cache"), {
      limits: { budget, maxEntries: 0 },
    });
    await cache.put("b", dir.at("file"));
    assertEquals(keys(cache), ["b"]);
  } finally {
    const [doomed] = namesIn(dir.at("cache", "tmp"));
    await must("chattr", "-i", dir.at("cache", "tmp", doomed!, "tree"));
  }
});

Deno.test("openCache() with limits leaves to the next time what takes too long", async () => {
  await using dir = TempDir.make();
  await cacheOf(dir, { a: 9, b: 8, c: 7, d: 6, e: 5, f: 4, g: 3, h: 2 });
  const limits = { maxEntries: 0, budget: 10 };
  const cache = openCache(dir.at("cache"), { limits });
  // Each of them takes longer than what lies between two looks at the time.
  const note = (message: string) => {
    if (message.startsWith("Evicting ")) sleepSync(100);
  };
  const before = setLogSink({ debug: note, warn() {} });
  try {
    await cache.put("new", dir.at("file"));
  } finally {
    setLogSink(before);
  }
  assert(keys(cache).length > 1);
  assert(keys(cache).includes("new"));
  const { failures } = await cache.prune({ maxEntries: 0 });
  assertEquals([failures, keys(cache)], [[], []]);
});

Deno.test("openCache() with limits fails no put when its signal comes meanwhile", async () => {
  await using dir = TempDir.make();
  await cacheOf(dir, { a: 3, b: 2 });
  const controller = new AbortController();
  const limits = { budget, maxEntries: 0 };
  const { signal } = controller;
  const cache = openCache(dir.at("cache"), { limits, signal });
  const note = (message: string) => {
    if (message.startsWith("Evicting ")) controller.abort();
  };
  const before = setLogSink({ debug: note, warn() {} });
  try {
    await cache.put("c", dir.at("file"));
  } finally {
    setLogSink(before);
  }
  assert(signal.aborted);
  assert(keys(openCache(cache.path)).includes("c"));
  assertEquals((await openCache(cache.path).prune()).failures, []);
});

Deno.test("openCache() refuses invalid limits", () => {
  for (
    const [limits, type] of [
      [{ maxSize: NaN }, RangeError],
      [{ maxAge: -5 }, RangeError],
      [{ maxEntries: 0.5 }, RangeError],
      [{ budget: NaN }, RangeError],
      [{ maxSize: "1G" }, TypeError],
    ] as const
  ) {
    const wrong = limits as Limits;
    assertThrows(() => openCache("/nowhere", { limits: wrong }), type, "not ");
  }
});
