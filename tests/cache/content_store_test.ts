/** Files are stored once for each content and mode (see lib/cache/content_store.ts). */
import { assert, assertEquals } from "@std/assert";
import { type Cache, openCache } from "../../lib/cache/cache.ts";
import type { LinkError } from "../../lib/link/error.ts";
import { setLogSink } from "../../lib/log.ts";
import { must, runCli } from "../support/command.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { lookAtAll } from "../support/snapshot.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

/** Names in the content store. */
function stored(cache: Cache): string[] {
  const files = `${cache.path}/files-v1`;
  return namesIn(files).flatMap((shard) => namesIn(`${files}/${shard}`)).sort();
}

function storedFile(cache: Cache, text: string, mode = "644"): string {
  const files = `${cache.path}/files-v1`;
  for (const shard of namesIn(files)) {
    for (const name of namesIn(`${files}/${shard}`)) {
      const path = `${files}/${shard}/${name}`;
      if (name.endsWith(`.${mode}`) && Deno.readTextFileSync(path) === text) {
        return path;
      }
    }
  }
  throw new Error(`"${text}" is not stored`);
}

const inode = (path: string) => Deno.lstatSync(path).ino;

test(
  "Cache.put() stores a content once for each mode, and hands out each file's own time",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ one: { a: "same", b: { c: "same", x: "same" }, e: "" } });
    dir.write({ two: { a: "same", more: "other" } });
    Deno.chmodSync(dir.at("one/b/x"), 0o755);
    for (
      const [path, time] of [
        ["one/a", "2001-02-03 04:05:06.123456789"],
        ["one/b/c", "2002-02-03 04:05:06.5"],
        ["two/a", "2003-02-03 04:05:06.000000001"],
        ["one/b", "2004-02-03 04:05:06"],
        ["one", "2005-02-03 04:05:06"],
        ["two", "2006-02-03 04:05:06"],
      ] as const
    ) await must("touch", "-d", time, dir.at(path));
    const cache = openCache(dir.at("cache"));
    const first = await cache.put("one", dir.at("one"));
    const second = await cache.put("two", dir.at("two"));
    assertEquals(stored(cache).length, 3); // "same" twice, "other"
    const tree = ({ id }: { id: string }) =>
      `${cache.path}/archive-v1/${id}/tree`;
    assertEquals(inode(`${tree(first)}/a`), inode(`${tree(second)}/a`));
    assert(second.diskBytes < first.diskBytes);
    for (const what of ["one", "two"]) {
      using entry = (await cache.get(what))!;
      await entry.link(dir.at(`out-${what}`));
      const source = await lookAtAll(dir.at(what));
      assertEquals(await lookAtAll(dir.at(`out-${what}`)), source);
    }
    assertEquals((await cache.verify()).damaged, []);
  },
);

test(
  "Cache.put() keeps files apart that only have the same content, and those together that are one",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ tree: { a: "same", b: "same", sub: { one: "linked" } } });
    Deno.linkSync(dir.at("tree/sub/one"), dir.at("tree/two"));
    const cache = openCache(dir.at("cache"));
    // The second time, most of it is known.
    for (const out of ["first", "second"]) {
      await cache.put("key", dir.at("tree"));
      using entry = (await cache.get("key"))!;
      await entry.link(dir.at(out));
      assert(inode(dir.at(out, "a")) !== inode(dir.at(out, "b")));
      assertEquals(Deno.lstatSync(dir.at(out, "a")).nlink, 1);
      assertEquals(inode(dir.at(out, "two")), inode(dir.at(out, "sub/one")));
      assertEquals(Deno.lstatSync(dir.at(out, "two")).nlink, 2);
      assertEquals((await cache.verify()).damaged, []);
    }
  },
);

Deno.test("Cache.stage() shares what was built with what was put", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: { a: "same" } });
  const cache = openCache(dir.at("cache"));
  await cache.put("put", dir.at("tree"));
  await using staging = await cache.stage("built");
  Deno.writeTextFileSync(`${staging.path}/b`, "same");
  await staging.commit();
  assertEquals(stored(cache).length, 1);
  assertEquals((await cache.stats()).savedBytes > 0, true);
  using entry = (await cache.get("built"))!;
  assertEquals(inode(`${entry.path}/b`), inode(storedFile(cache, "same")));
});

