// What is released: what the binary has in it, and how it is installed.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { denoRun, ROOT, run } from "./support/command.ts";
import { test } from "./support/needs.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";

/** `deno compile`, with the flags that make it run as these tests do. */
function compile(output: string, env: Record<string, string>) {
  const flags = denoRun("cli.ts").slice(2, -1); // without `run -A`
  return run([
    ...[Deno.execPath(), "compile", "-P", ...flags],
    ...["--output", output, `${ROOT}/cli.ts`],
  ], { env, cwd: ROOT });
}

Deno.test("deno compile embeds our modules and the standard library, nothing else", async () => {
  await using dir = TempDir.make();
  // Any program does for the list, this Deno too; what it makes does not run.
  const env = { DENORT_BIN: Deno.execPath() };
  const { code, stderr } = await compile(dir.at("binary"), env);
  assertEquals(code, 0, stderr);
  const [, list] = stderr.split("Embedded Files");
  const files = [...list!.matchAll(/── (?:.*\/)?(\S+\.\w+)(?: \(|$)/gm)]
    .map((match) => match[1]!);
  const folders = [...list!.matchAll(/── (\S+\/\*)/g)].map((it) => it[1]!);
  assert(files.includes("cli.ts"), list);
  assertEquals(folders, ["lib/*"], list);
  for (const file of files) assert(/\.(ts|js|json)$/.test(file), file);
  for (const other of ["tests", "bench", "node_modules", "ajv", ".github"]) {
    assertEquals(list!.includes(other), false, list);
  }
});

test("deno compile makes a binary that does its work", [
  "deno's runtime for binaries",
], async () => {
  await using dir = TempDir.make();
  const binary = dir.at(
    Deno.build.os === "windows" ? "rebuild-cache.exe" : "rebuild-cache",
  );
  const made = await compile(binary, {});
  assertEquals(made.code, 0, made.stderr);
  const smoke = [Deno.execPath(), ...denoRun("scripts/smoke.ts"), binary];
  const { code, stderr } = await run(smoke);
  assertEquals(code, 0, stderr);
});

const TARGET = `${Deno.build.arch}-${
  Deno.build.os === "darwin" ? "apple-darwin" : "unknown-linux-gnu"
}`;
const ARCHIVE = `rebuild-cache-${TARGET}.tar.gz`;

/** A folder as a release has it, with a program that says its name, and a server of it. */
async function serve(dir: TempDir, damage = false) {
  const folder = dir.at("releases", "latest", "download");
  Deno.mkdirSync(folder, { recursive: true });
  Deno.writeTextFileSync(dir.at("rebuild-cache"), "#!/bin/sh\necho it runs\n");
  Deno.chmodSync(dir.at("rebuild-cache"), 0o755);
  const archive = `${folder}/${ARCHIVE}`;
  await run(["tar", "-czf", archive, "-C", dir.path, "rebuild-cache"]);
  const bytes = Deno.readFileSync(archive);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const sum = damage ? "0".repeat(64) : hash.toHex();
  Deno.writeTextFileSync(`${folder}/SHA256SUMS`, `${sum}  ${ARCHIVE}\n`);
  Deno.mkdirSync(dir.at("releases", "download"));
  Deno.renameSync(folder, dir.at("releases", "download", "v0.1.0"));
  Deno.symlinkSync("../download/v0.1.0", folder);
  return Deno.serve({ port: 0, onListen() {} }, (request) => {
    const { pathname } = new URL(request.url);
    try {
      return new Response(Deno.readFileSync(dir.at("releases") + pathname));
    } catch {
      return new Response("No such file", { status: 404 });
    }
  });
}

function install(dir: TempDir, releases: string, more = {}) {
  return run(["sh", `${ROOT}/install.sh`], {
    env: {
      REBUILD_CACHE_RELEASES: releases,
      REBUILD_CACHE_INSTALL: dir.at("bin"),
      ...more,
    },
  });
}

const TOOLS = ["posix", "sh", "tar", "awk"];

test(
  "install.sh installs what has the right checksum, the latest or a version",
  [
    ...TOOLS,
  ],
  async () => {
    await using dir = TempDir.make();
    await using server = await serve(dir);
    const url = `http://127.0.0.1:${server.addr.port}`;
    for (const more of [{}, { REBUILD_CACHE_VERSION: "0.1.0" }]) {
      const { code, stdout, stderr } = await install(dir, url, more);
      assertEquals(code, 0, stderr);
      assertStringIncludes(
        stdout,
        `Installed ${dir.at("bin", "rebuild-cache")}`,
      );
      assertStringIncludes(stdout, "to your PATH");
      const { stdout: said } = await run([dir.at("bin", "rebuild-cache")]);
      assertEquals(said, "it runs\n");
      assertEquals(namesIn(dir.at("bin")), ["rebuild-cache"]);
    }
    const missing = await install(dir, url, { REBUILD_CACHE_VERSION: "9" });
    assertEquals(missing.code, 1);
    assertStringIncludes(missing.stderr, "no such version");
  },
);

test("install.sh refuses what has another checksum, and leaves nothing", [
  ...TOOLS,
], async () => {
  await using dir = TempDir.make();
  await using server = await serve(dir, true);
  const temporary = dir.at("tmp");
  Deno.mkdirSync(temporary);
  const { code, stderr } = await install(
    dir,
    `http://127.0.0.1:${server.addr.port}`,
    { TMPDIR: temporary },
  );
  assertEquals(code, 1);
  assertStringIncludes(stderr, "nothing was installed");
  assertEquals(namesIn(dir.path).includes("bin"), false);
  assertEquals(namesIn(temporary), []);
});

test("install.sh says so, when there is no network", [...TOOLS], async () => {
  await using dir = TempDir.make();
  const { code, stderr } = await install(dir, "http://127.0.0.1:1");
  assertEquals(code, 1);
  assertStringIncludes(stderr, "no network");
  assertEquals(namesIn(dir.path), []);
});
