import { assert, assertEquals, assertRejects } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { CacheError } from "../../lib/error.ts";
import { lease } from "../../lib/lock/directory.ts";
import { LockedError } from "../../lib/lock/file.ts";
import { test } from "../support/needs.ts";
import { ALL, runProgram } from "../support/library.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

const ONE = { one: "1", lib: { "b.js": "more" } };
const TWO = { two: "2" };

/** A cache with trees under `one` and `two`, and files under `file` and `other`. */
async function made() {
  const dir = TempDir.make();
  dir.write({ one: ONE, two: TWO, file: "file", other: "other" });
  const cache = openCache(dir.at("cache"));
  for (const key of ["one", "two", "file", "other"]) {
    await cache.put(key, dir.at(key));
  }
  const update = async (key: string, dst = dir.at("dst"), wait?: number) => {
    using entry = await cache.get(key);
    const how = { ifExists: "update" } as const;
    return (await entry!.link(dst, wait === undefined ? how : { ...how, wait }))
      .outcome;
  };
  const notes = () => namesIn(dir.at("cache", "placed"));
  /** Lets all notes be of an hour ago: a prune spares those that are just written. */
  const age = () => {
    const then = Date.now() / 1000 - 3600;
    for (const name of notes()) {
      Deno.utimeSync(dir.at("cache", "placed", name), then, then);
    }
  };
  return { dir, cache, update, notes, age };
}

Deno.test("Entry.link() with update puts, leaves and replaces what this cache puts there", async () => {
  const { dir, cache, update, notes } = await made();
  await using _ = dir;
  const dst = dir.at("new", "parent", "dst");
  assertEquals((await cache.placement("one", dst)).state, "free");
  assertEquals(await update("one", dst), "linked");
  assertEquals((await cache.placement("one", dst)).state, "current");
  // What was changed inside is the user's.
  Deno.writeTextFileSync(`${dst}/own`, "mine");
  assertEquals(await update("one", dst), "unchanged");
  assertEquals(namesIn(dst), ["lib", "one", "own"]);
  assertEquals((await cache.placement("two", dst)).state, "outdated");
  assertEquals(await update("two", dst), "replaced");
  assertEquals(namesIn(dst), ["two"]);
  assertEquals(notes().length, 1);
  // The key leads to another archive.
  dir.write({ three: { three: "3" } });
  await cache.put("two", dir.at("three"));
  assertEquals(await update("two", dst), "replaced");
  assertEquals(namesIn(dst), ["three"]);
});

Deno.test("Entry.link() of a file with update puts, leaves and replaces what this cache puts there", async () => {
  const { dir, cache, update } = await made();
  await using _ = dir;
  const dst = dir.at("new", "dst");
  await update("file", dst);
  assertEquals(await update("file", dst), "unchanged");
  const placement = await cache.placement("file", dst);
  assert(placement.state === "current" && placement.isFile);
  await update("other", dst);
  assertEquals(Deno.readTextFileSync(dst), "other");
  assertEquals(await update("one", dst), "replaced");
  assertEquals(namesIn(dst), ["lib", "one"]);
});

Deno.test("Entry.link() with update fails when something else stands there", async () => {
  const { dir, cache, update } = await made();
  await using _ = dir;
  const dst = dir.at("dst");
  const refused = async () => {
    const call = () => cache.placement("one", dst);
    const error = await assertRejects(call, CacheError, "something stands");
    assertEquals(error.kind, "already-exists");
    await assertRejects(() => update("one"), CacheError, "something stands");
    await assertRejects(() => update("file"), CacheError, "something stands");
  };
  dir.write({ dst: { mine: "mine" } });
  await refused();
  Deno.removeSync(dst, { recursive: true });
  Deno.writeTextFileSync(dst, "mine");
  await refused();
  assertEquals(Deno.readTextFileSync(dst), "mine");
  Deno.removeSync(dst);
  // Another directory, where the cache put one before.
  await update("one");
  Deno.renameSync(dst, dir.at("moved"));
  dir.write({ dst: { mine: "mine" } });
  await refused();
  assertEquals(namesIn(dst), ["mine"]);
  // And what it put somewhere else.
  Deno.removeSync(dst, { recursive: true });
  Deno.renameSync(dir.at("moved"), dst);
  assertEquals(await update("one"), "unchanged");
  Deno.renameSync(dst, dir.at("elsewhere"));
  const elsewhere = () => update("two", dir.at("elsewhere"));
  await assertRejects(elsewhere, CacheError, "something stands");
});

