import { assertEquals } from "@std/assert";
import {
  endingSignals,
  onSignals,
  untilSignal,
} from "../../lib/cli/signals.ts";
import { runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

Deno.test("endingSignals() has what a closed terminal sends, on each system", () => {
  for (const os of ["linux", "darwin", "windows"] as const) {
    const names = endingSignals(os).map(([name]) => name);
    assertEquals(names.includes("SIGHUP"), true, os);
    assertEquals(names.includes("SIGBREAK"), os === "windows", os);
  }
});

Deno.test("untilSignal() and onSignals() name no signal that this system does not have", () => {
  using watch = untilSignal();
  using _ = onSignals(() => {});
  assertEquals([watch.signal.aborted, watch.exitCode], [false, undefined]);
});

test("rebuild-cache --background returns, and its process deletes", [
  "windows",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  for (let i = 0; i < 1000; i++) dir.write({ [`${i}`]: "x" }, dir.at("cache"));
  const clear = ["--dir", dir.at("cache"), "--background"];
  const { code, stdout, stderr } = await runCli(clear);
  assertEquals(code, 0, stderr);
  assertEquals(stdout.includes("deleting in the background"), true, stdout);
  await until("no aside", () => namesIn(dir.path).length === 0);
});