for (
  const [what, write] of Object.entries({
    "another content": (path: string) => Deno.writeTextFileSync(path, "SAME"),
    "more content": (path: string) => Deno.writeTextFileSync(path, "same?"),
    "another mode": (path: string) => Deno.chmodSync(path, 0o600),
  })
) {
  test(
    `Cache.put() does not link what has ${what} by now`,
    ["posix"],
    async () => {
      await using dir = TempDir.make();
      dir.write({ tree: { a: "same" } });
      const cache = openCache(dir.at("cache"));
      await cache.put("one", dir.at("tree"));
      write(storedFile(cache, "same"));
      await cache.put("two", dir.at("tree"));
      using entry = (await cache.get("two"))!;
      await entry.link(dir.at("out"));
      assertEquals(Deno.readTextFileSync(dir.at("out/a")), "same");
      assertEquals(Deno.lstatSync(dir.at("out/a")).mode! & 0o777, 0o644);
      // The first one has what somebody wrote to.
      const damaged = (await cache.verify()).damaged;
      assertEquals(damaged.map(({ key }) => key), ["one"]);
      assertEquals((await cache.verify()).damaged, []);
    },
  );
}

test("Cache.verify() names every archive that shares a damaged file", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ one: { a: "same" }, two: { b: "same" }, three: { c: "other" } });
  const cache = openCache(dir.at("cache"));
  for (const key of ["one", "two", "three"]) await cache.put(key, dir.at(key));
  const path = storedFile(cache, "same");
  const { mtime } = Deno.lstatSync(path);
  Deno.writeTextFileSync(path, "SAME");
  await must("touch", "-d", mtime!.toISOString(), path); // a bit that flipped
  const { damaged } = await cache.verify();
  assertEquals(damaged.map(({ key }) => key).sort(), ["one", "two"]);
  assertEquals(stored(cache).length, 1);
  assertEquals(cache.entries().map(({ key }) => key), ["three"]);
  dir.write({ alone: "nobody has it" });
  const digest = "a".repeat(64);
  Deno.mkdirSync(`${cache.path}/files-v1/aa`, { recursive: true });
  const lost = `${cache.path}/files-v1/aa/${digest}.644`;
  Deno.renameSync(dir.at("alone"), lost);
  assertEquals((await cache.verify()).damaged.map((it) => it.path), [lost]);
});

test(
  "Entry.link() with hardlink shares only what has the same time, to the second",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ one: { a: "same" }, two: { a: "same", b: "other" } });
    await must("touch", "-d", "2001-02-03 04:05:06.5", dir.at("one/a"));
    await must("touch", "-d", "2002-02-03 04:05:06.5", dir.at("two/a"));
    const cache = openCache(dir.at("cache"));
    await cache.put("one", dir.at("one"));
    await cache.put("two", dir.at("two"));
    {
      using entry = (await cache.get("one"))!;
      const report = await entry.link(dir.at("out-1"), { mode: "hardlink" });
      assertEquals([report.hardlinked, report.copied], [1, 0]);
    }
    using entry = (await cache.get("two"))!;
    const report = await entry.link(dir.at("out-2"), { mode: "hardlink" });
    assertEquals([report.hardlinked, report.copied], [1, 1]);
    const [fallback] = report.fallbacks;
    assert(fallback!.reason.includes("another time"), fallback!.reason);
    assertEquals(
      Deno.lstatSync(dir.at("out-2/a")).mtime,
      Deno.lstatSync(dir.at("two/a")).mtime,
    );
  },
);

test("Entry.link() says that a file is damaged, and nobody links it again", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ tree: { a: "same" } });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("tree"));
  {
    using entry = (await cache.get("key"))!;
    await entry.link(dir.at("out"), { mode: "hardlink" });
    Deno.writeTextFileSync(dir.at("out/a"), "CHANGED");
    let kind;
    try {
      await entry.link(dir.at("again"));
    } catch (error) {
      kind = (error as LinkError).kind;
    }
    assertEquals(kind, "damaged");
  }
  assertEquals(stored(cache), []);
  assertEquals(await cache.get("key"), undefined);
  await cache.put("key", dir.at("tree"));
  using entry = (await cache.get("key"))!;
  await entry.link(dir.at("again"));
  assertEquals(Deno.readTextFileSync(dir.at("again/a")), "same");
});

Deno.test("Cache.prune() frees what only the evicted archive has, and says how much", async () => {
  await using dir = TempDir.make();
  dir.write({
    one: { shared: "s".repeat(50_000), own: "1".repeat(50_000) },
    two: { shared: "s".repeat(50_000), own: "2".repeat(50_000) },
  });
  const cache = openCache(dir.at("cache"));
  const { id } = await cache.put("one", dir.at("one"));
  await cache.put("two", dir.at("two"));
  const then = new Date(Date.now() - 1e9);
  Deno.utimeSync(`${cache.path}/leases/${id}.lock`, then, then);
  const { diskBytes } = await cache.stats();
  // More than two whole archives would be: sharing is taken into account.
  const roomy = await cache.prune({ maxSize: diskBytes });
  assertEquals(roomy.evicted, []);
  assertEquals(roomy.diskBytes, diskBytes);
  const limits = { maxSize: diskBytes - 10_000 };
  const dry = await cache.prune({ ...limits, dryRun: true });
  assertEquals(dry.evicted.map(({ key }) => key), ["one"]);
  const report = await cache.prune(limits);
  assertEquals(report.evicted.map(({ key }) => key), ["one"]);
  assertEquals(report.freedBytes, dry.freedBytes);
  assert(report.freedBytes > 50_000 && report.freedBytes < 100_000);
  assertEquals(report.diskBytes, dry.diskBytes);
  assertEquals(report.diskBytes, (await cache.stats()).diskBytes);
  assertEquals(stored(cache).length, 2);
  await cache.prune({ maxEntries: 0 });
  assertEquals(stored(cache), []);
});

