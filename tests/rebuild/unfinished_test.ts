/** What a rebuild in place leaves half, and who is told. */

import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { clearCache } from "../../lib/clear/clear.ts";
import { CacheError } from "../../lib/error.ts";
import { linkTree } from "../../lib/link/tree.ts";
import { lease } from "../../lib/lock/directory.ts";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { Peer, runCli } from "../support/command.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const inPlace = true;
const fill = (at: string) => Deno.writeTextFileSync(`${at}/new`, "new");

function half(at: string): never {
  Deno.writeTextFileSync(`${at}/half`, "half");
  throw new Error("broken");
}

async function assertUnfinished(path: string): Promise<void> {
  const error = await assertRejects(() => lease(path), CacheError);
  assertEquals(error.kind, "unfinished");
  assertStringIncludes(error.message, "Rebuild or clear it");
  // Nothing is held, so that it can be.
}

/** What makes it whole, or takes it away. */
const MENDS: Record<string, (path: string) => Promise<unknown>> = {
  "rebuilt in place": (path) => rebuildCache(path, fill, { inPlace }),
  rebuilt: (path) => rebuildCache(path, fill),
  cleared: (path) => clearCache(path),
  "cleared and made again": (path) => clearCache(path, { recreate: true }),
};

for (const [what, mend] of Object.entries(MENDS)) {
  Deno.test(`lease() refuses what a rebuild in place has left half, until it is ${what}`, async () => {
    await using dir = TempDir.make();
    const cache = dir.at("cache");
    dir.write({ cache: { old: "" } });
    for (let i = 0; i < 2; i++) {
      await assertRejects(() => rebuildCache(cache, half, { inPlace }), Error);
      assertEquals(namesIn(cache), ["half"]);
      await assertUnfinished(cache);
    }
    await assertRejects(() => linkTree(cache, dir.at("out")), CacheError);
    await mend(cache);
    (await lease(cache))[Symbol.dispose]();
    const stands = what !== "cleared";
    assertEquals(namesIn(dir.path), stands ? ["cache"] : []);
  });
}

Deno.test("lease() takes what was removed by hand and made again for whole", async () => {
  await using dir = TempDir.make();
  const cache = dir.at("cache");
  await assertRejects(() => rebuildCache(cache, half, { inPlace }), Error);
  Deno.removeSync(cache, { recursive: true });
  (await lease(cache))[Symbol.dispose]();
  dir.write({ cache: { other: "" } });
  (await lease(cache))[Symbol.dispose]();
  assertEquals(namesIn(dir.path), ["cache"]);
});

Deno.test("rebuildCache() in place leaves whole what it has not touched", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "" } });
  const signal = AbortSignal.abort();
  await assertRejects(() =>
    rebuildCache(dir.at("cache"), fill, { inPlace, signal })
  );
  (await lease(dir.at("cache")))[Symbol.dispose]();
  assertEquals(namesIn(dir.at("cache")), ["old"]);
});

test(
  "rebuildCache() in place refuses a note that is none, and lease() is not led astray by one",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "" }, precious: "x" });
    Deno.symlinkSync("precious", dir.at("cache.unfinished"));
    (await lease(dir.at("cache")))[Symbol.dispose]();
    const error = await assertRejects(
      () => rebuildCache(dir.at("cache"), fill, { inPlace }),
      CacheError,
      "cache.unfinished",
    );
    assertEquals(error.kind, "refused");
    assertEquals(namesIn(dir.at("cache")), ["old"]);
    await clearCache(dir.at("cache"));
    assertEquals(namesIn(dir.path), ["cache.unfinished", "precious"]);
    assertEquals(Deno.readTextFileSync(dir.at("precious")), "x");
  },
);

test(
  "lease() does not believe a note that somebody planted in a sticky directory",
  [
    "linux",
    "root",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "" }, "cache.unfinished": "" });
    Deno.chownSync(dir.at("cache.unfinished"), 65534, 65534);
    await assertUnfinished(dir.at("cache"));
    Deno.chmodSync(dir.path, 0o1777);
    (await lease(dir.at("cache")))[Symbol.dispose]();
  },
);

mountTest(
  import.meta.url,
  "lease() refuses what a rebuild in place has left half on a mount point",
  [],
  async (dir) => {
    const cache = await makeFileSystem(dir, "tmpfs");
    await assertRejects(() => rebuildCache(cache, half, { inPlace }), Error);
    await assertUnfinished(cache);
    await clearCache(cache);
    (await lease(cache))[Symbol.dispose]();
    assertEquals(namesIn(cache), []);
  },
);

test(
  "rebuild-cache use says that a cache is half after --in-place was killed",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "" } });
    const args = ["--dir", dir.at("cache"), "--"];
    const script = "echo half > {}/half; echo begun; exec sleep 0.2";
    await using peer = Peer.cli(["--in-place", ...args, "sh", "-c", script]);
    await peer.says("begun");
    peer.kill("SIGKILL");
    await peer.end();
    const use = () => runCli(["use", ...args, "echo", "used"]);
    const { code, stdout, stderr } = await use();
    assertEquals([code, stdout], [1, ""]);
    assertStringIncludes(stderr, "Rebuild or clear it");
    assertEquals(stderr.trim().split("\n").length, 1, stderr);
    const mended = await runCli([...args, "sh", "-c", "echo new > {}/new"]);
    assertEquals(mended.code, 0, mended.stderr);
    assertEquals((await use()).stdout, "used\n");
  },
);
