import { assertEquals, assertThrows } from "@std/assert";
import * as std from "@std/path";
import { CacheError } from "../../lib/error.ts";
import { basename, dirname, join, windowsPath } from "../../lib/os/path.ts";

const isWindows = Deno.build.os === "windows";
const root = isWindows ? "C:\\" : "/";

const PATHS = [
  root,
  `${root}a`,
  `${root}a/b`,
  `${root}a/b/`,
  `${root}a//b//`,
  `${root}a b/.c`,
  `${root}a/…`,
];

Deno.test("basename() and dirname() say of an absolute path what @std/path says", () => {
  for (const path of PATHS) {
    assertEquals(basename(path), std.basename(path).replace(/[/\\:]/g, ""));
    assertEquals(dirname(path), std.normalize(std.dirname(path)));
  }
  assertEquals(basename("a/b"), "b");
  assertEquals(basename("a"), "a");
});

Deno.test("join() puts a name below an absolute path", () => {
  for (const path of PATHS) {
    const expected = std.join(path, "a name").replace(/(.)[/\\]+$/, "$1");
    assertEquals(join(path, "a name"), expected);
  }
});

Deno.test("windowsPath() gives each spelling of a path as one", () => {
  const spellings: Record<string, string[]> = {
    "C:\\a\\b": [
      "C:\\a\\b",
      "C:/a//b/",
      "\\\\?\\C:\\a\\b",
      "//?/C:/a/b",
      "\\a\\b",
      "C:\\a\\b.",
      "C:\\a.\\b. .",
      "C:\\a\\x\\..\\b",
    ],
    "C:\\here\\a": ["a", ".\\a", "C:a", "c:a", "\\\\?\\C:\\here\\a", "a ."],
    "C:\\here": [".", "C:", "C:.", "a\\.."],
    "C:\\a\\...\\b": ["C:\\a\\...\\b"],
    "C:\\": ["\\", "C:\\", "\\\\?\\C:\\", "C:\\.."],
    "\\\\server\\share\\": [
      "\\\\server\\share",
      "//server/share/",
      "\\\\?\\UNC\\server\\share",
      "\\\\?\\unc\\server\\share\\",
    ],
    "\\\\server\\share\\a": [
      "\\\\server\\share\\a",
      "\\\\?\\UNC\\server\\share\\a",
    ],
    "D:\\a": ["D:\\a", "D:/a/"],
  };
  for (const [expected, texts] of Object.entries(spellings)) {
    for (const text of texts) {
      const said = windowsPath(text, "C:\\here");
      assertEquals(said.replace(/^c:/, "C:"), expected, text);
    }
  }
});

Deno.test("windowsPath() refuses what is no path of a file, or nobody knows of which", () => {
  for (
    const text of [
      "\\\\.\\C:\\a",
      "\\\\.\\PhysicalDrive0",
      "\\\\?\\C:",
      "\\\\?\\Volume{b75e2c83-0000-0000-0000-602f00000000}\\a",
      "\\\\?\\GLOBALROOT\\Device\\HarddiskVolume1\\a",
      "\\\\?\\UNC\\server",
      "\\\\?\\C:\\a\\..\\b",
      "\\\\?\\C:\\a.",
      "\\\\?\\C:\\a \\b",
      "\\\\?",
      "\\??\\C:\\a",
      "C:\\a::$INDEX_ALLOCATION",
      "a:b",
      "a\\b:stream",
      "D:",
      "D:a",
      "D:..\\a",
    ]
  ) {
    const error = assertThrows(
      () => windowsPath(text, "C:\\here"),
      CacheError,
      undefined,
      text,
    );
    assertEquals([error.kind, error.path], ["refused", text]);
  }
});
