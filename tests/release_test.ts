// What is released: what the binary has in it, and how it is installed.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { denoRun, must, ROOT, run } from "./support/command.ts";
import { test } from "./support/needs.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";

/** What each binary is compiled with, wherever that is done. */
const COMPILE = ["-A", "--no-code-cache"];

/** `deno compile`, with the flags that make it run as these tests do. */
function compile(output: string, env: Record<string, string>) {
  const flags = denoRun("cli.ts").slice(2, -1); // without `run -A`
  return run([
    ...[Deno.execPath(), "compile", ...COMPILE, ...flags],
    ...["--output", output, `${ROOT}/cli.ts`],
  ], { env, cwd: ROOT });
}

Deno.test("what is shipped has all permissions, and no code cache that others could write", () => {
  const text = (path: string) => Deno.readTextFileSync(`${ROOT}/${path}`);
  const config = JSON.parse(text("deno.json"));
  const flags = COMPILE.join(" ");
  assertStringIncludes(config.tasks.compile.command, `compile ${flags} `);
  assertStringIncludes(text("scripts/release/build.sh"), `compile ${flags} `);
  // They would be asked for with -P, and cost what needs all of them.
  assertEquals(config.compile.permissions, undefined);
  for (const page of ["README.md", "docs/install.md"]) {
    const lines = text(page).split("\n")
      .filter((line) => line.includes("deno install"));
    assertEquals(lines.length > 0, true, page);
    for (const line of lines) assertStringIncludes(line, "-A", page);
  }
});

