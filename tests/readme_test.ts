/** The README's commands do what it says. (Its programs are run by `--doc`.) */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { cliCommand, must, ROOT, run, runCli } from "./support/command.ts";
import { test } from "./support/needs.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";

const README = Deno.readTextFileSync(`${ROOT}/README.md`);

/** The code blocks of a language, in order. */
function blocks(language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, "gms");
  return [...README.matchAll(fence)].map((match) => match[1]!);
}

test("README: npm works on after its cache was cleared, and fills it again", [
  "posix",
  "npm registry",
], async () => {
  await using dir = TempDir.make();
  const block = blocks("sh").find((it) => it.startsWith("npm cache add"))!;
  const commands = block.trim().split("\n");
  assertEquals(commands.length, 3);
  const cache = dir.at(".npm-cache");
  for (const command of commands) {
    if (command.startsWith("npm ")) {
      const { code, stderr } = await run(command.split(" "), { cwd: dir.path });
      assertEquals(code, 0, stderr);
      assert(namesIn(`${cache}/_cacache`).includes("content-v2"));
    } else {
      assertStringIncludes(command, "cli.ts --dir .npm-cache");
      const { stdout } = await runCli(["--dir", ".npm-cache"], {
        cwd: dir.path,
      });
      assertStringIncludes(stdout, "Cleared");
      assertEquals(namesIn(dir.path), []);
    }
  }
  await must("npm", "cache", "verify", "--cache", cache);
});

test("README: the CI script gets its dependencies, once from npm", [
  "posix",
  "bash",
  "npm registry",
], async () => {
  await using dir = TempDir.make();
  const script = blocks("bash")[0]!;
  assertStringIncludes(script, "rebuild-cache ensure");
  const dependencies = { "left-pad": "1.3.0" };
  const project = { name: "app", version: "1.0.0", dependencies };
  dir.write({ "package.json": JSON.stringify(project) });
  const flags = ["--package-lock-only", "--no-audit", "--no-fund"];
  const locked = await run(["npm", "install", ...flags], { cwd: dir.path });
  assertEquals(locked.code, 0, locked.stderr);
  const words = cliCommand([]).map((word) => `'${word}'`).join(" ");
  const text = `set -e\nrebuild-cache() { ${words} "$@"; }\n${script}`;
  for (const what of ["Built npm-", "Linked"]) {
    const { code, stdout, stderr } = await run(["bash", "-c", text], {
      cwd: dir.path,
    });
    assertEquals(code, 0, stderr);
    assertStringIncludes(stdout, what);
    assertStringIncludes(stdout, "left-pad");
    assertStringIncludes(stdout, "1 entry stays");
    await Deno.remove(dir.at("deps"), { recursive: true });
  }
});

Deno.test("README: lists every flag of every help, and every exit code", async () => {
  for (const command of ["", "use", "link", "get", "ensure", "put", "prune"]) {
    const { stdout } = await runCli([...command ? [command] : [], "--help"]);
    for (const [flag] of stdout.matchAll(/--[a-z-]+/g)) {
      const known = README.includes(flag) ||
        /--(quiet|verbose|version)/.test(flag);
      assert(known, `${flag} is not in the README`);
    }
  }
});
