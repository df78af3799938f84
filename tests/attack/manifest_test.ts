/**
 * Archives and manifests that another writer of a shared cache made up: nothing
 * outside the archive is read, nothing outside DST is written, and what is damaged is
 * not handed out.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { cliCommand, must, runCli } from "../support/command.ts";
import { archiveIn, forgeManifest, type Line } from "../support/forged.ts";
import { everyPath, unchanged } from "../support/look.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

const SECRET = "secret!";
const TREE = { sub: { file: "content" }, file: "content" };
const PRIVATE = {
  sub: { file: SECRET, key: SECRET },
  file: SECRET,
  key: SECRET,
};

/** A cache of one key, what is private, and the only place to write to. */
async function make(dir: TempDir) {
  // Wherever a name that leads upward ends, there is a directory of that name.
  const z = { private: {} };
  const w = { x: { y: { z, private: {} }, private: {} }, private: {} };
  dir.write({ tree: TREE, private: PRIVATE, w });
  const root = dir.at("root");
  const args = ["put", "--dir", root, "key", dir.at("tree")];
  await must(...cliCommand(args));
  return { root, archive: archiveIn(root), dst: dir.at("w/x/y/z/dst") };
}

/** Everything in the place to write to, except lock files. */
function written(dir: TempDir): string[] {
  return [...everyPath(dir.at("w"))].filter((path) => !path.endsWith(".lock"));
}

interface Case {
  /** What else the attacker puts somewhere, so that the name leads to something. */
  prepare?: (archive: string) => void;
  edit: (top: Line, lines: Line[]) => void;
}

function fileNamed(name: string): Case["edit"] {
  return ({ files }) => files[0]![0] = name;
}
function linkNamed(name: string): Case["edit"] {
  return ({ links }) => links.push([name, "/etc"]);
}
function directoryNamed(name: string): Case["edit"] {
  return ({ directories }, lines) => {
    directories.push(name);
    const path = `/${name}`;
    lines.push({ path, mode: 0o755, files: [], links: [], directories: [] });
  };
}
/** What is said to such a name: it is not that a checksum is wrong. */
const REFUSED =
  /A listing is damaged: (?:the name|the file|a path|"\/sub" twice)/;

const copyFile = (to: string) => (archive: string) => {
  const [from, at] = [`${archive}/tree/file`, `${archive}/tree/${to}`];
  Deno.copyFileSync(from, at);
  const { atime, mtime } = Deno.statSync(from);
  Deno.utimeSync(at, atime!, mtime!);
};

const CASES: Record<string, Case> = {
  "a file beside DST": {
    prepare: copyFile("../evil"),
    edit: fileNamed("../evil"),
  },
  "a file above DST": {
    prepare: copyFile("../../evil"),
    edit: fileNamed("../../evil"),
  },
  "a file in a subdirectory": { edit: fileNamed("sub/file") },
  "a file by way of a subdirectory": {
    prepare: copyFile("../evil"),
    edit: fileNamed("sub/../../evil"),
  },
  // As far up from the archive, and from DST or what is built beside it.
  "a private file above the cache": {
    edit: fileNamed("../../../../private/key"),
  },
  "an absolute path": { edit: fileNamed("/etc/hostname") },
  "a file without a name": { edit: fileNamed("") },
  "a file named '.'": { edit: fileNamed(".") },
  "a file named '..'": { edit: fileNamed("..") },
  "a file with NUL in its name": { edit: fileNamed("file\0.txt") },
  "two files of one name": {
    edit: ({ files }) => files.push([...files[0]!]),
  },
  "a link beside DST": {
    prepare: (archive) => Deno.symlinkSync("/etc", `${archive}/x`),
    edit: linkNamed("../x"),
  },
  "a link above DST": {
    prepare: (archive) => Deno.symlinkSync("/etc", `${archive}/../x`),
    edit: linkNamed("../../x"),
  },
  "a link and a file of one name": { edit: linkNamed("file") },
  "a link and a directory of one name": { edit: linkNamed("sub") },
  "a directory beside DST": {
    prepare: (archive) => Deno.mkdirSync(`${archive}/sneaky`),
    edit: directoryNamed("../sneaky"),
  },
  "a directory named '..'": { edit: directoryNamed("..") },
  "a directory named '.'": { edit: directoryNamed(".") },
  "a directory without a name": { edit: directoryNamed("") },
  "two directories of one name": { edit: directoryNamed("sub") },
};

// Or the cases above would show nothing: what is forged well is believed.
test(
  "rebuild-cache get hands out what a forged manifest names, where every name is one",
  ["posix", "cp"],
  async () => {
    await using dir = TempDir.make();
    const { root, archive, dst } = await make(dir);
    copyFile("more")(archive);
    forgeManifest(archive, (top, lines) => {
      const [, ...rest] = top.files[0]!;
      top.files.push(["more", ...rest]);
      directoryNamed("new")(top, lines);
      linkNamed("link")(top, lines);
    });
    Deno.mkdirSync(`${archive}/tree/new`);
    Deno.symlinkSync("/etc", `${archive}/tree/link`);
    await must(...cliCommand(["get", "--dir", root, "key", dst]));
    const names = [...Deno.readDirSync(dst)].map(({ name }) => name);
    assertEquals(names.sort(), ["file", "link", "more", "new", "sub"]);
  },
);

