// What others may have done to a cache, or to what is put into it.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { manifestBytes } from "../../lib/cache/manifest.ts";
import { CacheError } from "../../lib/error.ts";
import { LinkError } from "../../lib/link/error.ts";
import { listingLine } from "../../lib/link/listing.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

const TREE = { "a.js": "content", lib: { "b.js": "more" } };
const DAY = 24 * 60 * 60 * 1000;
const mode = (path: string) => Deno.lstatSync(path).mode! & 0o7777;

test(
  "Cache.get() hands out nothing that a symbolic link in the cache leads to",
  [
    "posix",
  ],
  async () => {
    for (
      const at of ["", "/tree", "/tree/a.js", "/tree/lib", "/tree/lib/b.js"]
    ) {
      await using dir = TempDir.make();
      dir.write({
        tree: TREE,
        secret: { "a.js": "secret!", "b.js": "secret!" },
      });
      const cache = openCache(dir.at("cache"));
      const { id } = await cache.put("key", dir.at("tree"));
      const path = dir.at("cache", "archive-v1", id) + at;
      const isFile = Deno.lstatSync(path).isFile;
      Deno.renameSync(path, dir.at("moved"));
      Deno.symlinkSync(dir.at("secret", isFile ? "a.js" : ""), path);
      using entry = await cache.get("key");
      if (entry) {
        await assertRejects(() => entry.link(dir.at("out")), LinkError);
      } else assert(at === "" || at === "/tree", at);
      assertEquals(exists(dir.at("out")), false, at);
      entry?.[Symbol.dispose]();
      // What was found when it was linked is set aside already.
      const left = entry ? 0 : 1;
      assertEquals((await cache.verify()).damaged.length, left, at);
      assertEquals(await cache.get("key"), undefined);
      assertEquals(namesIn(dir.at("secret")), ["a.js", "b.js"]);
    }
  },
);

test("Cache.get() makes nothing that a forged manifest asks for", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE });
  const cache = openCache(dir.at("cache"));
  const { id, created } = await cache.put("key", dir.at("tree"));
  const digest = "0".repeat(64);
  const line = {
    ...{ path: "", mode: 0o755, directories: ["lib"], links: [] },
    files: [["a.js", 7, 0o644, digest], ["../evil", 1, 0o644, digest]],
  };
  const lib = { ...line, path: "/lib", files: [], directories: [] };
  const bytes = await manifestBytes({
    ...{ bucket: "default", key: "key", created, digest },
    ...{ files: 2, directories: 1, bytes: 1, diskBytes: 1, ownBytes: 1 },
    // deno-lint-ignore no-explicit-any -- it is not what it should be
  }, { lines: [line, lib].map((it) => listingLine(it as any)) } as any);
  Deno.writeFileSync(dir.at("cache", "archive-v1", id, "manifest"), bytes);
  using entry = (await cache.get("key"))!;
  const error = await assertRejects(
    () => entry.link(dir.at("out")),
    LinkError,
  );
  assertEquals(error.kind, "damaged");
  assertEquals(namesIn(dir.path), ["cache", "tree"]);
});

test(
  "Cache.verify() takes a setuid bit in an archive for damage, and put() keeps none",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ tree: TREE });
    Deno.chmodSync(dir.at("tree", "a.js"), 0o6755);
    const cache = openCache(dir.at("cache"));
    const put = await cache.put("put", dir.at("tree"));
    {
      await using staging = await cache.stage("built");
      Deno.writeTextFileSync(`${staging.path}/a.js`, "");
      Deno.chmodSync(`${staging.path}/a.js`, 0o4755);
      const { id } = await staging.commit();
      assertEquals(mode(dir.at("cache", "archive-v1", id, "tree/a.js")), 0o755);
    }
    const file = dir.at("cache", "archive-v1", put.id, "tree", "a.js");
    assertEquals((await cache.verify()).damaged, []);
    Deno.chmodSync(file, 0o4755);
    assertEquals((await cache.verify()).damaged.length, 1);
  },
);

