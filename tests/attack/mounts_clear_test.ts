/**
 * Mounts inside what a clear or a rebuild would remove: refused
 * before anything is touched, or left, with what is in them, and named.
 */

import {
  assertEquals,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { must, runCli } from "../support/command.ts";
import { READ_WRITE, runProgram, startProgram } from "../support/library.ts";
import { unchanged } from "../support/look.ts";
import { mountOf, MOUNTS, toolsFor } from "../support/inner_mounts.ts";
import { mountTest } from "../support/mounts.ts";
import { namesIn } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

const here = import.meta.url;

for (const kind of MOUNTS) {
  // Issue 10, line 3.
  mountTest(
    here,
    `rebuild-cache --dir refuses when there is a ${kind} mount in DIR`,
    toolsFor(kind),
    async (dir) => {
      dir.write({ cache: { a: { b: { m: {} } }, file: "y" } });
      const cache = dir.at("cache");
      const inner = await mountOf(dir, kind, `${cache}/a/b/m`);
      const same = unchanged(cache, inner);
      const flags = [["--recreate"], ["--background"], []];
      const command = ["--", "sh", "-c", "echo x > $1/new", "sh", "{}"];
      for (const more of [...flags, command, ["--in-place", ...command]]) {
        const { code, stderr } = await runCli(["--dir", cache, ...more]);
        same(`after --dir ${more.join(" ")}`);
        assertEquals(code, 2, stderr);
        assertStringIncludes(stderr, `${cache}/a/b/m`);
      }
      assertEquals(namesIn(cache), ["a", "file"]);
    },
  );

  mountTest(
    here,
    `rebuild-cache --dir -- COMMAND leaves a ${kind} mount in the staging of a COMMAND that failed, and so does the next one`,
    toolsFor(kind),
    async (dir) => {
      dir.write({ cache: { old: "x" } });
      const cache = dir.at("cache");
      const inner = await mountOf(dir, kind);
      const same = unchanged(cache, inner);
      const script = 'mkdir -p "$2/a/m" && echo x > "$2/file" &&' +
        ' mount --bind "$1" "$2/a/m" && exit 7';
      const mount = ["sh", "-c", script, "sh", inner, "{}"];
      const failed = await runCli(["--dir", cache, "--", ...mount]);
      same("after the COMMAND that failed");
      assertEquals(failed.code, 7, failed.stderr);
      const staging = stagingsOf(cache)[0];
      assertNotEquals(staging, undefined, "the staging is gone");
      assertStringIncludes(failed.stderr, `${staging}/tree/a/m`);

      const inMount = unchanged(inner, `${staging}/tree/a/m`);
      const touch = ["sh", "-c", 'echo x > "$1/new"', "sh", "{}"];
      for (const args of [["--", ...touch], []]) {
        const next = await runCli(["--dir", cache, ...args]);
        inMount(`after the next run, ${args.join(" ")}`);
        assertStringIncludes(next.stderr, staging!);
      }
    },
  );
}

function stagingsOf(cache: string): string[] {
  const at = cache.lastIndexOf("/");
  return namesIn(cache.slice(0, at))
    .filter((name) => name.startsWith(`${cache.slice(at + 1)}.partial-`))
    .map((name) => `${cache.slice(0, at)}/${name}`);
}

// A killed rebuild's staging by the next rebuild's sweep.
mountTest(
  here,
  "rebuild-cache --dir -- COMMAND leaves a mount in the staging of a rebuild that was killed",
  ["sh"],
  async (dir) => {
    dir.write({ cache: { old: "x" } });
    const cache = dir.at("cache");
    const inner = await mountOf(dir, "tmpfs");
    const script = 'mkdir "$3/m" && mount --bind "$1" "$3/m" && kill -9 $PPID';
    const mount = ["sh", "-c", script, "sh", inner, "x", "{}"];
    await runCli(["--dir", cache, "--", ...mount]);
    const [staging] = stagingsOf(cache);
    assertNotEquals(staging, undefined);
    const same = unchanged(inner);
    const touch = ["sh", "-c", 'echo x > "$1/new"', "sh", "{}"];
    const next = await runCli(["--dir", cache, "--", ...touch]);
    same("after the next rebuild");
    assertEquals(exists(`${cache}/new`), true);
    assertStringIncludes(next.stderr, staging!);
  },
);

for (const kind of MOUNTS) {
  mountTest(
    here,
    `clearCache() and rebuildCache() leave a ${kind} mount in DIR when a program may read and write only`,
    toolsFor(kind),
    async (dir) => {
      const doIt = `import { clearCache, rebuildCache } from "LIBRARY";
        const [what, dir, mount] = Deno.args as [string, string, string];
        const build = (at: string) => Deno.writeTextFileSync(at + "/new", "x");
        const options = what === "recreate" ? { recreate: true }
          : what === "defer" ? { defer: true } : {};
        try {
          const report = what === "rebuild" ? await rebuildCache(dir, build)
            : await clearCache(dir, options);
          const said = JSON.stringify(report);
          if (said.includes(mount)) throw new Error(said); // left, and named
        } catch (error) {
          console.error(String(error));
          Deno.exit(1);
        }`;
      for (const what of ["clear", "recreate", "defer", "rebuild"]) {
        dir.write({ [what]: { a: { m: {} }, file: "y" } });
        const cache = dir.at(what);
        const inner = await mountOf(dir, kind, `${cache}/a/m`);
        const same = unchanged(inner);
        const args = [what, cache, "a/m"];
        const ran = await runProgram(dir, doIt, READ_WRITE, args);
        same(`after ${what}: ${ran.stderr}`);
        assertEquals(ran.code, 1, `${what} of a mount is told as done`);
        assertStringIncludes(ran.stderr, cache);
      }
    },
  );
}

mountTest(
  here,
  "rebuildCache() leaves a mount in the staging of a build that failed when a program may read and write only",
  [],
  async (dir) => {
    dir.write({ cache: { old: "x" } });
    const inner = await mountOf(dir, "bind");
    const build = `import { rebuildCache } from "LIBRARY";
      try {
        await rebuildCache(Deno.args[0]!, async (at: string) => {
          Deno.mkdirSync(at + "/m");
          console.log("built " + at + " end");
          await Deno.stdin.read(new Uint8Array(1));
          throw new Error("of the build");
        });
      } catch (error) { console.error(String(error)); }`;
    await using peer = startProgram(dir, build, READ_WRITE, [dir.at("cache")]);
    await peer.says(" end");
    const staging = /built (.*) end/.exec(peer.heard)![1]!;
    await must("mount", "--bind", inner, `${staging}/m`);
    const same = unchanged(dir.at("cache"), inner);
    const { heard } = await peer.end();
    same("after the build that failed");
    assertStringIncludes(heard, "of the build");
  },
);

// Issue 10, line 3: a file can be a mount point, too.
mountTest(
  here,
  "rebuild-cache --dir refuses when a file in DIR is a mount point",
  [],
  async (dir) => {
    dir.write({ cache: { a: { file: "" } }, letter: "dear" });
    const cache = dir.at("cache");
    await must("mount", "--bind", dir.at("letter"), `${cache}/a/file`);
    const same = unchanged(cache, dir.at("letter"));
    for (const flags of [[], ["--recreate"]]) {
      const { code, stderr } = await runCli(["--dir", cache, ...flags]);
      same("after the clear");
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, `${cache}/a/file`);
    }
  },
);

// What is mounted after the first look.
mountTest(
  here,
  "rebuild-cache --dir -- COMMAND leaves what COMMAND mounted in the old DIR",
  ["sh"],
  async (dir) => {
    for (const kind of ["bind", "tmpfs"] as const) {
      dir.write({ [kind]: { sub: {} } });
      const cache = dir.at(kind);
      const inner = await mountOf(dir, kind);
      const same = unchanged(inner);
      const script = 'mount --bind "$1" "$2/sub" && echo x > "$3/new"';
      const mount = ["sh", "-c", script, "sh", inner, cache, "{}"];
      const ran = await runCli(["--dir", cache, "--", ...mount]);
      same(`after the rebuild: ${ran.stderr}`);
      assertNotEquals(ran.stderr, "", "nobody is told of what was left");
    }
  },
);
