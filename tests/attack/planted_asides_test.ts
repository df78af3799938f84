/**
 * Names that somebody else planted: a name proves nothing. What
 * bears an aside's or a staging's name, and is a symbolic link, a file, a mount
 * point or somebody else's directory, is left alone, and so is where it leads.
 */

import { assert, assertEquals } from "@std/assert";
import { denoRun, must, run, runCli } from "../support/command.ts";
import { ALL, READ_WRITE, runProgram } from "../support/library.ts";
import { unchanged } from "../support/look.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";
import { exists, until } from "../support/until.ts";

const here = import.meta.url;
const NOBODY = 65534;
const STALE = "stale-1-0123456789ab";
const PARTIAL = "partial-1-0123456789ab";
const VICTIM = { documents: { letter: "dear" }, key: "secret" };

/** A cache, and what is none of its business. */
function make(dir: TempDir): { cache: string; victim: string } {
  dir.write({ victim: VICTIM, cache: { a: { file: "x" }, file: "y" } });
  return { cache: dir.at("cache"), victim: dir.at("victim") };
}

/** The ways to clear that sweep beside the directory. */
const WAYS: Record<string, string[]> = {
  "clears": [],
  "clears and makes anew": ["--recreate"],
  "clears in the background": ["--background"],
};

for (const [what, flags] of Object.entries(WAYS)) {
  test(
    `rebuild-cache --dir leaves a planted symbolic link and its target alone when it ${what}`,
    ["linux"],
    async () => {
      await using dir = TempDir.make();
      const { cache, victim } = make(dir);
      const planted = `${cache}.${STALE}`;
      Deno.symlinkSync(victim, planted);
      const same = unchanged(victim, planted);
      const { code, stderr } = await runCli(["--dir", cache, ...flags]);
      await untilNobodyWorksOn(cache);
      same("after the clear");
      assertEquals(code, 0, stderr);
      assertEquals(exists(`${cache}/file`), false);
    },
  );
}

/** A deletion in the background is a process that names the directory. */
async function untilNobodyWorksOn(path: string): Promise<void> {
  await until(`nobody works on ${path}`, () => {
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name) || Number(name) === Deno.pid) continue;
      try {
        const line = Deno.readTextFileSync(`/proc/${name}/cmdline`);
        if (line.includes(`${path}.stale-`)) return false;
      } catch { /* it has ended */ }
    }
    return true;
  });
}

test(
  "rebuild-cache --dir leaves a planted symbolic link and its target alone when there is no DIR",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ victim: VICTIM });
    const planted = dir.at(`cache.${STALE}`);
    Deno.symlinkSync(dir.at("victim"), planted);
    const same = unchanged(dir.at("victim"), planted);
    const { code, stderr } = await runCli(["--dir", dir.at("cache")]);
    same("after the clear");
    assertEquals(code, 0, stderr);
  },
);

test(
  "rebuild-cache --dir leaves a file, a FIFO, and a link to a file alone when they bear an aside's name",
  ["posix", "mkfifo"],
  async () => {
    await using dir = TempDir.make();
    const { cache, victim } = make(dir);
    const names = ["1", "2", "3"].map((i) =>
      `${cache}.stale-${i}-0123456789ab`
    );
    const [file, fifo, link] = names as [string, string, string];
    Deno.writeTextFileSync(file, "a report that happens to be called so");
    await must("mkfifo", fifo);
    Deno.symlinkSync(`${victim}/key`, link);
    const same = unchanged(victim, ...names);
    const { code, stderr } = await runCli(["--dir", cache]);
    same("after the clear");
    assertEquals(code, 0, stderr);
    assertEquals(exists(cache), false);
  },
);

test(
  "rebuild-cache --dir leaves somebody else's directory alone when it bears an aside's name",
  ["linux", "root"],
  async () => {
    await using dir = TempDir.make();
    const { cache } = make(dir);
    Deno.chmodSync(dir.path, 0o1777);
    const planted = `${cache}.${STALE}`;
    Deno.renameSync(dir.at("victim"), planted);
    await must("chown", "-R", `${NOBODY}:${NOBODY}`, planted);
    const same = unchanged(planted);
    const { code, stderr } = await runCli(["--dir", cache]);
    same("after the clear");
    assertEquals(code, 0, stderr);
    assertEquals(exists(cache), false);
  },
);