test(
  "Cache.put() widens nothing, whatever the umask was, unless the cache is a group's",
  [
    "linux",
    "ffi",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ tree: TREE, cache: {} });
    Deno.chmodSync(dir.at("cache"), 0o775);
    Deno.chmodSync(dir.at("tree", "a.js"), 0o600);
    Deno.chmodSync(dir.at("tree", "lib"), 0o700);
    const { id } = await openCache(dir.at("cache")).put("key", dir.at("tree"));
    const archive = dir.at("cache", "archive-v1", id);
    assertEquals(mode(archive) & 0o022, 0);
    assertEquals(mode(`${archive}/tree/a.js`), 0o600);
    assertEquals(mode(`${archive}/tree/lib`), 0o700);
  },
);

test("Cache.stage() takes no inode from elsewhere, and changes none there", [
  "linux",
  "ffi",
], async () => {
  await using dir = TempDir.make();
  dir.write({ store: { a: "content", b: "both" }, cache: {} });
  Deno.chmodSync(dir.at("store", "a"), 0o600);
  Deno.chmodSync(dir.at("cache"), 0o2770);
  const cache = openCache(dir.at("cache"));
  await using staging = await cache.stage("key");
  const { path } = staging;
  Deno.mkdirSync(`${path}/sub`);
  Deno.linkSync(dir.at("store", "a"), `${path}/a`);
  Deno.linkSync(dir.at("store", "b"), `${path}/b`);
  Deno.linkSync(`${path}/b`, `${path}/sub/b`);
  const { id } = await staging.commit();
  const tree = dir.at("cache", "archive-v1", id, "tree");
  for (const name of ["a", "b"]) {
    const [there, here] = [dir.at("store", name), `${tree}/${name}`]
      .map((path) => Deno.lstatSync(path));
    assertEquals(there!.nlink, 1);
    assert(there!.ino !== here!.ino);
  }
  assertEquals(mode(dir.at("store", "a")), 0o600);
  assertEquals(mode(`${tree}/a`), 0o640);
  const [b, again] = [`${tree}/b`, `${tree}/sub/b`]
    .map((path) => Deno.lstatSync(path));
  assertEquals([b!.ino, b!.nlink], [again!.ino, 3]); // and in the content store
  Deno.writeTextFileSync(dir.at("store", "a"), "CHANGED");
  assertEquals(Deno.readTextFileSync(`${tree}/a`), "content");
  assertEquals(namesIn(dir.at("cache", "archive-v1", id)), [
    "manifest",
    "tree",
  ]);
  assertEquals((await cache.verify()).damaged, []);
});

test("Cache.prune() walks no folder that is a symbolic link, and says so", [
  "posix",
], async () => {
  for (const folder of ["tmp", "quarantine", "blobs-v0", "default-v1"]) {
    await using dir = TempDir.make();
    const id = "0123456789abcdef".repeat(2);
    dir.write({ journal: { [id]: { precious: "p" }, aa: {} }, file: "" });
    const digest = "a".repeat(64);
    Deno.writeTextFileSync(dir.at("journal", "aa", digest), "precious");
    const cache = openCache(dir.at("cache"));
    await cache.put("key", dir.at("file"));
    const path = dir.at("cache", folder);
    Deno.removeSync(path, { recursive: true });
    Deno.symlinkSync(dir.at("journal"), path);
    const { failures } = await cache.prune({ maxSize: 0, maxAge: 0 });
    assert(failures.some((it) => it.path === path), folder);
    assert(failures.every(({ message }) => message.includes("symbolic link")));
    assertEquals(namesIn(dir.at("journal")), [id, "aa"], folder);
    assertEquals(namesIn(dir.at("journal", "aa")), [digest]);
    if (folder !== "tmp" && folder !== "default-v1") continue;
    const error = await assertRejects(
      () => cache.put("key", dir.at("file")),
      CacheError,
      "symbolic link",
    );
    assertEquals(error.kind, "loop");
  }
});

Deno.test("Cache.prune() leaves an archive in use alone when its lease file was removed", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content" });
  const cache = openCache(dir.at("cache"));
  const { id } = await cache.put("key", dir.at("file"));
  if (Deno.build.os === "windows") return; // which locks no directory
  {
    using entry = (await cache.get("key"))!;
    Deno.removeSync(dir.at("cache", "leases", `${id}.lock`));
    assertEquals((await cache.prune({ maxSize: 0 })).inUse, 1);
    assertEquals(Deno.readTextFileSync(entry.path), "content");
  }
  assertEquals((await cache.prune({ maxSize: 0 })).evicted.length, 1);
});

