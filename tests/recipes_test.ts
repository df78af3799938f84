/** Recipes do what they say: as written, in a fresh home, by an ordinary user, twice. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { must, ROOT } from "./support/command.ts";
import { freePorts } from "./support/server.ts";
import { startBazelRemote, startGofakes3 } from "./support/servers.ts";
import { test } from "./support/needs.ts";
import {
  type Block,
  blocksOf,
  READER,
  Reader,
  scriptsOf,
} from "./support/reader.ts";
import { namesIn, type Tree } from "./support/temp_dir.ts";
import { exists } from "./support/until.ts";

const PAGE = blocksOf(Deno.readTextFileSync(`${ROOT}/docs/recipes.md`));

/** What has a test below, and so may stand on the page. */
const TESTED = new Set<string>();

/** The blocks under a heading. */
function recipe(heading: string): string[] {
  TESTED.add(heading);
  return PAGE.get(heading)!.map(({ text }: Block) => text);
}

/** The one block under a heading. */
function oneOf(heading: string): string {
  const [text, ...more] = recipe(heading);
  assertEquals(more, [], heading);
  return text!;
}

const [NPM, PNPM, VENV, UV, CARGO, GO] = [
  ...["npm", "pnpm", "venv", "uv", "cargo", "go"].map(oneOf),
] as [string, string, string, string, string, string];
const [WHEELS, PIP] = recipe("pip") as [string, string];
const PIP_TOOLS = oneOf("pip-tools");
const GITHUB = scriptsOf(oneOf("GitHub Actions, on a runner of your own"));
const HOSTED = scriptsOf(oneOf("GitHub Actions, on GitHub's runners"));
const BUCKET = oneOf("GitHub Actions, with a bucket");
const REMOTE = oneOf("Another machine, by hand");
const GITLAB = oneOf("GitLab");
const DOCKER = oneOf("Docker");
const CRON = oneOf("cron");

Deno.test("recipes.md: every block that can be run has a test", () => {
  assertEquals([...PAGE.keys()].sort(), [...TESTED].sort());
});

/** How GitHub runs a step. */
const STEP = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"];

/** A project with one dependency, and what makes its lockfile. */
const NODE_PROJECT: Tree = {
  "package.json": JSON.stringify({
    name: "app",
    version: "1.0.0",
    scripts: { test: "node -e \"require('left-pad')\"" },
    dependencies: { "left-pad": "1.3.0" },
  }),
};
const LOCK_NPM =
  "npm install --silent --package-lock-only --no-audit --no-fund";

/** Somebody with two checkouts of it; npm's calls are noted. */
async function nodeReader(): Promise<[Reader, ...string[]]> {
  const reader = new Reader();
  reader.note("npm");
  return [
    reader,
    await reader.project("my app", NODE_PROJECT, LOCK_NPM),
    await reader.project("my other app", NODE_PROJECT, LOCK_NPM),
  ];
}

test(
  "recipe for npm installs once when it is run twice, and in a second checkout",
  [
    ...READER,
    "npm registry",
  ],
  async () => {
    const [user, first, second] = await nodeReader();
    await using reader = user;
    for (const checkout of [first!, first!, second!]) {
      await reader.paste(NPM, checkout);
      await reader.paste("npm test", checkout);
    }
    assertEquals(reader.calls("npm ci"), 1);
  },
);

test("recipe for npm installs anew when the lockfile changes", [
  ...READER,
  "npm registry",
], async () => {
  const [user, app] = await nodeReader();
  await using reader = user;
  await reader.paste(NPM, app!);
  await reader.paste("npm install --silent --package-lock-only noop3", app!);
  for (let times = 0; times < 2; times++) await reader.paste(NPM, app!);
  assertEquals(namesIn(`${app}/node_modules`).includes("noop3"), true);
  assertEquals(reader.calls("npm ci"), 2);
});

test(
  "recipe for npm leaves a node_modules alone that its reader made, and installs nothing",
  [
    ...READER,
    "npm registry",
  ],
  async () => {
    const [user, app] = await nodeReader();
    await using reader = user;
    await reader.paste(
      "mkdir node_modules && echo mine > node_modules/a",
      app!,
    );
    const { stderr } = await reader.paste(`! ${NPM}`, app!);
    assertStringIncludes(stderr, "node_modules");
    assertEquals(namesIn(`${app}/node_modules`), ["a"]);
    assertEquals(reader.calls("npm ci"), 0);
  },
);

