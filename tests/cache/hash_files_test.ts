import {
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
} from "@std/assert";
import { hashFiles } from "../../lib/cache/hash_files.ts";
import { CacheError } from "../../lib/error.ts";
import { test } from "../support/needs.ts";
import { TempDir, type Tree } from "../support/temp_dir.ts";

const TREE: Tree = {
  "a.lock": "a",
  "b.txt": "b",
  packages: {
    one: { "a.lock": "1", src: { "x.ts": "x" } },
    two: { "a.lock": "2" },
  },
};

function written(tree: Tree = TREE): TempDir {
  const dir = TempDir.make();
  dir.write(tree);
  return dir;
}

async function hash(dir: TempDir, ...globs: string[]): Promise<string> {
  return await hashFiles(globs, { root: dir.path });
}

Deno.test("hashFiles() is the same for the same files elsewhere, at another time, in another order", async () => {
  await using one = written();
  await using two = written({
    packages: TREE["packages"]!,
    "b.txt": "b",
    "a.lock": "a",
  });
  Deno.utimeSync(two.at("a.lock"), 1, 1);
  if (Deno.build.os !== "windows") Deno.chmodSync(two.at("a.lock"), 0o600);
  const digest = await hash(one, "**/a.lock", "b.txt");
  assertMatch(digest, /^[0-9a-f]{64}$/);
  assertEquals(await hash(two, "b.txt", "**/a.lock", "b.txt"), digest);
  const absolute = [`${two.path}/**/a.lock`, `${two.path}/./b.txt`];
  assertEquals(await hash(two, ...absolute), digest);
  if (Deno.build.os === "windows") {
    const typed = absolute.map((it) => it.replaceAll("/", "\\"));
    assertEquals(await hash(two, ...typed), digest);
    const other = absolute.map((it) =>
      it.toUpperCase().replaceAll("A.LOCK", "a.lock").replaceAll(
        "B.TXT",
        "b.txt",
      )
    );
    assertEquals(await hash(two, ...other), digest);
    await assertRejects(() => hash(two, "**\\a.lock", `!${two.path}\\**`));
  }
  // It is in the keys that people have: it must never change.
  assertEquals(
    await hash(one, "a.lock"),
    "81da8d4c6d2f221b973df0b2d4ceb4fa4d321b5d97434778ba848525232ee990",
  );
});

Deno.test("hashFiles() changes when a name or a content changes", async () => {
  await using dir = written();
  const digests = [await hash(dir, "**/*.lock")];
  Deno.writeTextFileSync(dir.at("packages", "two", "a.lock"), "two");
  digests.push(await hash(dir, "**/*.lock"));
  Deno.renameSync(dir.at("a.lock"), dir.at("b.lock"));
  digests.push(await hash(dir, "**/*.lock"));
  assertEquals(new Set(digests).size, 3);
});

Deno.test("hashFiles() matches stars, braces, names and what is left out", async () => {
  await using dir = written();
  const same = async (one: string[], two: string[]) =>
    assertEquals(await hash(dir, ...one), await hash(dir, ...two));
  const all = ["a.lock", "packages/one/a.lock", "packages/two/a.lock"];
  await same(["**/*.lock"], all);
  await same(["**/**/a.lock"], all);
  await same(["./**/packages/**/a.lock", "a.lock"], all);
  await same(["packages/*/a.lock"], all.slice(1));
  await same(["packages/{one,two}/?.lock"], all.slice(1));
  await same(["**/*.lock", "!packages/two"], all.slice(0, 2));
  await same(["!**/two/**", "**/*.lock"], all.slice(0, 2));
  await same([`${dir.path}/**/*.lock`, "!packages/two"], all.slice(0, 2));
  await same(["**/*.lock", `!${dir.path}/packages/two`], all.slice(0, 2));
  await same(["packages/**"], [
    "packages/one/a.lock",
    "packages/one/src/x.ts",
    "packages/two/a.lock",
  ]);
  await same(["packages/../b.txt"], ["packages/../b.txt", "**/../b.txt"]);
});

