/** What the GitHub Action does: scripts/action.sh, with the files that a runner gives it. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { releases } from "../scripts/release/serve.ts";
import { cliCommand, must, ROOT, run } from "./support/command.ts";
import { test } from "./support/needs.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";

const NEEDS = ["posix", "bash", "sed"];

/** What a step of the action leaves in the runner's files. */
interface Step {
  code: number;
  stderr: string;
  outputs: Record<string, string>;
  path: string;
  state: string;
}

/** Runs a step as a runner does: its inputs, its files, its home. */
async function step(
  dir: TempDir,
  name: "install" | "ensure",
  inputs: Record<string, string>,
  more: Record<string, string> = {},
): Promise<Step> {
  const files = ["GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STATE"] as const;
  const env: Record<string, string> = {};
  for (const file of files) {
    env[file] = dir.at(`${file}-${crypto.randomUUID()}`);
    Deno.writeTextFileSync(env[file]!, "");
  }
  // The inputs that are not given are empty.
  for (const input of Object.keys(INPUTS)) {
    env[`INPUT_${input.toUpperCase().replaceAll("-", "_")}`] = inputs[input] ??
      "";
  }
  const ran = await run(["bash", `${ROOT}/scripts/action.sh`, name], {
    cwd: dir.at("work"),
    env: {
      ...env,
      PATH: `${dir.at("bin")}:${Deno.env.get("PATH")}`,
      HOME: dir.at("home"),
      RUNNER_TEMP: dir.at("temp"),
      ...more,
    },
  });
  const [output, path, state] = files.map((file) =>
    Deno.readTextFileSync(env[file]!)
  ) as [string, string, string];
  const outputs: Record<string, string> = {};
  for (
    const [, name, , value] of output.matchAll(
      /^([\w-]+)<<(.*)\n([^]*?)\n\2$/gm,
    )
  ) outputs[name!] = value!;
  return { ...ran, outputs, path, state };
}

const ACTION = Deno.readTextFileSync(`${ROOT}/action.yml`);

/** The inputs of action.yml. */
const INPUTS = Object.fromEntries(
  [
    ...ACTION.slice(0, ACTION.indexOf("\noutputs:")).matchAll(
      /^ {2}([\w-]+):\n {4}description/gm,
    ),
  ].map(([, name]) => [name!, true]),
);

/** A runner whose rebuild-cache is a script. */
function runner(dir: TempDir, script: string): void {
  dir.write({ bin: { "rebuild-cache": script }, home: {}, temp: {}, work: {} });
  Deno.chmodSync(dir.at("bin", "rebuild-cache"), 0o755);
}

/** A runner that has ours. */
function realRunner(dir: TempDir): void {
  const words = cliCommand([]).map((word) => `'${word}'`).join(" ");
  const home = Deno.env.get("DENO_DIR") ??
    `${Deno.env.get("HOME")}/.cache/deno`;
  runner(dir, `#!/bin/sh\nDENO_DIR='${home}' exec ${words} "$@"\n`);
}

const BUILD = 'mkdir -p {}/bin; echo built >"{}/bin/a tool"; echo noise';

test(
  "action.yml: a miss builds, a hit does not, a tilde is the runner's home",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    realRunner(dir);
    const inputs = {
      root: "~/cache",
      key: "tool-1",
      path: "out",
      command: BUILD,
    };
    const miss = await step(dir, "ensure", inputs);
    assertEquals(miss.code, 0, miss.stderr);
    assertEquals(miss.outputs, {
      "cache-hit": "false",
      "matched-key": "",
      outcome: "built",
    });
    const built = dir.at("work", "out", "bin", "a tool");
    assertEquals(Deno.readTextFileSync(built), "built\n");
    assert(namesIn(dir.at("home", "cache")).length > 0);
    assertEquals(namesIn(dir.at("work")), ["out"]);

    const again = { ...inputs, path: "~/other", command: "exit 1" };
    const hit = await step(dir, "ensure", again);
    assertEquals(hit.code, 0, hit.stderr);
    assertEquals(hit.outputs, {
      "cache-hit": "true",
      "matched-key": "tool-1",
      outcome: "hit",
    });
    const other = dir.at("home", "other", "bin", "a tool");
    assertEquals(Deno.readTextFileSync(other), "built\n");
    assertEquals([hit.path, hit.state, miss.path, miss.state], [
      "",
      "",
      "",
      "",
    ]);
  },
);

test(
  "action.yml: a command that fails fails the step, and leaves nothing",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    realRunner(dir);
    const inputs = { root: dir.at("cache"), key: "tool-1", path: "out" };
    for (
      const [command, code] of [
        ["echo half >{}/tool; exit 7", 7],
        // Each line counts, and each part of a pipe.
        ["false\necho x >{}/tool", 1],
        ["false | cat >{}/tool", 1],
      ] as const
    ) {
      const failed = await step(dir, "ensure", { ...inputs, command });
      assertEquals(failed.code, code, failed.stderr);
      assertEquals(failed.outputs, { "cache-hit": "false" });
      assertEquals(namesIn(dir.at("work")), []);
    }
    for (const [name, word] of [["path", "path"], ["command", "command"]]) {
      const { code, stderr, outputs } = await step(dir, "ensure", {
        ...inputs,
        command: "true",
        [name!]: "",
      });
      assertEquals([code, outputs], [2, {}]);
      assertStringIncludes(stderr, `key needs ${word}`);
    }
  },
);