test("recipe for GitHub Actions installs once when it is run in two jobs", [
  ...READER,
  "npm registry",
], async () => {
  const [user, first, second] = await nodeReader();
  await using reader = user;
  assertEquals(GITHUB.length, 2);
  const env = {
    RUNNER_OS: "Linux",
    RUNNER_TOOL_CACHE: `${reader.home}/actions runner/_work/_tool`,
  };
  for (const checkout of [first!, first!, second!]) {
    for (const script of GITHUB) {
      await reader.paste(script, checkout, { env, shell: STEP });
    }
  }
  assertEquals(reader.calls("npm ci"), 1);
  assert(exists(`${env.RUNNER_TOOL_CACHE}/deps/CACHEDIR.TAG`));
});

test(
  "recipe for GitHub's runners installs once when what actions/cache saves is restored on another one",
  [...READER, "npm registry", "tar"],
  async () => {
    const [user, first, second] = await nodeReader();
    await using reader = user;
    assertEquals(HOSTED.length, 2);
    const how = { env: { RUNNER_OS: "Linux" }, shell: STEP };
    for (const script of HOSTED) await reader.paste(script, first!, how);
    // As actions/cache does it.
    const saved = `'${reader.home}/saved.tar'`;
    await reader.paste(
      `tar --posix -cf ${saved} -P -C "$PWD" ~/.cache/rebuild-cache && rm -rf ~/.cache`,
      second!,
    );
    await reader.paste(`tar -xf ${saved} -P -C "$PWD"`, second!);
    for (const script of HOSTED) await reader.paste(script, second!, how);
    assertEquals(reader.calls("npm ci"), 1);
  },
);

test(
  "recipe for a bucket lets one machine install for others, which take what is signed, and write nothing",
  [...READER, "npm registry", "openssl", "gofakes3"],
  async () => {
    await using server = await startGofakes3();
    const [user, first, second] = await nodeReader();
    await using reader = user;
    await reader.addPackages();
    const keys =
      "openssl genpkey -algorithm ed25519 -out ~/key.pem && openssl pkey -in ~/key.pem -pubout -out cache-key.pub";
    await reader.paste(`${keys} && cp cache-key.pub '${second}'`, first!);
    const variables = variablesOf(BUCKET);
    assert(variables.REBUILD_CACHE_REMOTE!.startsWith("s3://"));
    const [sign, ...steps] = scriptsOf(BUCKET);
    assertEquals(steps.length, 2);
    const run = async (
      checkout: string,
      machine: string,
      isMain: boolean,
    ) => {
      const env: Record<string, string> = { RUNNER_OS: "Linux" };
      for (const [name, value] of Object.entries(variables)) {
        const [, main, other] = /&& '(.*)' \|\| '(.*)' \}/.exec(value) ?? [];
        env[name] = isMain ? main ?? value : other ?? value;
      }
      env.REBUILD_CACHE_REMOTE = server.url;
      env.AWS_ACCESS_KEY_ID = server.accessKeyId;
      env.AWS_SECRET_ACCESS_KEY = server.secretAccessKey;
      env.CACHE_KEY = isMain
        ? Deno.readTextFileSync(`${reader.home}/key.pem`)
        : "";
      env.RUNNER_TEMP = `${reader.home}/temp of ${machine}`;
      env.GITHUB_ENV = `${env.RUNNER_TEMP}/env`;
      env.REBUILD_CACHE_ROOT = `${reader.home}/${machine}`;
      await reader.paste(
        `mkdir -p "$RUNNER_TEMP" && >"$GITHUB_ENV"`,
        checkout,
        {
          env,
        },
      );
      await reader.paste(sign!, checkout, { env, shell: STEP });
      const set = Deno.readTextFileSync(env.GITHUB_ENV).split("\n")
        .filter((it) => it !== "").map((it) =>
          it.split("=") as [string, string]
        );
      assertEquals(set.length, isMain ? 1 : 0);
      Object.assign(env, Object.fromEntries(set));
      let stderr = "";
      for (const step of steps) {
        stderr += (await reader.paste(step, checkout, { env, shell: STEP }))
          .stderr;
      }
      return stderr;
    };
    await run(first!, "main", true);
    assertEquals(reader.calls("npm ci"), 1);
    const warned = await run(second!, "pull request", false);
    assertEquals(reader.calls("npm ci"), 1, warned);
    // Another lockfile: built there, and kept there.
    for (const checkout of [first!, second!]) {
      const more =
        "rm -rf node_modules && npm install --silent --package-lock-only noop3";
      await reader.paste(more, checkout);
    }
    await run(second!, "pull request", false);
    assertEquals(reader.calls("npm ci"), 2);
    await run(first!, "main", true);
    assertEquals(reader.calls("npm ci"), 3);
  },
);

