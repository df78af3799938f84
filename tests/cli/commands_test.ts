// One table of commands and flags: parser, help, manual page and completions go by it.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { COMMANDS, EXIT_CODES } from "../../lib/cli/commands.ts";
import type { Flag } from "../../lib/cli/flag.ts";
import { COMMON } from "../../lib/cli/flags.ts";
import { help } from "../../lib/cli/help.ts";
import { manPage } from "../../lib/cli/man.ts";
import { MODES } from "../../lib/link/ladder.ts";
import { ROOT, run, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

Deno.test("rebuild-cache: help, manual page and completions know every flag", async () => {
  const scripts = await Promise.all(
    ["bash", "zsh", "fish", "powershell"].map(async (shell) => {
      const { code, stdout, stderr } = await runCli(["completions", shell]);
      assertEquals(code, 0, stderr);
      return stdout.replaceAll("-l ", "--"); // as fish has it
    }),
  );
  const page = manPage().replaceAll("\\-", "-");
  for (const command of COMMANDS) {
    const text = help(command);
    const flags: readonly Flag[] = [...command.flags, ...COMMON];
    for (const { name, choices, short, variable, rare } of flags) {
      assertStringIncludes(text, `--${name}`);
      assertStringIncludes(page, `--${name}`);
      if (short) assertStringIncludes(page, `-${short}`);
      if (variable) assertStringIncludes(page, variable);
      for (const script of scripts) assertStringIncludes(script, `--${name}`);
      for (const choice of Object.keys(choices ?? {})) {
        if (!rare || command.allFlags) assertStringIncludes(text, choice);
        for (const script of scripts) assertStringIncludes(script, choice);
      }
    }
    for (const script of scripts) assertStringIncludes(script, command.name);
  }
});

Deno.test("rebuild-cache COMMAND --help fits a screen, and ends with two examples", async () => {
  for (const { name, examples } of COMMANDS) {
    const { code, stdout } = await runCli([name, "--help"]);
    const lines = stdout.trimEnd().split("\n");
    assertEquals(code, 0);
    assertEquals(examples.length, 2, name);
    assert(lines.length <= 44, `${name}: ${lines.length} lines`);
    for (const line of lines.slice(0, -4)) assert(line.length <= 90, line);
    assertEquals(lines.at(-1)!.trim(), examples[1]![0]);
  }
});

Deno.test("docs/errors.md names every exit code and every kind of error", () => {
  const page = Deno.readTextFileSync(`${ROOT}/docs/errors.md`);
  for (const code of Object.keys(EXIT_CODES)) {
    assert(new RegExp(`^\\| ${code}[ ,]`, "m").test(page), code);
  }
  const source = Deno.readTextFileSync(`${ROOT}/lib/os/error.ts`);
  const [, type] = /export type ErrorKind =([^;]*);/.exec(source)!;
  const kinds = [...type!.matchAll(/\| "([a-z-]+)"/g)].map(([, kind]) => kind);
  assert(kinds.length > 15);
  for (const kind of [...kinds, "refused", "locked"]) {
    assertStringIncludes(page, `\`${kind}\``);
  }
});

Deno.test("rebuild-cache takes flags from the environment unless they are typed", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { a: "" }, src: { b: "content" } });
  const env = { REBUILD_CACHE_DRY_RUN: "1", REBUILD_CACHE_JSON: "yes" };
  const dry = await runCli(["--dir", dir.at("cache"), "-v"], { env });
  assertEquals(
    JSON.parse(dry.stdout).results[0].outcome,
    "would-clear",
    dry.stderr,
  );
  assertEquals(namesIn(dir.at("cache")), ["a"]);
  for (
    const wrong of [
      { REBUILD_CACHE_DRY_RUN: "perhaps" },
      { REBUILD_CACHE_IF_BUSY: "cry" },
      { REBUILD_CACHE_WAIT: "long" },
    ]
  ) {
    const { code, stderr } = await runCli(["--dir", dir.at("cache")], {
      env: wrong,
    });
    assertEquals(code, 2);
    assertEquals(stderr.trim().split("\n").length, 1, stderr);
    assertStringIncludes(stderr, Object.keys(wrong)[0]!);
  }
  const root = { REBUILD_CACHE_ROOT: dir.at("store") };
  const put = await runCli(["put", "key", dir.at("src")], { env: root });
  assertEquals(put.code, 0, put.stderr);
  const typed = await runCli(["ls", "--dir", dir.at("src")], { env: root });
  assertEquals(typed.code, 2, "what is typed comes first");
  const linked = await runCli(["link", dir.at("src"), dir.at("out")], {
    env: { REBUILD_CACHE_MODE: "copy" },
  });
  assertStringIncludes(linked.stdout, "1 copied");
  const failed = await runCli(["link", dir.at("no"), dir.at("nowhere")], {
    env: { REBUILD_CACHE_JSON: "1" },
  });
  assertEquals(JSON.parse(failed.stdout).error.kind, "not-found");
  const wrong = await runCli(["liink"], { env: { REBUILD_CACHE_JSON: "1" } });
  assertEquals(JSON.parse(wrong.stdout).error.kind, "usage");
});

