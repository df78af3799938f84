/** The README's commands do what it says. (Its programs are run by `--doc`.) */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ROOT, runCli } from "./support/command.ts";
import { test } from "./support/needs.ts";
import { READER, Reader } from "./support/reader.ts";
import { namesIn, type Tree } from "./support/temp_dir.ts";
import { COMMANDS, EXIT_CODES } from "../lib/cli/commands.ts";

const README = Deno.readTextFileSync(`${ROOT}/README.md`);
const REFERENCE = Deno.readTextFileSync(`${ROOT}/docs/commands.md`);

/** The code blocks of a language, in order. */
function blocks(language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, "gms");
  return [...README.matchAll(fence)].map((match) => match[1]!);
}

const PROJECT: Tree = {
  "requirements.txt": "six==1.16.0\n",
  "package.json": JSON.stringify({
    name: "app",
    version: "1.0.0",
    dependencies: { "left-pad": "1.3.0" },
  }),
};

/**
 * What each block that can be pasted has done the second time: which files are there, and
 * how often which tool was run in all.
 */
const PASTED: readonly {
  begins: string;
  makes: string;
  calls: Record<string, number>;
}[] = [
  {
    begins: "rebuild-cache ensure",
    makes: "node_modules/left-pad/package.json",
    calls: { "npm ci": 1 },
  },
  {
    begins: "rebuild-cache use ~/.cache/pip",
    makes: "lib/six.py",
    calls: { "pip install": 2 },
  },
  {
    begins: "npm cache add",
    makes: ".npm-cache/_cacache/content-v2",
    calls: { "npm cache add": 4 },
  },
  {
    begins: "rebuild-cache rebuild wheels",
    makes: "lib/six.py",
    calls: { "pip wheel": 2 },
  },
  {
    begins: 'key="npm-',
    makes: "node_modules/left-pad/package.json",
    calls: { "npm ci": 1 },
  },
];

test(
  "README: each block that can be pasted works twice, in a fresh home, as an ordinary user",
  [
    ...READER,
    "python3",
    "pip and its index",
    "npm registry",
  ],
  async (t) => {
    const pasted = blocks("bash");
    assertEquals(pasted.length, PASTED.length);
    for (const [at, { begins, makes, calls }] of PASTED.entries()) {
      await t.step(begins, async () => {
        await using reader = new Reader();
        if (Object.keys(calls).some((it) => it.startsWith("pip "))) {
          await reader.addPython();
          reader.note("pip");
        }
        reader.note("npm");
        const lock =
          "npm install --silent --package-lock-only --no-audit --no-fund";
        const app = await reader.project("my app", PROJECT, lock);
        const text = pasted[at]!;
        assert(text.startsWith(begins), text);
        for (let times = 0; times < 2; times++) {
          await reader.paste(text, app);
          Deno.lstatSync(`${app}/${makes}`);
        }
        for (const [words, times] of Object.entries(calls)) {
          assertEquals(reader.calls(words), times, words);
        }
      });
    }
  },
);

Deno.test("README: what is pasted first deletes nothing", () => {
  const [first] = [...README.matchAll(/^```(?:ba)?sh\n(.*?)^```$/gms)];
  assertStringIncludes(first![1]!, "rebuild-cache ensure");
});

Deno.test("README: the first screen tells which of five commands does what, and the whole is short", () => {
  const lines = README.split("\n");
  const screen = lines.slice(0, 45).join("\n");
  for (const name of ["clear", "rebuild", "use", "link", "ensure"]) {
    assertStringIncludes(screen, `| \`rebuild-cache ${name} `);
  }
  assert(lines.length <= 251, `${lines.length} lines`);
});

test("README: its commands for a checkout run, from any directory", [
  "posix",
  "bash",
], async () => {
  const { stdout } = await runCli(["help"], { cwd: "/" });
  const [checkout] = blocks("sh");
  for (const line of checkout!.split("\n").filter((it) => /^\w/.test(it))) {
    const [script, ...args] = line.split(" ");
    assertEquals(script, "scripts/deno");
    if (args[0] === "run") {
      assertEquals(args, ["run", "-A", "cli.ts", "help"]);
    } else {
      const { tasks } = JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`));
      assert(args[1]! in tasks, line);
    }
  }
  assertStringIncludes(stdout, "ensure");
});

Deno.test("docs/commands.md: lists every command, every flag, and every exit code", async () => {
  for (const { name } of COMMANDS) {
    assert(new RegExp(`\\b${name}\\b`).test(REFERENCE), name);
    const { stdout } = await runCli([name, "--help"]);
    for (const [flag] of stdout.matchAll(/--[a-z][a-z-]+/g)) {
      assertStringIncludes(REFERENCE, `\`${flag}`, `${name} ${flag}`);
    }
  }
  for (const code of Object.keys(EXIT_CODES)) {
    assert(new RegExp(`^\\| ${code} +\\|`, "m").test(REFERENCE), code);
  }
});

Deno.test("docs: every link to a page or a heading leads somewhere", () => {
  const pages = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
  pages.push(
    ...namesIn(`${ROOT}/docs`).filter((it) => it.endsWith(".md"))
      .map((it) => `docs/${it}`),
  );
  for (const page of pages) {
    const text = Deno.readTextFileSync(`${ROOT}/${page}`);
    for (const [, link] of text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path, heading] = link!.split("#") as [string, string?];
      const target = new URL(path || "", `file://${ROOT}/${page}`).pathname;
      const content = Deno.readTextFileSync(decodeURI(target));
      if (heading === undefined) continue;
      const headings = [...content.matchAll(/^#+ (.*)$/gm)].map(([, it]) =>
        it!.toLowerCase().replace(/[^\p{L}\d\s-]/gu, "").replaceAll(" ", "-")
      );
      assert(headings.includes(heading), `${page}: ${link}`);
    }
  }
});
