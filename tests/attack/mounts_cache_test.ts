/**
 * Mounts in a keyed cache: in a staging whose COMMAND failed, in an archive that
 * is evicted. They are left, with what is in them, and named.
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { cliCommand, must, runCli } from "../support/command.ts";
import { mountOf, MOUNTS, toolsFor } from "../support/inner_mounts.ts";
import { READ_WRITE, runProgram, startProgram } from "../support/library.ts";
import { pathIn, unchanged } from "../support/look.ts";
import { mountTest } from "../support/mounts.ts";

const here = import.meta.url;

for (const kind of MOUNTS) {
  mountTest(
    here,
    `rebuild-cache ensure leaves a ${kind} mount in the staging of a COMMAND that failed, and so does prune`,
    toolsFor(kind),
    async (dir) => {
      const root = dir.at("root");
      const inner = await mountOf(dir, kind);
      const same = unchanged(inner);
      const script = 'mkdir -p "$2/a/m" && echo x > "$2/file" &&' +
        ' mount --bind "$1" "$2/a/m" && exit 7';
      const mount = ["sh", "-c", script, "sh", inner, "{}"];
      const ensure = ["ensure", "--dir", root, "key", dir.at("dst")];
      const failed = await runCli([...ensure, "--", ...mount]);
      same("after the COMMAND that failed");
      assertEquals(failed.code, 7, failed.stderr);
      const point = pathIn(root, "/a/m");
      assertStringIncludes(failed.stderr, point);

      const touch = ["sh", "-c", 'echo x > "$1/new"', "sh", "{}"];
      const next = await runCli([...ensure, "--", ...touch]);
      same("after the next ensure");
      assertEquals(next.code, 0, next.stderr);
      for (const more of [[], ["--max-entries", "0"]]) {
        const pruned = await runCli(["prune", "--dir", root, ...more]);
        same(`after prune ${more.join(" ")}`);
        assertEquals(pruned.code, 1, "a mount that is left is told as done");
        assertNamesMount(pruned.stderr, point);
      }
    },
  );

  // Issue 10, line 3.
  mountTest(
    here,
    `rebuild-cache prune and verify leave a ${kind} mount in an archive`,
    toolsFor(kind),
    async (dir) => {
      const { root, inner, point } = await cacheWithMount(dir, kind);
      const same = unchanged(inner);
      await runCli(["verify", "--dir", root]);
      same("after verify");
      await runCli(["get", "--dir", root, "key", dir.at("dst")]);
      same("after get");
      const args = ["prune", "--dir", root, "--max-entries", "0"];
      const { code, stderr } = await runCli(args);
      same("after prune");
      assertEquals(code, 1, `a mount that is left is told as done: ${stderr}`);
      assertNamesMount(stderr, point);
      // The cache as a whole is a DIR with a mount in it.
      const clear = await runCli(["--dir", root]);
      same("after a clear of the cache");
      assertEquals(clear.code, 2, clear.stderr);
    },
  );

  mountTest(
    here,
    `Cache.prune() leaves a ${kind} mount in an archive when a program may read and write only`,
    toolsFor(kind),
    async (dir) => {
      const { root, inner } = await cacheWithMount(dir, kind);
      const same = unchanged(inner);
      const text = `import { openCache } from "LIBRARY";
        const report = await openCache(Deno.args[0]!).prune({ maxEntries: 0 });
        console.log(JSON.stringify(report.failures));
        Deno.exit(report.failures.length > 0 ? 1 : 0);`;
      const ran = await runProgram(dir, text, READ_WRITE, [root]);
      same(`after prune: ${ran.stdout}${ran.stderr}`);
      assertEquals(ran.code, 1, "a mount that is left is told as done");
    },
  );
}

type Dir = Parameters<Parameters<typeof mountTest>[3]>[0];

/** A cache of one key, in whose archive something is mounted. */
async function cacheWithMount(
  dir: Dir,
  kind: typeof MOUNTS[number],
): Promise<{ root: string; inner: string; point: string }> {
  dir.write({ src: { a: { m: {} }, file: "x" } });
  const root = dir.at("root");
  await must(...cliCommand(["put", "--dir", root, "key", dir.at("src")]));
  const point = pathIn(root, "/a/m");
  const inner = await mountOf(dir, kind, point);
  return { root, inner, point };
}

/** The mount, wherever the archive was moved to meanwhile. */
function assertNamesMount(stderr: string, point: string): void {
  const id = /[0-9a-f]{32}/.exec(point)?.[0];
  assert(id !== undefined, `${point} has no id`);
  assertStringIncludes(stderr, id);
}

// The same in ensure: what a COMMAND that failed left is not emptied later.
mountTest(
  here,
  "rebuild-cache ensure leaves a mount in the staging of an ensure that was killed when prune comes",
  ["sh"],
  async (dir) => {
    const root = dir.at("root");
    const inner = await mountOf(dir, "tmpfs");
    const script = 'mkdir "$2/m" && mount --bind "$1" "$2/m" && kill -9 $PPID';
    const ensure = ["ensure", "--dir", root, "key", dir.at("dst"), "--"];
    await runCli([...ensure, "sh", "-c", script, "sh", inner, "{}"]);
    const point = pathIn(root, "/m");
    const same = unchanged(inner);
    const { code, stderr } = await runCli(["prune", "--dir", root]);
    same("after prune");
    assertEquals(code, 1, `a mount that is left is told as done: ${stderr}`);
    assertNamesMount(stderr, point);
  },
);

mountTest(
  here,
  "Cache.ensure() leaves a mount in the staging of a build that failed when a program may read and write only",
  [],
  async (dir) => {
    const inner = await mountOf(dir, "bind");
    const text = `import { openCache } from "LIBRARY";
      try {
        await openCache(Deno.args[0]!).ensure("key", async (at: string) => {
          Deno.mkdirSync(at + "/m");
          console.log("built " + at + " end");
          await Deno.stdin.read(new Uint8Array(1));
          throw new Error("of the build");
        });
      } catch (error) { console.error(String(error)); }`;
    const root = dir.at("root");
    await using peer = startProgram(dir, text, READ_WRITE, [root]);
    await peer.says(" end");
    const staging = /built (.*) end/.exec(peer.heard)![1]!;
    await must("mount", "--bind", inner, `${staging}/m`);
    const same = unchanged(inner);
    const { heard } = await peer.end();
    same("after the build that failed");
    assertStringIncludes(heard, "of the build");
    const prune = `import { openCache } from "LIBRARY";
      await openCache(Deno.args[0]!).prune();`;
    await runProgram(dir, prune, READ_WRITE, [root]);
    same("after a prune");
  },
);
