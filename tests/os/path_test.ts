import { assertEquals } from "@std/assert";
import * as std from "@std/path";
import { basename, dirname, join } from "../../lib/os/path.ts";

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
