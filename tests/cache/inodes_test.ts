/**
 * File systems whose inode numbers do not fit a number of JavaScript's, so that Deno
 * rounds them: NTFS (sequence << 48 | record, so from the 32nd file in a record's place
 * on) and, here, an overlay with `xino=on`.
 */

import { assertEquals } from "@std/assert";
import { must } from "../support/command.ts";
import { ALL, READ_WRITE, runProgram } from "../support/library.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import type { TempDir } from "../support/temp_dir.ts";

/** A folder whose content is of a file system that an overlay numbers from 2^63 on. */
async function mountHigh(
  dir: TempDir,
  fill: (at: string) => Promise<void>,
): Promise<string> {
  const [low, high] = [
    await makeFileSystem(dir, "tmpfs"),
    await makeFileSystem(dir, "tmpfs"),
  ];
  for (const name of ["lower", "upper", "work"]) {
    Deno.mkdirSync(`${low}/${name}`);
  }
  await fill(high);
  const at = dir.at("overlay");
  Deno.mkdirSync(at);
  const options =
    `xino=on,lowerdir=${low}/lower:${high},upperdir=${low}/upper,workdir=${low}/work`;
  await must("mount", "-t", "overlay", "overlay", "-o", options, at);
  return at;
}

async function tell(
  dir: TempDir,
  text: string,
  permissions: readonly string[],
  ...args: string[]
): Promise<unknown> {
  const said = await runProgram(dir, text, permissions, args);
  if (said.code !== 0) throw new Error(said.stderr);
  return JSON.parse(said.stdout);
}

for (const permissions of [READ_WRITE, ALL]) {
  mountTest(
    import.meta.url,
    `Cache.verify() takes no file for another whose inode number is rounded to the same (${
      permissions.join(" ")
    })`,
    [],
    async (dir) => {
      dir.write({ tree: { a: "one", b: "other", c: "third" } });
      const at = await mountHigh(dir, async (high) => {
        await tell(
          dir,
          `import { openCache } from "LIBRARY";
          await openCache(Deno.args[0]).put("key", Deno.args[1]);
          console.log("null");`,
          permissions,
          `${high}/cache`,
          dir.at("tree"),
        );
      });
      assertEquals(Number.isSafeInteger(ino(`${at}/cache`)), false);
      const verify = `import { openCache } from "LIBRARY";
        const { damaged } = await openCache(Deno.args[0]).verify();
        console.log(JSON.stringify(damaged.length));`;
      assertEquals(await tell(dir, verify, permissions, `${at}/cache`), 0);
      // As long, and as old: only what is read tells.
      const [id] = [...Deno.readDirSync(`${at}/cache/archive-v1`)];
      const file = `${at}/cache/archive-v1/${id!.name}/tree/b`;
      const { mtime } = Deno.statSync(file);
      Deno.chmodSync(file, 0o644);
      Deno.writeTextFileSync(file, "OTHER");
      Deno.utimeSync(file, mtime!, mtime!);
      assertEquals(await tell(dir, verify, permissions, `${at}/cache`), 1);
    },
  );

  mountTest(
    import.meta.url,
    `linkTree() keeps apart what has inode numbers that are rounded to the same (${
      permissions.join(" ")
    })`,
    [],
    async (dir) => {
      const at = await mountHigh(dir, (high) => {
        dir.write({ src: { a: "one", b: "other" }, dst: {} }, high);
        for (const name of ["a", "b"]) {
          Deno.linkSync(`${high}/src/${name}`, `${high}/src/${name}2`);
        }
        return Promise.resolve();
      });
      const text = `import { linkTree } from "LIBRARY";
        const [from, to] = Deno.args;
        const { outcome } = await linkTree(from, to, { mode: "copy" });
        console.log(JSON.stringify(outcome));`;
      const [from, to] = [`${at}/src`, `${at}/dst/new`];
      assertEquals(await tell(dir, text, permissions, from, to), "linked");
      for (const [name, content] of [["a", "one"], ["b", "other"]]) {
        assertEquals(Deno.readTextFileSync(`${to}/${name}`), content);
        assertEquals(Deno.readTextFileSync(`${to}/${name}2`), content);
      }
    },
  );
}

function ino(path: string): number {
  return Deno.lstatSync(path).ino!;
}