Deno.test("Entry.link() with update knows what any other way of linking put there", async () => {
  const { dir, cache, update } = await made();
  await using _ = dir;
  using one = (await cache.get("one"))!;
  await one.link(dir.at("dst"), { mode: "hardlink" });
  assertEquals(await update("one"), "unchanged");
  using two = (await cache.get("two"))!;
  await two.link(dir.at("dst"), { ifExists: "replace" });
  assertEquals(await update("two"), "unchanged");
  await two.link(dir.at("dst"), { ifExists: "replace", exclude: ["two"] });
  const part = () => update("two");
  await assertRejects(part, CacheError, "something stands");
});

test(
  "Entry.link() with update keeps to the leases of what it replaces",
  ["linux"],
  async () => {
    const { dir, update } = await made();
    await using _ = dir;
    await update("one");
    {
      using _ = await lease(dir.at("dst"));
      const replace = () => update("two", dir.at("dst"), 0);
      await assertRejects(replace, LockedError);
    }
    assertEquals(await update("one"), "unchanged");
  },
);

Deno.test("Entry.link() with update puts one tree there when many ask at the same time", async () => {
  const { dir, update } = await made();
  await using _ = dir;
  const outcomes = await Promise.all([1, 2, 3, 4].map(() => update("one")));
  assertEquals(outcomes.sort(), [
    "linked",
    "unchanged",
    "unchanged",
    "unchanged",
  ]);
  await Promise.all([1, 2, 3, 4].map(() => update("two")));
  assertEquals(namesIn(dir.at("dst")), ["two"]);
  assertEquals(await update("two"), "unchanged");
});

