// A dry run says what would be done, and changes nothing.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { LinkError, linkFile, linkTree, openCache } from "../mod.ts";
import { runCli } from "./support/command.ts";
import { look } from "./support/snapshot.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";

const dryRun = true;

function prepared(): TempDir {
  const dir = TempDir.make();
  dir.write({
    file: "content",
    tree: { a: "12", sub: { b: "345", c: "6" } },
    there: { old: "1", older: { file: "" } },
  });
  return dir;
}

Deno.test("linkTree() in a dry run counts what would be linked, and changes nothing", async () => {
  await using dir = prepared();
  const [tree, there, new_] = [dir.at("tree"), dir.at("there"), dir.at("new")];
  const before = look(dir.path, "everything");
  const free = await linkTree(tree, new_, { dryRun });
  assertEquals(
    [free.outcome, free.files, free.directories, free.linkedBytes, free.copied],
    ["would-link", 3, 1, 6, 0],
  );
  for (const ifExists of ["replace", "merge"] as const) {
    const { outcome } = await linkTree(tree, there, { ifExists, dryRun });
    assertEquals(outcome, `would-${ifExists}`);
  }
  const part = await linkTree(tree, new_, { dryRun, exclude: ["sub"] });
  assertEquals([part.files, part.linkedBytes], [1, 2]);
  const error = await assertRejects(
    () => linkTree(tree, there, { dryRun }),
    LinkError,
  );
  assertEquals(error.kind, "already-exists");
  const one = await linkFile(dir.at("file"), new_, { dryRun });
  const told = [one.outcome, one.mode, one.linkedBytes];
  assertEquals(told, ["would-link", "untried", 7]);
  assertEquals(look(dir.path, "everything"), before);
});

Deno.test("Entry.link() in a dry run makes no parent, replaces nothing and notes nothing", async () => {
  await using dir = prepared();
  const cache = openCache(dir.at("cache"));
  await cache.put("tree", dir.at("tree"));
  await cache.put("file", dir.at("file"));
  const update = { ifExists: "update", dryRun } as const;
  for (const [key, files] of [["tree", 3], ["file", 1]] as const) {
    using entry = (await cache.get(key))!;
    const far = await entry.link(dir.at("no", "such", "place"), update);
    assertEquals([far.outcome, far.files], ["would-link", files]);
    await assertRejects(() => entry.link(dir.at("there"), update), LinkError);
    const place = dir.at(`of ${key}`);
    assertEquals((await entry.link(place, update)).outcome, "would-link");
    await entry.link(place, { ifExists: "update" });
    assertEquals((await entry.link(place, update)).outcome, "unchanged");
    await cache.put(key, dir.at("there"));
    using next = (await cache.get(key))!;
    if (key === "tree") {
      assertEquals((await next.link(place, update)).outcome, "would-replace");
      // It is known still.
      const { state } = await cache.placement(key, place);
      assertEquals(state, "outdated");
    }
  }
  const names = ["cache", "file", "of file", "of tree", "there", "tree"];
  assertEquals(namesIn(dir.path), names);
});

Deno.test("rebuild-cache link, get and ensure --dry-run say what would be done, and what would be replaced", async () => {
  await using dir = prepared();
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("tree"));
  const before = look(dir.at("there"), "everything");
  const store = ["--dir", "cache"];
  for (
    const [args, said] of [
      [["link", "tree", "new"], ["Would link", "new: 3 files, 6 B"]],
      [["link", "file", "new"], ["Would link", "new: 7 B"]],
      [
        ["link", "tree", "there", "--if-exists", "replace"],
        ["Would replace", "there (2 files, 1 directory) by 3 files"],
      ],
      [
        ["link", "tree", "there", "--if-exists", "merge"],
        ["Would put 3 files, 6 B into", "there (2 files"],
      ],
      [["get", ...store, "key", "a/b"], ["Would link", "b: 3 files"]],
      [["ensure", ...store, "key", "a/b", "--", "false"], ["Would link"]],
      [
        ["ensure", ...store, "other", "a/b", "--", "false", "{}"],
        ["Would run false {}", "under other, then at a/b"],
      ],
      [
        ["ensure", ...store, "--fallback", "ke", "kex", "b", "--", "false"],
        ["Would run false, beginning with key, and"],
      ],
    ] as const
  ) {
    const at = (args as readonly string[]).indexOf("--");
    const dry = args.toSpliced(at < 0 ? args.length : at, 0, "--dry-run");
    const { code, stdout, stderr } = await runCli(dry, { cwd: dir.path });
    assertEquals([code, stderr], [0, ""], args.join(" "));
    for (const words of said) assert(stdout.includes(words), stdout);
  }
  assertEquals(look(dir.at("there"), "everything"), before);
  assertEquals(namesIn(dir.path), ["cache", "file", "there", "tree"]);
  assertEquals(cache.entries().length, 1);
});

Deno.test("rebuild-cache prune --dry-run names each key that would go, and ls each blob that is there", async () => {
  await using dir = prepared();
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("tree"));
  await openCache(dir.at("cache"), { bucket: "other" }).put(
    "line\nline",
    dir.at("file"),
  );
  const digest =
    "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
  const fetch = (path: string) => Deno.copyFileSync(dir.at("file"), path);
  await cache.blob(digest, dir.at("blob"), { fetch, executable: true });
  const [blob] = cache.blobs();
  assertEquals([blob!.digest, blob!.executable, blob!.bytes], [
    digest,
    true,
    7,
  ]);
  const args = ["prune", "--dir", dir.at("cache"), "--max-entries", "0"];
  const { stdout } = await runCli([...args, "--dry-run"]);
  const lines = stdout.trimEnd().split("\n");
  assertEquals(lines.length, 3, stdout);
  const names = lines.slice(0, 2).sort();
  assert(names[0]!.startsWith("  key (6 B, used "), stdout);
  assert(names[1]!.startsWith("  other/line"), stdout);
  const ls = await runCli(["ls", "--dir", dir.at("cache")]);
  assert(ls.stdout.includes(`${digest}  7 B  executable blob  used`));
  assert(ls.stdout.includes("2 entries, 1 blob, 20 B"), ls.stdout);
  const quiet = await runCli([...args, "--dry-run", "-q"]);
  assertEquals(quiet.stdout, "");
});