test(
  "recipe for another machine installs once for two, and on each if there is no server",
  [...READER, "npm registry", "bazel-remote"],
  async () => {
    const url = "grpc://127.0.0.1:9092";
    assertStringIncludes(REMOTE, url);
    const machines = async (address: string) => {
      const [user, first, second] = await nodeReader();
      await using reader = user;
      await reader.addPackages();
      for (const [at, checkout] of [first!, first!, second!].entries()) {
        const env = { REBUILD_CACHE_ROOT: `${reader.home}/machine ${at >> 1}` };
        await reader.paste(REMOTE.replace(url, address), checkout, { env });
        await reader.paste("npm test", checkout);
      }
      return reader.calls("npm ci");
    };
    await using server = await startBazelRemote();
    assertEquals(await machines(server.grpc), 1);
    const [port] = freePorts(1);
    assertEquals(await machines(`grpc://127.0.0.1:${port}`), 2);
  },
);

/** The variables of a job's `env`. */
function variablesOf(yaml: string): Record<string, string> {
  const [, block] = /^ *env:\n((?: +[A-Z_]+: .*\n)+)/m.exec(yaml)!;
  const lines = [...block!.matchAll(/^ *([A-Z_]+): (.*)$/gm)];
  return Object.fromEntries(lines.map(([, name, value]) => [name!, value!]));
}

test("recipe for GitLab installs once when it is run in two jobs", [
  ...READER,
  "npm registry",
], async () => {
  const [user, first, second] = await nodeReader();
  await using reader = user;
  const [, variable, value] = /^ {4}([A-Z_]+): "(.*)"$/m.exec(GITLAB)!;
  const builds = `${reader.home}/my builds`;
  const env = { [variable!]: value!.replace("$CI_BUILDS_DIR", builds) };
  const scripts = scriptsOf(GITLAB);
  assertEquals(scripts.length, 2);
  for (const checkout of [first!, first!, second!]) {
    for (const script of scripts) await reader.paste(script, checkout, { env });
  }
  assertEquals(reader.calls("npm ci"), 1);
  assert(exists(`${builds}/.rebuild-cache/CACHEDIR.TAG`));
});

test("recipe for Docker installs once when it is run in two builds", [
  ...READER,
  "npm registry",
], async () => {
  const [user, first, second] = await nodeReader();
  await using reader = user;
  const [, variable] = /^ENV (\w+)=\/var\/cache\/deps$/m.exec(DOCKER)!;
  const [, run] = /^RUN --mount=\S+ \\\n(.*)/ms.exec(DOCKER)!;
  // The mount is somewhere else than in a container.
  const env = { [variable!]: `${reader.home}/the mount` };
  for (const checkout of [first!, first!, second!]) {
    await reader.paste(run!, checkout, { env, shell: ["sh", "-c"] });
    await reader.paste("npm test", checkout);
  }
  assertEquals(reader.calls("npm ci"), 1);
});

test(
  "recipe for pnpm installs once when it is run twice, and in a second checkout",
  [
    ...READER,
    "npm registry",
  ],
  async () => {
    await using reader = new Reader();
    const quiet = ["--silent", "--no-audit", "--no-fund"];
    await must("npm", "install", "--prefix", reader.tools, ...quiet, "pnpm@9");
    reader.addToPath(`${reader.tools}/node_modules/.bin`);
    reader.note("pnpm");
    const lock = "pnpm install --silent --lockfile-only";
    const first = await reader.project("my app", NODE_PROJECT, lock);
    const second = await reader.project("my other app", NODE_PROJECT, lock);
    for (const checkout of [first, first, second]) {
      await reader.paste(PNPM, checkout);
      await reader.paste("node -e \"require('left-pad')\"", checkout);
    }
    assertEquals(reader.calls("pnpm install"), 1);
    await reader.paste(`pnpm install --frozen-lockfile --offline`, second);
  },
);

