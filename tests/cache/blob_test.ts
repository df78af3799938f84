import { assert, assertEquals, assertRejects } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { CacheError } from "../../lib/error.ts";
import { Peer } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const encoder = new TextEncoder();
const digestOf = async (text: string) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)))
    .toHex();
const DIGEST = await digestOf("content");
const write = (text: string) => (path: string) =>
  Deno.writeTextFileSync(path, text, { createNew: true });
const never = () => {
  throw new Error("fetched again");
};

Deno.test("Cache.blob() fetches once, checks, and hard-links", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  const options = { fetch: write("content"), size: 7 };
  const first = await cache.blob(DIGEST, dir.at("one"), options);
  assertEquals([first.fetched, first.mode], [true, "hardlink"]);
  const second = await cache.blob(DIGEST, dir.at("two"), { fetch: never });
  assertEquals([second.fetched, second.mode], [false, "hardlink"]);
  assertEquals(Deno.readTextFileSync(dir.at("two")), "content");
  assertEquals(
    Deno.statSync(dir.at("one")).ino,
    Deno.statSync(dir.at("two")).ino,
  );
  assertEquals(namesIn(dir.at("cache", "tmp")), []);
});

Deno.test("Cache.blob() fetches once for all who ask meanwhile, in another process, too", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  let fetches = 0;
  const begun = Promise.withResolvers<void>();
  const joined = Promise.withResolvers<void>();
  const options = {
    async fetch(path: string) {
      fetches++;
      begun.resolve();
      await joined.promise;
      await new Promise((resolve) => setTimeout(resolve, 50));
      write("content")(path);
    },
  };
  const all = ["a", "b", "c"].map((name) =>
    cache.blob(DIGEST, dir.at(name), options)
  );
  await begun.promise; // before somebody else does it
  await using peer = Peer.support("fetch_blob.ts", cache.path, dir.at("d"));
  joined.resolve();
  await Promise.all(all);
  assertEquals(fetches, 1);
  assertEquals((await peer.end()).code, 0);
  assertEquals(Deno.readTextFileSync(dir.at("d")), "content");
});

Deno.test("Cache.blob() refuses what is not what was asked for, and keeps nothing of it", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  for (
    const [fetch, size, message] of [
      [write("something else"), undefined, "its SHA-256 is"],
      [write("content"), 8, "it has 7 bytes, not 8"],
      [() => {}, undefined, "No such file"],
      [(path: string) => Deno.mkdirSync(path), undefined, "not a file"],
      [never, undefined, "fetched again"],
    ] as const
  ) {
    const error = await assertRejects(() =>
      cache.blob(DIGEST, dir.at("one"), { fetch, ...size && { size } })
    ) as Error;
    const isMissing = message === "No such file";
    assert(isMissing || error.message.includes(message), error.message);
  }
  for (const digest of ["", "../x", DIGEST.toUpperCase(), DIGEST.slice(1)]) {
    await assertRejects(
      () => cache.blob(digest, dir.at("one"), { fetch: never }),
      CacheError,
    );
  }
  assertEquals(namesIn(dir.path), ["cache"]);
  assertEquals(namesIn(dir.at("cache", "tmp")), []);
  assertEquals(namesIn(dir.at("cache", "blobs-v0")), []);
});

test("Cache.blob() keeps what may be executed apart from what may not", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  const plain = { fetch: write("content") };
  const executable = { fetch: never, executable: true };
  await cache.blob(DIGEST, dir.at("plain"), plain);
  const { fetched } = await cache.blob(DIGEST, dir.at("x"), executable);
  assertEquals(fetched, false);
  assertEquals(Deno.statSync(dir.at("plain")).mode! & 0o777, 0o444);
  assertEquals(Deno.statSync(dir.at("x")).mode! & 0o777, 0o555);
  assertEquals((await cache.verify()).blobs, 2);
});

Deno.test("Cache.prune() evicts blobs as it does keys, and those who have them keep them", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  for (const [i, text] of ["old", "new"].entries()) {
    const digest = await digestOf(text);
    await cache.blob(digest, dir.at(text), { fetch: write(text) });
    const path = dir.at("cache", "blobs-v0", digest.slice(0, 2), digest);
    const then = new Date(Date.now() - (2 - i) * 3_600_000);
    Deno.utimeSync(path, then, then);
  }
  const report = await cache.prune({ maxEntries: 1 });
  assertEquals(
    [report.blobs, report.removedBytes, report.freedBytes],
    [1, 3, 0],
  );
  const { fetched } = await cache.blob(await digestOf("new"), dir.at("more"), {
    fetch: never,
  });
  assertEquals(fetched, false);
  assertEquals(Deno.readTextFileSync(dir.at("old")), "old");
});

Deno.test("Cache.verify() removes a blob that was written to", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  await cache.blob(DIGEST, dir.at("one"), { fetch: write("content") });
  if (Deno.build.os !== "windows") Deno.chmodSync(dir.at("one"), 0o644);
  Deno.writeTextFileSync(dir.at("one"), "CHANGED");
  const { damaged } = await cache.verify();
  assertEquals(damaged.map(({ outcome }) => outcome), ["removed"]);
  const again = { fetch: write("content") };
  assertEquals((await cache.blob(DIGEST, dir.at("two"), again)).fetched, true);
});

test(
  "Cache.blob() fetches again what was cut short, although it kept its times",
  [
    "posix",
  ],
  async () => {
    const content = new Uint8Array(3 << 20).fill(65);
    const hash = await crypto.subtle.digest("SHA-256", content);
    const digest = new Uint8Array(hash).toHex();
    const again = (path: string) => Deno.writeFileSync(path, content);
    for (const size of [{ size: content.length }, {}]) {
      await using dir = TempDir.make();
      const cache = openCache(dir.at("cache"));
      await cache.blob(digest, dir.at("one"), { fetch: again });
      const { atime, mtime } = Deno.statSync(dir.at("one"));
      Deno.chmodSync(dir.at("one"), 0o644);
      Deno.truncateSync(dir.at("one"), 2 << 20);
      Deno.utimeSync(dir.at("one"), atime!, mtime!);
      const { fetched } = await cache.blob(digest, dir.at("two"), {
        fetch: again,
        ...size,
      });
      assertEquals(fetched, true);
      assertEquals(Deno.statSync(dir.at("two")).size, content.length);
    }
  },
);

Deno.test("Cache.blob() refuses invalid sizes, and a fetch that is no function", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  for (
    const [wrong, type] of [
      [{ size: NaN }, RangeError],
      [{ size: -1 }, RangeError],
      [{ size: 1.5 }, RangeError],
      [{ size: "7" }, TypeError],
      [{ fetch: "https://example.com" }, TypeError],
    ] as const
  ) {
    // deno-lint-ignore no-explicit-any -- it is wrong
    const options = { fetch: never, ...wrong } as any;
    await assertRejects(
      () => cache.blob(DIGEST, dir.at("out"), options),
      type,
      "not ",
    );
  }
  assertEquals(namesIn(dir.path), []);
});