Deno.test("Entry.link() with update believes no note that is not its own, whole and of what stands there", async () => {
  const { dir, update, notes } = await made();
  await using _ = dir;
  await update("one");
  const [name] = notes();
  const note = dir.at("cache", "placed", name!);
  const good = Deno.readTextFileSync(note);
  const wrong = [
    "",
    "{",
    "null",
    good.replace(/"machine":"[0-9a-f]{8}/, '"machine":"00000000'),
    good.replace(/"id":"../, '"id":"zz'),
    good.replace(/"inode":"/, '"inode":"1'),
    good.replace(/"path":"/, '"path":"/x'),
    good + " ".repeat(20_000),
  ];
  for (const text of wrong) {
    Deno.writeTextFileSync(note, text);
    await assertRejects(() => update("two"), CacheError, "something stands");
  }
  Deno.removeSync(note);
  await assertRejects(() => update("two"), CacheError, "something stands");
  if (Deno.build.os !== "windows") {
    Deno.writeTextFileSync(dir.at("planted"), good);
    Deno.symlinkSync(dir.at("planted"), note);
    await assertRejects(() => update("two"), CacheError);
    Deno.removeSync(note);
    Deno.writeTextFileSync(note, good);
    Deno.chmodSync(note, 0o666);
    await assertRejects(() => update("two"), CacheError, "something stands");
    Deno.removeSync(note);
  }
  assertEquals(namesIn(dir.at("dst")), ["lib", "one"]);
  Deno.writeTextFileSync(note, good);
  assertEquals(await update("two"), "replaced");
});

test(
  "Entry.link() with update believes no note of another user",
  ["root", "linux"],
  async () => {
    const { dir, update, notes } = await made();
    await using _ = dir;
    await update("one");
    Deno.chownSync(dir.at("cache", "placed", notes()[0]!), 65534, 65534);
    await assertRejects(() => update("two"), CacheError, "something stands");
  },
);

/** What is said of `dst` for the key `two` in a process that works below it. */
const FROM_BELOW = `import { CacheError, openCache } from "LIBRARY";
  const [cwd, root, dst] = Deno.args;
  Deno.chdir(cwd);
  try {
    const { state } = await openCache(root).placement("two", dst);
    console.log(state);
  } catch (error) {
    if (!(error instanceof CacheError)) throw error;
    console.log(error.kind, error.message);
  }`;

Deno.test("Cache.placement() refuses what must not be replaced", async () => {
  const { dir, cache, update } = await made();
  await using _ = dir;
  await update("one");
  const args = [dir.at("dst", "lib"), cache.path, dir.at("dst")];
  const { code, stdout, stderr } = await runProgram(
    dir,
    FROM_BELOW,
    ALL,
    args,
  );
  assertEquals([code, stderr], [0, ""]);
  assert(/^refused .*working directory/.test(stdout), stdout);
  assertEquals(await update("one"), "unchanged");
});

Deno.test("Cache.placement() is not current when the archive is gone", async () => {
  const { dir, cache, update } = await made();
  await using _ = dir;
  await update("one");
  await cache.prune({ maxEntries: 0 });
  assertEquals((await cache.placement("one", dir.at("dst"))).state, "outdated");
});

Deno.test("Cache.placement() reads neither the tree nor the list of its files", async () => {
  const { dir, cache, update } = await made();
  await using _ = dir;
  await update("one");
  using entry = (await cache.get("one"))!;
  const manifest = dir.at("cache", "archive-v1", entry.id, "manifest");
  const [header] = Deno.readTextFileSync(manifest).split("\n");
  Deno.writeTextFileSync(manifest, `${header}\n`);
  Deno.removeSync(entry.path, { recursive: true });
  Deno.mkdirSync(entry.path);
  const { state } = await cache.placement("one", dir.at("dst"));
  assertEquals(state, "current");
});

Deno.test("Cache.prune() removes notes of what is gone, and no others", async () => {
  const { dir, cache, update, notes, age } = await made();
  await using _ = dir;
  await update("one", dir.at("a"));
  await update("two", dir.at("b"));
  await update("two", dir.at("c"));
  Deno.removeSync(dir.at("a"), { recursive: true });
  Deno.renameSync(dir.at("b"), dir.at("c", "b"));
  Deno.writeTextFileSync(dir.at("cache", "placed", "somebody's"), "mine");
  await cache.prune();
  assertEquals(notes().length, 4);
  age();
  await cache.prune({ dryRun: true });
  assertEquals(notes().length, 4);
  await cache.prune();
  assertEquals(notes().length, 2);
  assert(exists(dir.at("cache", "placed", "somebody's")));
  assertEquals(await update("two", dir.at("c")), "unchanged");
});

test(
  "Cache.prune() keeps what symbolic links of this machine lead to",
  ["posix"],
  async () => {
    const { dir, cache, notes, age } = await made();
    await using _ = dir;
    const dst = dir.at("dst");
    const fileDst = dir.at("file-dst");
    {
      using one = (await cache.get("one"))!;
      await one.link(dst, { mode: "symlink", ifExists: "update" });
      using file = (await cache.get("file"))!;
      await file.link(fileDst, { mode: "symlink" });
    }
    // Their keys lead elsewhere, or are evicted.
    await cache.put("one", dir.at("two"));
    await cache.prune({ maxEntries: 0 });
    assertEquals(Deno.readTextFileSync(`${dst}/one`), "1");
    assertEquals(Deno.readTextFileSync(fileDst), "file");
    // Until they are gone.
    Deno.removeSync(dst, { recursive: true });
    Deno.removeSync(fileDst);
    Deno.writeTextFileSync(fileDst, "mine");
    age();
    await cache.prune({ maxEntries: 0 });
    assertEquals(namesIn(dir.at("cache", "archive-v1")), []);
    assertEquals(notes(), []);
  },
);

test(
  "Cache.prune() keeps what a merge with symbolic links leads to",
  ["posix"],
  async () => {
    const { dir, cache } = await made();
    await using _ = dir;
    const dst = dir.at("dst");
    dir.write({ dst: { mine: "mine" } });
    {
      using one = (await cache.get("one"))!;
      await one.link(dst, { mode: "symlink", ifExists: "merge" });
    }
    await cache.prune({ maxEntries: 0 });
    assertEquals(Deno.readTextFileSync(`${dst}/one`), "1");
    const look = () => cache.placement("one", dst);
    await assertRejects(look, CacheError, "something stands");
  },
);