Deno.test("rebuild-cache lets no variable say what is cleared, rebuilt or replaced", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { a: "" }, src: { b: "" }, there: { c: "" } });
  const env = {
    REBUILD_CACHE_DIR: dir.at("cache"),
    REBUILD_CACHE_ROOT: dir.at("cache"),
    REBUILD_CACHE_FOLLOW: "1",
    REBUILD_CACHE_IN_PLACE: "1",
    REBUILD_CACHE_IF_EXISTS: "replace",
  };
  const exit = [Deno.execPath(), "eval", "Deno.exit(3)"];
  for (const args of [[], ["-v"], ["clear"], ["--", ...exit], ["--recreate"]]) {
    const { code, stderr } = await runCli(args, { env, cwd: dir.path });
    assertEquals(code, 2, `${args}: ${stderr}`);
  }
  const rebuilt = await runCli(["rebuild", dir.at("cache"), "--", ...exit], {
    env,
  });
  assertEquals(rebuilt.code, 3, "and the old cache is kept");
  const linked = await runCli(["link", dir.at("src"), dir.at("there")], {
    env,
  });
  assertEquals(linked.code, 1, linked.stdout);
  assertEquals(namesIn(dir.at("cache")), ["a"]);
  assertEquals(namesIn(dir.at("there")), ["c"]);
});

Deno.test("rebuild-cache's COMMAND finds its directory by a variable that sets no flag", async () => {
  const variables = [...COMMANDS.flatMap(({ flags }) => flags), ...COMMON]
    .map(({ variable }) => variable);
  assert(variables.includes("REBUILD_CACHE_ROOT"));
  assertEquals(variables.includes("REBUILD_CACHE_OUT"), false);
  await using dir = TempDir.make();
  dir.write({ src: { a: "" } });
  const tell = "Deno.writeTextFileSync(Deno.env.get('REBUILD_CACHE_OUT') + " +
    "'/told', String(Deno.env.get('REBUILD_CACHE_DIR')))";
  const { code, stderr } = await runCli([
    ...["rebuild", dir.at("cache"), "--", Deno.execPath(), "eval", tell],
  ]);
  assertEquals(code, 0, stderr);
  assertEquals(
    Deno.readTextFileSync(dir.at("cache", "told")),
    Deno.env.get("REBUILD_CACHE_DIR") ?? "undefined",
  );
});

Deno.test("rebuild-cache writes no escape byte, where there is no terminal", async () => {
  await using dir = TempDir.make();
  dir.write({ src: { a: "content" } });
  const store = ["--dir", dir.at("store")];
  const env = { NO_COLOR: "", CI: "", TERM: "xterm-256color" };
  for (
    const args of [
      ["link", dir.at("src"), dir.at("out")],
      ["put", ...store, "key", dir.at("src")],
      ["verify", ...store],
      ["ls", ...store],
      ["prune", ...store],
      ["--dir", dir.at("out"), "-vv"],
      ["--help"],
      ["help", "get"],
      ["--no-such-flag"],
    ]
  ) {
    const { stdout, stderr } = await runCli(args, { env });
    assertEquals((stdout + stderr).includes("\u001b"), false, args.join(" "));
  }
});

/** Writes a completion script, and gives its path. */
async function script(dir: TempDir, shell: string): Promise<string> {
  const { stdout } = await runCli(["completions", shell]);
  Deno.writeTextFileSync(dir.at(`completion.${shell}`), stdout);
  return dir.at(`completion.${shell}`);
}

const SORTED = MODES.toSorted();

