import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { CacheError } from "../../lib/error.ts";
import { lease } from "../../lib/lock/directory.ts";
import { LockedError } from "../../lib/lock/file.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { Peer, run, runCli } from "../support/command.ts";
import { mayUse, test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const fill = (name: string) => (at: string) =>
  Deno.writeTextFile(`${at}/${name}`, name);

Deno.test("rebuildCache() puts what was built in the old cache's place", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "old", sub: { more: "old" } } });
  const report = await rebuildCache(dir.at("cache"), async (at) => {
    assertEquals(namesIn(dir.at("cache")), ["old", "sub"]);
    assertEquals(namesIn(at), []);
    await fill("new")(at);
  });
  assertEquals(report.outcome, "rebuilt");
  assertEquals(report.replaced, true);
  const hasExchange = Deno.build.os !== "windows" && mayUse("ffi");
  assertEquals(report.exchanged, hasExchange);
  assertEquals(namesIn(dir.at("cache")), ["new"]);
  assertEquals(namesIn(dir.path), ["cache"]);
});

Deno.test("rebuildCache() makes the first cache, and its parents", async () => {
  await using dir = TempDir.make();
  const { replaced } = await rebuildCache(dir.at("a", "b"), fill("new"));
  assertEquals(replaced, false);
  assertEquals(namesIn(dir.at("a", "b")), ["new"]);
});

test("rebuildCache() gives the new cache the mode of the old one", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  Deno.chmodSync(dir.at("cache"), 0o2750);
  await rebuildCache(dir.at("cache"), fill("new"));
  assertEquals(Deno.statSync(dir.at("cache")).mode! & 0o7777, 0o2750);
});

Deno.test("rebuildCache() keeps the old cache when the build fails or leaves nothing", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "old" } });
  const broken = new Error("broken");
  const thrown = await assertRejects(() =>
    rebuildCache(dir.at("cache"), async (at) => {
      await fill("half")(at);
      throw broken;
    })
  );
  assertEquals(thrown, broken);
  const error = await assertRejects(
    () => rebuildCache(dir.at("cache"), (at) => Deno.remove(at)),
    CacheError,
  );
  assertEquals(error.kind, "not-directory");
  assertEquals(namesIn(dir.at("cache")), ["old"]);
  assertEquals(namesIn(dir.path), ["cache"]);
});

for (const inPlace of [false, true]) {
  Deno.test(`rebuildCache({ inPlace: ${inPlace} }) refuses what is still empty after the build, unless that may be`, async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "old" } });
    const error = await assertRejects(
      () => rebuildCache(dir.at("cache"), () => {}, { inPlace }),
      CacheError,
      "allowEmpty",
    );
    assertEquals(error.kind, "empty");
    assertEquals(namesIn(dir.at("cache")), inPlace ? [] : ["old"]);
    await rebuildCache(dir.at("cache"), () => {}, {
      inPlace,
      allowEmpty: true,
    });
    assertEquals(namesIn(dir.at("cache")), []);
    assertEquals(namesIn(dir.path), ["cache"]);
  });
}

Deno.test("rebuildCache() tells the build when it is aborted, and rejects with the reason", async () => {
  await using dir = TempDir.make();
  const reason = new Error("enough");
  for (const inPlace of [false, true]) {
    const controller = new AbortController();
    const thrown = await assertRejects(() =>
      rebuildCache(dir.at("cache"), async (at, { signal }) => {
        await fill("new")(at);
        assertEquals(signal.aborted, false);
        controller.abort(reason);
        assertEquals(signal.reason, reason);
      }, { inPlace, signal: controller.signal })
    );
    assertEquals(thrown, reason);
    await rebuildCache(dir.at("cache"), async (at, { signal }) => {
      assertEquals(signal.aborted, false);
      await fill("whole")(at);
    }, { inPlace });
  }
});

Deno.test("rebuildCache() waits for who uses the old cache, but not with building", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "old" } });
  const held = await lease(dir.at("cache"));
  let built = 0;
  const build = (at: string) => {
    built++;
    return fill("new")(at);
  };
  await assertRejects(
    () => rebuildCache(dir.at("cache"), build, { wait: 0 }),
    LockedError,
  );
  assertEquals(built, 1);
  assertEquals(namesIn(dir.at("cache")), ["old"]);
  const { promise, resolve } = Promise.withResolvers<void>();
  const waiting = rebuildCache(dir.at("cache"), async (at) => {
    await build(at);
    resolve();
  });
  await promise;
  held[Symbol.dispose]();
  await waiting;
  assertEquals(namesIn(dir.at("cache")), ["new"]);
});

