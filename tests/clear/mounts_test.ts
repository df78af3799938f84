/** Directories that can't be renamed, or not by this user: on real mounts. */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { clearCache } from "../../lib/clear/clear.ts";
import { CacheError } from "../../lib/error.ts";
import type { Failure } from "../../lib/fs/remove.ts";
import {
  cliCommand,
  denoRun,
  must,
  type Ran,
  run,
} from "../support/command.ts";
import { runProgram } from "../support/library.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { makeManyFiles, namesIn, TempDir } from "../support/temp_dir.ts";

const TREE = { a: { b: { file: "x" }, empty: {} }, file: "y" };
const here = import.meta.url;

mountTest(
  here,
  "clearCache() empties a mount point in place",
  [],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    dir.write(TREE, mount);
    for (const recreate of [false, true]) {
      dir.write(TREE, mount);
      const report = await clearCache(mount, { recreate });
      assertEquals([report.outcome, report.strategy], ["cleared", "in-place"]);
      assertStringIncludes(report.reason!, "os error 16");
      assert(report.stands);
      assertEquals(namesIn(mount), []);
    }
  },
);

for (const ffi of [true, false]) {
  mountTest(
    here,
    `clearCache() ${
      ffi ? "removes" : "without FFI names"
    } names that are not valid UTF-8 when it empties a mount point in place`,
    ffi ? ["bash"] : ["bash", "deno run"],
    async (dir) => {
      const mount = await makeFileSystem(dir, "tmpfs");
      dir.write(TREE, mount);
      const script = `cd '${mount}' && touch "$(printf 'f\\376')" &&
      mkdir -p "$(printf 'below/d\\376/e\\376')"`;
      await must("bash", "-c", script);
      const args = ["--json", "--dir", mount];
      const [program, ...rest] = cliCommand(args);
      if (!ffi) rest.splice(1, 0, "--deny-ffi");
      const { code, stdout } = await run([program!, ...rest]);
      const [report] = JSON.parse(stdout).results;
      if (ffi) {
        assertEquals([code, report.outcome], [0, "cleared"]);
        assertEquals(namesIn(mount), []);
        return;
      }
      assertEquals([code, report.outcome], [1, "incomplete"]);
      assertEquals(report.failures.length, 2, stdout);
      for (const { message } of report.failures) {
        assertStringIncludes(message, "not valid UTF-8");
      }
      // And the aside, with what has such a name inside.
      assertEquals(namesIn(mount).slice(1), ["f\uFFFD"]);
    },
  );
}

mountTest(
  here,
  "clearCache() refuses a directory with a mount point inside, before it touches anything",
  [],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    dir.write(TREE, mount);
    const outer = dir.at("outer with space");
    dir.write({ "outer with space": { inner: {}, file: "x" } });
    await must("mount", "--bind", mount, `${outer}/inner`);
    const error: CacheError = await assertRejects(
      () => clearCache(outer),
      CacheError,
    );
    assertEquals(error.kind, "refused");
    assertStringIncludes(error.message, `${outer}/inner`);
    assertEquals(namesIn(outer), ["file", "inner"]);
    assertEquals(namesIn(mount), ["a", "file"]);
  },
);

for (const recreate of [false, true]) {
  mountTest(
    here,
    `clearCache() clears the lower layer of an overlay, ${
      recreate ? "and makes it again" : "for good"
    }`,
    [],
    async (dir) => {
      dir.write({
        lower: { cache: TREE, beside: "x" },
        upper: {},
        work: {},
        merged: {},
      });
      const at = (name: string) => dir.at(name);
      await must(
        "mount",
        "-t",
        "overlay",
        "overlay",
        "-o",
        `lowerdir=${at("lower")},upperdir=${at("upper")},workdir=${
          at("work")
        },redirect_dir=off`,
        at("merged"),
      );
      // In the upper layer, beside what comes from below.
      dir.write({ new: TREE }, dir.at("merged", "cache"));
      const report = await clearCache(dir.at("merged", "cache"), { recreate });
      assertEquals([report.outcome, report.failures], ["cleared", []]);
      assertEquals(report.strategy, "in-place");
      assertStringIncludes(report.reason!, "os error 18");
      assertEquals(report.stands, recreate);
      assertEquals(
        namesIn(at("merged")),
        recreate ? ["beside", "cache"] : ["beside"],
      );
      if (recreate) assertEquals(namesIn(dir.at("merged", "cache")), []);
      assertEquals(namesIn(dir.at("lower", "cache")), ["a", "file"]);
    },
  );
}