test(
  "action.yml: where the staging has blanks and more in its path, {} is one word",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    realRunner(dir);
    const root = dir.at("a b & $c");
    const inputs = { root, key: "k", path: "out", command: "echo x >{}/tool" };
    const { code, stderr } = await step(dir, "ensure", inputs);
    assertEquals(code, 0, stderr);
    assertEquals(namesIn(dir.at("work", "out")), ["tool"]);
  },
);

/** Says what it was called with, and JSON as ensure prints it. */
const RECORD = (outcome: string, matchedKey: string) =>
  `#!/bin/sh
printf '%s\\n' "$@" >"$HOME/args"
cat <<'END'
{
  "version": 1,
  "command": "ensure",
  "result": {
    "key": "deps-0123",
    "outcome": ${JSON.stringify(outcome)},
    "matchedKey": ${JSON.stringify(matchedKey)},
    "path": "/x"
  }
}
END
`;

test(
  "action.yml: a partial hit is no hit, and says what matched",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    runner(dir, RECORD("partial", 'deps-"old"\\1'));
    const { code, outputs, stderr } = await step(dir, "ensure", {
      key: "deps",
      path: "deps",
      command: "true",
      fallback: "deps-",
    });
    assertEquals(code, 0, stderr);
    assertEquals(outputs, {
      "cache-hit": "false",
      "matched-key": 'deps-"old"\\1',
      outcome: "partial",
    });
  },
);

test("action.yml: every input of ensure is a flag of it", NEEDS, async () => {
  await using dir = TempDir.make();
  runner(dir, RECORD("hit", "deps-0123"));
  const { outputs } = await step(dir, "ensure", {
    key: "deps",
    path: "~/deps",
    command: "true",
    hash: "**/package-lock.json\n\n* lock *.json\n",
    fallback: "deps-\nany-",
    mode: "copy",
    "if-exists": "replace",
    root: "cache",
    bucket: "npm",
    "max-size": "10GB",
    "max-age": "30d",
  });
  const args = Deno.readTextFileSync(dir.at("home", "args")).trim();
  assertEquals(args.split("\n"), [
    "ensure",
    "--json",
    "--hash=**/package-lock.json",
    "--hash=* lock *.json",
    "--fallback=deps-",
    "--fallback=any-",
    "--mode=copy",
    "--if-exists=replace",
    "--bucket=npm",
    "--max-size=10GB",
    "--max-age=30d",
    "--dir=cache",
    "deps",
    `${dir.at("home")}/deps`,
    "--",
    "bash",
    `${ROOT}/scripts/action.sh`.replace("//", "/"),
    "command",
  ]);
  assertEquals(outputs["cache-hit"], "true");
  // Each is told to the script, and it uses no other.
  const script = Deno.readTextFileSync(`${ROOT}/scripts/action.sh`);
  for (const name of Object.keys(INPUTS)) {
    const variable = `INPUT_${name.toUpperCase().replaceAll("-", "_")}`;
    assertStringIncludes(ACTION, `${variable}: \${{ inputs.${name} }}`);
    assert(script.includes(variable) || script.includes(` ${name}`), name);
  }
});

test("action.yml: installs a version, on the PATH of the steps that follow", [
  ...NEEDS,
  "tar",
  "curl",
  "sha256sum",
], async () => {
  await using dir = TempDir.make();
  runner(dir, "#!/bin/sh\nexit 9\n");
  const system = Deno.build.os === "darwin"
    ? "apple-darwin"
    : "unknown-linux-gnu";
  const archive = `rebuild-cache-${Deno.build.arch}-${system}.tar.gz`;
  dir.write({
    packed: { "rebuild-cache": "#!/bin/sh\necho 'rebuild-cache 0.1.0 (x)'\n" },
    files: {},
  });
  Deno.chmodSync(dir.at("packed", "rebuild-cache"), 0o755);
  const script = `tar -czf '${dir.at("files")}/${archive}' -C '${
    dir.at("packed")
  }' rebuild-cache && cd '${
    dir.at("files")
  }' && sha256sum ${archive} >SHA256SUMS`;
  await must("sh", "-c", script);
  await using server = Deno.serve(
    { port: 0, onListen() {} },
    releases(dir.at("files"), "v0.1.0"),
  );
  const place = `http://127.0.0.1:${server.addr.port}`;
  for (const version of ["", "0.1.0", "v0.1.0"]) {
    const done = await step(dir, "install", { version, releases: place });
    assertEquals(done.code, 0, done.stderr);
    const folder = dir.at("temp", "rebuild-cache-bin");
    assertEquals(done.path, `${folder}\n`);
    const said = await must(`${folder}/rebuild-cache`, "--version");
    assertStringIncludes(said, "0.1.0");
  }
  const none = await step(dir, "install", { version: "9", releases: place });
  assertEquals([none.code, none.path], [1, ""], none.stderr);
});