mountTest(
  here,
  "rebuild-cache --dir leaves mount points alone when they bear an aside's name",
  [],
  async (dir) => {
    const { cache, victim } = make(dir);
    const tmpfs = await makeFileSystem(dir, "tmpfs");
    dir.write(VICTIM, tmpfs);
    const names = ["1", "2"].map((i) => `${cache}.stale-${i}-0123456789ab`);
    names.forEach((name) => Deno.mkdirSync(name));
    await must("mount", "--bind", victim, names[0]!);
    await must("mount", "--bind", tmpfs, names[1]!);
    const same = unchanged(victim, tmpfs);
    const { code, stderr } = await runCli(["--dir", cache]);
    same("after the clear");
    assertEquals(code, 0, stderr);
    assertEquals(exists(cache), false);
  },
);

mountTest(
  here,
  "rebuild-cache --dir does not follow a planted link inside when it clears a mount point in place",
  [],
  async (dir) => {
    dir.write({ victim: VICTIM });
    const cache = await makeFileSystem(dir, "tmpfs");
    for (const flags of [[], ["--recreate"]]) {
      dir.write({ a: { file: "x" } }, cache);
      Deno.symlinkSync(dir.at("victim"), `${cache}/.${STALE}`);
      const same = unchanged(dir.at("victim"));
      const { code, stderr } = await runCli(["--dir", cache, ...flags]);
      same("after the clear in place");
      assertEquals(code, 0, stderr);
      assertEquals(exists(`${cache}/a`), false);
    }
  },
);

test(
  "rebuild-cache --dir -- COMMAND leaves planted links and their target alone when it sweeps",
  ["posix", "sh"],
  async () => {
    await using dir = TempDir.make();
    const { cache, victim } = make(dir);
    const planted = [`${cache}.${STALE}`, `${cache}.${PARTIAL}`];
    for (const name of planted) Deno.symlinkSync(victim, name);
    const same = unchanged(victim, ...planted);
    const command = ["sh", "-c", 'echo new > "$1/new"', "sh", "{}"];
    const { code, stderr } = await runCli(["--dir", cache, "--", ...command]);
    same("after the rebuild");
    assertEquals(code, 0, stderr);
    assert(exists(`${cache}/new`));
  },
);

test(
  "rebuild-cache link leaves planted links and their target alone when it sweeps beside DST",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    const { cache, victim } = make(dir);
    const dst = dir.at("dst");
    const planted = [`${dst}.${STALE}`, `${dst}.${PARTIAL}`];
    for (const name of planted) Deno.symlinkSync(victim, name);
    const same = unchanged(victim, ...planted);
    for (const flags of [[], ["--if-exists", "replace"]]) {
      const args = ["link", cache, dst, "--mode", "copy", ...flags];
      const { code, stderr } = await runCli(args);
      same(`after link ${flags.join(" ")}`);
      assertEquals(code, 0, stderr);
    }
  },
);

for (const [how, permissions] of Object.entries({ READ_WRITE, ALL })) {
  test(
    `clearCache() and sweepAsides() leave a planted link and its target alone when a program may ${
      how === "ALL" ? "do all" : "read and write only"
    }`,
    ["posix"],
    async () => {
      await using dir = TempDir.make();
      const { cache, victim } = make(dir);
      const planted = `${cache}.${STALE}`;
      Deno.symlinkSync(victim, planted);
      const same = unchanged(victim, planted);
      const text = `import { clearCache, sweepAsides } from "LIBRARY";
        await sweepAsides(Deno.args[0]!);
        await clearCache(Deno.args[0]!);`;
      const ran = await runProgram(dir, text, permissions, [cache]);
      same(`after the program: ${ran.stderr}`);
    },
  );
}

// As somebody without power: what the README's binary meets in /tmp.
test(
  "rebuild-cache --dir leaves a planted link and its target alone when an ordinary user clears",
  ["linux", "root"],
  async () => {
    await using dir = TempDir.make();
    const { cache, victim } = make(dir);
    await must("chown", "-R", `${NOBODY}:${NOBODY}`, cache, victim);
    Deno.chmodSync(dir.path, 0o1777);
    const planted = `${cache}.${STALE}`;
    Deno.symlinkSync(victim, planted); // root's: to another user, a stranger's
    const same = unchanged(victim, planted);
    const module = denoRun("tests/support/as_nobody.ts");
    const ran = await run([Deno.execPath(), ...module, "--dir", cache]);
    same("after the clear");
    assertEquals(ran.code, 0, ran.stderr);
  },
);

// An aside of a clear in place lies inside the directory.
test(
  "sweepAsides() leaves a planted link inside the directory and its target alone",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    const { cache, victim } = make(dir);
    const planted = `${cache}/.${STALE}`;
    Deno.symlinkSync(victim, planted);
    const same = unchanged(victim, planted);
    const text = `import { sweepAsides } from "LIBRARY";
      await sweepAsides(Deno.args[0]!);`;
    const { stderr } = await runProgram(dir, text, ALL, [cache]);
    same(`after the sweep: ${stderr}`);
  },
);
