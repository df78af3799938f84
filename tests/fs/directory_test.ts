/** Both kinds of directories that are held open, side by side. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { CacheError, kindOfError } from "../../lib/error.ts";
import { DescriptorDirectory } from "../../lib/fs/descriptors.ts";
import { type Directory, isSameInode, pathIn } from "../../lib/fs/directory.ts";
import { openDirectory, openParent, splitPath } from "../../lib/fs/open.ts";
import { PathDirectory } from "../../lib/fs/paths.ts";
import { hasLibc } from "../../lib/os/libc.ts";
import { must } from "../support/command.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { type Need, test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const isPosix = Deno.build.os !== "windows";

/** One test for each kind. */
function both(
  what: string,
  needs: readonly Need[],
  fn: (dir: TempDir, at: Directory) => void | Promise<void>,
): void {
  for (const kind of [DescriptorDirectory, PathDirectory]) {
    if (kind === DescriptorDirectory && !hasLibc()) continue;
    test(`${kind.name} ${what}`, needs, async () => {
      await using dir = TempDir.make();
      using at = kind.at(dir.path);
      await fn(dir, at);
    });
  }
}

/** What an error means. */
function kindOf(call: () => unknown): string {
  return kindOfError(assertThrows(call));
}

both("lists names and kinds, as often as it is asked", ["posix"], (dir, at) => {
  dir.write({ file: "x", folder: {} });
  Deno.symlinkSync("nowhere", dir.at("link"));
  for (let i = 0; i < 2; i++) {
    const kinds = Object.fromEntries(
      at.list().map(({ name, kind }) => [name, kind]),
    );
    assertEquals(kinds, { file: "file", folder: "directory", link: "symlink" });
  }
  assertEquals(at.list("directory"), [{ name: "folder", kind: "directory" }]);
  assertEquals(at.list("symlink"), [{ name: "link", kind: "symlink" }]);
});

both("looks at an entry without following it", ["posix"], (dir, at) => {
  dir.write({ file: "four", folder: {} });
  Deno.symlinkSync("file", dir.at("link"));
  Deno.chmodSync(dir.at("file"), 0o640);
  const file = at.look("file")!;
  assertEquals([file.kind, file.size, file.mode], ["file", 4, 0o640]);
  assertEquals([file.links, file.uid], [1, Deno.lstatSync(dir.path).uid]);
  assertEquals(at.look("folder")!.kind, "directory");
  assertEquals(at.look("link")!.kind, "symlink");
  assertEquals(at.look("missing"), undefined);
  assert(isSameInode(at.look("folder")!, at.open("folder").status()));
});

both("opens directories only, and follows no symbolic link", ["posix"], (
  dir,
  at,
) => {
  dir.write({ file: "x", folder: { inner: "x" } });
  Deno.symlinkSync("folder", dir.at("link"));
  using folder = at.open("folder");
  assertEquals(folder.path, dir.at("folder"));
  assertEquals(folder.list().map(({ name }) => name), ["inner"]);
  for (const use of ["use", "doomed", "named"] as const) {
    assert(
      ["not-directory", "loop"].includes(kindOf(() => at.open("link", use))),
    );
    assertEquals(kindOf(() => at.open("file", use)), "not-directory");
    assertEquals(kindOf(() => at.open("missing", use)), "not-found");
  }
});

both("makes, links, renames and removes entries", ["posix"], (dir, at) => {
  dir.write({ file: "x" });
  at.make("folder", 0o700);
  using folder = at.open("folder");
  at.link("file", folder, "second");
  assertEquals(at.look("file")!.links, 2);
  at.rename("file", folder, "moved");
  assertEquals(namesIn(dir.at("folder")), ["moved", "second"]);
  folder.symlink("../elsewhere", "link");
  assertEquals(folder.readLink("link"), "../elsewhere");
  assertEquals(kindOf(() => at.removeDirectory("folder")), "not-empty");
  for (const name of ["moved", "second", "link"]) folder.remove(name);
  assertEquals(kindOf(() => folder.remove("moved")), "not-found");
  assert(["is-directory", "permission"].includes(
    kindOf(() => at.remove("folder")),
  ));
  at.removeDirectory("folder");
  assertEquals(namesIn(dir.path), []);
});

