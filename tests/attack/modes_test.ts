/**
 * Modes, groups and ACLs that get no wider.
 */

import { assertEquals } from "@std/assert";
import { cliCommand, must, runCli } from "../support/command.ts";
import { pathIn, unchanged } from "../support/look.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

const here = import.meta.url;
const NOBODY = 65534;
const LONG_AGO = new Date("2001-02-03T04:05:06Z");

function modeOf(path: string): string {
  return ((Deno.lstatSync(path).mode ?? 0) & 0o7777).toString(8);
}

test(
  "rebuild-cache link --if-exists merge keeps the modes and times of directories that it makes",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ src: { private: { inner: { key: "x" } } }, dst: {} });
    const [inner, outer] = ["private/inner", "private"];
    Deno.chmodSync(dir.at("src", inner), 0o750);
    Deno.chmodSync(dir.at("src", outer), 0o700);
    for (const path of [inner, outer]) {
      Deno.utimeSync(dir.at("src", path), LONG_AGO, LONG_AGO);
    }
    for (const mode of ["copy", "hardlink", "symlink"]) {
      dir.write({ [mode]: {} });
      const args = ["link", dir.at("src"), dir.at(mode), "--mode", mode];
      await must(...cliCommand([...args, "--if-exists", "merge"]));
      for (const path of [inner, outer]) {
        const [from, to] = [dir.at("src", path), dir.at(mode, path)];
        assertEquals(modeOf(to), modeOf(from), to);
        assertEquals(Deno.statSync(to).mtime, LONG_AGO, to);
      }
    }
  },
);

/** Puts with a root that has this mode, and says how what was put ended. */
async function putWith(dir: TempDir, rootMode: number, wrap: string[] = []) {
  dir.write({ src: { private: { key: "x" } }, root: {} });
  Deno.chmodSync(dir.at("src/private/key"), 0o600);
  Deno.chmodSync(dir.at("src/private"), 0o700);
  const root = dir.at("root");
  Deno.chmodSync(root, rootMode);
  const args = ["put", "--dir", root, "key", dir.at("src")];
  const { code, stderr } = await runCli(args, { wrap });
  assertEquals(code, 0, stderr);
  return pathIn(root, "/private/key");
}

test(
  "rebuild-cache put widens no modes in a root that is 0775 by its umask",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    const key = await putWith(dir, 0o775);
    assertEquals(modeOf(key), "600");
    assertEquals(modeOf(key.slice(0, -"/key".length)), "700");
  },
);

// Nor for an instant, while it is being put.
test(
  "rebuild-cache put gives a private file no group rights at any instant in a root that is 0775 by its umask",
  ["linux", "strace"],
  async () => {
    await using dir = TempDir.make();
    const log = dir.at("calls");
    const calls = "trace=chmod,fchmod,fchmodat,?fchmodat2";
    const strace = ["strace", "-f", "-o", log, "-y", "-e", calls];
    await putWith(dir, 0o775, strace);
    const wide = Deno.readTextFileSync(log).split("\n").filter((line) => {
      const [, mode = "0"] = /private.*, 0([0-7]+)\b/.exec(line) ?? [];
      return parseInt(mode, 8) & 0o077;
    });
    assertEquals(wide, []);
  },
);

// The setgid bit is what says "a group's".
test(
  "rebuild-cache put lets a group read what is in a root with the setgid bit",
  ["linux", "root"],
  async () => {
    await using dir = TempDir.make();
    const key = await putWith(dir, 0o2775);
    assertEquals(modeOf(key), "640");
  },
);

/** Rights of the owning group, whatever the mode's middle digit says of a mask. */
async function groupRights(path: string): Promise<string> {
  const text = await must("getfacl", "-cpE", path);
  return /^group::(...)$/m.exec(text)?.[1] ?? text;
}

