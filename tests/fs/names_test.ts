import { assert, assertEquals } from "@std/assert";
import {
  findSiblings,
  listSiblingsIn,
  parseSiblingName,
  siblingName,
} from "../../lib/fs/names.ts";
import { clearCache } from "../../lib/clear/clear.ts";
import { openDirectory, openParent } from "../../lib/fs/open.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

Deno.test("siblingName() makes a name that parseSiblingName() takes apart, for any name", () => {
  for (const name of ["cache", "", "a.stale-1-x", "with\nnewline", "日本語"]) {
    for (const kind of ["stale", "partial"] as const) {
      assertEquals(parseSiblingName(siblingName(name, kind)), {
        stem: name,
        kind,
        pid: Deno.pid,
      });
    }
  }
});

Deno.test("siblingName() stays within the limit when the name has 255 bytes", () => {
  const encoder = new TextEncoder();
  for (const name of ["n".repeat(255), "é".repeat(127), "🦕".repeat(63)]) {
    const sibling = siblingName(name, "partial");
    assert(encoder.encode(sibling).length <= 255, sibling);
    const stem = parseSiblingName(sibling)!.stem;
    assert(name.startsWith(stem) && stem.length > 50);
  }
});

Deno.test("siblingName() never makes the same name twice, in one process", () => {
  const names = Array.from({ length: 1000 }, () => siblingName("x", "stale"));
  assertEquals(new Set(names).size, 1000);
});

Deno.test("parseSiblingName() leaves alone what only looks like one", () => {
  for (
    const name of [
      "cache.stale",
      "cache.stale-12",
      "cache.stale-12-abc",
      "cache.stale-x-0123456789ab",
      "cache.old-12-0123456789ab",
      "cache.stale-12-0123456789ab.txt",
    ]
  ) {
    assertEquals(parseSiblingName(name), undefined, name);
  }
});

Deno.test("listSiblingsIn() finds those of one name and kind, among others", async () => {
  await using dir = TempDir.make();
  const long = "n".repeat(250);
  const mine = [siblingName("cache", "stale"), siblingName("cache", "stale")];
  const others = [
    siblingName("cache", "partial"),
    siblingName("cache2", "stale"),
    siblingName(long, "stale"),
  ];
  for (const name of [...mine, ...others]) Deno.mkdirSync(dir.at(name));
  const file = siblingName("cache", "stale");
  dir.write({ [file]: "somebody else's" });
  using at = openDirectory(dir.path);
  const listed = listSiblingsIn(at, "cache", "stale");
  assertEquals(listed.sort(), [...mine, file].sort());
  assertEquals(listSiblingsIn(at, long, "stale"), [others[2]]);
  // What is no directory is no aside.
  const found = findSiblings(at, "cache", "stale", undefined);
  assertEquals(found.sort(), mine.sort());
});

/** An aside of a directory that is named in other case later. */
function siblingsInOtherCase(at: string): string[] {
  const aside = siblingName("Cache", "stale");
  Deno.mkdirSync(`${at}/${aside}`);
  using directory = openDirectory(at);
  const found = findSiblings(directory, "cache", "stale", undefined);
  assertEquals(listSiblingsIn(directory, "cache", "stale"), found);
  Deno.removeSync(`${at}/${aside}`);
  return found.map((it) => it === aside ? "found" : it);
}

mountTest(
  import.meta.url,
  "findSiblings() finds those of a name in other case, where that is the same",
  TOOLS.exfat,
  async (dir) => {
    const at = await makeFileSystem(dir, "exfat");
    assertEquals(siblingsInOtherCase(at), ["found"]);
    assertEquals(siblingsInOtherCase(dir.path), []);
  },
);

test(
  "openParent() gives the name on the disk, by which asides are swept",
  ["windows"],
  async () => {
    await using dir = TempDir.make();
    assertEquals(siblingsInOtherCase(dir.path), ["found"]);
    dir.write({ "A long name": { file: "x" } });
    using place = openParent(dir.at("a LONG name"));
    assertEquals(place.name, "A long name");
    using missing = openParent(dir.at("Nothing"));
    assertEquals(missing.name, "Nothing");
    Deno.mkdirSync(dir.at(siblingName("A long name", "stale")));
    assertEquals((await clearCache(dir.at("A LONG NAME"))).swept.length, 1);
    assertEquals(namesIn(dir.path), []);
  },
);
