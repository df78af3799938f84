/**
 * Mounts in what `link`, `get` and `ensure` would replace or remove: refused before
 * anything is touched.
 */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { cliCommand, must, runCli } from "../support/command.ts";
import { mountOf, MOUNTS, toolsFor } from "../support/inner_mounts.ts";
import { READ_WRITE, runProgram } from "../support/library.ts";
import { look, unchanged } from "../support/look.ts";
import { mountTest } from "../support/mounts.ts";
import { namesIn } from "../support/temp_dir.ts";

const here = import.meta.url;

for (const kind of MOUNTS) {
  mountTest(
    here,
    `rebuild-cache link, get and ensure refuse to replace a DST with a ${kind} mount inside`,
    toolsFor(kind),
    async (dir) => {
      dir.write({ src: { new: "x" }, dst: { a: { b: { m: {} } }, file: "y" } });
      const [root, dst] = [dir.at("root"), dir.at("dst")];
      await must(...put(root, dir.at("src")));
      const inner = await mountOf(dir, kind, `${dst}/a/b/m`);
      const same = unchanged(dst, inner);
      const names = namesIn(dir.path);
      const touch = ["--", "sh", "-c", 'echo > "$1/new"', "sh", "{}"];
      const replace = ["--if-exists", "replace"];
      for (
        const args of [
          ["link", dir.at("src"), dst, ...replace],
          ["link", dir.at("src"), dst, "--mode", "copy", ...replace],
          ["link", dir.at("src"), dst, "--mode", "symlink", ...replace],
          ["get", "--dir", root, "key", dst, ...replace],
          ["ensure", "--dir", root, "key", dst, ...replace, ...touch],
          ["ensure", "--dir", root, "other", dst, ...replace, ...touch],
        ]
      ) {
        const { code, stderr } = await runCli(args);
        same(`after ${args.join(" ")}`);
        assertEquals(code, 2, `${args.join(" ")}: ${stderr}`);
        assertStringIncludes(stderr, `${dst}/a/b/m`);
        assertEquals(namesIn(dir.path), names);
      }
    },
  );

  // DST is the mount point.
  mountTest(
    here,
    `rebuild-cache link and get refuse to replace a DST that is a ${kind} mount`,
    toolsFor(kind),
    async (dir) => {
      dir.write({ src: { new: "x" }, dst: {} });
      const [root, dst] = [dir.at("root"), dir.at("dst")];
      await must(...put(root, dir.at("src")));
      const inner = await mountOf(dir, kind, dst);
      const same = unchanged(dst, inner);
      for (
        const args of [
          ["link", dir.at("src"), dst, "--if-exists", "replace"],
          ["get", "--dir", root, "key", dst, "--if-exists", "replace"],
        ]
      ) {
        const { code, stderr } = await runCli(args);
        same(`after ${args.join(" ")}`);
        assertEquals(code, 2, `${args.join(" ")}: ${stderr}`);
        assertStringIncludes(stderr, dst);
      }
    },
  );

  // Issue 10, line 3: a merge adds; it takes nothing away.
  mountTest(
    here,
    `rebuild-cache link --if-exists merge takes nothing from a ${kind} mount in DST`,
    toolsFor(kind),
    async (dir) => {
      dir.write({ src: { a: { new: "x" } }, dst: { a: { m: {} } } });
      const inner = await mountOf(dir, kind, dir.at("dst/a/m"));
      const same = unchanged(inner, dir.at("dst/a/m"));
      const args = ["link", dir.at("src"), dir.at("dst")];
      await runCli([...args, "--if-exists", "merge", "--mode", "copy"]);
      same("after the merge");
    },
  );

  mountTest(
    here,
    `linkTree() does not replace a tree with a ${kind} mount inside when a program may read and write only`,
    toolsFor(kind),
    async (dir) => {
      dir.write({ src: { new: "x" }, dst: { a: { m: {} }, file: "y" } });
      const inner = await mountOf(dir, kind, dir.at("dst/a/m"));
      const same = unchanged(inner);
      const text = `import { linkTree } from "LIBRARY";
        const [src, dst] = Deno.args as [string, string];
        try {
          await linkTree(src, dst, { mode: "copy", ifExists: "replace" });
        } catch (error) {
          console.error(String(error));
          Deno.exit(1);
        }`;
      const paths = [dir.at("src"), dir.at("dst")];
      const ran = await runProgram(dir, text, READ_WRITE, paths);
      same(`after linkTree(): ${ran.stderr}`);
      assertEquals(ran.code, 1, "a replaced mount is told as done");
      assertStringIncludes(ran.stderr, dir.at("dst"));
      // Refused before anything was touched, or put back.
      assertEquals(Object.keys(look(dir.at("dst"))).includes("./file"), true);
    },
  );
}

/** The command that puts a tree into a cache. */
function put(root: string, src: string): string[] {
  return cliCommand(["put", "--dir", root, "key", src]);
}

mountTest(
  here,
  "rebuild-cache link refuses a DST in another mount of SRC",
  [],
  async (dir) => {
    dir.write({ src: { sub: { file: "x" } }, other: {}, sub: {} });
    await must("mount", "--bind", dir.at("src"), dir.at("other"));
    await must("mount", "--bind", dir.at("src/sub"), dir.at("sub"));
    const same = unchanged(dir.at("src"));
    for (const dst of ["other/in", "other/sub/in", "sub/in"]) {
      for (const mode of ["copy", "hardlink", "symlink", "auto"]) {
        const args = ["link", dir.at("src"), dir.at(dst), "--mode", mode];
        const { code, stderr } = await runCli(args);
        same(`after ${args.join(" ")}`);
        assertEquals(code, 2, `${args.join(" ")}: ${stderr}`);
        assertStringIncludes(stderr, dir.at(dst));
      }
    }
  },
);
