/**
 * No file gains power: no setuid or setgid bit of
 * another owner's file becomes one of ours, and a reset changes no owner.
 */

import { assert, assertEquals } from "@std/assert";
import { cliCommand, must, runCli } from "../support/command.ts";
import { ALL, READ_WRITE, runProgram } from "../support/library.ts";
import { everyPath, look, pathIn } from "../support/look.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

const here = import.meta.url;
const NOBODY = 65534;

/** A tree of root's, with programs of another user's that run with their rights. */
function makePrograms(at: string): void {
  Deno.mkdirSync(`${at}/sub`, { recursive: true });
  for (const [name, mode] of Object.entries(PROGRAMS)) {
    for (const path of [`${at}/${name}`, `${at}/sub/${name}`]) {
      Deno.writeTextFileSync(path, "#!/bin/sh\nid\n");
      Deno.chownSync(path, NOBODY, NOBODY);
      Deno.chmodSync(path, mode);
    }
  }
}
const PROGRAMS = { setuid: 0o4755, setgid: 0o2755, both: 0o6755, none: 0o755 };

/** Whoever runs it must not be root by it, nor of root's group. */
function assertNoPower(at: string, after: string): void {
  for (const path of everyPath(at)) {
    const info = Deno.lstatSync(path);
    if (!info.isFile) continue;
    const mode = (info.mode ?? 0) & 0o7777;
    const said = `${path} is ${mode.toString(8)} ${info.uid}:${info.gid}`;
    if (mode & 0o4000) assertEquals(info.uid, NOBODY, `${said}, ${after}`);
    if (mode & 0o2000) assertEquals(info.gid, NOBODY, `${said}, ${after}`);
  }
}

for (const mode of ["copy", "auto", "hardlink", "symlink"]) {
  test(
    `rebuild-cache link --mode ${mode} makes no setuid root program of another user's`,
    ["linux", "root"],
    async () => {
      await using dir = TempDir.make();
      makePrograms(dir.at("src"));
      for (const merge of [false, true]) {
        const dst = dir.at(merge ? "merged" : "linked");
        if (merge) dir.write({ merged: { sub: {} } });
        const flags = merge ? ["--if-exists", "merge"] : [];
        const args = ["link", dir.at("src"), dst, "--mode", mode, ...flags];
        const { code, stderr } = await runCli(args);
        assertEquals(code, 0, stderr);
        assertNoPower(dst, `after ${args.join(" ")}`);
      }
      const file = ["link", dir.at("src/both"), dir.at("file")];
      await must(...cliCommand([...file, "--mode", mode]));
      assertNoPower(dir.at("file"), "after the link of one file");
      assertNoPower(dir.at("src"), "after all links");
    },
  );
}

// By a clone and a put, too.
for (const kind of ["xfs", "btrfs"] as const) {
  mountTest(
    here,
    `rebuild-cache link --mode clone makes no setuid root program of another user's on ${kind}`,
    TOOLS[kind],
    async (dir) => {
      const at = await makeFileSystem(dir, kind);
      makePrograms(`${at}/src`);
      const args = ["link", `${at}/src`, `${at}/dst`, "--mode", "clone"];
      const { code, stderr } = await runCli([...args, "--strict"]);
      assertEquals(code, 0, stderr);
      assertNoPower(`${at}/dst`, "after the clone");
    },
  );
}

for (const [how, permissions] of Object.entries({ READ_WRITE, ALL })) {
  test(
    `linkTree() and linkFile() make no setuid root program when a program may ${
      how === "ALL" ? "do all" : "read and write only"
    }`,
    ["linux", "root"],
    async () => {
      await using dir = TempDir.make();
      makePrograms(dir.at("src"));
      const text = `import { linkFile, linkTree } from "LIBRARY";
        const at = Deno.args[0]!;
        await linkTree(at + "/src", at + "/dst", { mode: "copy" });
        await linkFile(at + "/src/both", at + "/dst/file", { mode: "copy" });`;
      const ran = await runProgram(dir, text, permissions, [dir.path]);
      assertNoPower(dir.at("dst"), `after the program: ${ran.stderr}`);
    },
  );
}

