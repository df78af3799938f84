import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { siblingName } from "../../lib/fs/names.ts";
import { cliCommand, ROOT, run, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { makeManyFiles, namesIn, TempDir } from "../support/temp_dir.ts";

const TREE = { a: { b: { file: "x" }, empty: {} }, file: "y" };

Deno.test("rebuild-cache clears each --dir, says so on one line each, and exits 0", async () => {
  await using dir = TempDir.make();
  dir.write({ one: TREE, "two words": TREE });
  const { code, stdout, stderr } = await runCli([
    "--dir",
    dir.at("one"),
    `--dir=${dir.at("two words")}`,
    "--dir",
    dir.at("missing"),
  ]);
  assertEquals([code, stderr], [0, ""]);
  const lines = stdout.trim().split("\n");
  assertEquals(lines.length, 3);
  assertStringIncludes(lines[0]!, "Cleared");
  assertStringIncludes(lines[2]!, "does not exist");
  assertEquals(namesIn(dir.path), []);
});

Deno.test("rebuild-cache takes a relative --dir, from the working directory", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: TREE });
  const { code } = await runCli(["--dir", "cache/"], { cwd: dir.path });
  assertEquals(code, 0);
  assertEquals(namesIn(dir.path), []);
});

/** What is refused, and a word that its one line must have in it. */
const REFUSED: [args: string[], line: string][] = [
  [["--dir", "/"], "root of a file system"],
  [["--dir", "."], "working directory"],
  [["--dir", ".."], "working directory"],
  [["--dir", ""], "--dir"],
  [["--dir"], "--dir needs a value"],
  [[], "No --dir was given"],
  [["--dir", "file"], "not a directory"],
  [["--dri", "cache"], "did you mean --dir?"],
  [["--dryrun", "--dir", "cache"], "did you mean --dry-run?"],
  [["--dir", "cache", "-x"], "Unknown flag -x"],
  [["--dir", "cache", "extra"], '"extra"'],
  [["cache"], '"cache" is not a command'],
];

Deno.test("rebuild-cache refuses with exit code 2 and one line, and touches nothing", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: TREE, file: "x" });
  for (const [args, line] of REFUSED) {
    const { code, stdout, stderr } = await runCli(args, { cwd: dir.path });
    assertEquals([code, stdout], [2, ""], `${args}: ${stderr}`);
    assertStringIncludes(stderr, line);
    assertEquals(stderr.trim().split("\n").length, 1, stderr);
  }
  // One refusal, and none of the others is cleared either.
  const { code } = await runCli(["--dir", "cache", "--dir", "file"], {
    cwd: dir.path,
  });
  assertEquals(code, 2);
  assertEquals(namesIn(dir.path), ["cache", "file"]);
});

test(
  "rebuild-cache refuses the home directory and a symbolic link, without --follow",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ home: TREE, real: TREE });
    Deno.symlinkSync("real", dir.at("link"));
    const env = {
      HOME: dir.at("home"),
      DENO_DIR: Deno.env.get("DENO_DIR") ??
        `${Deno.env.get("HOME")}/.cache/deno`,
    };
    const home = await runCli(["--dir", dir.at("home")], { env });
    assertEquals(home.code, 2);
    assertStringIncludes(home.stderr, "the home directory");
    const link = await runCli(["--dir", dir.at("link")]);
    assertEquals(link.code, 2);
    assertStringIncludes(link.stderr, dir.at("real"));
    assertEquals(namesIn(dir.at("real")), ["a", "file"]);
    assertEquals((await runCli(["--dir", dir.at("link"), "--follow"])).code, 0);
    assertEquals(namesIn(dir.path), ["home", "link"]);
  },
);

Deno.test("rebuild-cache --json prints one object, for results and for errors", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: TREE });
  const done = await runCli(["--json", "--dir", dir.at("cache")]);
  const result = JSON.parse(done.stdout);
  assertEquals([result.version, result.command], [1, "clear"]);
  assertEquals(result.errors, []);
  assertEquals(result.results[0].path, dir.at("cache"));
  assertEquals(result.results[0].outcome, "cleared");
  assertEquals(done.stderr, "");
  const refused = await runCli(["--json", "--dir", "/"]);
  assertEquals(JSON.parse(refused.stdout).error.kind, "refused");
  const wrong = await runCli(["--json", "--nope"]);
  assertEquals(JSON.parse(wrong.stdout).error.kind, "usage");
});