Deno.test("rebuildCache() builds again when the build that it waited for fails", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "old" } });
  const { promise, resolve } = Promise.withResolvers<void>();
  const first = rebuildCache(dir.at("cache"), async () => {
    await promise;
    throw new Error("broken");
  });
  const second = rebuildCache(dir.at("cache"), fill("new"));
  resolve();
  await assertRejects(() => first, Error, "broken");
  assertEquals((await second).outcome, "rebuilt");
  assertEquals(namesIn(dir.at("cache")), ["new"]);
});

Deno.test("rebuildCache() clears first and builds in place when asked to", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "old" } });
  await rebuildCache(dir.at("cache"), async (at) => {
    assertEquals(at, dir.at("cache"));
    assertEquals(namesIn(at), []);
    await assertRejects(() => lease(at, { wait: 0 }), LockedError);
    await fill("new")(at);
  }, { inPlace: true });
  assertEquals(namesIn(dir.at("cache")), ["new"]);
  assertEquals(namesIn(dir.path), ["cache"]);
});

Deno.test("rebuildCache() is abandoned when it is aborted during the build", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "old" } });
  const controller = new AbortController();
  await assertRejects(
    () =>
      rebuildCache(dir.at("cache"), async (at) => {
        await fill("new")(at);
        controller.abort();
      }, { signal: controller.signal }),
    DOMException,
  );
  assertEquals(namesIn(dir.at("cache")), ["old"]);
  assertEquals(namesIn(dir.path), ["cache"]);
});

test(
  "rebuildCache() leaves no instant without a cache, where there is an exchange",
  [
    "linux",
    "ffi",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { version: "0" } });
    await using watcher = Peer.support("watch.ts", dir.at("cache"));
    await watcher.says("watching");
    for (let version = 1; version <= 200; version++) {
      await rebuildCache(dir.at("cache"), fill("version"));
    }
    const { heard } = await watcher.end();
    const { looks, missing } = JSON.parse(heard.split("\n")[1]!);
    assert(looks > 200, heard);
    assertEquals(missing, 0);
  },
);

mountTest(
  import.meta.url,
  "rebuildCache() refuses a mount point before it builds, and does it in place",
  [],
  async (dir) => {
    const cache = await makeFileSystem(dir, "tmpfs");
    Deno.writeTextFileSync(`${cache}/old`, "old");
    const error = await assertRejects(
      () => rebuildCache(cache, () => assert(false, "built")),
      CacheError,
      "--in-place",
    );
    assertEquals(error.kind, "refused");
    await rebuildCache(cache, fill("new"), { inPlace: true });
    assertEquals(namesIn(cache), ["new"]);
  },
);

test(
  "rebuildCache() builds where somebody has just cleared what it looked at",
  ["linux", "ffi", "strace"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "old" } });
    // The first opens it to check it, the second to see whether it is a mount point.
    const { code, stderr } = await runCli(
      ["--dir", "cache", "--", "sh", "-c", `touch "$REBUILD_CACHE_OUT/new"`],
      {
        cwd: dir.path,
        wrap: [
          ...["strace", "-f", "-o", dir.at("trace"), "-P", "cache"],
          ...["-e", "trace=openat", "-e", "inject=openat:error=ENOENT:when=2"],
        ],
      },
    );
    assertStringIncludes(Deno.readTextFileSync(dir.at("trace")), "INJECTED");
    assertEquals(code, 0, stderr);
    assertEquals(namesIn(dir.at("cache")), ["new"]);
  },
);

mountTest(
  import.meta.url,
  "rebuildCache() says what to do on the lower layer of an overlay, and keeps the cache",
  [],
  async (dir) => {
    const overlay = await makeFileSystem(dir, "overlay");
    const lower = (await run(["findmnt", "-no", "OPTIONS", overlay])).stdout
      .match(/lowerdir=([^,]*)/)![1]!;
    Deno.mkdirSync(`${lower}/cache`);
    Deno.writeTextFileSync(`${lower}/cache/old`, "old");
    await assertRejects(
      () => rebuildCache(`${overlay}/cache`, fill("new")),
      CacheError,
      "--in-place",
    );
    assertEquals(namesIn(`${overlay}/cache`), ["old"]);
    assertEquals(namesIn(overlay), ["cache"]);
    await rebuildCache(`${overlay}/cache`, fill("new"), { inPlace: true });
    assertEquals(namesIn(`${overlay}/cache`), ["new"]);
  },
);
