/**
 * What a cleaner of temporary files can take from under a reader:
 * nothing, because the archive itself is locked, too.
 */

import { assertEquals } from "@std/assert";
import { cliCommand, must, type Peer, runCli } from "../support/command.ts";
import { ALL, READ_WRITE, startProgram } from "../support/library.ts";
import { everyPath } from "../support/look.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

/** Holds what the key points to, and reads it when it is told to. */
const READER = `import { openCache } from "LIBRARY";
  using entry = await openCache(Deno.args[0]!).get("key");
  console.log("held");
  await Deno.stdin.read(new Uint8Array(1));
  console.log("read " + Deno.readTextFileSync(entry!.path + "/sub/file"));`;

for (const [how, permissions] of Object.entries({ READ_WRITE, ALL })) {
  test(
    `rebuild-cache prune leaves an archive that is read when its lease file was removed, ${
      how === "ALL"
        ? "by a program that may do all"
        : "by one that may read and write only"
    }`,
    ["posix"],
    async () => {
      await using dir = TempDir.make();
      dir.write({ src: { sub: { file: "content" } } });
      const root = dir.at("root");
      const put = ["put", "--dir", root, "key", dir.at("src")];
      await must(...cliCommand(put));
      await using reader = startProgram(dir, READER, permissions, [root]);
      await reader.says("held");
      removeLeases(root);
      await must(...cliCommand(put)); // another archive for the key
      for (const more of [[], ["--max-entries", "0"], ["--max-age", "0s"]]) {
        const ran = await runCli(["prune", "--dir", root, ...more]);
        assertEquals(ran.code, 0, `prune ${more.join(" ")}: ${ran.stderr}`);
        removeLeases(root);
      }
      const { heard } = await reader.end();
      assertEquals(heard.includes("read content"), true, heard);
    },
  );
}

// The key that is read is evicted itself.
test(
  "rebuild-cache prune evicts no archive that is read when its lease file was removed",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ src: { sub: { file: "content" } } });
    const root = dir.at("root");
    const put = ["put", "--dir", root, "key", dir.at("src")];
    await must(...cliCommand(put));
    await using reader: Peer = startProgram(dir, READER, ALL, [root]);
    await reader.says("held");
    removeLeases(root);
    await runCli(["prune", "--dir", root, "--max-entries", "0"]);
    const { heard } = await reader.end();
    assertEquals(heard.includes("read content"), true, heard);
  },
);

/** As `systemd-tmpfiles` or `tmpwatch` do with what looks old and empty. */
function removeLeases(root: string): void {
  for (const path of [...everyPath(`${root}/leases`)]) {
    if (path.endsWith(".lock")) Deno.removeSync(path);
  }
}
