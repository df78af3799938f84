/**
 * Names and notes of somebody else on a terminal and in a CI log: each
 * message is one line of text, in which nothing is a command to either.
 */

import { assert, assertEquals } from "@std/assert";
import { Peer, type Ran, runCli } from "../support/command.ts";
import { archiveIn } from "../support/forged.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

/** Red from here on, a bell, back to the line's start, and what GitHub obeys. */
const EVIL = "a\u001b[31m\u0007\r\n::add-mask::b\u009b2Jc\u007f";

/** One line on each, and nothing but text in it. */
function isClean({ stdout, stderr }: Ran, lines: number, what: string): void {
  const said = stdout + stderr;
  assertEquals(
    said.match(/\n/g)?.length ?? 0,
    lines,
    `${what}: ${JSON.stringify(said)}`,
  );
  assert(said.endsWith("\n"), `${what}: ${JSON.stringify(said)}`);
  // deno-lint-ignore no-control-regex -- they are what is looked for
  const control = /[\x00-\x09\x0b-\x1f\x7f-\x9f]/.exec(said);
  assertEquals(control, null, `${what}: ${JSON.stringify(said)}`);
  assert(!/^::/m.test(said), `${what}: ${JSON.stringify(said)}`);
}

// What an error names.
test(
  "rebuild-cache prints file names in errors without control characters",
  ["linux", "mkfifo"],
  async () => {
    await using dir = TempDir.make();
    const at = dir.at(EVIL);
    dir.write({ [EVIL]: { file: "content" }, src: { file: "content" } });
    const { success } = await new Deno.Command("mkfifo", {
      args: [`${at}/${EVIL}`],
    }).output();
    assert(success);
    const root = ["--dir", dir.at("cache")];
    for (
      const args of [
        ["link", at, dir.at("dst")],
        ["link", dir.at("src"), `${at}/none/${EVIL}`],
        ["link", dir.at("src"), at],
        ["link", `${at}/none`, dir.at("dst")],
        ["put", "key", at, ...root],
        ["put", EVIL, at, ...root],
        ["get", EVIL, at, ...root],
        ["get", "key", dir.at("dst"), "--bucket", EVIL, ...root],
        ["--dir", `${at}/file`],
        ["--dir", `${at}/file/${EVIL}`],
        ["ls", "--dir", `${at}/file`],
        ["verify", "--dir", `${at}/file`],
        ["prune", "--dir", at],
        ["doctor", `${at}/none`],
        ["--dir", dir.at("none"), "--", EVIL],
        ["use", "--dir", dir.at("src"), "--", EVIL],
        ["--dir", dir.at("src"), EVIL],
        [EVIL],
        [`--${EVIL}`],
        ["link", "--mode", EVIL, at, dir.at("dst")],
        ["prune", "--max-age", EVIL, ...root],
      ]
    ) {
      const ran = await runCli(args);
      assert(ran.code !== 0, JSON.stringify(args));
      isClean(ran, 1, JSON.stringify(args));
    }
  },
);

// What went well is told by name, too.
Deno.test({
  name: "rebuild-cache prints file names in results without control characters",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = TempDir.make();
    dir.write({ src: { file: "content" }, [EVIL]: { old: "old" } });
    const at = dir.at(EVIL);
    for (
      const args of [
        ["--dir", at, "--dry-run"],
        ["--dir", at],
        ["--dir", at],
        ["--dir", at, "--recreate"],
        ["--dir", at, "--", "sh", "-c", 'echo x > "$1/x"', "sh", "{}"],
        ["link", dir.at("src"), `${at}/dst`],
        ["link", dir.at("src/file"), `${at}/file`],
        ["put", "key", dir.at("src"), "--dir", `${at}/cache`],
        ["get", "key", `${at}/got`, "--dir", `${at}/cache`],
        ["verify", "--dir", `${at}/cache`],
        ["prune", "--dir", `${at}/cache`],
      ]
    ) {
      const ran = await runCli(args);
      assertEquals(ran.code, 0, ran.stderr);
      isClean(ran, 1, JSON.stringify(args));
    }
    // All that can be told of it.
    const ran = await runCli(["-vv", "--dir", at]);
    assertEquals(ran.code, 0, ran.stderr);
    isClean(ran, (ran.stdout + ran.stderr).split("\n").length - 1, "-vv");
  },
});

// Who holds a lock says so in a note, which is somebody else's text.
Deno.test({
  name:
    "rebuild-cache prints notes of who holds a lock without control characters",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = TempDir.make();
    dir.write({ dir: { old: "old" } });
    const at = dir.at("dir");
    const busy = ["--dir", at, "--if-busy", "fail"];
    const command = ["sh", "-c", "echo using; cat", EVIL];
    await using user = Peer.cli(["use", "--dir", at, "--", ...command]);
    await user.says("using");
    const honest = await runCli(busy);
    assertEquals(honest.code, 75, honest.stderr);
    isClean(honest, 1, "a purpose");
    const { name } = [...Deno.readDirSync(dir.path)]
      .find(({ name }) => name.startsWith("dir.holder-"))!;
    const note = dir.at(name);
    const was = JSON.parse(Deno.readTextFileSync(note));
    const texts = [{ purpose: EVIL }, { since: EVIL }, { host: EVIL }];
    for (const evil of [...texts, { pid: EVIL }, { purpose: [EVIL] }]) {
      Deno.writeTextFileSync(note, JSON.stringify({ ...was, ...evil }));
      const ran = await runCli(busy);
      assertEquals(ran.code, 75, ran.stderr);
      isClean(ran, 1, JSON.stringify(evil));
    }
    Deno.writeTextFileSync(note, EVIL);
    isClean(await runCli(busy), 1, "a note that is none");
    await user.end();
  },
});

// What lies in an archive, and what a key is called in it.
Deno.test({
  name:
    "rebuild-cache ls, verify and prune print what is in a cache without control characters",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = TempDir.make();
    dir.write({ src: { [EVIL]: "content" } });
    const root = ["--dir", dir.at("cache")];
    const put = await runCli(["put", EVIL, dir.at("src"), ...root]);
    assertEquals(put.code, 0, put.stderr);
    isClean(put, 1, "put");
    for (const [name, ...more] of [["ls"], ["prune", "--dry-run"]]) {
      const ran = await runCli([name!, ...more, ...root]);
      isClean(ran, (ran.stdout + ran.stderr).split("\n").length - 1, name!);
    }
    const archive = archiveIn(dir.at("cache"));
    Deno.writeTextFileSync(`${archive}/tree/${EVIL}`, "CONTENT");
    Deno.writeTextFileSync(`${archive}/tree/more ${EVIL}`, "more");
    const ran = await runCli(["verify", ...root]);
    assertEquals(ran.code, 1, ran.stderr);
    // What is damaged, and how many.
    isClean(ran, 2, "verify");
  },
});
