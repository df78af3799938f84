import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { clearCache } from "../../lib/clear/clear.ts";
import { CacheError } from "../../lib/error.ts";
import { lease } from "../../lib/lock/directory.ts";
import { LockedError } from "../../lib/lock/file.ts";
import { denoRun, must, run } from "../support/command.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir, type Tree } from "../support/temp_dir.ts";

const TREE = { "a.js": "content", lib: { "b.js": "more" } };

/** What a directory holds, as it was written. */
function read(path: string): Tree {
  const tree: Tree = {};
  for (const name of namesIn(path)) {
    const inner = `${path}/${name}`;
    tree[name] = Deno.statSync(inner).isDirectory
      ? read(inner)
      : Deno.readTextFileSync(inner);
  }
  return tree;
}

Deno.test("Cache gives what was put, a directory or a file", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE });
  const cache = openCache(dir.at("new", "cache"));
  const put = await cache.put("tree", dir.at("tree"));
  assertEquals([put.files, put.bytes], [2, 11]);
  await cache.put("file", new URL(`file://${dir.at("tree", "a.js")}`));
  {
    await using entry = await cache.get("tree");
    assertEquals(entry?.id, put.id);
    assertEquals(read(entry!.path), TREE);
    await using file = await cache.get("file");
    assertEquals(Deno.readTextFileSync(file!.path), "content");
  }
  assertEquals(cache.entries().map(({ key }) => key), ["file", "tree"]);
  assert(
    Deno.readTextFileSync(dir.at("new", "cache", "CACHEDIR.TAG"))
      .startsWith("Signature: 8a477f597d28d172789f06886806bc55"),
  );
});

Deno.test("Cache.put() shares nothing that the source's owner could write to", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE, file: "content" });
  const cache = openCache(dir.at("cache"));
  await cache.put("tree", dir.at("tree"));
  await cache.put("file", dir.at("file"));
  Deno.writeTextFileSync(dir.at("tree", "a.js"), "CHANGED");
  Deno.writeTextFileSync(dir.at("file"), "CHANGED");
  await using tree = await cache.get("tree");
  await using file = await cache.get("file");
  assertEquals(read(tree!.path), TREE);
  assertEquals(Deno.readTextFileSync(file!.path), "content");
});

Deno.test("Cache.get() of what is not there is undefined, and makes nothing", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("no", "cache"));
  assertEquals(await cache.get("key"), undefined);
  assertEquals(cache.entries(), []);
  assertEquals((await cache.prune({ maxSize: 0 })).entries, 0);
  assertEquals((await cache.verify()).archives, 0);
  assertEquals(namesIn(dir.path), []);
});

Deno.test("Cache.get() keeps what it gave when the key is replaced, pruned and cleared", async () => {
  await using dir = TempDir.make();
  dir.write({ one: { file: "1" }, two: { file: "2" } });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("one"));
  {
    await using one = await cache.get("key");
    await cache.put("key", dir.at("two"));
    const { inUse } = await cache.prune({ maxEntries: 0 });
    assertEquals(inUse, 1);
    assertEquals(await cache.get("key"), undefined);
    await assertRejects(() => clearCache(cache.path, { wait: 0 }), LockedError);
    assertEquals(read(one!.path), { file: "1" });
  }
  assertEquals((await cache.prune()).unreferenced, 1);
  assertEquals((await clearCache(cache.path)).outcome, "cleared");
  assertEquals(await cache.get("key"), undefined);
});

const KEYS = [
  ...[
    "../../etc/passwd",
    "CON",
    "con",
    "a/b",
    "a\\b",
    ".",
    "..",
    " ",
    "a ",
    "a",
  ],
  ...["A", "x".repeat(10_000), "x".repeat(9_999), "\u00c9", "E\u0301", "é"],
  ...["nul\0key", "line\nline", "key.lock", "%2e%2e", "日本語", "-", "😀"],
];