Deno.test("hashFiles() passes over what is made from the files, unless a glob names it", async () => {
  await using dir = written();
  const hashed = async (...globs: string[]) =>
    await hashFiles(globs, { root: dir.path, except: [dir.at("out"), "gone"] });
  const before = await hashed("**/*.lock");
  const around = await hashed("packages/../**/*.lock");
  dir.write({ out: { "made.lock": "1" } });
  assertEquals(await hashed("**/*.lock"), before);
  assertEquals(await hashed("packages/../**/*.lock"), around);
  assertEquals(await hashed(`${dir.path}/**/*.lock`), before);
  assertNotEquals(await hash(dir, "**/*.lock"), before);
  assertNotEquals(await hashed("**/*.lock", "out/made.lock"), before);
  assertNotEquals(await hashed("**/*.lock", "out/**"), before);
  await assertRejects(() => hashed("o*/*.lock"), CacheError, "o*/*.lock");
});

Deno.test("hashFiles() passes over asides and stagings", async () => {
  await using dir = written();
  const before = await hash(dir, "**/*.lock");
  dir.write({
    "out.partial-12-0123456789ab": { "a.lock": "1" },
    packages: { "one.stale-12-0123456789ab": { "a.lock": "1" } },
  });
  assertEquals(await hash(dir, "**/*.lock"), before);
});

Deno.test("hashFiles() fails and names a glob that matches no file", async () => {
  await using dir = written();
  for (const glob of ["*.json", "packages/*", "no/a.lock", "a.lock/b", "b/"]) {
    const error = await assertRejects(
      () => hash(dir, "a.lock", glob),
      CacheError,
      `"${glob}": it matches no file`,
    );
    assertEquals(error.kind, "not-found");
  }
  await assertRejects(() => hash(dir, "b.txt", "!*.txt"), CacheError, "b.txt");
  for (const globs of [[], ["!a"], [""], ["a", "!"]]) {
    await assertRejects(() => hash(dir, ...globs), TypeError);
  }
});

test(
  "hashFiles() hashes a symbolic link as the file that it leads to",
  ["posix"],
  async () => {
    await using dir = written();
    await using other = written();
    const before = await hash(dir, "**/*.lock");
    Deno.renameSync(dir.at("a.lock"), other.at("moved"));
    Deno.symlinkSync(other.at("moved"), dir.at("a.lock"));
    // Into a directory behind a link only who names it.
    Deno.symlinkSync(other.path, dir.at("other"));
    assertEquals(await hash(dir, "**/*.lock"), before);
    assertNotEquals(await hash(dir, "**/*.lock", "other/a.lock"), before);
    Deno.symlinkSync("nowhere", dir.at("dangling.lock"));
    await assertRejects(() => hash(dir, "*.lock"), CacheError, "dangling.lock");
  },
);

test(
  "hashFiles() fails when something can't be read",
  ["linux"],
  async () => {
    await using dir = written();
    await new Deno.Command("mkfifo", { args: [dir.at("p.lock")] }).output();
    await assertRejects(() => hash(dir, "*.lock"), CacheError, "p.lock");
  },
);

Deno.test("hashFiles() stops in a big file when the signal says so", async () => {
  await using dir = TempDir.make();
  using file = Deno.openSync(dir.at("big"), { create: true, write: true });
  file.truncateSync(16 * 2 ** 30);
  const reason = new Error("Enough");
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), 50);
  const options = { root: dir.path, signal: controller.signal };
  const error = await assertRejects(() => hashFiles(["*"], options));
  assertEquals(error, reason);
  assertEquals(await assertRejects(() => hashFiles(["*"], options)), reason);
});

Deno.test("hashFiles() tells how far it is, also within a large file", async () => {
  await using dir = TempDir.make();
  dir.write({ a: "x".repeat(3 << 20), b: "12" });
  const told: number[][] = [];
  await hashFiles(["*"], {
    root: dir.path,
    onProgress: ({ files, bytes, totalFiles }) =>
      told.push([files, bytes, totalFiles]),
  });
  const MiB = 1 << 20;
  assertEquals(told, [
    [0, MiB, 2],
    [0, 2 * MiB, 2],
    [0, 3 * MiB, 2],
    [1, 3 * MiB, 2],
    [2, 3 * MiB + 2, 2],
  ]);
});
