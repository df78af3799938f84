import { assertEquals, assertRejects } from "@std/assert";
import { linkFile } from "../../lib/link/file.ts";
import { MODES } from "../../lib/link/ladder.ts";
import { linkTree } from "../../lib/link/tree.ts";
import { denoRun, must, runCli } from "../support/command.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const TREE = { a: "content", below: { b: "more" } };

Deno.test("linkTree() shares nothing when the mode is private", async () => {
  await using dir = TempDir.make();
  dir.write({ cached: TREE });
  const mode = "private";
  const tree = await linkTree(dir.at("cached"), dir.at("tree"), { mode });
  assertEquals([tree.hardlinked, tree.symlinked], [0, 0]);
  assertEquals(tree.cloned + tree.copied, 2);
  await linkFile(dir.at("cached", "a"), dir.at("file"), { mode });
  Deno.writeTextFileSync(dir.at("tree", "a"), "CHANGED");
  Deno.writeTextFileSync(dir.at("file"), "CHANGED");
  assertEquals(Deno.readTextFileSync(dir.at("cached", "a")), "content");
});

Deno.test("linkTree() copies and says why when the mode is private and no clone can be proved", async () => {
  await using dir = TempDir.make();
  dir.write({ cached: TREE });
  const script = `
    import { linkTree } from ${
    JSON.stringify(new URL("../../mod.ts", import.meta.url).href)
  };
    const [from, to] = ${JSON.stringify([dir.at("cached"), dir.at("tree")])};
    const { copied, hardlinked, fallbacks } = await linkTree(from, to, {
      mode: "private",
    });
    console.log(JSON.stringify([copied, hardlinked, fallbacks[0].from]));
  `;
  Deno.writeTextFileSync(dir.at("script.ts"), script);
  const [, ...flags] = denoRun("mod.ts").slice(0, -1);
  const out = await must(
    ...[Deno.execPath(), "run", "--no-prompt"],
    ...flags.filter((flag) => flag !== "-A"),
    ...[`--allow-read=${dir.path}`, `--allow-write=${dir.path}`],
    dir.at("script.ts"),
  );
  assertEquals(JSON.parse(out), [2, 0, "clone"]);
});

mountTest(
  import.meta.url,
  "linkTree() clones when the mode is private or reflink, and the file system can",
  ["mkfs.btrfs"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "btrfs");
    Deno.mkdirSync(`${mount}/cached`);
    Deno.writeTextFileSync(`${mount}/cached/a`, "content");
    for (const mode of ["private", "reflink"] as const) {
      const { cloned } = await linkTree(`${mount}/cached`, `${mount}/${mode}`, {
        mode,
      });
      assertEquals(cloned, 1, mode);
    }
  },
);

Deno.test("linkTree() and linkFile() refuse invalid options, and say what was given", async () => {
  await using dir = TempDir.make();
  dir.write({ cached: TREE });
  const wrong: [options: unknown, type: typeof Error, said: string][] = [
    [{ mode: "hardlnik" }, TypeError, '"hardlnik"'],
    [{ mode: 3 }, TypeError, "not 3"],
    [{ ifExists: "overwrite" }, TypeError, '"overwrite"'],
    [{ onLinkLimit: true }, TypeError, "not true"],
    [{ maxLinks: 0 }, RangeError, "not 0"],
    [{ maxLinks: NaN }, RangeError, "not NaN"],
    [{ maxLinks: "7" }, TypeError, '"7"'],
    [{ strict: "yes" }, TypeError, '"yes"'],
    [{ signal: {} }, TypeError, "Object"],
    [null, TypeError, "not null"],
  ];
  const trees: typeof wrong = [
    [{ jobs: 0 }, RangeError, "not 0"],
    [{ wait: -1 }, RangeError, "not -1"],
    [{ include: "*.js" }, TypeError, '"*.js"'],
    [{ mutable: [1] }, TypeError, "not 1"],
    [{ onProgress: "tell" }, TypeError, '"tell"'],
  ];
  for (const [options, type, said] of [...wrong, ...trees]) {
    const call = () =>
      linkTree(dir.at("cached"), dir.at("to"), options as object);
    await assertRejects(call, type, said);
  }
  for (const [options, type, said] of wrong) {
    const call = () =>
      linkFile(dir.at("cached", "a"), dir.at("to"), options as object);
    await assertRejects(call, type, said);
  }
  for (const path of ["", 7, undefined, new URL("https://example.com/a")]) {
    const to = dir.at("to");
    await assertRejects(() => linkTree(path as string, to), TypeError, "src");
    await assertRejects(() => linkFile(to, path as string), TypeError, "dst");
  }
  assertEquals(namesIn(dir.path), ["cached"]);
});

test("rebuild-cache link takes every mode", ["posix"], async () => {
  await using dir = TempDir.make();
  dir.write({ cached: TREE });
  for (const mode of MODES) {
    const at = [dir.at("cached"), dir.at(mode)] as const;
    const { code, stderr } = await runCli(["link", "--mode", mode, ...at]);
    assertEquals([code, stderr], [0, ""]);
  }
});
