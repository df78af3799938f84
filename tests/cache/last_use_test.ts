import { assert, assertEquals } from "@std/assert";
import { type Cache, openCache } from "../../lib/cache/cache.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";
import { as, prepare } from "../support/members.ts";

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;

/** A cache with a key that says it was used so many milliseconds ago. */
async function cacheOf(
  dir: TempDir,
  age: number,
): Promise<{ cache: Cache; lease: string }> {
  dir.write({ file: "content" });
  const cache = openCache(dir.at("cache"));
  const { id } = await cache.put("key", dir.at("file"));
  const lease = dir.at("cache", "leases", `${id}.lock`);
  setAge(lease, age);
  return { cache, lease };
}

function setAge(path: string, age: number): void {
  const then = new Date(Date.now() - age);
  Deno.utimeSync(path, then, then);
}

const ageOf = (path: string) =>
  Date.now() - Deno.statSync(path).mtime!.getTime();

Deno.test("Cache.get() notes a use to the hour, and never in the future", async () => {
  for (
    const [age, least, most] of [
      [HOUR / 2, HOUR / 2, HOUR],
      [2 * HOUR, 0, HOUR / 4],
      [-30 * DAY, 0, HOUR / 4],
    ] as const
  ) {
    await using dir = TempDir.make();
    const { cache, lease } = await cacheOf(dir, age);
    (await cache.get("key"))![Symbol.dispose]();
    assert(ageOf(lease) >= least - 1000 && ageOf(lease) < most, `${age}`);
  }
});

Deno.test("Cache.prune() keeps for its age what was used a moment ago, and evicts what was not", async () => {
  await using dir = TempDir.make();
  const { cache } = await cacheOf(dir, 13 * HOUR);
  (await cache.get("key"))![Symbol.dispose]();
  assertEquals((await cache.prune({ maxAge: 12 * HOUR })).evicted, []);
  await using other = TempDir.make();
  const { cache: unused } = await cacheOf(other, 13 * HOUR);
  const { evicted } = await unused.prune({ maxAge: 12 * HOUR });
  assertEquals(evicted.length, 1);
});

Deno.test("Cache.prune() corrects a use in the future, so that it ages from then on", async () => {
  await using dir = TempDir.make();
  const { cache, lease } = await cacheOf(dir, -300 * DAY);
  await cache.prune({ maxAge: DAY, dryRun: true });
  assert(ageOf(lease) < -DAY, "a dry run changed it");
  const { evicted } = await cache.prune({ maxAge: DAY });
  assertEquals(evicted, []);
  assert(ageOf(lease) >= -1000, `${ageOf(lease)}`);
});

test(
  "Cache.get() notes the use of what another member of the group put",
  ["linux", "root"],
  async () => {
    await using dir = TempDir.make();
    prepare(dir);
    dir.write({ src: { a: "content" } }, dir.at("one"));
    Deno.chownSync(dir.at("one", "src"), 1001, 4242);
    Deno.chownSync(dir.at("one", "src", "a"), 1001, 4242);
    const root = dir.at("shared");
    const source = dir.at("one", "src");
    const { done: { id } } = await as(1001, 0o77, "put", root, "key", source);
    const lease = dir.at("shared", "leases", `${id}.lock`);
    setAge(lease, 30 * DAY);
    const out = dir.at("two", "out");
    const { done } = await as(1002, 0o77, "get", root, "key", out);
    assertEquals(done.outcome, "linked");
    assert(ageOf(lease) < HOUR, `${ageOf(lease)}`);
    assertEquals(Deno.statSync(lease).uid, 1001);
  },
);

Deno.test("Cache.prune() corrects a use of a blob in the future, too", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  const digest =
    "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
  const fetch = (path: string) => Deno.writeTextFileSync(path, "content");
  await cache.blob(digest, dir.at("out"), { fetch });
  const blob = dir.at("cache", "blobs-v0", digest.slice(0, 2), digest);
  setAge(blob, -30 * DAY);
  await cache.prune({ maxAge: DAY, dryRun: true });
  assertEquals((await cache.prune({ maxAge: DAY })).blobs, 0);
  const { atime, mtime } = Deno.statSync(blob);
  const age = Date.now() - atime!.getTime();
  assert(age >= -1000 && age < HOUR, `${age}`);
  // As long ago as if it had aged since.
  Deno.utimeSync(blob, new Date(Date.now() - 2 * DAY), mtime!);
  assertEquals((await cache.prune({ maxAge: DAY })).blobs, 1);
});