Deno.test("Cache takes any text as a key, and keeps all apart in one folder", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "" });
  const cache = openCache(dir.at("cache"));
  for (const key of KEYS) {
    Deno.writeTextFileSync(dir.at("file"), key);
    await cache.put(key, dir.at("file"));
  }
  for (const key of KEYS) {
    await using entry = await cache.get(key);
    assertEquals(Deno.readTextFileSync(entry!.path), key);
    assertEquals(entry!.key, key);
  }
  const names = [...Deno.readDirSync(dir.at("cache", "default-v1"))];
  assertEquals(names.length, KEYS.length);
  for (const { name } of names) assert(/^[a-z0-9-]{1,90}$/.test(name), name);
  assertEquals(cache.entries().map(({ key }) => key), KEYS.toSorted());
  assertEquals(namesIn(dir.path), ["cache", "file"]);
});

Deno.test("Cache refuses keys and buckets that are none, in one line", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "" });
  const cache = openCache(dir.at("cache"));
  for (const key of ["", "half \ud800 of one"]) {
    for (
      const call of [
        () => cache.get(key),
        () => cache.put(key, dir.at("file")),
        () => cache.ensure(key, () => assert(false)),
      ]
    ) {
      const error = await assertRejects(call, CacheError);
      assertEquals(error.kind, "refused");
      assert(!error.message.includes("\n"));
    }
  }
  for (
    const bucket of ["", "..", "a/b", "A", "archive", "blobs", "x".repeat(41)]
  ) {
    assertThrows(() => openCache(dir.at("cache"), { bucket }), CacheError);
  }
  assertEquals(namesIn(dir.path), ["file"]);
});

Deno.test("Cache keeps buckets apart, and leaves those of other versions alone", async () => {
  await using dir = TempDir.make();
  dir.write({
    one: "1",
    two: "2",
    cache: { "wheels-v1": { key: "future" }, "archive-v1": { id: "future" } },
  });
  const wheels = openCache(dir.at("cache"), { bucket: "wheels" });
  const other = openCache(dir.at("cache"));
  await wheels.put("key", dir.at("one"));
  await other.put("key", dir.at("two"));
  {
    await using one = await wheels.get("key");
    await using two = await other.get("key");
    assertNotEquals(one?.digest, two?.digest);
  }
  assertEquals(other.entries().map(({ bucket }) => bucket), [
    "default",
    "wheels",
  ]);
  assertEquals((await other.prune({ maxEntries: 0 })).evicted.length, 2);
  assertEquals(read(dir.at("cache", "wheels-v1")), { key: "future" });
  assertEquals(read(dir.at("cache", "archive-v1")), { id: "future" });
});

Deno.test("Cache.stage() leaves nothing when it is not committed, or can't be", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  {
    await using staging = await cache.stage("key");
    Deno.writeTextFileSync(`${staging.path}/a`, "a");
  }
  {
    await using staging = await cache.stage("key");
    Deno.removeSync(staging.path);
    await assertRejects(() => staging.commit(), CacheError);
  }
  for (const folder of ["tmp", "leases", "archive-v1", "default-v1"]) {
    assertEquals([...Deno.readDirSync(dir.at("cache", folder))], [], folder);
  }
  await using staging = await cache.stage("key");
  await staging.commit({ allowEmpty: true });
  await assertRejects(() => staging.commit(), CacheError);
  assertEquals(cache.entries().length, 1);
});

Deno.test("Cache.ensure() builds once for all who ask meanwhile", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  let builds = 0;
  const ask = async () => {
    using entry = await cache.ensure("key", async (at) => {
      builds++;
      await new Promise((resolve) => setTimeout(resolve, 50));
      Deno.writeTextFileSync(`${at}/a`, "a");
    });
    assertEquals(read(entry.path), { a: "a" });
    return entry.outcome === "built";
  };
  const built = await Promise.all([ask(), ask(), ask(), ask()]);
  assertEquals(builds, 1);
  assertEquals(built.filter(Boolean).length, 1);
  assertEquals(await ask(), false);
});

Deno.test("Cache.ensure() lets the next one build when a build fails", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  const begun = Promise.withResolvers<void>();
  const { promise, resolve } = Promise.withResolvers<void>();
  const failing = cache.ensure("key", async () => {
    begun.resolve();
    await promise;
    throw new Error("broken");
  });
  await begun.promise;
  const next = cache.ensure("key", (at) => dir.write({ a: "a" }, at));
  resolve();
  await assertRejects(() => failing, Error, "broken");
  using entry = await next;
  assertEquals(entry.outcome, "built");
});