test("rebuild-cache completions bash completes in a real bash", [
  "bash",
], async () => {
  await using dir = TempDir.make();
  const path = await script(dir, "bash");
  const ask = async (...words: string[]) => {
    const line = `set -u; source ${path}
      COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _rebuild_cache
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = await run(["bash", "-c", line, "-", ...words], {
      cwd: dir.path,
    });
    assertEquals(stderr, "");
    return stdout.trim().split("\n").sort();
  };
  assertEquals(await ask("rebuild-cache", "pr"), ["prune"]);
  assertEquals(await ask("rebuild-cache", "link", "--mode", ""), SORTED);
  assertEquals(await ask("rebuild-cache", "link", "--mode", "c"), [
    "clone",
    "copy",
  ]);
  assertEquals(await ask("rebuild-cache", "prune", "--max-s"), ["--max-size"]);
  assertEquals(await ask("rebuild-cache", "--if-busy", "s"), ["skip"]);
  assert((await ask("rebuild-cache", "put", "")).includes("completion.bash"));
  assertEquals(await ask("rebuild-cache", "-q", "--json", "pr"), ["prune"]);
  assertEquals(await ask("rebuild-cache", "-q", "help", "pr"), ["prune"]);
  assertEquals(await ask("rebuild-cache", "link", "--mode", "=", "h"), [
    "hardlink",
  ]);
  dir.write({ "two words": {}, "a * star": {} });
  assertEquals(await ask("rebuild-cache", "--dir", "t"), ["two words"]);
  assertEquals(await ask("rebuild-cache", "--dir", "two\\ w"), ["two words"]);
  assertEquals(await ask("rebuild-cache", "clear", "a"), ["a * star"]);
});

test("rebuild-cache completions fish completes in a real fish", [
  "fish",
], async () => {
  await using dir = TempDir.make();
  const path = await script(dir, "fish");
  const ask = async (line: string) => {
    const command = `source ${path}; complete -C '${line}'`;
    const { stdout } = await run(["fish", "-c", command], {
      env: { HOME: dir.path },
    });
    return stdout.trim().split("\n").map((it) => it.split("\t")[0]).sort();
  };
  assertEquals(await ask("rebuild-cache pr"), ["prune"]);
  assertEquals(await ask("rebuild-cache link --mode "), SORTED);
  assertEquals(await ask("rebuild-cache prune --max-s"), ["--max-size"]);
  assertEquals(await ask("rebuild-cache help pr"), ["prune"]);
  const { stdout } = await run([
    ...[
      "fish",
      "-c",
      `source ${path}; complete -C 'rebuild-cache link --mode '`,
    ],
  ], { env: { HOME: dir.path } });
  const described = stdout.trim().split("\n").map((it) => it.split("\t")[1]);
  assertEquals(new Set(described).size, MODES.length, stdout);
});

test("rebuild-cache completions zsh completes in a real zsh", [
  "zsh",
], async () => {
  await using dir = TempDir.make();
  const path = await script(dir, "zsh");
  const ask = async (line: string) => {
    const asking = ["zsh", `${ROOT}/tests/support/ask.zsh`, path, line];
    return (await run(asking, { cwd: dir.path })).stdout;
  };
  assertStringIncludes(await ask("rebuild-cache pr"), "rebuild-cache prune");
  const modes = await ask("rebuild-cache link --mode ");
  for (const mode of MODES) assertStringIncludes(modes, mode);
  assertStringIncludes(await ask("rebuild-cache prune --max-s"), "--max-size");
  assertStringIncludes(await ask("rebuild-cache -q pr"), "-q prune");
  dir.write({ "two words": {} });
  assertStringIncludes(await ask("rebuild-cache --dir tw"), "two\\ words");
});

test("rebuild-cache man renders without a warning", ["man"], async () => {
  await using dir = TempDir.make();
  const { stdout } = await runCli(["man"]);
  Deno.writeTextFileSync(dir.at("page.1"), stdout);
  const { code, stderr, stdout: shown } = await run([
    ...["man", "--warnings", "-E", "UTF-8", "-l", dir.at("page.1")],
  ], { env: { LC_ALL: "C.UTF-8", MANWIDTH: "80" } });
  assertEquals([code, stderr], [0, ""]);
  assertStringIncludes(shown.replaceAll(/.[\b]/g, ""), "rebuild-cache prune");
});
