import { assertEquals } from "@std/assert";
import { type Cache, openCache } from "../../lib/cache/cache.ts";
import { openRemote } from "../../lib/remote/remote.ts";
import { HttpCache } from "../support/http_cache.ts";
import { TempDir } from "../support/temp_dir.ts";

/** What is under `key` after a put of `new`, made while `ask` pulls `old`. */
async function putMeanwhile(
  ask: (cache: Cache) => Promise<unknown>,
): Promise<{ here: string; left: string[] }> {
  await using dir = TempDir.make();
  dir.write({ old: "old", new: "new", server: {} });
  await using server = new HttpCache(dir.at("server"));
  using remote = openRemote(server.url, { mode: "read-write" });
  await openCache(dir.at("elsewhere"), { remote }).put("key", dir.at("old"));
  const root = dir.at("cache");
  const came = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  server.before = async (request, path) => {
    if (request.method !== "GET" || !path.startsWith("/cas/")) return;
    came.resolve();
    await gate.promise;
  };
  const asked = ask(openCache(root, { remote }));
  await came.promise; // it knows by now what is under the key there
  await openCache(root).put("key", dir.at("new"));
  gate.resolve();
  await asked;
  using entry = await openCache(root).get("key");
  const left = [...Deno.readDirSync(`${root}/tmp`)].map(({ name }) => name);
  return { here: Deno.readTextFileSync(entry!.path), left };
}

Deno.test("Cache.get() and ensure() undo no put that was made while they pulled", async () => {
  const got = await putMeanwhile(async (cache) => {
    using entry = await cache.get("key");
    assertEquals(Deno.readTextFileSync(entry!.path), "new");
  });
  assertEquals(got, { here: "new", left: [] });
  const ensured = await putMeanwhile(async (cache) => {
    using entry = await cache.ensure("key", () => {
      throw new Error("It is there");
    });
    assertEquals(Deno.readTextFileSync(entry.path), "new");
  });
  assertEquals(ensured, { here: "new", left: [] });
});

Deno.test("Cache.pull() replaces what was put while it pulled", async () => {
  const pulled = await putMeanwhile((cache) => cache.pull("key"));
  assertEquals(pulled, { here: "old", left: [] });
});
