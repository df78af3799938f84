/** Rebuilds where others have been: their locks, links, mounts, modes and groups. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { CacheError } from "../../lib/error.ts";
import { siblingName } from "../../lib/fs/names.ts";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { setLogSink } from "../../lib/log.ts";
import { denoRun, must } from "../support/command.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const here = import.meta.url;
const fill = (at: string) => Deno.writeTextFileSync(`${at}/new`, "new");

test(
  "rebuildCache() refuses a lock that is a symbolic link, and leaves what it leads to",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "" }, victim: "precious" });
    Deno.symlinkSync("victim", dir.at("cache.rebuild.lock"));
    const before = Deno.statSync(dir.at("victim"));
    const error = await assertRejects(
      () => rebuildCache(dir.at("cache"), fill, { wait: 60_000 }),
      CacheError,
    );
    assertStringIncludes(error.message, dir.at("cache.rebuild.lock"));
    assertEquals(Deno.readTextFileSync(dir.at("victim")), "precious");
    assertEquals(Deno.statSync(dir.at("victim")).mtime, before.mtime);
    assertEquals(namesIn(dir.at("cache")), ["old"]);
  },
);

test("rebuildCache() writes nothing into a lock file that it did not make", [
  "linux",
  "root",
], async () => {
  await using dir = TempDir.make();
  const lock = dir.at("cache.rebuild.lock");
  dir.write({ cache: { old: "" }, "cache.rebuild.lock": "", own: "precious" });
  Deno.chownSync(lock, 65534, 65534);
  await rebuildCache(dir.at("cache"), fill);
  assertEquals(Deno.readTextFileSync(lock), "");
  // Our own file, by another name: a hard link that somebody made.
  for (const content of ["precious", ""]) {
    Deno.removeSync(lock);
    Deno.writeTextFileSync(dir.at("own"), content);
    Deno.linkSync(dir.at("own"), lock);
    await rebuildCache(dir.at("cache"), fill);
    assertEquals(Deno.readTextFileSync(dir.at("own")), content);
  }
  // Ours, but no record.
  Deno.removeSync(lock);
  Deno.writeTextFileSync(lock, "notes");
  await rebuildCache(dir.at("cache"), fill);
  assertEquals(Deno.readTextFileSync(lock), "notes");
  Deno.removeSync(lock);
  await rebuildCache(dir.at("cache"), fill);
  assertMatch(Deno.readTextFileSync(lock), /^built [0-9a-f]{32} -{64} /);
});

mountTest(
  here,
  "rebuildCache() names what the build left mounted, and keeps it and the old cache",
  [],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    dir.write({ precious: "x" }, mount);
    dir.write({ cache: { old: "" } });
    const warnings: string[] = [];
    setLogSink({ debug() {}, warn: (text) => warnings.push(text) });
    for (const fails of [false, true]) {
      let mounted = "";
      const build = async (at: string) => {
        fill(at);
        mounted = `${at}/inner`;
        Deno.mkdirSync(mounted);
        await must("mount", "--bind", mount, mounted);
        if (fails) throw new Error("broken");
      };
      const error = await assertRejects(
        () => rebuildCache(dir.at("cache"), build),
        Error,
      );
      if (fails) assertEquals(error.message, "broken");
      else {
        assertEquals((error as CacheError).kind, "mount");
        assertStringIncludes(error.message, mounted);
      }
      assert(warnings.some((it) => it.includes(mounted)), `${warnings}`);
      warnings.length = 0;
      assertEquals(namesIn(mounted), ["precious"]);
      assertEquals(namesIn(dir.at("cache")), ["old"]);
      // The next run's sweep leaves it, too.
      await rebuildCache(dir.at("cache"), fill);
      assertEquals(namesIn(mounted), ["precious"]);
      await must("umount", mounted);
      await rebuildCache(dir.at("cache"), fill);
      Deno.removeSync(`${dir.at("cache")}/new`);
      dir.write({ cache: { old: "" } });
    }
    assertEquals(namesIn(dir.path).filter((it) => it.includes(".")), []);
  },
);

mountTest(
  here,
  "rebuildCache() rebuilds below a symbolic link to another file system",
  [],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    Deno.symlinkSync(mount, dir.at("link"));
    for (let i = 0; i < 2; i++) await rebuildCache(dir.at("link", "c"), fill);
    assertEquals(namesIn(`${mount}/c`), ["new"]);
  },
);

/** Rebuilds as another user. */
async function rebuildAs(...args: string[]): Promise<void> {
  const module = denoRun("tests/support/rebuild_as.ts");
  await must(Deno.execPath(), ...module, ...args);
}

for (const how of ["beside", "in-place"]) {
  test(
    `rebuildCache(), ${how}, keeps group, setgid bit and mode of another member's directory`,
    [
      "linux",
      "root",
    ],
    async () => {
      await using dir = TempDir.make();
      Deno.chmodSync(dir.path, 0o711);
      dir.write({ group: { cache: { old: "" } } });
      const cache = dir.at("group", "cache");
      await must("chown", "-R", "1001:4321", dir.at("group"));
      await must("chmod", "-R", "g+ws", dir.at("group"));
      for (const uid of ["1002", "1001"]) {
        await rebuildAs(uid, "4321", cache, "", how);
        const { mode, gid } = Deno.statSync(cache);
        assertEquals([mode! & 0o7777, gid], [0o2775, 4321]);
        assertEquals(namesIn(cache), ["new"]);
      }
      assertEquals(Deno.statSync(cache).uid, 1001);
    },
  );
}

test("rebuildCache() publishes and replaces a tree whose top is read-only", [
  "linux",
  "root",
], async () => {
  await using dir = TempDir.make();
  Deno.chmodSync(dir.path, 0o777);
  for (let i = 0; i < 2; i++) {
    await rebuildAs("65534", "65534", dir.at("cache"), "0555");
    assertEquals(Deno.statSync(dir.at("cache")).mode! & 0o7777, 0o555);
    assertEquals(namesIn(dir.at("cache")), ["new"]);
    assertEquals(namesIn(dir.path), ["cache"]);
  }
});

Deno.test("rebuildCache() sweeps stagings and asides that a dead run left", async () => {
  await using dir = TempDir.make();
  dir.write({
    cache: { old: "" },
    [siblingName("cache", "partial")]: { ".lock": "", tree: { half: "" } },
    [siblingName("cache", "partial")]: { ".lock": "" },
    [siblingName("cache", "stale")]: { older: "" },
  });
  await rebuildCache(dir.at("cache"), fill);
  assertEquals(namesIn(dir.path), ["cache"]);
});

test("rebuildCache() reports what of the old cache could not be removed", [
  "linux",
  "root",
  "chattr",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { sub: { keep: "x", go: "x" } } });
  await must("chattr", "+i", dir.at("cache", "sub", "keep"));
  const { failures, outcome } = await rebuildCache(dir.at("cache"), fill);
  for (const { path } of failures) await must("chattr", "-i", path);
  assertEquals(outcome, "rebuilt");
  assertEquals(failures.map(({ kind }) => kind), ["permission"]);
  assertStringIncludes(failures[0]!.path, "/sub/keep");
  assertEquals(namesIn(dir.at("cache")), ["new"]);
  await rebuildCache(dir.at("cache"), fill);
  assertEquals(namesIn(dir.path), ["cache"]);
});
