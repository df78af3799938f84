/** What only macOS has: APFS and its clones, disk images, flags of files. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { clearCache } from "../../lib/clear/clear.ts";
import { linkTree } from "../../lib/link/tree.ts";
import { probe } from "../../lib/link/probe.ts";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { must, runCli } from "../support/command.ts";
import { type ImageKind, mountImage } from "../support/images.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

/** What is known of each kind: clones, a swap by one call, hard links. */
const KINDS: [
  ImageKind,
  clones: boolean,
  exchanges: boolean,
  links: boolean,
][] = [
  ["APFS", true, true, true],
  ["Case-sensitive APFS", true, true, true],
  ["HFS+", false, false, true],
  ["ExFAT", false, false, false],
  ["MS-DOS", false, false, false],
];

for (const [kind, clones, exchanges, links] of KINDS) {
  test(`a cache works on ${kind}`, ["darwin", "ffi"], async () => {
    await using dir = TempDir.make();
    await using mount = await mountImage(dir, kind);
    const at = (name: string) => `${mount.path}/${name}`;
    const found = await probe(mount.path);
    assertEquals([found.clone.works, found.hardlink.works], [clones, links]);
    assertEquals(found.caseSensitive, kind === "Case-sensitive APFS");
    // HFS+ stores an accent as a letter of its own (NFD).
    dir.write({ tree: { "é": "content", sub: { file: "more" } } }, mount.path);
    const cache = openCache(at("cache"));
    await cache.put("key", at("tree"));
    using entry = (await cache.get("key"))!;
    await entry.link(at("got"));
    await linkTree(at("tree"), at("linked"));
    for (const name of ["got", "linked"]) {
      assertEquals(Deno.readTextFileSync(at(`${name}/é`)), "content");
      assertEquals(Deno.readTextFileSync(at(`${name}/sub/file`)), "more");
    }
    assertEquals((await cache.verify()).damaged, []);
    for (const last of [false, true]) {
      const { exchanged } = await rebuildCache(at("rebuilt"), (it) => {
        Deno.writeTextFileSync(`${it}/file`, "x");
      });
      assertEquals(exchanged, last && exchanges);
    }
    for (const name of ["got", "linked", "rebuilt"]) {
      assertEquals((await clearCache(at(name))).failures, []);
    }
  });
}

test("rebuild-cache refuses a directory with a disk image mounted in it", [
  "darwin",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { deep: { inner: {} }, file: "x" } });
  const inner = dir.at("cache", "deep", "inner");
  await using _ = await mountImage(dir, "HFS+", inner);
  Deno.writeTextFileSync(`${inner}/file`, "kept");
  for (
    const args of [["--dir", dir.at("cache")], [
      ...["--dir", dir.at("cache"), "--"],
      ...["sh", "-c", "touch {}/new"],
    ]]
  ) {
    const { code, stderr } = await runCli(args);
    assert(code === 2 || code === 1, `${code}: ${stderr}`);
    assertStringIncludes(stderr, "inner");
  }
  assertEquals(Deno.readTextFileSync(`${inner}/file`), "kept");
  assertEquals(namesIn(dir.at("cache")), ["deep", "file"]);
});

test("linkTree() clones a directory with all that its entries have", [
  "darwin",
  "ffi",
], async () => {
  await using dir = TempDir.make();
  dir.write({ src: { file: "content", sub: { run: "#!/bin/sh" } } });
  const src = (name: string) => dir.at("src", name);
  Deno.symlinkSync("file", src("link"));
  await must("xattr", "-w", "user.test", "value", src("file"));
  await must("touch", "-h", "-t", "202001020304", src("link"));
  Deno.utimeSync(src("file"), 1_000_000_000, 1_000_000_000);
  Deno.chmodSync(src("sub/run"), 0o755);
  Deno.utimeSync(src("sub"), 1_100_000_000, 1_100_000_000);
  Deno.chmodSync(src("sub"), 0o555);
  const report = await linkTree(dir.at("src"), dir.at("new"));
  assertEquals([report.cloned, report.copied], [2, 0]);
  const told = (root: string) =>
    ["file", "link", "sub", "sub/run"].map((name) => {
      const { mode, mtime, size } = Deno.lstatSync(dir.at(root, name));
      return [name, (mode ?? 0).toString(8), mtime?.getTime(), size];
    });
  assertEquals(told("new"), told("src"));
  assertEquals(
    await must("xattr", "-p", "user.test", dir.at("new", "file")),
    "value\n",
  );
  for (const name of ["new", "src"]) Deno.chmodSync(dir.at(name, "sub"), 0o755);
});

