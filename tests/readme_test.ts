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

test("README: its shell commands run as written, with pip and npm", [
  "posix",
  "bash",
  "python3",
  "pip and its index",
  "npm registry",
], async () => {
  await using dir = TempDir.make();
  const words = cliCommand([]).map((word) => `'${word}'`).join(" ");
  const dependencies = { "left-pad": "1.3.0" };
  dir.write({
    bin: {
      "rebuild-cache": `#!/bin/sh\nexec ${words} "$@"\n`,
      pip: '#!/bin/sh\nexec python3 -m pip "$@"\n',
      "pip-compile": `#!/bin/sh\nPYTHONPATH=${
        dir.at("tools")
      } exec python3 -m piptools compile "$@"\n`,
    },
    home: { ".cache": { pip: {} } },
    "requirements.txt": "six==1.16.0\n",
    "requirements.in": "six==1.16.0\n",
    "other.in": "six==1.16.0\n",
    "package.json": JSON.stringify({
      name: "app",
      version: "1.0.0",
      dependencies,
    }),
  });
  for (const name of namesIn(dir.at("bin"))) {
    Deno.chmodSync(dir.at("bin", name), 0o755);
  }
  const env = {
    PATH: `${dir.at("bin")}:${Deno.env.get("PATH")}`,
    HOME: dir.at("home"),
    HASH: "1",
    PIP_TARGET: dir.at("installed"),
    PIP_BREAK_SYSTEM_PACKAGES: "1",
    PIP_ROOT_USER_ACTION: "ignore",
    DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`,
  };
  await must(
    "bash",
    "-c",
    `cd ${dir.path} && npm install --package-lock-only --no-audit --no-fund`,
  );
  const pip = ["python3", "-m", "pip", "install", "-q", "--target"];
  await must(...pip, dir.at("tools"), "pip-tools");
  // The others are about this checkout, and have tests of their own.
  const commands = blocks("sh").filter((it) => !it.includes("scripts/deno"));
  assertEquals(commands.length, 4);
  for (const command of commands) {
    const ran = await run(["bash", "-ec", command], { cwd: dir.path, env });
    assertEquals(ran.code, 0, `${command}: ${ran.stdout}${ran.stderr}`);
  }
  assert(namesIn(dir.at("installed")).includes("six.py"));
  assertStringIncludes(
    Deno.readTextFileSync(dir.at("other.txt")),
    "six==1.16.0",
  );
  assert(namesIn(dir.at("wheels"))[0]!.startsWith("six-1.16.0"));
  assertEquals(
    namesIn(dir.at("app", "node_modules")).includes("left-pad"),
    true,
  );
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
  for (
    const command of [
      ...["clear", "rebuild", "use", "link", "get", "ensure", "put", "prune"],
    ]
  ) {
    const { stdout } = await runCli([command, "--help"]);
    for (const [flag] of stdout.matchAll(/--[a-z-]+/g)) {
      const known = README.includes(flag) ||
        /--(quiet|verbose|version)/.test(flag);
      assert(known, `${flag} is not in the README`);
    }
  }
});
