/** Spellings of paths that only Windows has. */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { runCli } from "../support/command.ts";
import { READ_WRITE, runProgram } from "../support/library.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

test(
  "rebuild-cache takes \\\\?\\C:\\…, and what other spellings say the same",
  [
    "windows",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ src: { file: "content", sub: { file: "more" } } });
    const verbatim = `\\\\?\\${dir.path}`;
    for (const at of [verbatim, verbatim.replaceAll("\\", "/"), dir.path]) {
      const must = async (...args: string[]) => {
        const { code, stdout, stderr } = await runCli(args);
        assertEquals(code, 0, `${args.join(" ")}: ${stdout}${stderr}`);
        return stdout;
      };
      const cache = ["--dir", `${at}\\cache${at === dir.path ? "." : ""}`];
      await must("link", `${at}\\src`, `${at}\\new`);
      await must("put", ...cache, "key", `${at}\\SRC`);
      await must("get", ...cache, "key", `${at}\\got`);
      for (const name of ["new", "got"]) {
        assertEquals(
          Deno.readTextFileSync(dir.at(name, "sub", "file")),
          "more",
        );
      }
      const said = await must("--dir", `${at}\\new`, "--dry-run");
      assertStringIncludes(said, `Would clear ${dir.at("new")} `);
      for (const name of ["new", "got", "cache"]) {
        await must("--dir", `${at}\\${name}`);
      }
      assertEquals(namesIn(dir.path), ["src"]);
    }
  },
);

test(
  "rebuild-cache refuses roots, devices, streams and other drives' directories",
  [
    "windows",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { file: "x" } });
    const drive = dir.path[0] === "C" ? "D" : "C";
    for (
      const [path, why] of [
        ["\\\\?\\UNC\\localhost\\c$", /the root of a file system/],
        ["\\\\localhost\\c$", /the root of a file system/],
        [`\\\\?\\${dir.path.slice(0, 3)}`, /the root of a file system/],
        [`\\\\.\\${dir.path}\\cache`, /it is a device/],
        ["\\\\?\\Volume{b75e2c83-0000-0000-0000-602f00000000}\\a", /a device/],
        [`${dir.path}\\cache::$INDEX_ALLOCATION`, /a colon/],
        [`${drive}:cache`, /its working directory/],
      ] as const
    ) {
      for (const args of [["--dir", path], ["link", path, dir.at("new")]]) {
        const { code, stdout, stderr } = await runCli(args, { cwd: dir.path });
        // A link only reads what it is given.
        if (args[0] === "link" && why.source.includes("root")) continue;
        assertEquals(code, 2, `${path}: ${stdout}${stderr}`);
        assertMatch(stderr, why, path);
      }
    }
    assertEquals(namesIn(dir.at("cache")), ["file"]);
  },
);

test(
  "clearCache() and linkTree() fail on a share that Deno may not reach, and never take it for missing",
  [
    "windows",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ src: { file: "x" } });
    // Deno takes a share for no file unless all is allowed.
    const share = `\\\\localhost\\${dir.path[0]}$${dir.path.slice(2)}`;
    const text = `import { clearCache, linkTree } from "LIBRARY";
    const [share, src] = Deno.args;
    for (const call of [
      () => clearCache(share + "\\\\src"),
      () => linkTree(share + "\\\\src", src + "2"),
      () => linkTree(src, share + "\\\\new"),
    ]) console.log(await call().then((it) => it.outcome, ({ kind }) => kind));`;
    const args = [share, dir.at("src")];
    const { stdout, stderr } = await runProgram(dir, text, READ_WRITE, args);
    assertEquals(
      stdout.trim().split(/\s+/),
      Array(3).fill("not-capable"),
      stderr,
    );
    assertEquals(namesIn(dir.at("src")), ["file"]);
  },
);