test("Cache takes a key that leads out of its archives for damage", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ outside: { secret: "s" }, file: "" });
  const cache = openCache(dir.at("cache"));
  const { id } = await cache.put("key", dir.at("file"));
  const bucket = dir.at("cache", "default-v1");
  const [{ name }] = [...Deno.readDirSync(bucket)] as [Deno.DirEntry];
  for (
    const target of [
      dir.at("outside"),
      `../archive-v1/../../outside/${id}/tree`,
      `../archive-v1/${id}`,
      `../archive-v1/${"0".repeat(32)}/tree`,
      "tree",
    ]
  ) {
    Deno.removeSync(`${bucket}/${name}`);
    Deno.symlinkSync(target, `${bucket}/${name}`);
    assertEquals(await cache.get("key"), undefined, target);
    assertEquals(cache.entries(), [], target);
  }
  assertEquals((await cache.verify()).damaged.length, 1);
  assertEquals([...Deno.readDirSync(bucket)], []);
  await cache.prune();
  assertEquals(read(dir.at("outside")), { secret: "s" });
});

Deno.test("Cache works with access to its own folder only, with files for keys", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {}, "cache.lock": "", source: "content" });
  const script = `
    import { openCache } from ${
    JSON.stringify(new URL("../../mod.ts", import.meta.url).href)
  };
    const cache = openCache(${JSON.stringify(dir.at("cache"))});
    await cache.put("key", ${JSON.stringify(dir.at("source"))});
    await using entry = await cache.get("key");
    console.log(Deno.readTextFileSync(entry.path));
  `;
  Deno.writeTextFileSync(dir.at("script.ts"), script);
  const scope = dir.path;
  const [, ...rest] = denoRun("mod.ts").slice(0, -1);
  const { code, stdout, stderr } = await run([
    ...[Deno.execPath(), "run", "--no-prompt"],
    ...rest.filter((flag) => flag !== "-A"),
    ...[`--allow-read=${scope}`, `--allow-write=${scope}`],
    dir.at("script.ts"),
  ]);
  assertEquals([code, stdout.trim()], [0, "content"], stderr);
  const [pointer] = [...Deno.readDirSync(dir.at("cache", "default-v1"))];
  assertEquals(pointer?.isFile, true);
  const cache = openCache(dir.at("cache"));
  {
    await using entry = await cache.get("key");
    assertEquals(Deno.readTextFileSync(entry!.path), "content");
  }
  await cache.put("key", dir.at("script.ts")); // a link takes the file's place
  assertEquals(cache.entries().length, 1);
});

Deno.test("Cache works on after it was moved to another place", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content" });
  await openCache(dir.at("cache")).put("key", dir.at("file"));
  Deno.renameSync(dir.at("cache"), dir.at("moved"));
  const moved = openCache(dir.at("moved"));
  await using entry = await moved.get("key");
  assertEquals(Deno.readTextFileSync(entry!.path), "content");
  assertEquals((await moved.verify()).damaged, []);
});

mountTest(
  import.meta.url,
  "Cache is one by two mounts, can be read where it can't be written, and then says so",
  [],
  async (dir) => {
    const tmpfs = await makeFileSystem(dir, "tmpfs");
    dir.write({ bound: {}, file: "content" });
    const here = openCache(`${tmpfs}/cache`, { wait: 0 });
    await here.put("key", dir.at("file"));
    await must("mount", "--bind", `${tmpfs}/cache`, dir.at("bound"));
    const there = openCache(dir.at("bound"), { wait: 0 });
    {
      await using entry = await there.get("key");
      assertEquals(Deno.readTextFileSync(entry!.path), "content");
      assertEquals((await here.prune({ maxEntries: 0 })).inUse, 1);
      await assertRejects(
        () => clearCache(here.path, { wait: 0 }),
        LockedError,
      );
    }
    await must("umount", dir.at("bound"));
    await must("mount", "-o", "remount,ro", tmpfs);
    {
      await using entry = await here.get("key");
      assertEquals(Deno.readTextFileSync(entry!.path), "content");
    }
    assertEquals((await here.verify()).damaged, []);
    const error = await assertRejects(
      () => here.put("key", dir.at("file")),
      CacheError,
    );
    assertEquals(error.kind, "read-only");
    const { failures, evicted } = await here.prune({ maxEntries: 0 });
    assertEquals([failures.length, evicted.length], [1, 0]);
  },
);

