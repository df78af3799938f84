// Where a cache is, and what tells others what it is.
import { assertEquals, assertThrows } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { defaultRoot } from "../../lib/cache/default_root.ts";
import { CacheError } from "../../lib/error.ts";
import { denoRun, must, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

/** Runs the library in a process of its own, whose environment is no other test's. */
async function rootOf(
  dir: TempDir,
  env: Record<string, string>,
  flags = ["-A"],
): Promise<string> {
  const script = `
    import { CacheError, openCache } from ${
    JSON.stringify(new URL("../../mod.ts", import.meta.url).href)
  };
    try {
      console.log(openCache().path);
    } catch (error) {
      if (!(error instanceof CacheError)) throw error;
      console.log(error.kind);
    }
  `;
  Deno.writeTextFileSync(dir.at("script.ts"), script);
  const [, , ...rest] = denoRun("mod.ts").slice(0, -1);
  const set = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const deno = [Deno.execPath(), "run", "--no-prompt", ...flags, ...rest];
  const out = await must(
    ...["env", "-u", "XDG_CACHE_HOME", "-u", "HOME", ...set],
    ...[...deno, dir.at("script.ts")],
  );
  return out.trim();
}

test("openCache() without a root opens the user's cache", [
  "linux",
  "env",
], async () => {
  await using dir = TempDir.make();
  const HOME = dir.at("home");
  const DENO_DIR = Deno.env.get("DENO_DIR") ??
    `${Deno.env.get("HOME")}/.cache/deno`;
  const [XDG_CACHE_HOME, own] = [dir.at("xdg"), { HOME, DENO_DIR }];
  assertEquals(await rootOf(dir, own), `${HOME}/.cache/rebuild-cache`);
  assertEquals(
    await rootOf(dir, { ...own, XDG_CACHE_HOME }),
    `${XDG_CACHE_HOME}/rebuild-cache`,
  );
  assertEquals(
    await rootOf(dir, { ...own, XDG_CACHE_HOME: "relative" }),
    `${HOME}/.cache/rebuild-cache`,
  );
  assertEquals(await rootOf(dir, { DENO_DIR }), "not-found");
  const flags = ["--allow-read", "--allow-write"];
  assertEquals(await rootOf(dir, own, flags), "not-capable");
});

test("defaultRoot() is where other systems have their caches", [
  "posix",
], () => {
  const home = Deno.env.get("HOME");
  const mac = `${home}/Library/Caches/rebuild-cache`;
  assertEquals(defaultRoot("darwin"), mac);
  if (Deno.env.get("LOCALAPPDATA") !== undefined) return;
  assertThrows(() => defaultRoot("windows"), CacheError, "LOCALAPPDATA");
});

test(
  "rebuild-cache put uses the cache that REBUILD_CACHE_ROOT names, unless --dir does, and else the user's",
  [
    "linux",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ file: "content" });
    const XDG_CACHE_HOME = dir.at("xdg");
    const REBUILD_CACHE_ROOT = dir.at("named");
    const put = async (env: Record<string, string>, ...more: string[]) => {
      const args = ["put", ...more, "key", dir.at("file")];
      const { code, stderr } = await runCli(args, { env });
      assertEquals([code, stderr], [0, ""]);
    };
    await put({ XDG_CACHE_HOME });
    assertEquals(namesIn(dir.path), ["file", "xdg"]);
    await put({ XDG_CACHE_HOME, REBUILD_CACHE_ROOT });
    assertEquals(namesIn(dir.path), ["file", "named", "xdg"]);
    await put({ REBUILD_CACHE_ROOT }, "--dir", dir.at("given"));
    for (const root of ["given", "named", "xdg/rebuild-cache"]) {
      const keys = openCache(dir.at(root)).entries().map(({ key }) => key);
      assertEquals(keys, ["key"], root);
    }
  },
);

Deno.test("Cache has a .gitignore that leaves all of it out, and keeps the one that is there", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content", there: { ".gitignore": "own" } });
  for (const name of ["new", "there"]) {
    const cache = openCache(dir.at(name));
    await cache.put("key", dir.at("file"));
    await cache.put("key", dir.at("file"));
    assertEquals(
      Deno.readTextFileSync(dir.at(name, ".gitignore")),
      name === "new" ? "*\n" : "own",
    );
    assertEquals(namesIn(dir.at(name, "tmp")), []);
    assertEquals((await cache.verify()).damaged, []);
    assertEquals((await cache.prune({ maxEntries: 0 })).evicted.length, 1);
  }
});