/** Somebody with Python's tools. */
async function pythonReader(...packages: string[]): Promise<Reader> {
  const reader = new Reader();
  await reader.addPython(...packages);
  return reader;
}

const PYTHON_PROJECT: Tree = { "requirements.txt": "six==1.16.0\n" };
const PIP_NEEDS = [...READER, "python3", "pip and its index"];

test(
  "recipes for pip build wheels once when they are run twice, and in a second checkout",
  PIP_NEEDS,
  async () => {
    await using reader = await pythonReader();
    reader.note("pip");
    const first = await reader.project("my app", PYTHON_PROJECT);
    const second = await reader.project("my other app", PYTHON_PROJECT);
    for (const checkout of [first, first, second]) {
      await reader.paste(WHEELS, checkout);
      assert(exists(`${checkout}/installed/six.py`));
      await reader.paste(PIP, checkout);
      assertEquals(namesIn(`${checkout}/downloads`).length, 1);
      assert(!exists(`${reader.home}/.cache/pip`), "cleared");
    }
    assertEquals(reader.calls("pip wheel"), 1);
  },
);

test(
  "recipe for venv installs once for each checkout, whose scripts work",
  PIP_NEEDS,
  async () => {
    await using reader = await pythonReader();
    reader.note("python3");
    const project = { "requirements.txt": "wheel==0.42.0\n" };
    const first = await reader.project("my app", project);
    const second = await reader.project("my other app", project);
    for (const checkout of [first, first, second, second]) {
      await reader.paste(VENV, checkout);
      const { stdout } = await reader.paste(
        '. .venv/bin/activate && command -v wheel && wheel version && .venv/bin/python3 -c "import sys; print(sys.prefix)"',
        checkout,
      );
      assertStringIncludes(
        stdout,
        `${checkout}/.venv/bin/wheel\nwheel 0.42.0\n`,
      );
      assertStringIncludes(stdout, `${checkout}/.venv\n`);
    }
    assertEquals(reader.calls("python3 -m venv"), 2);
  },
);

test(
  "recipe for uv installs once when it is run twice, and in a second checkout",
  PIP_NEEDS,
  async () => {
    await using reader = await pythonReader("uv");
    reader.note("uv");
    const project = {
      "pyproject.toml":
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["wheel==0.42.0"]\n',
    };
    const lock = "uv lock --quiet";
    const first = await reader.project("my app", project, lock);
    const second = await reader.project("my other app", project, lock);
    for (const checkout of [first, first, second]) {
      await reader.paste(UV, checkout);
      const { stdout } = await reader.paste(
        ". .venv/bin/activate && command -v wheel && wheel version",
        checkout,
      );
      assertStringIncludes(
        stdout,
        `${checkout}/.venv/bin/wheel\nwheel 0.42.0\n`,
      );
      await reader.paste("uv sync --quiet --frozen --offline", checkout);
    }
    assertEquals(reader.calls("uv venv"), 1);
  },
);

test(
  "recipe for pip-tools compiles, and keeps the cache when it is run twice",
  PIP_NEEDS,
  async () => {
    await using reader = await pythonReader("pip-tools");
    const app = await reader.project("my app", {
      "requirements.in": "six==1.16.0\n",
    });
    for (let times = 0; times < 2; times++) {
      await reader.paste(PIP_TOOLS, app);
      const compiled = Deno.readTextFileSync(`${app}/requirements.txt`);
      assertStringIncludes(compiled, "six==1.16.0");
      assert(exists(`${reader.home}/.cache/pip-tools`));
    }
  },
);

test(
  "recipe for pip-tools gives each of four projects its own result when all share one cache",
  PIP_NEEDS,
  async () => {
    const pins = ["six==1.16.0", "six==1.15.0", "idna==3.6", "toml==0.10.2"];
    const rounds = Deno.env.get("REBUILD_CACHE_STRESS") ? 20 : 2;
    await using reader = await pythonReader("pip-tools");
    const projects = await Promise.all(
      pins.map((pin, at) =>
        reader.project(`project ${at}`, { "requirements.in": `${pin}\n` })
      ),
    );
    for (let round = 0; round < rounds; round++) {
      await Promise.all(projects.map((it) => reader.paste(PIP_TOOLS, it)));
      for (const [at, pin] of pins.entries()) {
        const file = `${projects[at]}/requirements.txt`;
        const lines = Deno.readTextFileSync(file).split("\n");
        const compiled = lines.filter((it) => /^[a-z]/.test(it));
        assertEquals(compiled, [pin], `round ${round}`);
        Deno.removeSync(file);
      }
    }
  },
);

