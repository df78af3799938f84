import { assert, assertEquals } from "@std/assert";
import { type Cache, openCache } from "../../lib/cache/cache.ts";
import { runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { as, prepare } from "../support/members.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const DIGEST =
  "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"; // "content"

const write = (path: string) => Deno.writeTextFileSync(path, "content");

/** Asks for keys, and gives back what it gets. */
async function get(cache: Cache, ...keys: string[]): Promise<void> {
  for (const key of keys) (await cache.get(key))?.[Symbol.dispose]();
}

async function used(cache: Cache): Promise<[hits: number, misses: number]> {
  const { hits, misses } = await cache.stats();
  return [hits, misses];
}

Deno.test("Cache.stats() counts keys, archives, blobs, and what they take", async () => {
  await using dir = TempDir.make();
  dir.write({ one: "content", tree: { a: "12345", sub: { b: "678" } } });
  const cache = openCache(dir.at("cache"));
  const { durationMs: _, ...empty } = await cache.stats();
  assertEquals(empty, {
    path: cache.path,
    ...{ entries: 0, archives: 0, blobs: 0, files: 0, bytes: 0, diskBytes: 0 },
    ...{ savedBytes: 0, hits: 0, misses: 0, remoteHits: 0, failures: [] },
  });
  await cache.put("one", dir.at("one"));
  await cache.put("tree", dir.at("one"));
  await cache.put("tree", dir.at("tree")); // the one before has no key any more
  await openCache(cache.path, { bucket: "other" }).put("one", dir.at("one"));
  const before = await cache.stats();
  assertEquals(
    [before.entries, before.archives, before.files, before.bytes],
    [3, 4, 5, 3 * 7 + 8],
  );
  await cache.blob(DIGEST, dir.at("linked"), { fetch: write });
  const after = await cache.stats();
  assertEquals([after.blobs, after.files, after.bytes], [1, 6, 4 * 7 + 8]);
  assert(after.diskBytes > before.diskBytes);
  // Three archives have the content that is stored once.
  const block = before.savedBytes / 2;
  assert(block >= 7 && after.savedBytes === 3 * block);
  assertEquals(after.lastPrune, undefined);
  await cache.prune({ dryRun: true });
  assertEquals((await cache.stats()).lastPrune, undefined);
  await cache.prune();
  const { archives, lastPrune } = await cache.stats();
  assertEquals(archives, 3);
  assert(Math.abs(Date.now() - Date.parse(lastPrune!)) < 60 * 60 * 1000);
});

Deno.test("Cache.stats() counts hits and misses of get(), ensure() and blob()", async () => {
  await using dir = TempDir.make();
  dir.write({ one: "content" });
  const cache = openCache(dir.at("cache"));
  await get(cache, "before there is a cache");
  assertEquals(await used(cache), [0, 0]);
  await cache.put("one", dir.at("one"));
  await get(cache, "one", "none", "one", "none", "none");
  assertEquals(await used(cache), [2, 3]);
  for (let i = 0; i < 2; i++) {
    const entry = await cache.ensure("new", (path) => write(`${path}/a`));
    entry[Symbol.dispose]();
  }
  assertEquals(await used(cache), [3, 4]);
  for (const name of ["a", "b", "c"]) {
    await cache.blob(DIGEST, dir.at(name), { fetch: write });
  }
  assertEquals(await used(cache), [5, 5]);
});

Deno.test("Cache.prune() lets the counters begin anew after a million", async () => {
  await using dir = TempDir.make();
  dir.write({ one: "content" });
  const cache = openCache(dir.at("cache"));
  await cache.put("one", dir.at("one"));
  await get(cache, "one", "none");
  await cache.prune();
  assertEquals(await used(cache), [1, 1]);
  Deno.truncateSync(dir.at("cache", "stats", "hits"), 2e6);
  await cache.prune({ dryRun: true });
  assert((await used(cache))[0] > 1e6);
  await cache.prune();
  assertEquals(await used(cache), [0, 0]);
  await get(cache, "one");
  assertEquals(await used(cache), [1, 0]);
});

test("Cache.get() counts nothing in a file that is no counter", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ one: "content", precious: "precious" });
  const cache = openCache(dir.at("cache"));
  await cache.put("one", dir.at("one"));
  const hits = dir.at("cache", "stats", "hits");
  const plant: (() => void)[] = [
    () => Deno.linkSync(dir.at("precious"), hits),
    () => Deno.symlinkSync(dir.at("precious"), hits),
    () => Deno.mkdirSync(hits),
    () => Deno.writeTextFileSync(hits, ""),
  ];
  for (const [i, call] of plant.entries()) {
    call();
    await get(cache, "one");
    assertEquals(await used(cache), [0, 0], `${i}`);
    Deno.removeSync(hits);
  }
  assertEquals(Deno.readTextFileSync(dir.at("precious")), "precious");
});