// A reset gives the cached file itself no other owner.
test(
  "rebuild-cache link resets no other user's file, and makes no setuid root program by it",
  ["linux", "root"],
  async () => {
    await using dir = TempDir.make();
    makePrograms(dir.at("src"));
    const before = withoutNames(dir.at("src"));
    const args = ["link", "--mode", "hardlink", "--max-links", "2"];
    for (const name of ["1", "2", "3", "4"]) {
      const flags = name === "4" ? ["--on-link-limit", "reset"] : [];
      const both = [dir.at("src"), dir.at(name)];
      const { code, stderr } = await runCli([...args, ...flags, ...both]);
      assertEquals(code, 0, stderr);
      assertNoPower(dir.at("src"), `after link ${name}`);
      assertNoPower(dir.at(name), `after link ${name}`);
      assertEquals(withoutNames(dir.at("src")), before, `after link ${name}`);
    }
  },
);

// The same for a plain file of another user's, which has no power to give.
test(
  "rebuild-cache link gives no other user's file a new owner by a reset",
  ["linux", "root"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ src: { file: "x" } });
    Deno.chownSync(dir.at("src/file"), NOBODY, NOBODY);
    Deno.chmodSync(dir.at("src/file"), 0o640);
    const before = withoutNames(dir.at("src"));
    for (const name of ["1", "2", "3"]) {
      const args = ["link", dir.at("src"), dir.at(name), "--mode", "hardlink"];
      await must(...cliCommand([...args, "--max-links", "2"]));
      assertEquals(withoutNames(dir.at("src")), before, `after link ${name}`);
    }
  },
);

/** Owners, modes, times and content, except how many names a file has. */
function withoutNames(path: string): Record<string, string> {
  const files = Object.entries(look(path))
    .filter(([, seen]) => seen.startsWith("file"))
    .map(([name, seen]) => [name, seen.replace(/ \d+ names/, "")]);
  return Object.fromEntries(files);
}

// By a put.
test(
  "rebuild-cache put and get make no setuid root program of another user's",
  ["linux", "root"],
  async () => {
    await using dir = TempDir.make();
    makePrograms(dir.at("src"));
    const root = dir.at("root");
    await must(...cliCommand(["put", "--dir", root, "key", dir.at("src")]));
    assertNoPower(root, "after put");
    for (const mode of ["copy", "auto", "hardlink"]) {
      const args = ["get", "--dir", root, "key", dir.at(mode), "--mode", mode];
      await must(...cliCommand(args));
      assertNoPower(dir.at(mode), `after get --mode ${mode}`);
    }
  },
);

// A member of a group's cache gives an archived file a setuid bit.
mountTest(
  here,
  "rebuild-cache get makes no setuid root program of what a group's member made setuid",
  [],
  async (dir) => {
    dir.write({ src: { sub: { tool: "#!/bin/sh\nid\n" } }, root: {} });
    Deno.chmodSync(dir.at("src/sub/tool"), 0o755);
    const root = dir.at("root");
    Deno.chownSync(root, 0, NOBODY);
    Deno.chmodSync(root, 0o2775);
    await must(...cliCommand(["put", "--dir", root, "key", dir.at("src")]));
    // The member owns what they put; this is what their chmod leaves.
    const tool = pathIn(root, "/sub/tool");
    Deno.chownSync(tool, NOBODY, NOBODY);
    Deno.chmodSync(tool, 0o6755);
    const elsewhere = await makeFileSystem(dir, "tmpfs");
    for (const [i, dst] of [dir.path, elsewhere].entries()) {
      for (const mode of ["copy", "auto"]) {
        const at = `${dst}/got-${mode}`;
        const args = ["get", "--dir", root, "key", at, "--mode", mode];
        const { code, stderr } = await runCli(args);
        if (code === 0) assertNoPower(at, `${i}, ${mode}: ${stderr}`);
      }
    }
    const { code, stdout, stderr } = await runCli(["verify", "--dir", root]);
    // Unless it was seen, and set aside, before.
    const whole = code === 0 && exists(tool);
    assert(!whole, `verify says that it is whole: ${stdout}${stderr}`);
  },
);
