// A cache with very many keys: the numbers and the memory.
import { assert, assertEquals } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { denoRun, must } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

const KEYS = Deno.env.has("REBUILD_CACHE_STRESS") ? 130_000 : 10_000;

/** Megabytes that a process may take, however many keys there are. */
const MOST = 300;

/** A cache in which so many keys point to one archive. */
async function cacheOf(dir: TempDir, count: number): Promise<string> {
  const root = dir.at("cache");
  dir.write({ file: "content" });
  const { id } = await openCache(root).put("a key", dir.at("file"));
  for (let i = 1; i < count; i++) {
    const name = `key-${i.toString(16).padStart(40, "0")}`;
    Deno.symlinkSync(
      `../archive-v1/${id}/tree`,
      `${root}/default-v1/${name}`,
    );
  }
  return root;
}

test("Cache lists, counts and prunes very many keys in little memory", [
  "linux",
], async () => {
  await using dir = TempDir.make();
  const root = await cacheOf(dir, KEYS);
  for (
    const [what, answer] of [
      ["entries", KEYS],
      ["would-prune", KEYS - 1],
      ["stats", KEYS],
      ["prune", KEYS - 1],
    ] as const
  ) {
    const args = denoRun("tests/support/many_keys.ts");
    const said = await must(Deno.execPath(), ...args, root, what);
    const { count, megabytes } = JSON.parse(said);
    assertEquals(count, answer, what);
    assert(megabytes < MOST, `${what} took ${megabytes} MB`);
  }
  assertEquals(openCache(root).entries().length, 1);
});
