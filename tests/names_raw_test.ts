// Names that are not UTF-8: to Linux a name is bytes, and none of them is lost.
import { assert, assertEquals } from "@std/assert";
import {
  differences,
  look,
  makeAllKinds,
  rawNames,
} from "./support/all_kinds.ts";
import { runAsNobody, runCli } from "./support/command.ts";
import { test } from "./support/needs.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";

const NEEDS = ["linux", "python3", "find"];
const MODES = ["clone", "hardlink", "copy", "symlink", "auto"];

/** A tree whose names are not UTF-8, some beside the twin that a lossy reading gives. */
async function make(dir: TempDir, name: string): Promise<string> {
  await makeAllKinds(dir.at(name), ["names"], Deno.uid()!);
  Deno.chmodSync(dir.at(name), 0o755); // so that it can go
  return dir.at(name);
}

/** Runs it, and throws if it fails. */
async function cli(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCli(args);
  assertEquals(code, 0, stderr);
  return stdout;
}

/** Names and contents are the same, byte by byte. */
async function assertSame(source: string, destination: string): Promise<void> {
  assertEquals(await rawNames(destination), await rawNames(source));
  const [was, is] = [await look(source), await look(destination)];
  assertEquals(differences(was, is, ["kind", "mode", "content"]), []);
}

for (const mode of MODES) {
  test(
    `rebuild-cache link --mode ${mode} keeps names that are not UTF-8`,
    NEEDS,
    async () => {
      await using dir = TempDir.make();
      const source = await make(dir, "source");
      const before = await rawNames(source);
      await cli("link", "--mode", mode, source, dir.at("there"));
      if (mode === "symlink") {
        const kinds = (names: string[]) =>
          names.map((it) => it.slice(2)).sort();
        const names = await rawNames(dir.at("there"));
        assertEquals(kinds(names), kinds(before));
        const there = await look(dir.at("there"));
        for (const { path, kind, content } of await look(source)) {
          if (kind !== "file") continue;
          const link = there.find((it) => it.path === path);
          assertEquals(link?.kind, "link");
          assertEquals(link?.content, source + path);
          assert(content);
        }
      } else await assertSame(source, dir.at("there"));
      assertEquals(await rawNames(source), before);
    },
  );

  test(
    `rebuild-cache link --mode ${mode} --if-exists merge keeps names that are not UTF-8`,
    NEEDS,
    async () => {
      await using dir = TempDir.make();
      const source = await make(dir, "source");
      const there = dir.at("there");
      const merge = ["link", "--if-exists", "merge", "--mode", mode];
      // Only one of the twins stands there; then all of them do.
      Deno.mkdirSync(`${there}/names/dir-\ufffd`, { recursive: true });
      Deno.chmodSync(`${there}/names/dir-\ufffd`, 0o777); // as in the source
      Deno.writeTextFileSync(`${there}/names/file-\ufffd`, "old");
      await cli(...merge, source, there);
      await cli(...merge, source, there);
      const bare = (names: string[]) => names.map((it) => it.slice(2)).sort();
      const names = bare(await rawNames(there));
      assertEquals(names, bare(await rawNames(source)));
      if (mode !== "symlink") await assertSame(source, there);
    },
  );
}

test(
  "rebuild-cache link --if-exists replace takes names away that are not UTF-8",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    const there = await make(dir, "there");
    dir.write({ source: { new: "new" } });
    await cli("link", "--if-exists", "replace", dir.at("source"), there);
    assertEquals(await rawNames(there), ["f new"]);
    assertEquals(namesIn(dir.path), ["source", "there"]);
  },
);

test(
  "rebuild-cache put, get, verify and prune keep names that are not UTF-8",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    const source = await make(dir, "source");
    const cache = ["--dir", dir.at("cache")];
    await cli("put", ...cache, "key", source);
    await cli("get", ...cache, "key", dir.at("there"));
    await assertSame(source, dir.at("there"));
    const verified = JSON.parse(await cli("verify", ...cache, "--json"));
    assertEquals(verified.result.archives, 1);
    assertEquals(verified.result.damaged ?? [], []);
    await cli("prune", ...cache);
    await cli("get", ...cache, "key", dir.at("again"));
    await assertSame(source, dir.at("again"));
    await cli("prune", ...cache, "--max-entries", "0");
    assertEquals(
      JSON.parse(await cli("ls", ...cache, "--json")).result.entries,
      [],
    );
    const left = (await rawNames(dir.at("cache"))).filter((name) =>
      name.includes("\xff")
    );
    assertEquals(left, []);
  },
);

test(
  "rebuild-cache ensure builds a tree with names that are not UTF-8",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    const source = await make(dir, "source");
    const cache = ["--dir", dir.at("cache")];
    for (const there of ["one", "two"]) {
      const copy = ["sh", "-c", 'cp -r "$0/." "$1"', source, "{}"];
      await cli("ensure", ...cache, "key", dir.at(there), "--", ...copy);
      assertEquals(await rawNames(dir.at(there)), await rawNames(source));
    }
  },
);

test(
  "rebuild-cache --dir clears names that are not UTF-8",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    const cache = await make(dir, "cache");
    await cli("--dir", cache);
    assertEquals(namesIn(dir.path), []);
  },
);

test(
  "rebuild-cache --dir clears names that are not UTF-8 in place",
  [...NEEDS, "root"],
  async () => {
    await using dir = TempDir.make();
    Deno.chmodSync(dir.path, 0o755);
    const cache = dir.at("cache");
    await makeAllKinds(cache, ["names"], 65534);
    // In a directory in which the user can't rename anything.
    Deno.chmodSync(cache, 0o555);
    const { code, stderr } = await runAsNobody(["--dir", `${cache}/names`]);
    assertEquals(code, 0, stderr);
    assertEquals(await rawNames(cache), ["d names"]);
  },
);

test(
  "rebuild-cache --dir DIR -- COMMAND builds names that are not UTF-8",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    const source = await make(dir, "source");
    const cache = await make(dir, "cache");
    const copy = ["sh", "-c", 'cp -r "$0/names/." "$1"', source, "{}"];
    await cli("--dir", cache, "--", ...copy);
    assertEquals(await rawNames(cache), await rawNames(`${source}/names`));
    assertEquals(namesIn(dir.path), ["cache", "source"]);
  },
);

test(
  "rebuild-cache link copies a tree whose own name is a replacement character",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    dir.write({ "\ufffd": { file: "content" } });
    await cli("link", dir.at("\ufffd"), dir.at("there-\ufffd"));
    assertEquals(await rawNames(dir.at("there-\ufffd")), ["f file"]);
  },
);

test(
  "rebuild-cache link --if-exists merge loses no file beside its lossy twin",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    const source = dir.at("source");
    await makeAllKinds(source, ["twins"], Deno.uid()!);
    Deno.chmodSync(source, 0o755);
    Deno.mkdirSync(dir.at("there"));
    for (const mode of ["copy", "hardlink"]) {
      const merge = ["link", "--if-exists", "merge", "--mode", mode];
      await cli(...merge, source, dir.at("there"));
      await assertSame(source, dir.at("there"));
    }
  },
);
