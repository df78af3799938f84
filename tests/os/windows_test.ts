import { assert, assertEquals } from "@std/assert";
import { denoRun, ROOT, run } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { fileNumber } from "../../lib/os/windows.ts";
import { TempDir } from "../support/temp_dir.ts";

/** Starts a process that goes on for ten seconds, with our output to be inherited. */
const PROGRAM = `
  import { withoutHandles } from "LIBRARY";
  const c = Deno.dlopen("kernel32.dll", {
    GetStdHandle: { parameters: ["i32"], result: "pointer" },
    SetHandleInformation: { parameters: ["pointer", "u32", "u32"], result: "i32" },
  }).symbols;
  // As a pipe is that PowerShell reads: $x = & rebuild-cache …
  for (const it of [-11, -12]) c.SetHandleInformation(c.GetStdHandle(it), 1, 1);
  const start = () =>
    new Deno.Command(Deno.execPath(), {
      args: ["eval", "setTimeout(() => {}, 10_000)"],
      detached: true, stdin: "null", stdout: "null", stderr: "null",
    }).spawn().unref();
  if (Deno.args[0] === "without") withoutHandles(start);
  else start();
  console.log("started");
`;

test("withoutHandles() keeps our output from the process that is started", [
  "windows",
  "ffi",
], async () => {
  await using dir = TempDir.make();
  const library = new URL("../../lib/os/windows.ts", import.meta.url).href;
  dir.write({ "program.ts": PROGRAM.replace("LIBRARY", library) });
  const flags = denoRun("mod.ts").slice(0, -1);
  const command = [Deno.execPath(), ...flags, dir.at("program.ts"), "without"];
  const started = performance.now();
  const { stdout, stderr } = await run(command, { cwd: ROOT });
  const seconds = (performance.now() - started) / 1000;
  assertEquals(stdout, "started\n", stderr);
  assert(seconds < 9, `its output was open for ${seconds} s`);
});

test("fileNumber() is the whole of what Deno rounds", [
  "windows",
  "ffi",
], async () => {
  await using dir = TempDir.make();
  const deep = "d".repeat(200);
  dir.write({ a: "", b: "", [deep]: { [deep]: "" } });
  Deno.linkSync(dir.at("a"), dir.at("second"));
  for (const path of [dir.at("a"), dir.path, dir.at(deep, deep)]) {
    assertEquals(Number(fileNumber(path)), Deno.lstatSync(path).ino);
  }
  assertEquals(fileNumber(dir.at("a")), fileNumber(dir.at("second")));
  assert(fileNumber(dir.at("a")) !== fileNumber(dir.at("b")));
  assertEquals(fileNumber(dir.at("missing")), undefined);
});
