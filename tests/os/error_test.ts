import { assert, assertEquals } from "@std/assert";
import {
  describeOsError,
  errorKind,
  osErrorNumber,
  osErrorText,
} from "../../lib/os/error.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

function thrown(fn: () => unknown): unknown {
  try {
    fn();
  } catch (error) {
    return error;
  }
  throw new Error("Nothing was thrown");
}

Deno.test("errorKind() tells missing from taken and not empty, of real errors", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "x", full: { inside: "x" } });
  const kinds = [
    () => Deno.lstatSync(dir.at("missing")),
    () => Deno.mkdirSync(dir.at("full")),
    () => Deno.removeSync(dir.at("full")),
    () => Deno.linkSync(dir.at("file"), dir.at("full", "inside")),
  ].map((call) => errorKind(thrown(call)));
  assertEquals(kinds, [
    "not-found",
    "already-exists",
    "not-empty",
    "already-exists",
  ]);
});

test(
  "errorKind() tells each POSIX situation, of real errors",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ file: "x", full: { inside: "x" } });
    Deno.symlinkSync("loop", dir.at("loop"));
    const situations: [string, () => unknown][] = [
      ["not-directory", () => Deno.lstatSync(dir.at("file", "x"))],
      ["is-directory", () => Deno.openSync(dir.at("full"), { write: true })],
      ["loop", () => Deno.statSync(dir.at("loop"))],
      ["name-too-long", () => Deno.mkdirSync(dir.at("n".repeat(256)))],
      ["invalid", () => Deno.renameSync(dir.at("full"), dir.at("full", "sub"))],
      ["invalid", () => Deno.lstatSync("nul\0byte")],
    ];
    for (const [kind, call] of situations) {
      assertEquals(errorKind(thrown(call)), kind, String(call));
    }
  },
);

test("errorKind() tells cross-device, of a real error", [
  "linux",
  "all permissions",
], async () => {
  await using dir = TempDir.make();
  dir.write({ file: "x" });
  const error = thrown(() => Deno.linkSync(dir.at("file"), "/dev/shm/x-link"));
  assertEquals(errorKind(error), "cross-device");
});

/** What Deno's own table has no code for: only the number in the message tells. */
Deno.test("describeOsError() knows the link limit by its number, on each platform", () => {
  const on = (platform: "linux" | "macos" | "windows", number: number) =>
    describeOsError(
      new Error(`Text in any language (os error ${number}): link 'a' -> 'b'`),
      platform,
    );
  assertEquals(on("linux", 31).name, "EMLINK");
  assertEquals(on("linux", 31).kind, "link-limit");
  assertEquals(on("macos", 31).kind, "link-limit");
  assertEquals(on("windows", 1142).kind, "link-limit");
  // The same number elsewhere means something else.
  assertEquals(on("windows", 31).kind, "io");
  assertEquals(on("windows", 17).kind, "cross-device");
  assertEquals(on("linux", 17).kind, "already-exists");
  assertEquals(on("windows", 1).kind, "unsupported");
  assertEquals(on("macos", 45).kind, "unsupported");
  assertEquals(on("linux", 84).name, "EILSEQ");
  assertEquals(on("macos", 92).name, "EILSEQ");
  assertEquals(on("linux", 9999), { kind: "other", number: 9999 });
});

Deno.test("osErrorNumber() takes the first number when a path pretends another", () => {
  const error = new Error(
    "File exists (os error 17): link '/a (os error 5)' -> '/b'",
  );
  assertEquals(osErrorNumber(error), 17);
  assertEquals(osErrorText(error), "File exists (os error 17)");
  assertEquals(osErrorNumber("(os error 5)"), undefined);
});

Deno.test("errorKind() goes by the class when the OS gave no number", () => {
  assertEquals(errorKind(new Deno.errors.NotCapable("x")), "not-capable");
  assertEquals(errorKind(new Deno.errors.NotFound("x")), "not-found");
  assertEquals(
    errorKind(new DOMException("Stop", "AbortError")),
    "interrupted",
  );
  assertEquals(errorKind(undefined), "other");
});

test(
  "describeOsError() names EMLINK of a real ext4, though Deno has no code for it",
  [
    "linux",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ file: "x", links: {} });
    let error: unknown;
    try {
      for (let i = 0; i < 65_001; i++) {
        Deno.linkSync(dir.at("file"), dir.at("links", String(i)));
      }
    } catch (caught) {
      error = caught;
    }
    if (error === undefined) return; // a file system without that limit
    assertEquals(describeOsError(error), {
      kind: "link-limit",
      number: 31,
      name: "EMLINK",
    });
    assert(
      !("code" in (error as Error)),
      "Deno knows EMLINK by now: good news",
    );
  },
);
