import {
  assertEquals,
  assertMatch,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { pathToFileURL } from "node:url";
import { CacheError } from "../../lib/error.ts";
import { clearTarget } from "../../lib/fs/guard_rails.ts";
import { ROOT } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

function refusal(path: string, follow = false): string {
  const error = assertThrows(() => clearTarget(path, follow), CacheError);
  assertEquals(error.kind, "refused", error.message);
  return error.message;
}

Deno.test("clearTarget() refuses each dangerous path, with a line that says why", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "x" });
  const home = Deno.env.get(
    Deno.build.os === "windows" ? "USERPROFILE" : "HOME",
  )!;
  assertStringIncludes(refusal(""), "the path is empty");
  assertStringIncludes(refusal("/"), "the root of a file system");
  assertStringIncludes(refusal("."), "the working directory");
  assertMatch(refusal(".."), /the working directory|the root of/);
  assertStringIncludes(refusal(`${ROOT}/lib/..`), "the working directory");
  assertStringIncludes(refusal(home), "the home directory");
  assertStringIncludes(refusal(dir.at("file")), "it is not a directory");
  assertStringIncludes(refusal("nul\0byte"), "NUL");
  // A tilde in quotes: "Nothing to clear" would be a lie.
  assertStringIncludes(refusal("~/.cache/pip"), "tilde");
});

test(
  "clearTarget() refuses a symbolic link and names its target, unless it is followed",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ real: { file: "x" } });
    Deno.symlinkSync("real", dir.at("link"));
    Deno.symlinkSync("nowhere", dir.at("dangling"));
    Deno.symlinkSync("/", dir.at("to-root"));
    assertStringIncludes(
      refusal(dir.at("link")),
      `symbolic link to "${dir.at("real")}"`,
    );
    assertStringIncludes(refusal(`${dir.at("link")}/`), "symbolic link");
    assertEquals(clearTarget(dir.at("link"), true).path, dir.at("real"));
    assertStringIncludes(
      refusal(dir.at("dangling"), true),
      "to where nothing is",
    );
    assertStringIncludes(refusal(dir.at("to-root"), true), "root of a file");
  },
);

test(
  "clearTarget() refuses what a second name of the home directory leads to",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    Deno.symlinkSync(Deno.env.get("HOME")!, dir.at("home"));
    assertStringIncludes(refusal(dir.at("home"), true), "the home directory");
  },
);

Deno.test("clearTarget() gives the absolute path, of a string and of a URL", async () => {
  await using dir = TempDir.make();
  dir.write({ "my cache%20": {} });
  const path = Deno.realPathSync(dir.at("my cache%20"));
  assertEquals(clearTarget(`${dir.at("my cache%20")}/`).path, path);
  assertEquals(clearTarget(pathToFileURL(path)).path, path);
});

Deno.test("clearTarget() takes a missing directory, below what exists or not", async () => {
  await using dir = TempDir.make();
  assertEquals(clearTarget(dir.at("missing")).info, undefined);
  assertEquals(clearTarget(dir.at("missing", "below")).info, undefined);
});
