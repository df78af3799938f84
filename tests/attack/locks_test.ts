/**
 * Lock files and notes that somebody planted: they are named
 * at once, or worked around; never waited for, read to no end, or written to.
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { endsOf } from "../support/bounded.ts";
import { cliCommand, must, Peer } from "../support/command.ts";
import { everyPath, unchanged } from "../support/look.ts";
import { test } from "../support/needs.ts";
import { PLANTS } from "../support/plants.ts";
import { TempDir } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

const BUILD = ["--", "sh", "-c", 'echo built > "$1/file"', "sh", "{}"];

/** What takes the locks of a directory; none shall wait here. */
const COMMANDS: Record<string, (cache: string) => string[]> = {
  clear: (cache) => ["--dir", cache],
  fail: (cache) => ["--dir", cache, "--if-busy", "fail"],
  recreate: (cache) => ["--dir", cache, "--recreate"],
  use: (cache) => ["use", "--dir", cache, "--", "true"],
  rebuild: (cache) => ["--dir", cache, ...BUILD],
};

/** A file of somebody else's, of which even the times stay. */
function makeVictim(dir: TempDir): string {
  dir.write({ theirs: { file: "a long text of somebody else's" } });
  const [file, then] = [dir.at("theirs/file"), new Date("2020-01-02")];
  Deno.utimeSync(file, then, then);
  return file;
}

for (const [what, { needs, put, wrap = [] }] of Object.entries(PLANTS)) {
  for (const suffix of [".lock", ".rebuild.lock", ".turn.lock"]) {
    test(
      `rebuild-cache does not wait for, nor touch, ${what} in the place of DIR${suffix}`,
      [...needs, "sh", "true"],
      async () => {
        await using dir = TempDir.make();
        const victim = makeVictim(dir);
        const names = Object.keys(COMMANDS);
        for (const name of names) {
          dir.write({ [name]: { old: "x" } });
          await put(dir.at(name) + suffix, victim);
        }
        const same = unchanged(dir.at("theirs"));
        const ends = await Promise.allSettled(names.map(async (name) => {
          const args = COMMANDS[name]!(dir.at(name));
          const { code, heard } = await endsOf(args, { wrap });
          same(`after ${args.join(" ")}: ${heard}`);
          if (code === 0) return; // worked around
          assert(code !== 75, `${name} says that it is in use: ${heard}`);
          assertStringIncludes(heard, dir.at(name) + suffix);
          assert(exists(dir.at(name, "old")), `${name} failed too late`);
        }));
        for (const end of ends) {
          if (end.status === "rejected") throw end.reason;
        }
      },
    );
  }

  // What is only a note for people.
  test(
    `rebuild-cache does not wait for, nor touch, ${what} in the place of a note of who holds DIR`,
    [...needs, "sh"],
    async () => {
      await using dir = TempDir.make();
      const victim = makeVictim(dir);
      dir.write({ cache: { old: "x" } });
      const cache = dir.at("cache");
      const command = ["--", "sh", "-c", "echo using; cat"];
      await using user = Peer.cli(["use", "--dir", cache, ...command]);
      await user.says("using");
      await put(`${cache}.holder-1-0123456789ab`, victim);
      const same = unchanged(dir.at("theirs"));
      const busy = await endsOf(
        ["--dir", cache, "--if-busy", "fail"],
        { wrap },
      );
      same(`after the clear that failed: ${busy.heard}`);
      assertEquals(busy.code, 75, busy.heard);
      await user.end();
      const { code, heard } = await endsOf(["--dir", cache], { wrap });
      same(`after the clear: ${heard}`);
      assertEquals([code, exists(cache)], [0, false], heard);
    },
  );

  // The locks of a keyed cache.
  test(
    `rebuild-cache does not wait for, nor touch, ${what} in the place of a lock of a keyed cache`,
    [...needs, "sh"],
    async () => {
      await using dir = TempDir.make();
      const victim = makeVictim(dir);
      dir.write({ src: { file: "x" } });
      const root = dir.at("root");
      const inRoot = ["--dir", root];
      const ensure = (dst: string) => //
      ["ensure", ...inRoot, "built", dir.at(dst), ...BUILD];
      await must(...cliCommand(["put", ...inRoot, "key", dir.at("src")]));
      await must(...cliCommand(ensure("first")));
      for (const path of [...everyPath(dir.path)]) {
        if (!path.endsWith(".lock")) continue;
        Deno.removeSync(path);
        await put(path, victim);
      }
      const same = unchanged(dir.at("theirs"));
      for (
        const args of [
          ["get", ...inRoot, "key", dir.at("got"), "--mode", "copy"],
          ensure("second"),
          ["put", ...inRoot, "key", dir.at("src")],
          ["ls", ...inRoot],
          ["verify", ...inRoot],
          ["prune", ...inRoot, "--max-age", "1s"],
        ]
      ) {
        const { code, heard } = await endsOf(args, { wrap });
        same(`after ${args.join(" ")}: ${heard}`);
        assert(code !== 75, `${args[0]} says that it is in use: ${heard}`);
        assert(code === 0 || heard !== "", `${args[0]} fails without a word`);
      }
    },
  );
}

// A lock sets no times of what a link leads to.
test(
  "rebuild-cache changes no times of a file that DIR.lock is a symbolic link to when a clear waits for its turn",
  ["posix", "sh"],
  async () => {
    await using dir = TempDir.make();
    const victim = makeVictim(dir);
    dir.write({ cache: { old: "x" } });
    const cache = dir.at("cache");
    Deno.symlinkSync(victim, `${cache}.lock`);
    const same = unchanged(dir.at("theirs"));
    const command = ["--", "sh", "-c", "echo using; cat"];
    // Has a lease, or says what is wrong.
    await using user = Peer.cli(["use", "--dir", cache, ...command]);
    await user.says("using").catch(() => {});
    const { heard } = await endsOf(["--dir", cache, "--wait", "1"]);
    same(`after the clear: ${heard}`);
  },
);
