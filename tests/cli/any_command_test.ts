/** The tests of the command line run against any command: `REBUILD_CACHE_BIN`. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { denoRun, ROOT, run } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

/** Runs tests of this folder against a command. */
function testWith(command: string, ...args: string[]) {
  // Without `run`; the module; and -A, --no-check and so on as here.
  const flags = denoRun("cli.ts").slice(1, -1);
  return run([Deno.execPath(), "test", ...flags, ...args], {
    cwd: ROOT,
    env: { REBUILD_CACHE_BIN: command },
  });
}

test(
  "REBUILD_CACHE_BIN names what the tests of the command line run, without sources or Deno",
  ["posix", "sh"],
  async () => {
    await using dir = TempDir.make();
    const words = [Deno.execPath(), ...denoRun("cli.ts")]
      .map((word) => `'${word}'`).join(" ");
    const home = Deno.env.get("DENO_DIR") ??
      `${Deno.env.get("HOME")}/.cache/deno`;
    dir.write({
      bin: {
        tested: `#!/bin/sh
          { pwd; command -v deno || echo "no deno"; } >>'${dir.at("log")}'
          DENO_DIR='${home}' exec ${words} "$@"\n`,
      },
    });
    Deno.chmodSync(dir.at("bin", "tested"), 0o755);
    const { code, stdout, stderr } = await testWith(
      dir.at("bin", "tested"),
      "tests/cli/json_test.ts",
      "tests/clear/mounts_test.ts",
      "--filter=/--json prints one|without FFI/",
    );
    assertEquals(code, 0, stdout + stderr);
    assert(/ok \| [1-9]\d* passed/.test(stdout), stdout);
    if (Deno.uid() === 0) {
      assertStringIncludes(stdout, "[skipped: needs deno run");
    }
    const lines = Deno.readTextFileSync(dir.at("log")).trim().split("\n");
    assert(lines.length > 10, `run ${lines.length / 2} times`);
    for (let i = 0; i < lines.length; i += 2) {
      const [cwd, which] = [lines[i]!, lines[i + 1]];
      assert(!`${cwd}/`.startsWith(ROOT), cwd);
      assertEquals(which, "no deno");
    }
  },
);

test("REBUILD_CACHE_BIN must be there", [], async () => {
  await using dir = TempDir.make();
  const { code, stdout, stderr } = await testWith(
    dir.at("none"),
    "tests/cli/json_test.ts",
  );
  assertEquals(code, 1);
  assertStringIncludes(stdout + stderr, `REBUILD_CACHE_BIN: no ${dir.path}`);
});
