/**
 * Folders of a cache that are symbolic links to other places: what
 * lies there is not the cache's, whatever its name.
 */

import { assert, assertEquals } from "@std/assert";
import { cliCommand, must, runCli } from "../support/command.ts";
import { READ_WRITE, runProgram } from "../support/library.ts";
import { unchanged } from "../support/look.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

const ids = ["0", "a", "f"].map((digit) => digit.repeat(32));

/** Names as a journal, or a store of objects, has them. */
function journal(dir: TempDir): string {
  const [file, folder, both] = ids as [string, string, string];
  dir.write({
    journal: {
      [file]: "an entry",
      [folder]: { tree: { file: "x" }, manifest: "{}" },
      [`${both}.lock`]: "",
      [`${both}.gone`]: { file: "x" },
      [`${both}.tag`]: "x",
    },
  });
  // Old enough for whoever waits a while.
  const old = new Date(Date.now() - 90 * 24 * 3600 * 1000);
  for (const { name } of Deno.readDirSync(dir.at("journal"))) {
    Deno.utimeSync(`${dir.at("journal")}/${name}`, old, old);
  }
  return dir.at("journal");
}

for (const folder of ["tmp", "quarantine", "leases", "locks"]) {
  test(
    `rebuild-cache prune and verify delete nothing behind a ${folder} that is a symbolic link`,
    ["posix"],
    async () => {
      await using dir = TempDir.make();
      dir.write({ src: { file: "x" } });
      const [root, outside] = [dir.at("root"), journal(dir)];
      const put = ["put", "--dir", root, "key", dir.at("src")];
      await must(...cliCommand(put));
      const path = `${root}/${folder}`;
      if (exists(path)) Deno.removeSync(path, { recursive: true });
      Deno.symlinkSync(outside, path);
      const same = unchanged(outside);
      for (
        const args of [
          ["verify", "--dir", root],
          ["prune", "--dir", root],
          ["prune", "--dir", root, "--max-age", "1s"],
          ["prune", "--dir", root, "--max-entries", "0"],
        ]
      ) {
        const { stderr } = await runCli(args);
        same(`after ${args.join(" ")}: ${stderr}`);
      }
    },
  );
}

// As a program of few permissions does it.
test(
  "Cache.prune() deletes nothing behind a tmp that is a symbolic link",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ src: { file: "x" } });
    const [root, outside] = [dir.at("root"), journal(dir)];
    await must(...cliCommand(["put", "--dir", root, "key", dir.at("src")]));
    Deno.removeSync(`${root}/tmp`, { recursive: true });
    Deno.symlinkSync(outside, `${root}/tmp`);
    const same = unchanged(outside);
    const text = `import { openCache } from "LIBRARY";
      await openCache(Deno.args[0]!).prune({ maxEntries: 0 });`;
    const { stderr } = await runProgram(dir, text, READ_WRITE, [root]);
    same(`after prune: ${stderr}`);
  },
);

// An entry of tmp/ itself.
test(
  "rebuild-cache prune does not follow a symbolic link with an id's name in tmp",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ src: { file: "x" } });
    const [root, outside] = [dir.at("root"), journal(dir)];
    await must(...cliCommand(["put", "--dir", root, "key", dir.at("src")]));
    for (const more of ["", ".gone", ".key"]) {
      Deno.symlinkSync(outside, `${root}/tmp/${ids[1]}${more}`);
    }
    const same = unchanged(outside);
    const { code, stderr } = await runCli(["prune", "--dir", root]);
    same("after prune");
    assert(code === 0 || stderr !== "", "a failure without a word");
    assertEquals(exists(outside), true);
  },
);