both("renames to a name that is taken only when that is meant", ["posix"], (
  dir,
  at,
) => {
  dir.write({ a: "a", b: "b" });
  assertEquals(kindOf(() => at.rename("a", at, "b", "new")), "already-exists");
  assertEquals(namesIn(dir.path), ["a", "b"]);
  at.rename("a", at, "b");
  assertEquals(Deno.readTextFileSync(dir.at("b")), "a");
});

both("opens regular files only, and never waits for one", [
  "posix",
  "mkfifo",
], async (dir, at) => {
  dir.write({ file: "content", folder: {} });
  await must("mkfifo", dir.at("fifo"));
  Deno.symlinkSync("file", dir.at("link"));
  for (const use of ["read", "lock"] as const) {
    assertEquals(kindOf(() => at.openFile("fifo", use)), "invalid");
    assertEquals(kindOf(() => at.openFile("link", use)), "loop");
    assertEquals(kindOf(() => at.openFile("missing", use)), "not-found");
    assertThrows(() => at.openFile("folder", use));
  }
  assertEquals(kindOf(() => at.openFile("link", "create")), "already-exists");
  const bytes = new Uint8Array(100);
  using file = at.openFile("file", "read");
  assertEquals(file.read(bytes), 7);
  assertEquals(file.read(bytes), 0);
});

both("writes a file, and writes it anew from its beginning", [], (dir, at) => {
  const encoder = new TextEncoder();
  using file = at.openFile("file", "create", 0o600);
  file.write(encoder.encode("a long text"));
  if (isPosix) assertEquals(file.status().mode, 0o600);
  file.rewrite(encoder.encode("short"));
  file.sync();
  file.close();
  assertEquals(Deno.readTextFileSync(dir.at("file")), "short");
  using again = at.openFile("file", "lock");
  again.read(new Uint8Array(100));
  again.rewrite(encoder.encode("anew"));
  assertEquals(Deno.readTextFileSync(dir.at("file")), "anew");
});

both("locks files and directories, shared and not", ["posix"], (dir, at) => {
  dir.write({ file: "", folder: {} });
  for (
    const open of [
      () => at.openFile("file", "lock"),
      () => at.open("folder"),
    ]
  ) {
    using one = open();
    using two = open();
    assertEquals([one.tryLock(false), two.tryLock(false)], [true, true]);
    using three = open();
    assertEquals(three.tryLock(true), false);
    one[Symbol.dispose]();
    two[Symbol.dispose]();
    assertEquals(three.tryLock(true), true);
  }
});

both("sets mode and times of an entry, and not of what a link leads to", [
  "posix",
], (dir, at) => {
  dir.write({ file: "x", folder: {} });
  Deno.symlinkSync("file", dir.at("link"));
  const modified = { seconds: 1e9, nanoseconds: 5e6 };
  at.setAccessOf("folder", { mode: 0o2750, modified });
  const folder = at.look("folder")!;
  assertEquals([folder.mode, folder.modified], [0o2750, modified]);
  const before = at.look("file")!;
  at.setAccessOf("link", { modified });
  assertEquals(at.look("file")!.modified, before.modified);
  using held = at.open("folder");
  held.setAccess({ mode: 0o700 });
  assertEquals(at.look("folder")!.mode, 0o700);
});

both("opens what is doomed with all its owner's rights", ["posix"], (
  dir,
  at,
) => {
  dir.write({ folder: { inner: "x" } });
  Deno.chmodSync(dir.at("folder"), 0o500);
  using folder = at.open("folder", "doomed");
  assertEquals(folder.status().mode & 0o700, 0o700);
  folder.remove("inner");
});

mountTest(
  import.meta.url,
  "DescriptorDirectory.list() gives what was made since it was opened",
  ["mkfs.btrfs"],
  async (dir) => {
    const at = await makeFileSystem(dir, "btrfs");
    using directory = openDirectory(at);
    const names = () => directory.list().map(({ name }) => name);
    Deno.writeTextFileSync(`${at}/one`, "");
    assertEquals(names(), ["one"]);
    Deno.writeTextFileSync(`${at}/two`, "");
    assertEquals(names().sort(), ["one", "two"]);
  },
);

