// Trees whose directories are 0555, the top one too, as Go's modules, Nix and Bazel
// make them: an ordinary user can't move, fill or empty one without knowing how.
import { assertEquals } from "@std/assert";
import { must, type Ran, runAsNobody } from "./support/command.ts";
import { test } from "./support/needs.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";
import { exists } from "./support/until.ts";

const NEEDS = ["linux", "root"];

/** A directory of the user's own, in which there is a tree of his. */
async function home(): Promise<TempDir> {
  const dir = TempDir.make();
  dir.write({ source: { file: "content", sub: { deep: { file: "deep" } } } });
  await must("chown", "-R", "65534:65534", dir.path);
  lock(dir.at("source"));
  return dir;
}

function lock(directory: string): void {
  for (const path of ["/sub/deep/file", "/file"]) {
    if (exists(directory + path)) Deno.chmodSync(directory + path, 0o444);
  }
  for (const path of ["/sub/deep", "/sub", ""]) {
    if (exists(directory + path)) Deno.chmodSync(directory + path, 0o555);
  }
}

/** What COMMAND makes: the same tree. */
const BUILD = [
  "sh",
  "-c",
  'mkdir -p "$1/sub/deep"; echo -n content >"$1/file"; ' +
  'echo -n deep >"$1/sub/deep/file"; chmod -R a-w "$1"; chmod 555 "$1"',
  "sh",
  "{}",
];

async function assertDone(ran: Promise<Ran>): Promise<void> {
  const { code, stderr } = await ran;
  assertEquals(code, 0, stderr);
}

/** It is whole, and as unwritable as its source. */
function assertTree(directory: string): void {
  const mode = (path: string) => {
    const { mode } = Deno.lstatSync(directory + path);
    return (mode! & 0o7777).toString(8);
  };
  const modes = ["", "/sub", "/sub/deep", "/file"].map(mode);
  assertEquals(modes, ["555", "555", "555", "444"]);
  assertEquals(Deno.readTextFileSync(`${directory}/file`), "content");
  assertEquals(Deno.readTextFileSync(`${directory}/sub/deep/file`), "deep");
}

for (const mode of ["clone", "hardlink", "copy", "auto"]) {
  test(
    `rebuild-cache link --mode ${mode} puts a 0555 tree in place for a user`,
    NEEDS,
    async () => {
      await using dir = await home();
      const at = [dir.at("source"), dir.at("there")];
      await assertDone(runAsNobody(["link", "--mode", mode, ...at]));
      assertTree(dir.at("there"));
      assertTree(dir.at("source"));
      assertEquals(namesIn(dir.path), ["source", "there"]);
    },
  );
}

test(
  "rebuild-cache link --if-exists replace puts a 0555 tree in another's place",
  NEEDS,
  async () => {
    await using dir = await home();
    dir.write({ there: { old: "old", sub: { old: "old" } } });
    await must("chown", "-R", "65534:65534", dir.at("there"));
    lock(dir.at("there"));
    const at = [dir.at("source"), dir.at("there")];
    await assertDone(runAsNobody(["link", "--if-exists", "replace", ...at]));
    assertTree(dir.at("there"));
    assertEquals(namesIn(dir.at("there")), ["file", "sub"]);
    assertEquals(namesIn(dir.path), ["source", "there"]);
  },
);

test(
  "rebuild-cache link --if-exists merge makes 0555 directories for a user",
  NEEDS,
  async () => {
    await using dir = await home();
    dir.write({ there: { mine: "mine" } });
    await must("chown", "-R", "65534:65534", dir.at("there"));
    const at = [dir.at("source"), dir.at("there")];
    await assertDone(runAsNobody(["link", "--if-exists", "merge", ...at]));
    assertEquals(namesIn(dir.at("there")), ["file", "mine", "sub"]);
    for (const path of ["sub", "sub/deep"]) {
      assertEquals(Deno.statSync(dir.at("there", path)).mode! & 0o777, 0o555);
    }
    const deep = dir.at("there", "sub", "deep", "file");
    assertEquals(Deno.readTextFileSync(deep), "deep");
    assertTree(dir.at("source"));
  },
);

test(
  "rebuild-cache put, get, verify and prune keep a 0555 tree for a user",
  NEEDS,
  async () => {
    await using dir = await home();
    const cache = ["--dir", dir.at("cache")];
    await assertDone(runAsNobody(["put", ...cache, "key", dir.at("source")]));
    await assertDone(runAsNobody(["get", ...cache, "key", dir.at("there")]));
    assertTree(dir.at("there"));
    await assertDone(runAsNobody(["verify", ...cache]));
    await assertDone(runAsNobody(["prune", ...cache, "--max-entries", "0"]));
    const archives = namesIn(dir.at("cache"))
      .filter((name) => name.startsWith("archive-"));
    for (const name of archives) {
      assertEquals(namesIn(dir.at("cache", name)), []);
    }
    assertTree(dir.at("source"));
    await assertDone(runAsNobody(cache));
    assertEquals(exists(dir.at("cache")), false);
  },
);

test(
  "rebuild-cache ensure keeps a 0555 tree that COMMAND made for a user",
  NEEDS,
  async () => {
    await using dir = await home();
    const cache = ["--dir", dir.at("cache")];
    for (const there of ["one", "two"]) {
      const ensure = ["ensure", ...cache, "key", dir.at(there), "--", ...BUILD];
      await assertDone(runAsNobody(ensure, { cwd: dir.path }));
      assertTree(dir.at(there));
    }
  },
);

test(
  "rebuild-cache --dir DIR -- COMMAND swaps one 0555 tree for another",
  NEEDS,
  async () => {
    await using dir = await home();
    for (const _ of ["the first", "over that one"]) {
      const rebuild = ["--dir", dir.at("built"), "--", ...BUILD];
      await assertDone(runAsNobody(rebuild, { cwd: dir.path }));
      assertTree(dir.at("built"));
      assertEquals(namesIn(dir.path), ["built", "source"]);
    }
  },
);

test(
  "rebuild-cache --dir DIR -- COMMAND leaves nothing of a 0555 tree when COMMAND fails",
  NEEDS,
  async () => {
    await using dir = await home();
    const [sh, c, script, ...rest] = BUILD as [string, string, string];
    const build = [sh, c, `${script}; exit 7`, ...rest];
    const rebuild = ["--dir", dir.at("source"), "--", ...build];
    const { code, stderr } = await runAsNobody(rebuild, { cwd: dir.path });
    assertEquals(code, 7, stderr);
    assertTree(dir.at("source"));
    assertEquals(namesIn(dir.path), ["source"]);
  },
);

for (const how of [[], ["--recreate"]]) {
  test(
    `rebuild-cache ${
      [...how, "--dir"].join(" ")
    } clears a 0555 tree for a user`,
    NEEDS,
    async () => {
      await using dir = await home();
      const clear = [...how, "--dir", dir.at("source")];
      await assertDone(runAsNobody(clear));
      const left = how.length > 0 ? ["source"] : [];
      assertEquals(namesIn(dir.path), left);
      if (how.length > 0) assertEquals(namesIn(dir.at("source")), []);
    },
  );
}
