import { assert, assertEquals } from "@std/assert";
import {
  findSiblings,
  listSiblingsIn,
  parseSiblingName,
  siblingName,
} from "../../lib/fs/names.ts";
import { openDirectory } from "../../lib/fs/open.ts";
import { TempDir } from "../support/temp_dir.ts";

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
