/** docs/install.md: what it shows works, and is all that there is. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { cliCommand, must, ROOT, run } from "./support/command.ts";
import { test } from "./support/needs.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";

const read = (path: string) => Deno.readTextFileSync(`${ROOT}/${path}`);
const PAGE = read("docs/install.md");

/** The one code block of a language. */
function block(language: string): string {
  const fence = new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, "ms");
  return fence.exec(PAGE)![1]!;
}

Deno.test("docs/install.md names every input and output of the action, and no other", () => {
  const action = read("action.yml");
  const [inputs = "", outputs = ""] = action.split(/^(?:outputs|runs):$/m);
  const names = (text: string) =>
    [...text.matchAll(/^ {2}([\w-]+):\n {4}description/gm)].map(([, it]) =>
      it!
    );
  for (const name of [...names(inputs), ...names(outputs)]) {
    if (name === "releases") continue; // for our own tests
    assert(new RegExp(`^\\|[^|]*\`${name}\``, "m").test(PAGE), name);
  }
  const example = block("yaml").split("with:\n")[1]!;
  for (const [, name] of example.matchAll(/^ {4}([\w-]+):/gm)) {
    assert(names(inputs).includes(name!), name);
  }
});

Deno.test("docs/install.md names every argument and variable of the installers", () => {
  for (
    const [file, argument] of [
      ["install.sh", /^ {6}(--[a-z]+)\)/gm],
      ["install.ps1", /\$(Version|To|Uninstall)[,)]/g],
      ["install.sh", /\$\{(REBUILD_CACHE_[A-Z]+)/g],
      ["install.ps1", /\$env:(REBUILD_CACHE_[A-Z]+)/g],
    ] as const
  ) {
    const found = new Set(
      [...read(file).matchAll(argument)].map((it) => it[1]!),
    );
    assertEquals(found.size, 3, `${file}: ${[...found]}`);
    for (const name of found) assertStringIncludes(PAGE, name, file);
  }
});

test("docs/install.md: what its Dockerfile runs gets the dependencies", [
  "posix",
  "bash",
  "sha256sum",
  "npm registry",
], async () => {
  await using dir = TempDir.make();
  const file = block("dockerfile").replaceAll("\\\n", " ");
  assertStringIncludes(file, "COPY --from=rebuild-cache /usr/local/bin/");
  const [, step] = /^RUN --mount=\S+\s+(rebuild-cache .*)$/m.exec(file)!;
  const dependencies = { "left-pad": "1.3.0" };
  const project = { name: "app", version: "1.0.0", dependencies };
  dir.write({ "package.json": JSON.stringify(project) });
  const lock = "npm install --package-lock-only --no-audit --no-fund";
  await must("bash", "-c", `cd '${dir.path}' && ${lock}`);
  const words = cliCommand([]).map((word) => `'${word}'`).join(" ");
  const script = `rebuild-cache() { ${words} "$@"; }\n${
    step!.replace("/root/.cache/deps", dir.at("cache"))
  }`;
  const { code, stderr } = await run(["bash", "-ec", script], {
    cwd: dir.path,
  });
  assertEquals(code, 0, stderr);
  assertEquals(
    namesIn(dir.at("deps", "node_modules")).includes("left-pad"),
    true,
  );
});
