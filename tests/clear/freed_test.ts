/** What a clear says that it has freed. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { clearCache } from "../../lib/clear/clear.ts";
import type { ClearOptions } from "../../lib/clear/options.ts";
import { must, runCli } from "../support/command.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const KB = 1024;

/** 64 KiB that go, and as much that has another name. */
function fill(dir: TempDir, at: string): void {
  const content = crypto.getRandomValues(new Uint8Array(64 * KB));
  Deno.mkdirSync(`${at}/sub/empty`, { recursive: true });
  Deno.writeFileSync(`${at}/sub/gone`, content);
  Deno.linkSync(`${at}/sub/gone`, `${at}/twice`);
  Deno.writeFileSync(dir.at("kept"), content);
  if (at.startsWith(dir.at("cache"))) {
    Deno.linkSync(dir.at("kept"), `${at}/kept`);
  }
}

async function freed(dir: TempDir, options: ClearOptions) {
  fill(dir, dir.at("cache"));
  const { freedBytes } = await clearCache(dir.at("cache"), options);
  Deno.removeSync(dir.at("kept"));
  return freedBytes;
}

test(
  "clearCache({ weigh: true }) says what files freed that had no other name",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    const weigh = true;
    const found = await freed(dir, { weigh, dryRun: true });
    assert(found! >= 64 * KB && found! < 128 * KB, `${found}`);
    Deno.removeSync(dir.at("cache"), { recursive: true });
    assertEquals(await freed(dir, { weigh }), found);
    assertEquals(await freed(dir, {}), undefined);
    // Not yet.
    assertEquals(await freed(dir, { weigh, defer: true }), undefined);
    assertEquals(
      (await clearCache(dir.at("cache"), { weigh })).freedBytes,
      undefined,
    );
  },
);

test(
  "clearCache({ weigh: true }) does not say what it freed when something is left",
  [
    "linux",
    "root",
    "chattr",
  ],
  async () => {
    await using dir = TempDir.make();
    fill(dir, dir.at("cache"));
    await must("chattr", "+i", dir.at("cache", "sub", "gone"));
    const report = await clearCache(dir.at("cache"), { weigh: true });
    for (const { path } of report.failures) await must("chattr", "-i", path);
    assertEquals(report.outcome, "incomplete");
    assertEquals(report.freedBytes, undefined);
  },
);

mountTest(
  import.meta.url,
  "clearCache({ weigh: true }) says what it freed in place",
  [],
  async (dir) => {
    const cache = await makeFileSystem(dir, "tmpfs");
    fill(dir, cache);
    const report = await clearCache(cache, { weigh: true });
    assertEquals([report.strategy, report.freedBytes], ["in-place", 64 * KB]);
    assertEquals(namesIn(cache), []);
  },
);

test("rebuild-cache --dir DIR says what is freed with -v, and with --dry-run", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  fill(dir, dir.at("cache"));
  const run = async (...flags: string[]) => {
    const { code, stdout, stderr } = await runCli([
      ...flags,
      "--dir",
      dir.at("cache"),
    ]);
    assertEquals(code, 0, stderr);
    return stdout;
  };
  assertStringIncludes(await run("--dry-run"), "; frees 65.5 kB");
  assertStringIncludes(await run("-v"), ", freed 65.5 kB in ");
});