/** A tree with a private file and directory that one other user may read. */
async function makeShared(dir: TempDir): Promise<string> {
  const at = await makeFileSystem(dir, "ext4"); // has ACLs
  const src = `${at}/src`;
  dir.write({ src: { sub: { file: "x" }, file: "x" } }, at);
  for (const path of ["file", "sub/file"]) {
    Deno.chmodSync(`${src}/${path}`, 0o600);
  }
  Deno.chmodSync(`${src}/sub`, 0o700);
  await must("setfacl", "-R", "-m", `u:${NOBODY}:rwX`, src);
  return src;
}

mountTest(
  here,
  "rebuild-cache link gives the group no rights when the ACL of a file is lost",
  ["setfacl", "getfacl", ...TOOLS.ext4],
  async (dir) => {
    const src = await makeShared(dir);
    const ramfs = dir.at("ramfs"); // has no ACLs
    Deno.mkdirSync(ramfs);
    await must("mount", "-t", "ramfs", "ramfs", ramfs);
    dir.write({ merged: {} }, ramfs);
    const copy = ["--mode", "copy"];
    for (
      const [dst, ...flags] of [
        [`${ramfs}/dst`, ...copy],
        [`${ramfs}/merged`, ...copy, "--if-exists", "merge"],
        [`${src}-dst`, ...copy],
      ] as [string, ...string[]][]
    ) {
      await must(...cliCommand(["link", src, dst, ...flags]));
      for (const path of ["file", "sub", "sub/file"]) {
        const text = await groupRights(`${dst}/${path}`);
        assertEquals(text, "---", `${dst}/${path} ${flags.join(" ")}`);
      }
    }
    const file = ["link", `${src}/file`, `${ramfs}/file`, ...copy];
    await must(...cliCommand(file));
    assertEquals(await groupRights(`${ramfs}/file`), "---");
  },
);

// A keyed cache keeps no ACLs.
mountTest(
  here,
  "rebuild-cache put and get give the group no rights when the ACL of a file is lost",
  ["setfacl", "getfacl", ...TOOLS.ext4],
  async (dir) => {
    const src = await makeShared(dir);
    const [root, dst] = [`${src}-root`, `${src}-dst`];
    await must(...cliCommand(["put", "--dir", root, "key", src]));
    assertEquals(await groupRights(pathIn(root, "/sub/file")), "---");
    assertEquals(await groupRights(pathIn(root, "/sub")), "---");
    const get = ["get", "--dir", root, "key", dst, "--mode", "copy"];
    await must(...cliCommand(get));
    for (const path of ["file", "sub", "sub/file"]) {
      assertEquals(await groupRights(`${dst}/${path}`), "---", path);
    }
  },
);

for (const how of ["cp -al", "ln"]) {
  test(
    `rebuild-cache ensure changes no files outside that COMMAND hard-linked into a group's cache by ${how}`,
    ["linux", "root", "sh", "cp", "ln"],
    async () => {
      await using dir = TempDir.make();
      dir.write({ store: { sub: { key: "secret" }, key: "x" }, root: {} });
      Deno.chmodSync(dir.at("store/key"), 0o600);
      Deno.chmodSync(dir.at("store/sub/key"), 0o600);
      Deno.chmodSync(dir.at("store/sub"), 0o700);
      Deno.chownSync(dir.at("root"), 0, NOBODY);
      Deno.chmodSync(dir.at("root"), 0o2775);
      const same = unchanged(dir.at("store"));
      const script = how === "ln"
        ? 'mkdir "$2/sub" && ln "$1/key" "$2/" && ln "$1/sub/key" "$2/sub/"'
        : 'cp -al "$1/." "$2/"';
      const args = ["ensure", "--dir", dir.at("root"), "key", dir.at("dst")];
      const command = ["sh", "-c", script, "sh", dir.at("store"), "{}"];
      const flags = ["--mode", "copy"];
      const { code, stderr } = await runCli([
        ...args,
        ...flags,
        "--",
        ...command,
      ]);
      assertEquals(code, 0, stderr);
      // Its own inodes: nothing outside has another name, mode, group or time.
      same("after ensure");
      assertEquals(Deno.readTextFileSync(dir.at("dst/sub/key")), "secret");
    },
  );
}
