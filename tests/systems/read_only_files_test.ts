/** Read-only files on Windows: of every .git, and of Go's module cache. */

import { assertEquals } from "@std/assert";
import { runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

function setReadOnly(...paths: string[]): void {
  for (const path of paths) Deno.chmodSync(path, 0o444);
}

function isReadOnly(path: string): boolean {
  return (Deno.lstatSync(path).mode! & 0o200) === 0;
}

/** False on exFAT, which has no second names. */
function link(from: string, to: string): boolean {
  try {
    Deno.linkSync(from, to);
    return true;
  } catch {
    return false;
  }
}

async function must(dir: TempDir, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCli(args, { cwd: dir.path });
  assertEquals(code, 0, `${args.join(" ")}: ${stdout}${stderr}`);
  return stderr;
}

/** A tree with a read-only file, at the top and below. */
function makeTree(dir: TempDir, name = "tree", content = "content"): void {
  dir.write({ [name]: { file: content, sub: { file: `${content}, too` } } });
  const sub = dir.at(name, "sub");
  setReadOnly(dir.at(name, "file"), `${sub}\\file`, sub);
}

for (const mode of ["hardlink", "copy", "auto"]) {
  test(
    `rebuild-cache link --mode ${mode} takes read-only files, and replaces them`,
    [
      "windows",
    ],
    async () => {
      await using dir = TempDir.make();
      makeTree(dir);
      makeTree(dir, "old", "something else");
      makeTree(dir, "merged", "something else");
      await must(dir, "link", "--mode", mode, "tree", "new");
      for (const [how, at] of [["replace", "old"], ["merge", "merged"]]) {
        // Who else has it keeps it as it is.
        const kept = dir.at(`kept-${at}`);
        const isKept = link(dir.at(at!, "file"), kept);
        const exists = ["--if-exists", how!];
        await must(dir, "link", "--mode", mode, ...exists, "tree", at!);
        if (!isKept) continue;
        assertEquals(Deno.readTextFileSync(kept), "something else");
        assertEquals(isReadOnly(kept), true);
        Deno.chmodSync(kept, 0o666);
        Deno.removeSync(kept);
      }
      for (const at of ["tree", "new", "old", "merged"]) {
        assertEquals(Deno.readTextFileSync(dir.at(at, "file")), "content");
        assertEquals(isReadOnly(dir.at(at, "file")), true);
      }
      for (const at of ["tree", "new", "old", "merged"]) {
        await must(dir, "--dir", at);
      }
      assertEquals(namesIn(dir.path), []);
    },
  );
}

test("rebuild-cache link --max-links 1 resets, or copies, a read-only file", [
  "windows",
], async () => {
  await using dir = TempDir.make();
  makeTree(dir);
  const limit = ["--mode", "hardlink", "--max-links", "2"];
  for (const how of ["reset", "copy"]) {
    for (const name of ["a", "b", "c"]) {
      const at = `${how}-${name}`;
      await must(dir, "link", ...limit, "--on-link-limit", how, "tree", at);
      assertEquals(Deno.readTextFileSync(dir.at(at, "file")), "content");
      assertEquals(isReadOnly(dir.at(at, "file")), true);
      assertEquals(isReadOnly(dir.at("tree", "file")), true);
    }
  }
});

test("rebuild-cache put, get, ensure, verify and prune take read-only files", [
  "windows",
], async () => {
  await using dir = TempDir.make();
  makeTree(dir);
  const at = ["--dir", "cache", "-vv"];
  const durably = async (...args: string[]) => {
    const said = await must(dir, ...args);
    assertEquals(said.includes("Not flushed"), false, said);
  };
  await durably("put", ...at, "--durable", "key", "tree");
  await must(dir, "get", ...at, "key", "new");
  assertEquals(
    Deno.readTextFileSync(dir.at("new", "sub", "file")),
    "content, too",
  );
  const build = ["cmd", "/c", "copy tree\\file {}\\file && attrib +r {}\\file"];
  await must(
    dir,
    "ensure",
    ...at,
    "--durable",
    "other",
    "built",
    "--",
    ...build,
  );
  assertEquals(Deno.readTextFileSync(dir.at("built", "file")), "content");
  await must(dir, "verify", ...at);
  await must(dir, "prune", ...at, "--max-size", "0");
  await must(dir, "--dir", "cache");
  assertEquals(namesIn(dir.path), ["built", "new", "tree"]);
});
