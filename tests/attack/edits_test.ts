/**
 * A keyed cache of which a bit, a line or a whole content is not what was written:
 * damage, or a miss, in one line; never a crash, and never the wrong thing.
 */

import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import { cliCommand, must, runCli } from "../support/command.ts";
import { archiveIn } from "../support/forged.ts";
import { ALL, runProgram } from "../support/library.ts";
import { TempDir } from "../support/temp_dir.ts";

const TREE = { file: "content", sub: { inner: "more", empty: "" } };

/** What is told of one edit: how each operation ended. */
interface Told {
  edit: string;
  /** Errors that are not the library's. */
  crashed: string[];
  /** What `get` handed out, as text. */
  got: string | undefined;
  /** Whether `verify` found damage. */
  damaged: boolean;
  /** Whether what `entries` told was as before, or nothing. */
  listed: boolean;
}

/**
 * Does the edits of a file in a cache one by one, with the cache made whole before
 * each. In one process, since there are hundreds.
 */
const EDITS = `import * as library from "LIBRARY";
  const { openCache, CacheError, LinkError } = library;
  const [at, file, edits] = Deno.args;
  const whole = Deno.readFileSync(at + "/whole/" + file);
  const before = JSON.stringify(sums(openCache(at + "/whole")));
  function sums(cache) {
    return cache.entries().map(({ key, bucket, bytes, files }) =>
      [key, bucket, bytes, files]);
  }
  function copyTree(from, to) {
    const info = Deno.lstatSync(from);
    if (info.isSymlink) Deno.symlinkSync(Deno.readLinkSync(from), to);
    else if (info.isFile) Deno.copyFileSync(from, to);
    else {
      Deno.mkdirSync(to);
      for (const { name } of Deno.readDirSync(from)) {
        copyTree(from + "/" + name, to + "/" + name);
      }
    }
    if (!info.isSymlink) Deno.utimeSync(to, info.atime, info.mtime);
  }
  function remove(path) {
    try {
      Deno.removeSync(path, { recursive: true });
    } catch {} // not there
  }
  function copy() {
    remove(at + "/root");
    copyTree(at + "/whole", at + "/root");
  }
  function show(path, name = "") {
    const { isFile } = Deno.lstatSync(path);
    if (isFile) return name + " is " + Deno.readTextFileSync(path) + "; ";
    return name + "/; " + [...Deno.readDirSync(path)].map((it) => it.name).sort()
      .map((inner) => show(path + "/" + inner, name + "/" + inner)).join("");
  }
  for (const edit of JSON.parse(edits)) {
    copy();
    const bytes = typeof edit.bit === "number"
      ? whole.map((byte, i) => i === edit.bit ? byte ^ (1 << (i % 8)) : byte)
      : new TextEncoder().encode(edit.text);
    Deno.writeFileSync(at + "/root/" + file, bytes);
    const told = { edit: JSON.stringify(edit), crashed: [], damaged: false };
    const attempt = async (what, work) => {
      try {
        return await work(openCache(at + "/root"));
      } catch (error) {
        const known = error instanceof CacheError || error instanceof LinkError;
        if (!known) told.crashed.push(what + ": " + error);
      }
    };
    told.listed = await attempt("entries", (cache) => {
      const now = JSON.stringify(sums(cache));
      return now === before || now === "[]";
    }) ?? true;
    remove(at + "/out");
    await attempt("get", async (cache) => {
      using entry = await cache.get("key");
      if (!entry) return;
      await entry.link(at + "/out", { mode: "copy" });
      told.got = show(at + "/out");
    });
    await attempt("prune", (cache) => cache.prune({ maxSize: 1e9 }));
    copy();
    Deno.writeFileSync(at + "/root/" + file, bytes);
    const report = await attempt("verify", (cache) => cache.verify());
    told.damaged = report === undefined || report.damaged.length > 0;
    console.log(JSON.stringify(told));
  }`;

async function makeCache(dir: TempDir): Promise<string> {
  dir.write({ src: TREE });
  const root = ["--dir", dir.at("whole")];
  await must(...cliCommand(["put", "key", dir.at("src"), ...root]));
  return `${
    archiveIn(dir.at("whole")).slice(dir.at("whole").length + 1)
  }/manifest`;
}

async function doEdits(
  dir: TempDir,
  file: string,
  edits: readonly ({ bit: number } | { text: string })[],
): Promise<Told[]> {
  const args = [dir.path, file, JSON.stringify(edits)];
  const { code, stdout, stderr } = await runProgram(dir, EDITS, ALL, args);
  assertEquals(code, 0, stderr);
  const told = stdout.trim().split("\n").map((it) => JSON.parse(it));
  assertEquals(told.length, edits.length);
  return told;
}

// One flipped bit at each position.
Deno.test("Cache takes one flipped bit in a manifest for damage or a miss", async () => {
  await using dir = TempDir.make();
  const manifest = await makeCache(dir);
  const { size } = Deno.statSync(dir.at("whole", manifest));
  const bits = Array.from({ length: size }, (_, bit) => ({ bit }));
  const told = await doEdits(dir, manifest, [{
    text: Deno.readTextFileSync(dir.at("whole", manifest)),
  }, ...bits]);
  const [whole, ...flipped] = told;
  assert(whole!.got?.includes("inner") && !whole!.damaged && whole!.listed);
  const wrong = flipped.filter(({ crashed, got, damaged }) =>
    crashed.length > 0 || got !== undefined && got !== whole!.got || !damaged
  );
  wrong.sort((a, b) => b.crashed.length - a.crashed.length);
  assertEquals(wrong.slice(0, 5), [], `${wrong.length} are wrong`);
});

