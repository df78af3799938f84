/** install.ps1, in Windows' own PowerShell (5.1) and in the new one. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { releases } from "../scripts/release/serve.ts";
import { must, Peer, ROOT, run } from "./support/command.ts";
import { test } from "./support/needs.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";

const ARCHIVE = `rebuild-cache-${Deno.build.arch}-pc-windows-msvc.zip`;

/** Files as a release has them, with a program that only says its version, or waits. */
async function makeFiles(dir: TempDir, version: string): Promise<string> {
  const files = dir.at(`files-${version}`);
  dir.write({ [`files-${version}`]: {}, [`packed-${version}`]: {} });
  const exe = dir.at(`packed-${version}`, "rebuild-cache.exe");
  const source =
    `public class Program { public static void Main(string[] args) {
    System.Console.WriteLine("rebuild-cache ${version} (Deno 2.9.5)");
    if (args.Length > 0 && args[0] == "wait") System.Console.ReadLine();
  } }`;
  // Only the old one can write programs.
  await must(
    "powershell",
    "-NoProfile",
    "-Command",
    [
      `Add-Type -TypeDefinition '${source}' -OutputAssembly '${exe}' -OutputType ConsoleApplication`,
      `Compress-Archive -Path '${exe}' -DestinationPath '${files}\\${ARCHIVE}'`,
      `$sum = (Get-FileHash -Algorithm SHA256 '${files}\\${ARCHIVE}').Hash.ToLower()`,
      `Set-Content -Path '${files}\\SHA256SUMS' -Value "$sum  ${ARCHIVE}"`,
    ].join("; "),
  );
  return files;
}

for (const shell of ["powershell", "pwsh"]) {
  test(
    `install.ps1 installs over a running binary, and leaves the session as it was (${shell})`,
    [
      "windows",
    ],
    async () => {
      await using dir = TempDir.make();
      const [files, older] = [
        await makeFiles(dir, "0.2.0"),
        await makeFiles(dir, "0.1.0"),
      ];
      // 0.2.0 is the latest.
      await using server = Deno.serve({ port: 0, onListen() {} }, (request) => {
        const old = request.url.includes("/v0.1.0/");
        return releases(old ? older : files, old ? "v0.1.0" : "v0.2.0")(
          request,
        );
      });
      const binary = dir.at("bin", "rebuild-cache.exe");
      const script = `${ROOT}/install.ps1`.replaceAll("/", "\\");
      /** As a user types it, in a session with preferences and variables. */
      const install = async (args: string) => {
        const ran = await run([
          shell,
          "-NoProfile",
          "-Command",
          [
            "$ProgressPreference = 'Continue'; $Version = 'mine'",
            `& ([scriptblock]::Create((Get-Content -Raw '${script}'))) ${args}`,
            'Write-Output "$ErrorActionPreference $ProgressPreference $Version"',
          ].join("; "),
        ], {
          env: {
            REBUILD_CACHE_RELEASES: `http://127.0.0.1:${server.addr.port}`,
            REBUILD_CACHE_INSTALL: dir.at("bin"),
          },
        });
        if (ran.code === 0) {
          assertStringIncludes(ran.stdout, "Continue Continue mine");
        }
        return ran;
      };
      const first = await install("-Version 0.1.0");
      assertEquals(first.code, 0, first.stderr);
      assertStringIncludes(first.stdout, `Installed ${binary} (0.1.0)`);
      {
        await using old = new Peer([binary, "wait"]);
        await old.says("0.1.0");
        const next = await install("");
        assertEquals(next.code, 0, next.stderr);
        assertStringIncludes(next.stdout, "(0.2.0, was 0.1.0)");
        assertStringIncludes(await must(binary, "--version"), "0.2.0");
        assert(!old.over);
        await old.end();
      }
      // The one that ran is removed now.
      await install("");
      assertEquals(namesIn(dir.at("bin")), ["rebuild-cache.exe"]);
      const downgraded = await install("-Version 0.1.0");
      assertStringIncludes(downgraded.stdout, "(0.1.0, was 0.2.0)");
      await install("");
      const missing = await install("-Version 9.0.0");
      assertEquals(missing.code, 1);
      assertStringIncludes(missing.stderr, "no such version");
      const removed = await install("-Uninstall");
      assertStringIncludes(removed.stdout, `Removed ${binary}`);
      assertEquals(namesIn(dir.at("bin")), []);
    },
  );
}

Deno.test("install.ps1 is one scope, so that it changes no session that pipes it to iex", () => {
  const text = Deno.readTextFileSync(`${ROOT}/install.ps1`);
  const code = text.split("\n").filter((it) => !/^(#|\s*$)/.test(it));
  assertEquals([code[0], code.at(-1)], ["& {", "} @args"]);
  for (const line of code.slice(1, -1)) assert(line.startsWith("  "), line);
});