for (const [what, { prepare, edit }] of Object.entries(CASES)) {
  test(
    `rebuild-cache get reads and writes nothing outside when a manifest names ${what}`,
    ["posix", "cp"],
    async () => {
      await using dir = TempDir.make();
      const { root, archive, dst } = await make(dir);
      prepare?.(archive);
      forgeManifest(archive, edit);
      await must("cp", "-a", root, dir.at("again"));
      const before = written(dir);
      const same = unchanged(dir.at("private"), dir.at("tree"));
      for (const mode of ["copy", "hardlink"]) {
        const args = ["get", "--dir", root, "key", dst, "--mode", mode];
        const { code, stderr } = await runCli(args);
        same(`after get --mode ${mode}`);
        assertEquals(written(dir), before, `--mode ${mode}: ${stderr}`);
        assert(code !== 0, `--mode ${mode} hands out what is damaged`);
        assertMatch(stderr, REFUSED, `--mode ${mode}`);
        await must("rm", "-rf", root);
        await must("cp", "-a", dir.at("again"), root);
      }
    },
  );
}

/** Ways to lead a reader of an archive out of it. */
const PARTS: Record<string, (archive: string, dir: TempDir) => void> = {
  "a file": (archive, dir) =>
    exchange(`${archive}/tree/file`, dir.at("private/key")),
  "a file below": (archive, dir) =>
    exchange(`${archive}/tree/sub/file`, dir.at("private/key")),
  "a directory": (archive, dir) =>
    exchange(`${archive}/tree/sub`, dir.at("private/sub")),
  "its tree": (archive, dir) => exchange(`${archive}/tree`, dir.at("private")),
  "the archive itself": (archive, dir) => {
    dir.write({ forged: { tree: PRIVATE } });
    Deno.renameSync(`${archive}/manifest`, dir.at("forged/manifest"));
    exchange(archive, dir.at("forged"));
  },
  "its manifest": (archive, dir) => {
    Deno.renameSync(`${archive}/manifest`, dir.at("private/manifest"));
    Deno.symlinkSync(dir.at("private/manifest"), `${archive}/manifest`);
  },
};

/** Puts a symbolic link in the place of what is there. */
function exchange(path: string, target: string): void {
  Deno.removeSync(path, { recursive: true });
  Deno.symlinkSync(target, path);
}

for (const [what, forge] of Object.entries(PARTS)) {
  test(
    `rebuild-cache get reads nothing outside when ${what} is a symbolic link in the place of what was archived`,
    ["posix", "cp", "sh"],
    async () => {
      await using dir = TempDir.make();
      const { root, archive, dst } = await make(dir);
      forge(archive, dir);
      await must("cp", "-a", root, dir.at("again"));
      const before = written(dir);
      const same = unchanged(dir.at("private"), dir.at("tree"));
      for (const mode of ["copy", "hardlink", "auto"]) {
        const args = ["get", "--dir", root, "key", dst, "--mode", mode];
        const { code, stderr } = await runCli(args);
        same(`after get --mode ${mode}`);
        assertEquals(secrets(dir), [], `--mode ${mode}: ${stderr}`);
        assert(code !== 0, `--mode ${mode} hands out what is damaged`);
        assertEquals(written(dir), before, `--mode ${mode}: ${stderr}`);
        await must("rm", "-rf", root);
        await must("cp", "-a", dir.at("again"), root);
      }
      const build = ["--", "sh", "-c", 'echo built > "$1/file"', "sh", "{}"];
      const ensure = ["ensure", "--dir", root, "key", dst, "--mode", "copy"];
      await runCli([...ensure, ...build]);
      same("after ensure");
      assertEquals(secrets(dir), []);
    },
  );

  // A verify and a prune follow no link, either.
  test(
    `rebuild-cache verify and prune change nothing outside when ${what} is a symbolic link in the place of what was archived`,
    ["posix"],
    async () => {
      await using dir = TempDir.make();
      const { root, archive } = await make(dir);
      forge(archive, dir);
      const same = unchanged(dir.at("private"), dir.at("tree"));
      await runCli(["verify", "--dir", root]);
      same("after verify");
      await runCli(["prune", "--dir", root, "--max-entries", "0"]);
      same("after prune");
    },
  );
}

/** The files in the place to write to with what nobody may read. */
function secrets(dir: TempDir): string[] {
  return written(dir).filter((path) => {
    try {
      return Deno.readTextFileSync(path).includes(SECRET);
    } catch {
      return false; // a directory
    }
  });
}