test("Cache of a group keeps its group and modes, so that each may prune", [
  "linux",
  "ffi",
  "root",
  "setpriv",
], async () => {
  await using dir = TempDir.make();
  Deno.chmodSync(dir.path, 0o755);
  dir.write({ cache: {}, tree: TREE });
  Deno.chownSync(dir.at("cache"), 1000, 4242);
  Deno.chmodSync(dir.at("cache"), 0o2770);
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("tree"));
  const all = await must("find", dir.at("cache"), "-printf", "%y %g %m %P\n");
  for (const line of all.trim().split("\n")) {
    const [type, group, mode, path] = line.split(" ");
    if (type === "l") continue;
    assertEquals(group, "4242", line);
    const bits = Number.parseInt(mode!, 8);
    assert(bits & 0o040, line);
    if (type === "d") assertEquals(bits & 0o2070, 0o2070, line);
    if (path!.endsWith(".lock")) assertEquals(bits & 0o060, 0o060, line);
  }
  // Another member of the group, with a module that root has loaded.
  const member = await run([
    ...["setpriv", "--reuid=1001", "--regid=4242", "--clear-groups"],
    ...["rm", "-r", "--", dir.at("cache", "archive-v1")],
  ]);
  assertEquals(member.code, 0, member.stderr);
});

test("Cache.put() with durable flushes before it places the key", [
  "linux",
  "strace",
], async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content" });
  const script = `
    import { openCache } from ${
    JSON.stringify(new URL("../../mod.ts", import.meta.url).href)
  };
    await openCache(${JSON.stringify(dir.at("cache"))}, { durable: true })
      .put("key", ${JSON.stringify(dir.at("file"))});
  `;
  Deno.writeTextFileSync(dir.at("script.ts"), script);
  const flags = denoRun("mod.ts").slice(0, -1);
  await must(
    ...["strace", "-f", "-y", "-o", dir.at("trace")],
    ...["-e", "trace=fsync,rename,renameat,renameat2"],
    ...[Deno.execPath(), ...flags, dir.at("script.ts")],
  );
  const calls = Deno.readTextFileSync(dir.at("trace")).split("\n")
    .filter((line) => line.includes("/cache/"))
    .map((line) => line.replace(/^\d+ +/, ""));
  const order = [
    /^fsync\(.*\/tree>/,
    /^fsync\(.*\/manifest>/,
    /^fsync\(.*\/tmp\/[0-9a-f]{32}>/,
    /^rename.*\/tmp(\/|>, ")[0-9a-f]{32}".*\/archive-v1[/>]/,
    /^fsync\(.*\/archive-v1>/,
    /^rename.*\.key".*\/default-v1[/>]/,
    /^fsync\(.*\/default-v1>/,
  ];
  const found = order.map((call) => calls.findIndex((it) => call.test(it)));
  assert(found.every((at) => at >= 0), calls.join("\n"));
  // The first two are files, which are flushed together.
  const [one, two, ...rest] = found as [number, number];
  const inOrder = [Math.max(one, two), ...rest];
  assertEquals(inOrder, inOrder.toSorted((a, b) => a - b), calls.join("\n"));
});

Deno.test("Cache waits for who clears it, and tells who that is", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {}, file: "" });
  const cache = openCache(dir.at("cache"), { wait: 0, purpose: "a test" });
  await cache.put("key", dir.at("file"));
  {
    using _ = await lease(dir.at("cache")); // others may use it, too
    await cache.put("key", dir.at("file"));
  }
  await using entry = await cache.get("key");
  const error = await assertRejects(
    () => clearCache(dir.at("cache"), { wait: 0 }),
    LockedError,
  );
  assertEquals(error.holders[0]?.purpose, "a test");
  assert(entry);
});
