import { assert, assertEquals, assertRejects } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import type { EnsureContext } from "../../lib/cache/fallback.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

/** A cache with keys, put one after the other, each with a file of its name. */
async function withKeys(...keys: string[]) {
  const dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  for (const key of keys) {
    dir.write({ [key]: { [key]: key } });
    await cache.put(key, dir.at(key));
    const put = Date.now();
    await until("another millisecond", () => Date.now() > put);
  }
  return { dir, cache };
}

Deno.test("Cache.get() with a fallback takes the newest entry of the first prefix that has one", async () => {
  const { dir, cache } = await withKeys("npm-b", "npm-c", "npm-a", "pip-z");
  await using _ = dir;
  const get = async (key: string, ...fallback: string[]) => {
    using entry = await cache.get(key, { fallback });
    return entry && [entry.outcome, entry.key, entry.matchedKey];
  };
  const partial = (key: string) => ["partial", key, key];
  assertEquals(await get("npm-x", "npm-"), partial("npm-a"));
  assertEquals(await get("npm-x", "npm-x-", "npm-c", "pip-"), partial("npm-c"));
  assertEquals(await get("npm-b", "npm-"), ["hit", "npm-b", undefined]);
  assertEquals(await get("npm-x", "gem-", "np"), partial("npm-a"));
  assertEquals(await get("npm-x", "gem-"), undefined);
  assertEquals(await get("npm-x"), undefined);
  const other = openCache(dir.at("cache"), { bucket: "other" });
  assertEquals(await other.get("npm-x", { fallback: ["npm-"] }), undefined);
  for (const prefix of ["", "\ud800"]) {
    await assertRejects(() => get("npm-b", "npm-", prefix), TypeError);
  }
});

Deno.test("Cache.get() with a fallback takes the next one when the newest is damaged", async () => {
  const { dir, cache } = await withKeys("npm-a", "npm-b");
  await using _ = dir;
  {
    using entry = (await cache.get("npm-b"))!;
    Deno.removeSync(entry.path, { recursive: true });
  }
  using entry = await cache.get("npm-x", { fallback: ["npm-"] });
  assertEquals(entry?.key, "npm-a");
});

Deno.test("Cache.ensure() with a fallback builds in a private copy of it, and puts that under its own key", async () => {
  const { dir, cache } = await withKeys("npm-a", "npm-b");
  await using _ = dir;
  const options = { fallback: ["npm-"] };
  const contexts: EnsureContext[] = [];
  const ensure = () =>
    cache.ensure("npm-c", (path, context) => {
      contexts.push(context);
      assertEquals(namesIn(path), ["npm-b"]);
      Deno.writeTextFileSync(`${path}/npm-b`, "changed");
      Deno.writeTextFileSync(`${path}/npm-c`, "new");
    }, options);
  {
    using entry = await ensure();
    assertEquals(entry.outcome, "built");
    assertEquals([entry.key, entry.matchedKey], ["npm-c", "npm-b"]);
    assertEquals(namesIn(entry.path), ["npm-b", "npm-c"]);
  }
  {
    using entry = await ensure();
    assertEquals(entry.outcome, "hit");
    assertEquals(entry.matchedKey, undefined);
  }
  assertEquals(contexts.map(({ found }) => found), ["npm-b"]);
  using old = (await cache.get("npm-b"))!;
  assertEquals(Deno.readTextFileSync(`${old.path}/npm-b`), "npm-b");
  assertEquals((await cache.verify()).damaged, []);
  // Its copy is no place where something was put.
  assertEquals(namesIn(dir.at("cache", "placed")), []);
});

Deno.test("Cache.ensure() with a fallback that is a file, or damaged, or not there, builds all the same", async () => {
  const { dir, cache } = await withKeys("npm-a");
  await using _ = dir;
  await cache.put("file-a", dir.at("npm-a", "npm-a"));
  const ensure = async (key: string, ...fallback: string[]) => {
    let context: EnsureContext | undefined;
    using entry = await cache.ensure(key, (path, given) => {
      context = given;
      if (Deno.statSync(path).isFile) return Deno.writeTextFileSync(path, "2");
      assertEquals(namesIn(path), []);
    }, { fallback, allowEmpty: true });
    return [context?.found, entry.isFile, entry.matchedKey];
  };
  assertEquals(await ensure("file-b", "file-"), ["file-a", true, "file-a"]);
  assertEquals(await ensure("x", "none-"), [undefined, false, undefined]);
  {
    using entry = (await cache.get("npm-a"))!;
    Deno.writeTextFileSync(`${entry.path}/more`, "more");
  }
  assertEquals(await ensure("y", "npm-"), [undefined, false, undefined]);
});

Deno.test("Cache.ensure() with refresh builds although the key is there, from nothing, and replaces it", async () => {
  const { dir, cache } = await withKeys("npm-a");
  await using _ = dir;
  for (const text of ["1", "2"]) {
    using entry = await cache.ensure("npm-a", (path, context) => {
      assertEquals([namesIn(path), context.found], [[], undefined]);
      Deno.writeTextFileSync(`${path}/file`, text);
    }, { refresh: true, fallback: ["npm-"] });
    assertEquals(entry.outcome, "built");
    assertEquals(Deno.readTextFileSync(`${entry.path}/file`), text);
  }
  const fail = () => {
    throw new Error("No");
  };
  const failing = () => cache.ensure("npm-a", fail, { refresh: true });
  await assertRejects(failing, Error, "No");
  using entry = await cache.get("npm-a");
  assertEquals(Deno.readTextFileSync(`${entry!.path}/file`), "2");
});

Deno.test("Cache.ensure() with refresh builds once for all who wait, and nobody gets what began before they asked", async () => {
  const { dir, cache } = await withKeys("key");
  await using _ = dir;
  const begun: PromiseWithResolvers<void>[] = [];
  const goOn: PromiseWithResolvers<void>[] = [];
  const refresh = async () => {
    using entry = await cache.ensure("key", async (path) => {
      const nth = begun.length;
      begun.push(Promise.withResolvers());
      goOn.push(Promise.withResolvers());
      await goOn[nth]!.promise;
      Deno.writeTextFileSync(`${path}/nth`, `${nth}`);
    }, { refresh: true });
    return Deno.readTextFileSync(`${entry.path}/nth`);
  };
  const first = refresh();
  await until("the first build", () => begun.length === 1);
  // They asked while the first was built.
  const others = [refresh(), refresh(), refresh()];
  const stagings = () => namesIn(dir.at("cache", "tmp")).length;
  await until("all of them", () => stagings() >= 4);
  goOn[0]!.resolve();
  assertEquals(await first, "0");
  await until("the second build", () => begun.length === 2);
  goOn[1]!.resolve();
  assertEquals(await Promise.all(others), ["1", "1", "1"]);
  assertEquals(begun.length, 2);
  // The note is swept as a lock is.
  await cache.prune();
  assertEquals(
    [...Deno.readDirSync(dir.at("cache", "locks"))].map(({ name }) => name)
      .filter((name) => name.startsWith("build-")),
    [],
  );
  const last = refresh();
  await until("the third build", () => begun.length === 3);
  goOn[2]!.resolve();
  assert(await last === "2");
});