Deno.test("Cache.prune() goes by the archive's own times when its lease is lost", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content" });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("file"));
  Deno.removeSync(dir.at("cache", "leases"), { recursive: true });
  for (let i = 0; i < 2; i++) {
    const { lastUse } = cache.entries()[0]!;
    assert(Date.now() - Date.parse(lastUse) < DAY);
    assertEquals((await cache.prune({ maxAge: DAY })).evicted, []);
  }
});

Deno.test("Cache.prune() gets over names that are not archives, and keys that are directories", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content", tree: TREE });
  const cache = openCache(dir.at("cache"));
  const root = cache.path;
  await cache.put("good", dir.at("file"));
  const [treeless, noArchive] = ["a".repeat(32), "b".repeat(32)];
  dir.write({
    "archive-v1": { [treeless]: { manifest: "" }, [noArchive]: "a file" },
  }, root);
  // As `cp -rL` makes them.
  await cache.put("followed", dir.at("tree"));
  const [name] = namesIn(`${root}/default-v1`).filter((it) =>
    it.startsWith("followed")
  );
  const key = `${root}/default-v1/${name}`;
  const followed = () => {
    Deno.removeSync(key);
    dir.write({ [name!]: TREE }, `${root}/default-v1`);
  };
  followed();
  assertEquals(await cache.get("followed"), undefined);
  {
    using _ = await cache.ensure("followed", () => {}, { allowEmpty: true });
  }
  followed();
  const { failures } = await cache.prune();
  assertEquals(failures, []);
  assertEquals(cache.entries().map(({ key }) => key), ["good"]);
  assertEquals(namesIn(`${root}/archive-v1`).length, 1);
  assertEquals(namesIn(`${root}/tmp`), []);
  assertEquals((await cache.verify()).damaged, []);
});

mountTest(
  import.meta.url,
  "Cache.prune() removes in place what can't be renamed, from an overlay's lower layer",
  [],
  async (dir) => {
    const overlay = await makeFileSystem(dir, "overlay");
    const [layers] = namesIn(dir.path).filter((it) => it.startsWith("tmpfs"));
    dir.write({ file: "content", tree: TREE });
    await openCache(dir.at(layers!, "lower", "cache"))
      .put("key", dir.at("tree"));
    const cache = openCache(`${overlay}/cache`);
    assertEquals(cache.entries().length, 1);
    const { failures, evicted } = await cache.prune({ maxSize: 0 });
    assertEquals([failures, evicted.length], [[], 1]);
    assertEquals(namesIn(`${overlay}/cache/archive-v1`), []);
    await cache.put("key", dir.at("file"));
    assertEquals((await cache.verify()).damaged, []);
  },
);

mountTest(
  import.meta.url,
  "Cache.verify() and prune() cross no mount in an archive",
  [],
  async (dir) => {
    dir.write({ tree: TREE });
    const cache = openCache(dir.at("cache"));
    const { id } = await cache.put("key", dir.at("tree"));
    const at = dir.at("cache", "archive-v1", id, "tree", "lib");
    const { code } = await new Deno.Command("mount", {
      args: ["-t", "tmpfs", "tmpfs", at],
    }).output();
    assertEquals(code, 0);
    Deno.writeTextFileSync(`${at}/precious`, "p");
    const { damaged, failures: unread } = await cache.verify();
    assertEquals([damaged, unread.map(({ kind }) => kind)], [[], [
      "mount",
    ]]);
    (await cache.get("key"))![Symbol.dispose]();
    const { failures } = await cache.prune({ maxSize: 0 });
    assertEquals(failures.map(({ kind }) => kind), ["mount"]);
    await new Deno.Command("umount", { args: [at] }).output()
      .catch(() => {});
  },
);

Deno.test("Cache takes an empty tag for a tag, and mends it", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content" });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("file"));
  Deno.truncateSync(dir.at("cache", "CACHEDIR.TAG"), 0);
  assertEquals((await cache.prune()).failures, []);
  assertEquals((await cache.verify()).damaged, []);
  await cache.put("key", dir.at("file"));
  assert(Deno.statSync(dir.at("cache", "CACHEDIR.TAG")).size > 0);
});