// A header that was edited by hand.
Deno.test("Cache takes an edited header of a manifest for damage, and counts nothing wrong", async () => {
  await using dir = TempDir.make();
  const manifest = await makeCache(dir);
  const text = Deno.readTextFileSync(dir.at("whole", manifest));
  const [first, ...rest] = text.split("\n");
  const header = JSON.parse(first!);
  const edits = [
    { files: 7 },
    { files: "2" },
    { files: null },
    { files: -1 },
    { bytes: 1e15 },
    { bytes: 0.5 },
    { bytes: "many" },
    { bytes: undefined },
    { diskBytes: -1 },
    { diskBytes: undefined },
    { directories: 0 },
    { key: "other" },
    { key: "" },
    { key: 7 },
    { bucket: "other" },
    { bucket: "../x" },
    { created: "2020-01-01T00:00:00.000Z" },
    { created: "soon" },
    { created: 7 },
    { digest: "0".repeat(64) },
    { digest: 7 },
    { version: 99 },
    { version: "2" },
    { more: "than there was" },
  ].map((edit) => JSON.stringify({ ...header, ...edit }));
  const lines = [...edits, "[]", "null", "7", '"text"', "{}", "", "{"];
  const told = await doEdits(
    dir,
    manifest,
    lines.map((line) => ({ text: [line, ...rest].join("\n") })),
  );
  const wrong = told.filter(({ crashed, damaged }) =>
    crashed.length > 0 || !damaged
  );
  assertEquals(wrong.slice(0, 5), [], `${wrong.length} are wrong`);
});

Deno.test("rebuild-cache ls and prune --max-size count nothing that is no number", async () => {
  await using dir = TempDir.make();
  const manifest = dir.at("whole", await makeCache(dir));
  const root = ["--dir", dir.at("whole")];
  await must(...cliCommand(["put", "other", dir.at("src"), ...root]));
  const [first, ...rest] = Deno.readTextFileSync(manifest).split("\n");
  for (const bytes of ["many", null, { a: 1 }, -5, 0.5]) {
    const line = JSON.stringify({ ...JSON.parse(first!), bytes });
    Deno.writeTextFileSync(manifest, [line, ...rest].join("\n"));
    const { stdout, stderr } = await runCli(["ls", "--json", ...root]);
    const { result, entries = result?.entries ?? result } = JSON.parse(stdout);
    assert(Array.isArray(entries), stdout);
    assertEquals(stderr.includes("    at "), false, stderr);
    for (const { bytes, files } of entries) {
      assert(Number.isSafeInteger(bytes) && bytes >= 0, stdout);
      assert(Number.isSafeInteger(files), stdout);
    }
    assert(!/NaN|object|many/.test((await runCli(["ls", ...root])).stdout));
  }
  const pruned = await runCli(["prune", "--max-size", "1", "--json", ...root]);
  assertEquals(pruned.code, 0, pruned.stderr);
  assert(!/NaN|"many/.test(pruned.stdout), pruned.stdout);
  assertEquals([...Deno.readDirSync(dir.at("whole", "archive-v1"))], []);
});

// As a power cut leaves it.
Deno.test("rebuild-cache takes a cache whose tag is empty for a cache", async () => {
  await using dir = TempDir.make();
  await makeCache(dir);
  const root = ["--dir", dir.at("whole")];
  Deno.truncateSync(dir.at("whole/CACHEDIR.TAG"), 0);
  for (
    const args of [
      ["verify"],
      ["ls"],
      ["get", "key", dir.at("out")],
      ["prune"],
      ["put", "key", dir.at("src")],
      ["prune", "--max-entries", "0"],
    ]
  ) {
    const ran = await runCli([...args, ...root]);
    assertEquals(ran.code, 0, `${args.join(" ")}: ${ran.stderr}`);
  }
  assert(Deno.statSync(dir.at("whole/CACHEDIR.TAG")).size > 0);
});

// A blob that has its name and none of its content.
Deno.test("Cache.blob() gives out no blob of 0 bytes", async () => {
  await using dir = TempDir.make();
  const content = "the content";
  const digest = createHash("sha256").update(content).digest("hex");
  const text = `import { openCache } from "LIBRARY";
    const [root, digest, dst, size] = Deno.args;
    const cache = openCache(root);
    await cache.blob(digest, dst, {
      ...size && { size: Number(size) },
      fetch: (path) => Deno.writeTextFileSync(path, ${JSON.stringify(content)}),
    });`;
  let n = 0;
  for (const size of ["", `${content.length}`]) {
    const get = async () => {
      const dst = dir.at(`out-${n++}`);
      const args = [dir.at("root"), digest, dst, size];
      const { code, stderr } = await runProgram(dir, text, ALL, args);
      assertEquals(code, 0, stderr);
      assertEquals(Deno.readTextFileSync(dst), content);
    };
    await get();
    const blob = dir.at("root/blobs-v0", digest.slice(0, 2), digest);
    Deno.chmodSync(blob, 0o644);
    Deno.removeSync(blob);
    Deno.writeTextFileSync(blob, "");
    await get();
    await get();
  }
});