test("a file that may not be changed is cloned, and named by a clear", [
  "darwin",
  "ffi",
], async () => {
  await using dir = TempDir.make();
  dir.write({ src: { file: "content" } });
  await must("chflags", "uchg", dir.at("src", "file"));
  try {
    await linkTree(dir.at("src"), dir.at("new"));
    const { outcome, failures } = await clearCache(dir.at("new"), {
      busyTimeout: 100,
    });
    if (outcome === "incomplete") {
      assertEquals(failures.map(({ kind }) => kind), ["permission"]);
    }
  } finally {
    await must("chflags", "-R", "nouchg", dir.path);
  }
});

test("linkTree() keeps owners when root clones, and a keyed cache does not", [
  "darwin",
  "root",
  "ffi",
], async () => {
  await using dir = TempDir.make();
  dir.write({ src: { file: "content" } });
  Deno.chownSync(dir.at("src", "file"), 501, 20);
  Deno.chmodSync(dir.at("src", "file"), 0o4755);
  await linkTree(dir.at("src"), dir.at("new"));
  assertEquals(Deno.lstatSync(dir.at("new", "file")).uid, 501);
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("src"));
  using entry = (await cache.get("key"))!;
  await entry.link(dir.at("got"));
  const { uid, mode } = Deno.lstatSync(dir.at("got", "file"));
  assertEquals([uid, mode! & 0o7000], [0, 0]);
});

test("linkTree() gives each file whole while its source changes", [
  "darwin",
  "ffi",
], async () => {
  await using dir = TempDir.make();
  dir.write({ src: {} });
  const write = (letter: string) => {
    for (let i = 0; i < 20; i++) {
      Deno.writeTextFileSync(dir.at("new-file"), letter.repeat(1 << 20));
      Deno.renameSync(dir.at("new-file"), dir.at("src", `${i}`));
    }
  };
  write("a");
  for (let round = 0; round < 5; round++) {
    const linking = linkTree(dir.at("src"), dir.at(`to-${round}`));
    write("bcdef"[round]!);
    await linking;
    for (const name of namesIn(dir.at(`to-${round}`))) {
      const text = Deno.readTextFileSync(dir.at(`to-${round}`, name));
      assertEquals(text, text[0]!.repeat(1 << 20));
    }
  }
});

test("a cache and its asides are found in other case on APFS", [
  "darwin",
], async () => {
  await using dir = TempDir.make();
  if (!namesFold(dir)) return; // a system on case-sensitive APFS
  dir.write({ tree: { file: "x" }, Cache: { file: "x" } });
  await openCache(dir.at("STORE")).put("key", dir.at("TREE"));
  using entry = (await openCache(dir.at("store")).get("key"))!;
  assertEquals(namesIn(entry.path), ["file"]);
  await clearCache(dir.at("Cache"), { defer: true });
  assertEquals((await clearCache(dir.at("cache"))).swept.length, 1);
});

test("verify names a .DS_Store that the Finder has written into an archive", [
  "darwin",
], async () => {
  await using dir = TempDir.make();
  dir.write({ tree: { file: "x" } });
  const cache = openCache(dir.at("cache"));
  const { id } = await cache.put("key", dir.at("tree"));
  const tree = dir.at("cache", "archive-v1", id, "tree");
  Deno.writeTextFileSync(`${tree}/.DS_Store`, "x");
  const { damaged } = await cache.verify();
  assertStringIncludes(JSON.stringify(damaged), ".DS_Store");
});

function namesFold(dir: TempDir): boolean {
  dir.write({ folds: "x" });
  try {
    Deno.removeSync(dir.at("FOLDS"));
    return true;
  } catch {
    return false;
  }
}
