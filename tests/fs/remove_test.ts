import { assert, assertEquals, assertRejects } from "@std/assert";
import { openDirectory, openParent } from "../../lib/fs/open.ts";
import { PathDirectory } from "../../lib/fs/paths.ts";
import { mountedBelow, removeTree } from "../../lib/fs/remove.ts";
import { must } from "../support/command.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { makeManyFiles, namesIn, TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

const OPTIONS = { busyTimeout: 1000 };
const here = import.meta.url;

for (
  const [kind, open] of [
    ["held open", openDirectory],
    ["known by paths", (path: string) => PathDirectory.at(path)],
  ] as const
) {
  Deno.test(`removeTree() removes a tree and nothing beside it when directories are ${kind}`, async () => {
    await using dir = TempDir.make();
    makeManyFiles(dir.at("tree"), 100, 3);
    dir.write({ beside: { file: "x" } });
    using parent = open(dir.path);
    assertEquals(await removeTree(parent, "tree", OPTIONS), []);
    assertEquals(await removeTree(parent, "tree", OPTIONS), [], "gone already");
    assertEquals(namesIn(dir.path), ["beside"]);
  });

  test(
    `removeTree() removes a symbolic link and a FIFO themselves when directories are ${kind}`,
    [
      "posix",
      "mkfifo",
    ],
    async () => {
      await using dir = TempDir.make();
      dir.write({ outside: { precious: "x" }, tree: { sub: {} } });
      Deno.symlinkSync(dir.at("outside"), dir.at("tree", "sub", "link"));
      Deno.symlinkSync("outside", dir.at("link"));
      await must("mkfifo", dir.at("tree", "fifo"));
      using parent = open(dir.path);
      for (const name of ["link", "tree"]) {
        assertEquals(await removeTree(parent, name, OPTIONS), []);
      }
      assertEquals(namesIn(dir.path), ["outside"]);
      assertEquals(namesIn(dir.at("outside")), ["precious"]);
    },
  );

  test(
    `removeTree() leaves what is not expected when directories are ${kind}`,
    [
      "posix",
    ],
    async () => {
      await using dir = TempDir.make();
      dir.write({ tree: { a: "" }, other: { b: "" } });
      using parent = open(dir.path);
      const expected = parent.look("tree")!;
      Deno.renameSync(dir.at("tree"), dir.at("moved"));
      Deno.renameSync(dir.at("other"), dir.at("tree"));
      assertEquals(
        await removeTree(parent, "tree", { ...OPTIONS, expected }),
        [],
      );
      assertEquals(namesIn(dir.at("tree")), ["b"]);
      Deno.removeSync(dir.at("tree"), { recursive: true });
      dir.write({ tree: "now a file" });
      await removeTree(parent, "tree", { ...OPTIONS, expected });
      assertEquals(namesIn(dir.path), ["moved", "tree"]);
    },
  );

  mountTest(
    here,
    `removeTree() names a mount and leaves what is in it when directories are ${kind}`,
    [],
    async (dir) => {
      const mount = await makeFileSystem(dir, "tmpfs");
      dir.write({ precious: "x" }, mount);
      dir.write({ tree: { deep: { mounted: {}, bound: {} }, file: "x" } });
      dir.write({ other: { precious: "x" } });
      await must("mount", "--bind", mount, dir.at("tree/deep/mounted"));
      await must("mount", "--bind", dir.at("other"), dir.at("tree/deep/bound"));
      using parent = open(dir.path);
      {
        using tree = parent.open("tree");
        const real = Deno.realPathSync(dir.at("tree"));
        assert(mountedBelow(tree, real)!.startsWith(`${real}/deep/`));
      }
      const failures = await removeTree(parent, "tree", OPTIONS);
      assertEquals(failures.map(({ kind }) => kind), ["mount", "mount"]);
      assertEquals(
        failures.map(({ path }) => path).sort(),
        [dir.at("tree/deep/bound"), dir.at("tree/deep/mounted")],
      );
      assertEquals(namesIn(dir.at("tree")), ["deep"]);
      assertEquals(namesIn(mount), ["precious"]);
      assertEquals(namesIn(dir.at("other")), ["precious"]);
    },
  );
}

Deno.test("removeTree() rejects with the signal's reason", async () => {
  await using dir = TempDir.make();
  makeManyFiles(dir.at("tree"), 100, 3);
  using place = openParent(dir.at("tree"));
  const controller = new AbortController();
  const removing = removeTree(place.parent, place.name, {
    ...OPTIONS,
    signal: controller.signal,
  });
  const reason = new Error("enough");
  controller.abort(reason);
  assertEquals(await assertRejects(() => removing), reason);
});

test(
  "removeTree() removes nothing elsewhere once it was aborted, whatever is opened then",
  ["linux", "ffi", "mkfifo"],
  async () => {
    await using dir = TempDir.make();
    using parent = openDirectory(dir.path);
    const names = Array.from({ length: 40 }, (_, i) => `directory ${i}`);
    for (const tree of ["tree", "other"]) {
      for (const name of names) dir.write({ [tree]: { [name]: { a: "" } } });
    }
    // What the runtime has threads for, and more: what comes next has to wait.
    await must("mkfifo", dir.at("fifo"));
    const blocked = Array.from(
      { length: 100 },
      () => Deno.open(dir.at("fifo")),
    );
    const abort = new AbortController();
    const { signal } = abort;
    const removal = removeTree(parent, "tree", { ...OPTIONS, signal });
    setTimeout(() => abort.abort(new Error("enough")), 50);
    await assertRejects(() => removal, Error, "enough");
    // They have the same names in them, and get the numbers that are free.
    using others = new DisposableStack();
    for (let i = 0; i < 100; i++) others.use(parent.open("other"));
    {
      using _ = Deno.openSync(dir.at("fifo"), { write: true });
      for (const file of await Promise.all(blocked)) file.close();
    }
    const left = () =>
      ["tree", "other"].map((it) => namesIn(dir.at(it)).length);
    await until("what was begun goes on", () => {
      return left().some((it) => it < names.length);
    });
    assertEquals(left()[1], names.length);
  },
);