Deno.test("deno compile embeds our modules, the standard library and what remotes need, nothing else", async () => {
  await using dir = TempDir.make();
  // Any program does for the list, this Deno too; what it makes does not run.
  const env = { DENORT_BIN: Deno.execPath() };
  const { code, stderr } = await compile(dir.at("binary"), env);
  assertEquals(code, 0, stderr);
  const [, all = ""] = stderr.split("Embedded Files");
  // npm's packages come first, in a folder of their own.
  const [, packages, list] = all.match(
    /(─┬ \.deno_compile_node_modules[^]*?)(\n[├└]─[^]*)/,
  )!;
  const named = [...packages!.matchAll(/── ((?:@\w+\/)?[\w-]+)\/\S*\*/g)];
  assertEquals(
    named.map((it) => it[1]!.replace(/^.*\//, "")).sort(),
    ["aws4fetch", "connect", "connect-node", "protobuf"],
    packages,
  );
  const files = [...list!.matchAll(/── (?:.*\/)?(\S+\.\w+)(?: \(|$)/gm)]
    .map((match) => match[1]!);
  const folders = [...list!.matchAll(/── (\S+\/\*)/g)].map((it) => it[1]!);
  for (const name of ["cli.ts", "grpc.ts", "s3.ts", "http.ts"]) {
    assert(files.includes(name), list);
  }
  // What only types are in is not embedded, so its folder is listed file by file.
  const ours = [...Deno.readDirSync(new URL("../lib", import.meta.url))]
    .map(({ name }) => `${name}/*`);
  for (const it of folders) assert(["lib/*", ...ours].includes(it), list);
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
const GOOD = "#!/bin/sh\necho 'rebuild-cache VERSION (Deno 2.9.5)'\n";

/** Releases as GitHub has them, the last of which is the latest, and a server of them. */
class Releases implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly url: string;

  /** @param dir Also where `install()` puts it, and where it finds stand-ins. */
  constructor(dir: TempDir) {
    this.#dir = dir;
    dir.write({ releases: { download: {}, latest: {} }, tools: {}, home: {} });
    this.tool("gh", "#!/bin/sh\nexit 1\n"); // nobody has logged in
    this.#server = Deno.serve({ port: 0, onListen() {} }, (request) => {
      const { pathname } = new URL(request.url);
      try {
        return new Response(Deno.readFileSync(dir.at("releases") + pathname));
      } catch {
        return new Response("No such file", { status: 404 });
      }
    });
    this.url = `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** Releases a program; its checksum may be wrong. */
  async add(version: string, program = GOOD, sum?: string): Promise<void> {
    const dir = this.#dir;
    const folder = dir.at("releases", "download", `v${version}`);
    Deno.mkdirSync(folder);
    const binary = dir.at("rebuild-cache");
    Deno.writeTextFileSync(binary, program.replaceAll("VERSION", version));
    Deno.chmodSync(binary, 0o755);
    const archive = `${folder}/${ARCHIVE}`;
    await must("tar", "-czf", archive, "-C", dir.path, "rebuild-cache");
    Deno.removeSync(binary);
    const bytes = Deno.readFileSync(archive);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const line = `${sum ?? hash.toHex()}  ${ARCHIVE}\n`;
    Deno.writeTextFileSync(`${folder}/SHA256SUMS`, line);
    const latest = dir.at("releases", "latest", "download");
    await Deno.remove(latest).catch(() => {});
    Deno.symlinkSync(`../download/v${version}`, latest);
  }

  /** A stand-in for a program of the machine. */
  tool(name: string, script: string): void {
    this.#dir.write({ tools: { [name]: script } });
    Deno.chmodSync(this.#dir.at("tools", name), 0o755);
  }

  install(args: string[] = [], env: Record<string, string> = {}) {
    return run(["sh", `${ROOT}/install.sh`, ...args], {
      env: {
        REBUILD_CACHE_RELEASES: this.url,
        REBUILD_CACHE_INSTALL: this.#dir.at("bin"),
        PATH: `${this.#dir.at("tools")}:${Deno.env.get("PATH")}`,
        ...env,
      },
    });
  }

  /** The version that is installed. */
  async installed(folder = "bin"): Promise<string> {
    const said = await must(this.#dir.at(folder, "rebuild-cache"));
    return /^rebuild-cache (\S+)/.exec(said)![1]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

const TOOLS = ["posix", "sh", "tar", "awk"];

test(
  "install.sh installs what has the right checksum, the latest or a version",
  TOOLS,
  async () => {
    await using dir = TempDir.make();
    await using releases = new Releases(dir);
    await releases.add("0.1.0");
    await releases.add("0.2.0");
    const [named, home] = [{ REBUILD_CACHE_VERSION: "v0.1.0" }, dir.at("home")];
    for (
      const [args, env, version, folder] of [
        [[], {}, "0.2.0", "bin"],
        [[], named, "0.1.0", "bin"],
        [["--version", "0.2.0"], named, "0.2.0", "bin"],
        [["--to", dir.at("to")], {}, "0.2.0", "to"],
        [["--version=0.1.0", `--to=${dir.at("to")}`], {}, "0.1.0", "to"],
        [
          [],
          { REBUILD_CACHE_INSTALL: "", HOME: home },
          "0.2.0",
          "home/.local/bin",
        ],
      ] as const
    ) {
      const { code, stdout, stderr } = await releases.install([...args], env);
      assertEquals(code, 0, stderr);
      assertStringIncludes(
        stdout,
        `Installed ${dir.at(folder, "rebuild-cache")} (${version}`,
      );
      assertStringIncludes(stdout, "to your PATH");
      assertEquals(await releases.installed(folder), version);
      assertEquals(namesIn(dir.at(folder)), ["rebuild-cache"]);
    }
    for (
      const [args, word] of [
        [["--version", "9.0.0"], "no such version"],
        [["--version", "../x"], "is not a version"],
        [["--version"], "--version needs a value"],
        [["--nope"], "unknown argument --nope"],
      ] as const
    ) {
      const wrong = await releases.install([...args]);
      assertEquals(wrong.code, 1);
      const said = wrong.stderr.trim().split("\n").at(-1)!;
      assertStringIncludes(said, "install.sh: ");
      assertStringIncludes(said, word);
    }
  },
);

test(
  "install.sh replaces a newer version only if it is asked to",
  TOOLS,
  async () => {
    await using dir = TempDir.make();
    await using releases = new Releases(dir);
    // Each is older than the one before it.
    const versions = ["0.10.0", "0.9.1", "0.9.0", "0.9.0-rc.2", "0.9.0-rc.1"];
    for (const version of versions) await releases.add(version);
    for (const version of versions.slice(0, -1)) {
      const asked = await releases.install(["--version", version]);
      assertEquals(asked.code, 0, asked.stderr);
      assertEquals(await releases.installed(), version);
      const { code, stdout } = await releases.install();
      assertEquals(code, 0);
      assertStringIncludes(stdout, "it stays");
      assertEquals(await releases.installed(), version);
    }
    await releases.add("0.10.1");
    const newer = await releases.install();
    assertStringIncludes(newer.stdout, "(0.10.1, was 0.9.0-rc.2)");
  },
);

test(
  "install.sh refuses what is not what was released, and leaves nothing",
  TOOLS,
  async () => {
    await using dir = TempDir.make();
    await using releases = new Releases(dir);
    await releases.add("0.1.0", GOOD, "0".repeat(64));
    await releases.add("0.2.0", "#!/bin/sh\nexit 1\n");
    await releases.add("0.3.0", GOOD);
    dir.write({ tmp: {} });
    const env = { TMPDIR: dir.at("tmp") };
    const refused = async (version: string, word: string) => {
      const ran = await releases.install(["--version", version], env);
      assertEquals(ran.code, 1, ran.stdout);
      assertStringIncludes(ran.stderr, "nothing was installed");
      assertStringIncludes(ran.stderr, word);
      assertEquals(namesIn(dir.path).includes("bin"), false);
      assertEquals(namesIn(dir.at("tmp")), []);
    };
    await refused("0.1.0", "SHA-256");
    await refused("0.2.0", "does not run on this machine");
    // Somebody else's, with a checksum of their own.
    releases.tool(
      "gh",
      '#!/bin/sh\necho "$@" >>"$0.log"\n[ "$1 $4" != "attestation --repo" ] || { echo "no attestations found"; exit 1; }\n',
    );
    await refused("0.3.0", "no attestations found");
    releases.tool("gh", '#!/bin/sh\necho "$@" >>"$0.log"\n');
    const { stdout, stderr } = await releases.install([], env);
    assertStringIncludes(stdout, "Attested: built by", stderr);
    assertEquals(await releases.installed(), "0.3.0");
    // Of the binary that stays, not of the archive.
    const asked = Deno.readTextFileSync(dir.at("tools", "gh.log"));
    assert(/attestation verify \S*\/rebuild-cache --repo/.test(asked), asked);
  },
);

test(
  "install.sh --uninstall removes the binary, and nothing that is not ours",
  TOOLS,
  async () => {
    await using dir = TempDir.make();
    await using releases = new Releases(dir);
    await releases.add("0.1.0");
    await releases.install();
    dir.write({ bin: { other: "x" } });
    const { code, stdout } = await releases.install(["--uninstall"]);
    assertEquals(code, 0);
    assertStringIncludes(stdout, `Removed ${dir.at("bin", "rebuild-cache")}`);
    assertEquals(namesIn(dir.at("bin")), ["other"]);
    const again = await releases.install(["--uninstall"]);
    assertEquals(again.code, 1);
    assertStringIncludes(again.stderr, "there is no");
    dir.write({ bin: { "rebuild-cache": "#!/bin/sh\necho hello\n" } });
    Deno.chmodSync(dir.at("bin", "rebuild-cache"), 0o755);
    const theirs = await releases.install(["--uninstall"]);
    assertEquals(theirs.code, 1);
    assertStringIncludes(theirs.stderr, "nothing was removed");
    assertEquals(namesIn(dir.at("bin")), ["other", "rebuild-cache"]);
  },
);

test(
  "install.sh says in one line for which machines there is no binary",
  TOOLS,
  async () => {
    await using dir = TempDir.make();
    await using releases = new Releases(dir);
    await releases.add("0.1.0");
    const uname = (system: string, machine: string) =>
      `#!/bin/sh\n[ "$1" = -s ] && echo ${system} || echo ${machine}\n`;
    const musl = "#!/bin/sh\necho 'musl libc (x86_64)' >&2\nexit 1\n";
    for (
      const [system, machine, ldd, word] of [
        ["Linux", "x86_64", musl, "musl (Alpine)"],
        ["Linux", "riscv64", "", "no binary for riscv64"],
        ["FreeBSD", "amd64", "", "no binary for FreeBSD"],
        ["MINGW64_NT-10.0", "x86_64", "", "install.ps1"],
      ] as const
    ) {
      releases.tool("uname", uname(system, machine));
      releases.tool("ldd", ldd || "#!/bin/sh\necho glibc\n");
      const { code, stderr } = await releases.install();
      assertEquals(code, 1);
      assertStringIncludes(stderr, word);
      assertEquals(stderr.trim().split("\n").length, 1, stderr);
    }
    assertEquals(namesIn(dir.path).includes("bin"), false);
  },
);

test("install.sh says so when there is no network", TOOLS, async () => {
  await using dir = TempDir.make();
  await using releases = new Releases(dir);
  const env = { REBUILD_CACHE_RELEASES: "http://127.0.0.1:1" };
  const { code, stderr } = await releases.install([], env);
  assertEquals(code, 1);
  assertStringIncludes(stderr, "no network");
  assertEquals(namesIn(dir.path).includes("bin"), false);
});

test("install.sh does with what macOS and small images have", [
  ...TOOLS,
  "wget",
  "shasum",
], async () => {
  await using dir = TempDir.make();
  await using releases = new Releases(dir);
  await releases.add("0.1.0");
  const names =
    "sh tar gzip awk sed grep cut mktemp uname mkdir cp mv rm chmod";
  for (const name of `${names} wget shasum perl env ldd`.split(" ")) {
    const found = await run(["sh", "-c", `command -v ${name}`]);
    if (found.code !== 0) continue; // such as ldd
    Deno.symlinkSync(found.stdout.trim(), dir.at("tools", name));
  }
  const env = { PATH: dir.at("tools") };
  const { code, stderr } = await releases.install([], env);
  assertEquals(code, 0, stderr);
  assertEquals(await releases.installed(), "0.1.0");
  Deno.removeSync(dir.at("tools", "shasum"));
  const unchecked = await releases.install([], env);
  assertEquals(unchecked.code, 1);
  assertStringIncludes(unchecked.stderr, "it needs sha256sum or shasum");
});