for (const kind of [DescriptorDirectory, PathDirectory]) {
  mountTest(
    import.meta.url,
    `${kind.name} crosses no mount unless it was named`,
    [],
    async (dir) => {
      const mount = await makeFileSystem(dir, "tmpfs");
      dir.write({ bound: {}, other: {} });
      await must("mount", "--bind", dir.at("other"), dir.at("bound"));
      using at = kind.at(dir.path);
      for (const name of [mount.split("/").at(-1)!, "bound"]) {
        for (const use of ["use", "doomed"] as const) {
          const error = assertThrows(() => at.open(name, use), CacheError);
          assertEquals(error.kind, "mount");
          assert(error.message.includes(dir.at(name)), error.message);
        }
        at.open(name, "named")[Symbol.dispose]();
      }
    },
  );
}

mountTest(
  import.meta.url,
  "DescriptorDirectory.isLeaf() is true only of a directory without directories, of one mount",
  ["ffi"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    dir.write({
      leaf: { file: "x" },
      branch: { folder: {} },
      closed: {},
      bound: {},
      file: "x",
    }, mount);
    Deno.symlinkSync("leaf", `${mount}/link`);
    Deno.chmodSync(`${mount}/closed`, 0o500);
    await must("mount", "--bind", `${mount}/leaf`, `${mount}/bound`);
    using at = DescriptorDirectory.at(mount);
    const leaves = at.list().filter(({ name }) => at.isLeaf(name));
    assertEquals(leaves.map(({ name }) => name), ["leaf"]);
    assertEquals(at.isLeaf("missing"), false);
    using paths = PathDirectory.at(mount);
    assertEquals(paths.isLeaf("leaf"), false, "not known there");
  },
);

test(
  "DescriptorDirectory stays with its directory wherever that is renamed to",
  [
    "linux",
    "ffi",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ folder: {}, other: {} });
    using folder = openDirectory(dir.at("folder"));
    assertEquals(folder.safe, true);
    Deno.renameSync(dir.at("folder"), dir.at("moved"));
    Deno.symlinkSync("other", dir.at("folder"));
    folder.make("inside");
    assertEquals(namesIn(dir.at("other")), []);
    assertEquals(namesIn(dir.at("moved")), ["inside"]);
  },
);

test(
  "DescriptorDirectory exchanges two entries, and reaches names that are not UTF-8",
  [
    "linux",
    "ffi",
    "bash",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ a: "a", b: "b" });
    await must("bash", "-c", `touch "$(printf '${dir.path}/f\\376')"`);
    using at = openDirectory(dir.path);
    at.rename("a", at, "b", "exchange");
    assertEquals(Deno.readTextFileSync(dir.at("a")), "b");
    assertEquals(Deno.readTextFileSync(dir.at("b")), "a");
    const raw = at.list().find(({ name }) => name.startsWith("f"))!;
    assertEquals(at.look(raw.name)!.kind, "file");
    at.remove(raw.name);
    assertEquals(namesIn(dir.path), ["a", "b"]);
  },
);

test("PathDirectory is safe where nobody else can write, and says so", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ mine: { inner: {} }, open: { inner: {} } });
  Deno.chmodSync(dir.at("open"), 0o777);
  const isSafe = (path: string) => PathDirectory.at(path).safe;
  assertEquals(isSafe(dir.at("mine", "inner")), true);
  assertEquals(isSafe(dir.at("open")), false);
  assertEquals(isSafe(dir.at("open", "inner")), false);
  // Sticky: others can't put anything in the place of what is ours.
  Deno.chmodSync(dir.at("open"), 0o1777);
  assertEquals(isSafe(dir.at("open")), false);
  assertEquals(isSafe(dir.at("open", "inner")), true);
  using open = PathDirectory.at(dir.at("open"));
  assertEquals(open.open("inner", "doomed").safe, true);
});

test("splitPath() and openParent() part a path from its last name", [
  "posix",
], async () => {
  assertEquals(splitPath("/a/b"), ["/a", "b"]);
  assertEquals(splitPath("/a"), ["/", "a"]);
  assertEquals(splitPath("/"), ["/", ""]);
  await using dir = TempDir.make();
  using place = openParent(dir.at("missing"));
  assertEquals(pathIn(place.parent, place.name), dir.at("missing"));
});