mountTest(
  here,
  "clearCache() says what is left on a read-only file system, and throws nothing away",
  [],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    dir.write({ cache: TREE }, mount);
    await must("mount", "-o", "remount,ro", mount);
    const report = await clearCache(`${mount}/cache`);
    assertEquals(report.outcome, "incomplete");
    assert(
      report.failures.every(({ kind }) => kind === "read-only"),
      JSON.stringify(report),
    );
    assertEquals(namesIn(`${mount}/cache`), ["a", "file"]);
  },
);

for (const kind of ["ext4", "xfs", "btrfs", "tmpfs", "exfat"] as const) {
  mountTest(
    here,
    `clearCache() clears a cache of 3,000 files on ${kind}`,
    TOOLS[kind],
    async (dir) => {
      const mount = await makeFileSystem(dir, kind);
      makeManyFiles(`${mount}/cache`, 300, 10);
      const report = await clearCache(`${mount}/cache`);
      assertEquals([report.outcome, report.strategy, report.failures], [
        "cleared",
        "rename",
        [],
      ]);
      assertEquals(namesIn(mount).filter((it) => it !== "lost+found"), []);
    },
  );
}

mountTest(
  here,
  "clearCache() makes the directory again on a full file system",
  [],
  async (dir) => {
    const mount = dir.at("full");
    Deno.mkdirSync(mount);
    await must(
      ...["mount", "-t", "tmpfs", "-o", "nr_inodes=20", "tmpfs", mount],
    );
    for (const defer of [false, true]) {
      Deno.mkdirSync(`${mount}/cache`, { recursive: true });
      try {
        for (let i = 0;; i++) Deno.writeTextFileSync(`${mount}/cache/${i}`, "");
      } catch { /* full */ }
      const options = { recreate: true, defer };
      const report = await clearCache(`${mount}/cache`, options);
      assertEquals([report.outcome, report.failures], ["cleared", []]);
      assertEquals(namesIn(mount), ["cache"]);
      assertEquals(namesIn(`${mount}/cache`), []);
    }
  },
);

/** The command without FFI, and without the mount table, which asks for all rights. */
function withoutFfi(args: string[]): string[] {
  const [program, ...rest] = cliCommand(args);
  rest.splice(1, 0, "--deny-ffi");
  return [program!, ...rest];
}

for (const kind of ["tmpfs", "bind"]) {
  mountTest(
    here,
    `rebuild-cache --dir without FFI refuses a directory with a mount (${kind}) in it, before it touches anything`,
    ["deno run"],
    async (dir) => {
      dir.write({ other: TREE, cache: { deep: { inner: {} }, file: "x" } });
      dir.write({ cache: { "0": { a: {} }, z: { a: {} } } });
      const mount = kind === "bind"
        ? dir.at("other")
        : await makeFileSystem(dir, "tmpfs");
      dir.write(TREE, mount);
      await must("mount", "--bind", mount, dir.at("cache/deep/inner"));
      const { code, stderr } = await run(
        withoutFfi(["--dir", dir.at("cache")]),
      );
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, "/deep/inner");
      assertEquals(namesIn(dir.at("cache")), ["0", "deep", "file", "z"]);
      assertEquals(namesIn(mount), ["a", "file"]);
    },
  );
}

for (const how of ["--allow-all", "--deny-ffi"]) {
  mountTest(
    here,
    `clearCache() leaves a mount that it could not see beforehand, and names it (${how})`,
    [],
    async (dir) => {
      const mount = await makeFileSystem(dir, "tmpfs");
      dir.write(TREE, mount);
      dir.write({ cache: { deep: { inner: {} }, file: "x" }, other: TREE });
      dir.write({ cache: { bound: {} } });
      // Mounted when all is checked and the directory is renamed.
      const text = `import { clearCache, setLogSink } from "LIBRARY";
        const [cache, tmpfs, other] = Deno.args as [string, string, string];
        const mount = (...paths: string[]) => {
          const args = ["--bind", ...paths];
          const { success } = new Deno.Command("mount", { args }).outputSync();
          if (!success) throw new Error("Not mounted");
        };
        setLogSink({
          debug(message) {
            const [, aside] = /^Renamed .* to "(.*)"$/.exec(message) ?? [];
            if (!aside) return;
            mount(tmpfs, aside + "/deep/inner");
            mount(other, aside + "/bound");
          },
          warn() {},
        });
        console.log(JSON.stringify(await clearCache(cache)));`;
      const args = [dir.at("cache"), mount, dir.at("other")];
      const permissions = how === "--allow-all" ? [how] : ["--allow-all", how];
      const { stdout, stderr } = await runProgram(dir, text, permissions, args);
      assert(stdout, stderr);
      const { outcome, failures, asides: [aside] } = JSON.parse(stdout);
      assertEquals(outcome, "incomplete");
      assertEquals(
        failures.map(({ path, kind }: Failure) => [path, kind]).sort(),
        [[`${aside}/bound`, "mount"], [`${aside}/deep/inner`, "mount"]],
      );
      assertEquals(namesIn(aside), ["bound", "deep"]);
      assertEquals(namesIn(mount), ["a", "file"]);
      assertEquals(namesIn(dir.at("other")), ["a", "file"]);
    },
  );
}

