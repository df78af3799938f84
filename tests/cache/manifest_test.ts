import { assert, assertEquals, assertThrows } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { Damaged, readHeader, readManifest } from "../../lib/cache/manifest.ts";
import { CacheError } from "../../lib/error.ts";
import { openDirectory } from "../../lib/fs/open.ts";
import {
  type ListedDirectory,
  Listing,
  listingLine,
  parseListingLine,
} from "../../lib/link/listing.ts";
import { TempDir } from "../support/temp_dir.ts";

const DIGEST = "0".repeat(64);
const EMPTY = { path: "", mode: 0o755, files: [], links: [], directories: [] };

Deno.test("A listing keeps every name, also one that is not UTF-8", () => {
  // (On Windows, a backslash parts names.)
  const name = '\t\n" é\udcff' + (Deno.build.os === "windows" ? "" : "\\");
  const line: ListedDirectory = {
    path: "/a b/\udcfe",
    mode: 0o2750,
    files: [[name, 5, 0o640, DIGEST, 1, 2]],
    links: [["link", "../\udcff"]],
    directories: ["below"],
  };
  const bytes = new TextEncoder().encode(listingLine(line));
  const text = new TextDecoder().decode(bytes);
  assertEquals(parseListingLine(text), line);
  const listing = new Listing(`${listingLine(EMPTY)}\n${text}\n`);
  const entries = listing.directory("/a b/\udcfe")!;
  assertEquals(entries.get(name), {
    kind: "file",
    file: { size: 5, modified: { seconds: 1, nanoseconds: 2 }, mark: 1 },
  });
  assertEquals(entries.get("below"), { kind: "directory" });
  assertEquals(entries.get("link"), { kind: "symlink" });
  assertEquals(entries.size, 3);
  assertEquals(listing.directory("/none"), undefined);
});

Deno.test("A listing takes no name that leads anywhere, nor one twice, nor what is no listing", () => {
  const file = (name: unknown) => [name, 1, 0o644, DIGEST, 1, 2];
  for (
    const wrong of [
      ...["", ".", "..", "a/b", "../x", "nul\0", 1, null]
        .map((name) => ({ files: [file(name)] })),
      ...["", ".", "..", "a/b"].map((name) => ({ directories: [name] })),
      { files: [file("a"), file("a")] },
      { files: [file("a")], directories: ["a"] },
      { files: [["a", -1, 0o644, DIGEST, 1, 2]] },
      { files: [["a", 1.5, 0o644, DIGEST, 1, 2]] },
      { files: [["a", 1, 0o17777, DIGEST, 1, 2]] },
      { files: [["a", 1, 0o644, "x", 1, 2]] },
      { files: [["a", 1, 0o644, DIGEST]] },
      { files: [["a", 1, 0o644, DIGEST, 1.5, 2]] },
      { files: [["a", 1, 0o644, DIGEST, 1, -1]] },
      { files: [["a", 1, 0o644, DIGEST, 1, 1e9]] },
      { files: [["a", 1, 0o644, DIGEST, 1, 2, "more"]] },
      { files: {} },
      { files: null },
      { links: undefined },
      { links: [["a"]] },
      { links: [["a", ""]] },
      { links: [[".", "x"]] },
      { mode: "755" },
      { path: "a" },
      { path: "/" },
      { path: "/../x" },
      { path: 7 },
    ]
  ) {
    const line = listingLine({ ...EMPTY, ...wrong } as ListedDirectory);
    const error = assertThrows(() => parseListingLine(line), CacheError);
    assertEquals(error.kind, "damaged");
  }
  for (const text of ["{}", "", "\t", "null\t{}", '""\t', "[]\t[]", '""\t7']) {
    assertThrows(() => parseListingLine(text), CacheError);
  }
  const twice = `${listingLine(EMPTY)}\n${listingLine(EMPTY)}\n`;
  assertThrows(() => new Listing(twice), CacheError);
});

Deno.test("Any flipped bit of a manifest is damage, and any cut", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: { a: "content", sub: { b: "more" } } });
  const cache = openCache(dir.at("cache"));
  const { id } = await cache.put("a key", dir.at("tree"));
  const at = dir.at("cache", "archive-v1", id);
  const whole = Deno.readFileSync(`${at}/manifest`);
  using archive = openDirectory(at);
  const isDamage = async (bytes: Uint8Array, what: string) => {
    Deno.writeFileSync(`${at}/manifest`, bytes);
    try {
      await readManifest(archive);
    } catch (error) {
      assert(error instanceof Damaged, `${what}: ${error}`);
      return;
    }
    assert(false, what);
  };
  for (let i = 0; i < whole.length; i++) {
    const bytes = whole.slice();
    bytes[i]! ^= 1 << (i % 8);
    await isDamage(bytes, `byte ${i}`);
    try {
      readHeader(archive);
    } catch (error) {
      assert(error instanceof Damaged);
    }
  }
  for (let i = 0; i < whole.length; i += 7) {
    await isDamage(whole.slice(0, i), `cut at ${i}`);
  }
  assertEquals(await cache.get("a key"), undefined);
  assertEquals((await cache.verify()).damaged.length, 1);
});

Deno.test("A manifest of version 1 is no entry, and no damage", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content" });
  const cache = openCache(dir.at("cache"));
  const { id } = await cache.put("key", dir.at("file"));
  const header = {
    ...{ version: 1, bucket: "default", key: "key", created: "2026-01-01" },
    ...{ files: 1, directories: 0, bytes: 7, digest: DIGEST },
  };
  const manifest = dir.at("cache", "archive-v1", id, "manifest");
  Deno.writeTextFileSync(manifest, `${JSON.stringify(header)}\n{}\n`);
  assertEquals(await cache.get("key"), undefined);
  assertEquals(cache.entries(), []);
  const { damaged, failures, archives } = await cache.verify();
  assertEquals([damaged, failures, archives], [[], [], 0]);
  assertEquals((await cache.prune()).evicted.length, 1);
  await cache.put("key", dir.at("file"));
  assertEquals(cache.entries().length, 1);
});