Deno.test("rebuild-cache -q prints nothing, -v the steps, -vv all with the time", async () => {
  await using dir = TempDir.make();
  const clear = async (flag: string) => {
    dir.write({ cache: TREE });
    return await runCli([flag, "--dir", dir.at("cache")]);
  };
  const quiet = await clear("-q");
  assertEquals([quiet.code, quiet.stdout, quiet.stderr], [0, "", ""]);
  const verbose = await clear("-v");
  assertStringIncludes(verbose.stderr, `Renamed "${dir.at("cache")}" to "`);
  const all = await clear("-vv");
  assert(
    /^\d\d:\d\d:\d\d\.\d{3} rebuild-cache: /m.test(all.stderr),
    all.stderr,
  );
});

Deno.test("rebuild-cache --dry-run counts, and changes nothing", async () => {
  await using dir = TempDir.make();
  const aside = siblingName("cache", "stale");
  dir.write({ cache: TREE, [aside]: TREE });
  const { stdout } = await runCli(["--dry-run", "--dir", dir.at("cache")]);
  assertStringIncludes(stdout, "2 files, 3 directories");
  assertStringIncludes(stdout, "1 aside of earlier runs");
  assertEquals(namesIn(dir.path), ["cache", aside]);
});

Deno.test("rebuild-cache --help and --version say what they should, and exit 0", async () => {
  const help = await runCli(["--help"]);
  assertEquals(help.code, 0);
  for (const flag of ["--dir DIR", "  clear  ", "-v, --verbose"]) {
    assertStringIncludes(help.stdout, flag);
  }
  const version = await runCli(["-V"]);
  const { version: number } = JSON.parse(
    Deno.readTextFileSync(`${ROOT}/deno.json`),
  );
  assertStringIncludes(version.stdout, `rebuild-cache ${number} `);
});

Deno.test("rebuild-cache --background returns when the directory is gone, and deletes on", async () => {
  await using dir = TempDir.make();
  makeManyFiles(dir.at("cache"), 300, 10);
  dir.write({ [siblingName("cache", "stale")]: TREE });
  const { code, stdout } = await runCli([
    "--background",
    "--recreate",
    "--dir",
    dir.at("cache"),
  ]);
  assertEquals(code, 0);
  assertStringIncludes(stdout, "deleting in the background");
  assertEquals(namesIn(dir.at("cache")), []);
  for (let tries = 0; namesIn(dir.path).length > 1; tries++) {
    assert(tries < 600, `Still there: ${namesIn(dir.path)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assertEquals(namesIn(dir.path), ["cache"]);
});

test("rebuild-cache leaves an aside and says so when it is interrupted", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  makeManyFiles(dir.at("cache"), 1000, 10);
  const [program, ...args] = cliCommand(["--dir", dir.at("cache")]);
  const child = new Deno.Command(program!, {
    args,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  while (namesIn(dir.path).includes("cache")) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  child.kill("SIGINT");
  const { code, stderr } = await child.output();
  const text = new TextDecoder().decode(stderr);
  const [aside] = namesIn(dir.path);
  assertEquals(code, 130, text);
  assertStringIncludes(text, `"${dir.at(aside!)}" still has files in it`);
  const next = await runCli(["--dir", dir.at("cache")]);
  assertStringIncludes(next.stdout, "1 aside of earlier runs");
  assertEquals(namesIn(dir.path), []);
});

test("rebuild-cache does its work when nobody reads what it prints", [
  "posix",
  "bash",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: TREE });
  const { stdout } = await run([
    "bash",
    "-c",
    '"$@" | true; echo "${PIPESTATUS[0]}"',
    "bash",
    ...cliCommand(["--dir", dir.at("cache"), "-vv"]),
  ]);
  assertEquals(stdout, "0\n");
  assertEquals(namesIn(dir.path), []);
});