test(
  "recipe for cargo compiles a commit once, in whatever checkout",
  [
    ...READER,
    "cargo",
    "rustc",
    "git",
  ],
  async () => {
    await using reader = new Reader();
    // Without rustup, which has a home of its own.
    const sysroot = (await must("rustc", "--print", "sysroot")).trim();
    reader.addToPath(`${sysroot}/bin`);
    reader.note("rustc");
    const member = (name: string, dependency = "") =>
      `[package]\nname = "${name}"\nversion = "1.0.0"\nedition = "2021"\n[dependencies]\n${dependency}`;
    const project = {
      ".gitignore": "/target\n",
      "Cargo.toml": member("app", 'dep = { path = "dep" }\n'),
      src: { "lib.rs": "pub fn twice() -> u32 { dep::one() + dep::one() }\n" },
      dep: {
        "Cargo.toml": member("dep"),
        src: { "lib.rs": "pub fn one() -> u32 { 1 }\n" },
      },
    };
    const commit =
      "git add -A && git -c user.name=me -c user.email=me@example.org commit --quiet --message";
    const begin =
      `cargo generate-lockfile --quiet --offline && git init --quiet && ${commit} one`;
    const app = await reader.project("my app", project, begin);
    const compiled = () => reader.calls("rustc --crate-name");
    for (let times = 0; times < 2; times++) {
      await reader.paste(CARGO, app);
      assertEquals(compiled(), 2);
    }
    const clone = "git clone --quiet . ../other && cd ../other";
    await reader.paste(`${clone} && ${CARGO}`, app);
    assertEquals(compiled(), 2, "nothing is compiled where it was got");
    const edit = "sed -i.old 's/+/*/' src/lib.rs && rm src/lib.rs.old";
    await reader.paste(`${edit} && ${commit} two`, app);
    await reader.paste(CARGO, app);
    assertEquals(compiled(), 4);
    // A checkout that has a target already.
    await reader.paste("git -C ../other pull --quiet", app);
    await reader.paste(`cd ../other && ${CARGO}`, app);
    assertEquals(compiled(), 5, "what the pull has just written, once more");
  },
);

test(
  "recipe for go downloads once when it is run twice, and in a second checkout",
  [
    ...READER,
    "go and its proxy",
  ],
  async () => {
    await using reader = new Reader();
    reader.note("go");
    const project = {
      "go.mod": "module app\n\ngo 1.20\n\nrequire rsc.io/quote v1.5.2\n",
      "main.go":
        'package main\n\nimport "rsc.io/quote"\n\nfunc main() { println(quote.Go()) }\n',
    };
    const tidy = `GOMODCACHE='${reader.tools}' go mod tidy`;
    const first = await reader.project("my app", project, tidy);
    const second = await reader.project("my other app", project, tidy);
    for (const checkout of [first, first, second]) {
      await reader.paste(GO, checkout);
      assert(exists(`${checkout}/.gomod/rsc.io/quote@v1.5.2`));
    }
    assertEquals(reader.calls("go mod download"), 1);
  },
);

test(
  "recipe for cron runs in a fresh home, and clears what is not in use",
  READER,
  async () => {
    await using reader = new Reader();
    const files = { "a file": "content" };
    const app = await reader.project("my app", files);
    const commands = CRON.trim().split("\n").map((line) => {
      const [, command] = /^(?:\S+ +){5}(.*)$/.exec(line)!;
      return command!;
    });
    assertEquals(commands.length, 2);
    const cron = { shell: ["/bin/sh", "-c"], env: { PATH: "/usr/bin:/bin" } };
    for (let times = 0; times < 2; times++) {
      for (const command of commands) {
        const { stdout } = await reader.paste(command, reader.home, cron);
        assertEquals(stdout, "", "cron sends a mail of what is printed");
      }
      await reader.paste("rebuild-cache put key 'a file'", app);
      await reader.paste("mkdir -p ~/.cache/pip/http", app);
    }
    await reader.paste("rebuild-cache get key again", app);
  },
);