/** Runs the command as a user without rights. */
function asNobody(args: string[]): Promise<Ran> {
  return run([
    Deno.execPath(),
    ...denoRun("tests/support/as_nobody.ts"),
    ...args,
  ]);
}

async function own(path: string): Promise<void> {
  await must("chown", "-R", "65534:65534", path);
}

test(
  "rebuild-cache --background says that the directory is gone when its parent can't be listed",
  ["linux", "root"],
  async () => {
    await using dir = TempDir.make();
    Deno.chmodSync(dir.path, 0o755);
    dir.write({ parent: { cache: TREE } });
    await own(dir.at("parent"));
    Deno.chmodSync(dir.at("parent"), 0o300);
    const { code, stdout, stderr } = await asNobody([
      "--background",
      "--dir",
      dir.at("parent", "cache"),
    ]);
    assertEquals(code, 0, stderr);
    assertStringIncludes(stdout, "deleting in the background");
  },
);

test(
  "rebuild-cache empties a directory in place when its parent is not writable",
  ["linux", "root"],
  async () => {
    await using dir = TempDir.make();
    Deno.chmodSync(dir.path, 0o755);
    dir.write({ parent: { cache: TREE } });
    await own(dir.at("parent", "cache"));
    const { code, stdout, stderr } = await asNobody([
      "--dir",
      dir.at("parent", "cache"),
      "-v",
    ]);
    assertEquals(code, 0, stderr);
    assertStringIncludes(stdout, "in place");
    assertStringIncludes(stderr, "Permission denied (os error 13)");
    assertEquals(namesIn(dir.at("parent")), ["cache"]);
    assertEquals(namesIn(dir.at("parent", "cache")), []);
  },
);

test("rebuild-cache removes what its owner made unreadable or read-only", [
  "linux",
  "root",
], async () => {
  await using dir = TempDir.make();
  Deno.chmodSync(dir.path, 0o777);
  dir.write({ cache: { secret: TREE, "read-only": { deep: TREE }, ok: TREE } });
  await own(dir.at("cache"));
  Deno.chmodSync(dir.at("cache", "secret"), 0o000);
  Deno.chmodSync(dir.at("cache", "read-only", "deep"), 0o555);
  Deno.chmodSync(dir.at("cache", "read-only"), 0o555);
  const { code, stderr } = await asNobody(["--dir", dir.at("cache")]);
  assertEquals([code, stderr], [0, ""]);
  assertEquals(namesIn(dir.path), []);
});

test(
  "rebuild-cache names what belongs to somebody else, removes the rest, and fails",
  ["linux", "root"],
  async () => {
    await using dir = TempDir.make();
    Deno.chmodSync(dir.path, 0o777);
    dir.write({
      cache: { mine: TREE, theirs: { keep: "x" }, "theirs too": { keep: "x" } },
    });
    await own(dir.at("cache"));
    for (const name of ["theirs", "theirs too"]) {
      Deno.chownSync(dir.at("cache", name), 0, 0);
      Deno.chmodSync(dir.at("cache", name), 0o755);
    }
    const { code, stderr } = await asNobody(["--dir", dir.at("cache")]);
    assertEquals(code, 1);
    assertEquals(stderr.trim().split("\n").length, 2, stderr);
    assertStringIncludes(stderr, "/theirs/keep");
    assertStringIncludes(stderr, "/theirs too/keep");
    const [aside] = namesIn(dir.path);
    assertEquals(namesIn(dir.at(aside!)), ["theirs", "theirs too"]);
  },
);
