/** Which program a `--background` clear starts. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { toFileUrl } from "@std/path/to-file-url";
import { startsItself } from "../../lib/cli/clear.ts";
import { denoRun, must, ROOT, run } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

Deno.test("startsItself() says no where another program compiled us into itself", () => {
  const ours = new URL("../../cli.ts", import.meta.url).href;
  const starts = (standalone: boolean, mainModule: string) =>
    startsItself({ build: { standalone }, mainModule });
  assertEquals(starts(true, ours), true);
  assertEquals(starts(true, "file:///tmp/deno-compile-other/main.ts"), false);
  assertEquals(starts(false, ours), true);
  // Then Deno is what is started.
  assertEquals(starts(false, "file:///home/me/main.ts"), true);
});

test("main() in another program's binary refuses --background", [
  "deno's runtime for binaries",
], async () => {
  await using dir = TempDir.make();
  const cli = JSON.stringify(toFileUrl(`${ROOT}/cli.ts`).href);
  dir.write({
    cache: { file: "x" },
    "program.ts": `import { main } from ${cli};
      Deno.writeTextFileSync(Deno.args[0]!, "started\\n", { append: true });
      Deno.exit(await main(Deno.args.slice(1)));`,
  });
  const flags = denoRun("cli.ts").slice(2, -1);
  const [binary, log] = [dir.at("program.exe"), dir.at("log")];
  await must(
    ...[Deno.execPath(), "compile", "-A", "--no-code-cache", ...flags],
    ...["--output", binary, dir.at("program.ts")],
  );
  const clear = ["--dir", dir.at("cache"), "--background"];
  const { code, stderr } = await run([binary, log, ...clear]);
  assertEquals(code, 2, stderr);
  assertStringIncludes(stderr, "--background");
  assertEquals(namesIn(dir.at("cache")), ["file"]);
  assertEquals(Deno.readTextFileSync(log), "started\n");
});
