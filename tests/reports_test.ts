// What calls report rhymes: the same thing has the same name everywhere.
import { assert, assertEquals } from "@std/assert";
import {
  clearCache,
  linkFile,
  linkTree,
  openCache,
  rebuildCache,
} from "../mod.ts";
import { test } from "./support/needs.ts";
import { TempDir } from "./support/temp_dir.ts";

/** SHA-256 of "content". */
const DIGEST =
  "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";

Deno.test("Each report has a path, an outcome, a duration, what failed, and bytes with the name of what happened to them", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content", tree: { a: "12", b: "345" } });
  const [file, tree] = [dir.at("file"), dir.at("tree")];
  const cache = openCache(dir.at("cache"));
  const fetch = (path: string) => Deno.copyFileSync(file, path);
  const absent = await cache.verify();
  assertEquals([absent.outcome, absent.path], ["absent", cache.path]);
  await cache.put("key", tree);
  using entry = (await cache.get("key"))!;
  const build = (at: string) => Deno.writeTextFileSync(`${at}/new`, "");
  const linked = await linkTree(tree, dir.at("a"));
  assertEquals(linked.linkedBytes, 5);
  const one = await linkFile(file, dir.at("b"));
  assertEquals([one.linkedBytes, one.outcome, one.path], [
    7,
    "linked",
    dir.at("b"),
  ]);
  const skipped = await linkFile(file, dir.at("b"), { ifExists: "skip" });
  assertEquals([skipped.linkedBytes, skipped.outcome], [0, "skipped"]);
  const verified = await cache.verify();
  assertEquals([verified.readBytes, verified.outcome], [5, "verified"]);
  const reports = {
    linkTree: linked,
    linkFile: { ...one, failures: [] }, // a rename leaves nothing
    "entry.link": await entry.link(dir.at("c")),
    blob: {
      ...await cache.blob(DIGEST, dir.at("d"), { fetch }),
      failures: [],
    },
    clearCache: await clearCache(dir.at("a")),
    rebuildCache: await rebuildCache(tree, build),
    prune: await cache.prune(),
    verify: verified,
    stats: { ...await cache.stats(), outcome: "counted" },
  };
  for (const [name, report] of Object.entries(reports)) {
    assert(report.path.startsWith(dir.path), name);
    assertEquals(typeof report.outcome, "string", name);
    assert(report.durationMs >= 0, name);
    assertEquals(report.failures, [], name);
  }
});

test("linkTree() reports what of the replaced tree could not be removed", [
  "linux",
  "root",
  "chattr",
], async () => {
  await using dir = TempDir.make();
  dir.write({ new: { a: "" }, old: { kept: { file: "" } } });
  const inside = ["+i", dir.at("old", "kept", "file")];
  const { success } = await new Deno.Command("chattr", {
    args: inside,
    stderr: "null",
  }).output();
  if (!success) return; // a file system without immutable files
  const { failures, outcome } = await linkTree(dir.at("new"), dir.at("old"), {
    ifExists: "replace",
  });
  const left = failures[0]?.path ?? "";
  await new Deno.Command("chattr", { args: ["-R", "-i", dir.path] }).output();
  assertEquals(outcome, "replaced");
  assertEquals(failures.length, 1, JSON.stringify(failures));
  assert(left.endsWith("file"), left);
  assertEquals(failures[0]!.kind, "permission");
});