test(
  "Cache.prune() evicts nothing for what is only hard-linked from the cache",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({
      old: { big: "1".repeat(90_000) },
      new: { small: "2".repeat(9_000) },
    });
    const cache = openCache(dir.at("cache"));
    await cache.put("old", dir.at("old"));
    {
      using entry = (await cache.get("old"))!;
      await entry.link(dir.at("out"), { mode: "hardlink" });
    }
    await cache.delete("old");
    await cache.put("new", dir.at("new"));
    const { evicted, unreferenced } = await cache.prune({ maxSize: 50_000 });
    assertEquals([evicted, unreferenced], [[], 1]);
    assertEquals(stored(cache).length, 2);
    Deno.removeSync(dir.at("out"), { recursive: true });
    await cache.prune();
    assertEquals(stored(cache).length, 1);
  },
);

Deno.test("Cache.prune() removes what version 0.1 wrote, and says so", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: { a: "new" } });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("tree"));
  const id = "0123456789abcdef".repeat(2);
  const name = `old-${"a".repeat(40)}`;
  dir.write({
    cache: {
      "archive-v0": { [id]: { tree: { a: "old" }, manifest: "{}" } },
      "default-v0": { [name]: `../archive-v0/${id}/tree` },
      "notes-v0": { "mine.txt": "not of the cache" },
      "blobs-v0": {},
    },
  });
  const said: string[] = [];
  const before = setLogSink({ warn: (it) => said.push(it), debug() {} });
  try {
    const dry = await cache.prune({ dryRun: true });
    assertEquals(dry.unreferenced, 1);
    assertEquals(namesIn(dir.at("cache/archive-v0")), [id]);
    assertEquals(await cache.get("old"), undefined);
    const report = await cache.prune();
    assertEquals([report.unreferenced, report.failures], [1, []]);
  } finally {
    setLogSink(before);
  }
  assert(said.some((it) => it.includes("version 0.1")), said.join());
  const left = namesIn(dir.at("cache"));
  assertEquals(
    left.filter((it) => it.endsWith("-v0")),
    ["blobs-v0", "notes-v0"],
  );
  assertEquals(namesIn(dir.at("cache/notes-v0")), ["mine.txt"]);
  using entry = await cache.get("key");
  assert(entry);
});

mountTest(
  import.meta.url,
  "Cache.put() stores a content again that has all the links that it can have",
  TOOLS["btrfs-no-extref"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "btrfs-no-extref");
    for (const tree of ["one", "two"]) {
      Deno.mkdirSync(`${mount}/${tree}`);
      for (let i = 0; i < 100; i++) {
        const name = `${i}-`.padEnd(200, "x");
        Deno.writeTextFileSync(`${mount}/${tree}/${name}`, "same");
      }
    }
    const cache = openCache(`${mount}/cache`);
    for (const tree of ["one", "two"]) {
      const { id } = await cache.put(tree, `${mount}/${tree}`);
      const links = namesIn(`${cache.path}/archive-v1/${id}/tree`).map((name) =>
        Deno.lstatSync(`${cache.path}/archive-v1/${id}/tree/${name}`).nlink!
      );
      assert(links.some((it) => it > 60), links.join());
    }
    const { archives, damaged } = await cache.verify();
    assertEquals([archives, damaged], [2, []]);
    for (const tree of ["one", "two"]) {
      using entry = (await cache.get(tree))!;
      await entry.link(`${mount}/out-${tree}`);
      assertEquals(namesIn(`${mount}/out-${tree}`).length, 100);
    }
  },
);

test(
  "Cache.put() needs no hard links: without them, archives have files of their own",
  [
    "root",
    "linux",
    "strace",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ tree: { a: "same", b: "same" } });
    for (const error of ["EPERM", "EXDEV", "EOPNOTSUPP", "EMLINK", "EIO"]) {
      const cache = dir.at(error);
      const put = [
        ...["strace", "-f", "-qq", "-o", "/dev/null"],
        ...["-e", "trace=linkat", "-e", `inject=linkat:error=${error}`],
      ];
      const { code, stderr } = await runCli([
        "put",
        "--dir",
        cache,
        "k",
        "tree",
      ], {
        cwd: dir.path,
        wrap: put,
      });
      assertEquals([code, error], [0, error], stderr);
      assertEquals(stored(openCache(cache)), []);
      assertEquals((await openCache(cache).verify()).damaged, []);
    }
  },
);