test(
  "Cache.get() gives what is in a cache that can't be written to, and counts nothing",
  [
    "linux",
    "root",
  ],
  async () => {
    await using dir = TempDir.make();
    prepare(dir);
    dir.write({ src: { a: "content" } });
    const root = dir.at("shared", "cache");
    const cache = openCache(root);
    await cache.put("key", dir.at("src"));
    await get(cache, "key", "none");
    const out = dir.at("two", "out");
    const { done } = await as(1002, 0o22, "get", root, "key", out);
    assertEquals(done.outcome, "linked");
    assertEquals(namesIn(out), ["a"]);
    assertEquals(await used(cache), [1, 1]);
  },
);

test(
  "Cache.stats() counts what all members of a group use, whatever their umask",
  [
    "linux",
    "root",
  ],
  async () => {
    await using dir = TempDir.make();
    prepare(dir);
    dir.write({ src: { a: "content" } });
    const root = dir.at("shared");
    await as(1001, 0o77, "put", root, "key", dir.at("src"));
    for (const [user, name] of [[1001, "one"], [1002, "two"]] as const) {
      await as(user, 0o77, "get", root, "key", dir.at(name, "out"));
      await as(user, 0o77, "get", root, "none", dir.at(name, "none"));
    }
    assertEquals(await used(openCache(root)), [2, 2]);
  },
);

Deno.test("Cache.stats() counts what is whole, where an archive is damaged", async () => {
  await using dir = TempDir.make();
  dir.write({ one: "content" });
  const cache = openCache(dir.at("cache"));
  const { id } = await cache.put("one", dir.at("one"));
  await cache.put("two", dir.at("one"));
  Deno.removeSync(dir.at("cache", "archive-v1", id, "manifest"));
  const { entries, archives, files } = await cache.stats();
  assertEquals([entries, archives, files], [2, 2, 1]);
});

test("Cache.stats() tells what it can't read, and counts the rest", [
  "linux",
  "root",
], async () => {
  await using dir = TempDir.make();
  prepare(dir);
  dir.write({ src: { a: "content" } });
  const root = dir.at("shared");
  const put = ["put", root, "key", dir.at("src")] as const;
  const { done: { id } } = await as(1001, 0o77, ...put);
  await as(1001, 0o77, "put", root, "other", dir.at("src"));
  Deno.chmodSync(`${root}/archive-v1/${id}/manifest`, 0o600);
  const { done } = await as(1002, 0o77, "stats", root);
  assertEquals([done.entries, done.archives, done.files], [2, 2, 1]);
  assertEquals(done.failures.length, 1);
  assertEquals(done.failures[0].kind, "permission");
});

Deno.test("rebuild-cache stats prints a line for each number", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content" });
  await openCache(dir.at("cache")).put("key", dir.at("file"));
  const { code, stdout } = await runCli(["stats", "--dir", dir.at("cache")]);
  const [path, keys, ...more] = stdout.trimEnd().split("\n");
  assertEquals([code, path, more.length], [0, dir.at("cache"), 6]);
  assert(/^ {2}keys +1$/.test(keys!), stdout);
});