Deno.test("Cache.blob() gives out no blob that was written to", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  const bytes = new Uint8Array(2 << 20).fill(7);
  for (const content of [bytes, bytes.subarray(0, 100)]) {
    const digest = new Uint8Array(
      await crypto.subtle.digest("SHA-256", content),
    ).toHex();
    const shard = dir.at("cache", "blobs-v0", digest.slice(0, 2));
    const path = `${shard}/${digest}`;
    let fetches = 0;
    const fetch = (path: string) => {
      fetches++;
      Deno.writeFileSync(path, content);
    };
    const get = async (name: string, size?: number) => {
      const dst = dir.at(name);
      const options = { fetch, ifExists: "replace" as const };
      await cache.blob(digest, dst, { ...options, ...size && { size } });
      assertEquals(Deno.readFileSync(dst), content);
    };
    await get("one");
    await get("two", content.length);
    assertEquals(fetches, 1);
    await assertRejects(() => get("two", 5), CacheError, "bytes, not 5");
    for (
      const damage of [
        () => Deno.truncateSync(path, 0),
        () => {
          using file = Deno.openSync(path, { write: true });
          file.writeSync(new Uint8Array([1]));
        },
      ]
    ) {
      const before = fetches;
      if (Deno.build.os !== "windows") Deno.chmodSync(path, 0o644);
      damage();
      await get("three", content.length);
      assertEquals(fetches, before + 1);
    }
  }
});

Deno.test("CacheStaging.commit() hears a signal in the middle of a big file", async () => {
  await using dir = TempDir.make();
  const total = 4 * 2 ** 30;
  {
    using file = Deno.openSync(dir.at("big"), { write: true, create: true });
    file.truncateSync(total);
  }
  const cache = openCache(dir.at("cache"));
  const controller = new AbortController();
  const { signal } = controller;
  let read = 0;
  {
    const interrupted = openCache(dir.at("cache"), { signal });
    await using staging = await interrupted.stage("key");
    Deno.removeSync(staging.path);
    Deno.renameSync(dir.at("big"), staging.path);
    const error = await assertRejects(() =>
      staging.commit({
        onProgress({ bytes }) {
          read = bytes;
          controller.abort();
        },
      })
    );
    assertEquals(error, signal.reason);
    Deno.renameSync(staging.path, dir.at("big"));
  }
  assert(read > 0 && read < total / 4, `${read} bytes were read`);
  assertEquals(namesIn(dir.at("cache", "tmp")), []);
  assertEquals(cache.entries(), []);
});

test(
  "Cache refuses a tree that is too deep, and verify() takes it for damage",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    const cache = openCache(dir.at("cache"));
    const deepen = (at: string) => {
      // By short paths: the whole one is longer than any may be.
      for (let i = 0; i < 1100; i++) {
        const above = `${dir.path}/above`;
        Deno.mkdirSync(above);
        if (i > 0) Deno.renameSync(`${dir.path}/d`, `${above}/d`);
        Deno.renameSync(above, `${dir.path}/d`);
      }
      Deno.renameSync(`${dir.path}/d`, `${at}/d`);
    };
    {
      await using staging = await cache.stage("deep");
      deepen(staging.path);
      const error = await assertRejects(() => staging.commit(), CacheError);
      assert(error.message.includes("deeper than 1000"), error.message);
    }
    assertEquals(namesIn(dir.at("cache", "tmp")), []);
    dir.write({ tree: TREE });
    const { id } = await cache.put("key", dir.at("tree"));
    deepen(dir.at("cache", "archive-v1", id, "tree"));
    assertEquals((await cache.verify()).damaged.length, 1);
    assertEquals((await cache.prune()).failures, []);
  },
);

Deno.test("Cache.prune() sweeps notes of those who are dead", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "" });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("file"));
  const note = "build-default.x.holder-1-0123456789ab";
  dir.write({ locks: { [note]: "{}" } }, cache.path);
  const beside = ["0".repeat(12), "1".repeat(12)].map((it) =>
    `cache.holder-1-${it}`
  );
  for (const [i, pid] of [2 ** 22 + 1, Deno.pid].entries()) {
    const more = { purpose: "x", since: "", host: Deno.hostname() };
    dir.write({ [beside[i]!]: JSON.stringify({ pid, ...more }) });
  }
  await cache.prune();
  assertEquals(namesIn(dir.path), ["cache", beside[1], "file"]);
  assertEquals(
    [...Deno.readDirSync(`${cache.path}/locks`)].map(({ name }) => name)
      .filter((name) => name.startsWith("build-")),
    [],
  );
});
