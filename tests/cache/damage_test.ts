// Somebody wrote through what was shared: that is not handed out again.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Cache, openCache } from "../../lib/cache/cache.ts";
import { LinkError } from "../../lib/link/error.ts";
import { runCli } from "../support/command.ts";
import { ALL as ALL_PERMISSIONS, runProgram } from "../support/library.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir, type Tree } from "../support/temp_dir.ts";
import { exists } from "../support/until.ts";

const TREE = { "a.js": "content", lib: { "b.js": "more" } };
const SHARING = Deno.build.os === "windows"
  ? ["hardlink"] as const
  : ["hardlink", "symlink"] as const;
const ALL = [...SHARING, "auto", "private", "copy"] as const;

/** Hands out a key, and writes to what was handed out. */
async function writeThrough(
  cache: Cache,
  key: string,
  dst: string,
  write: (path: string) => void,
): Promise<void> {
  using entry = (await cache.get(key))!;
  await entry.link(dst, { mode: "hardlink" });
  write(entry.isFile ? dst : `${dst}/lib/b.js`);
}

const WRITES: Record<string, (path: string) => void> = {
  longer: (path) => Deno.writeTextFileSync(path, "more and more"),
  newer: (path) => Deno.utimeSync(path, new Date(), new Date(2001, 2, 3, 4)),
};

for (const [how, write] of Object.entries(WRITES)) {
  Deno.test(`Entry.link() hands out nothing that is ${how} than what was put, in any mode`, async () => {
    await using dir = TempDir.make();
    dir.write({ tree: TREE, file: "content" });
    for (const what of ["tree", "file"]) {
      for (const mode of ALL) {
        const cache = openCache(dir.at(`${what}-${mode}`));
        const { id } = await cache.put("key", dir.at(what));
        const out = dir.at(`${what}-${mode}-out`);
        await writeThrough(cache, "key", out, write);
        {
          using entry = (await cache.get("key"))!;
          const link = () => entry.link(`${out}-2`, { mode });
          const error = await assertRejects(link, LinkError);
          assertEquals(error.kind, "damaged", `${what} ${mode}`);
          assertEquals(await cache.get("key"), undefined);
        }
        assertEquals(exists(`${out}-2`), false);
        assertEquals(namesIn(`${cache.path}/quarantine`), [id]);
        assertEquals((await cache.verify()).damaged, []);
      }
    }
  });
}

// What a process starts has its files open, and so its locks, until it is another program:
// a process of its own, since the locks of other tests would be held, too.
const STARTING = `
  import { openCache } from "LIBRARY";
  const program = "for (;;) new Deno.Command('true').outputSync();";
  const url = URL.createObjectURL(new Blob([program]));
  new Worker(url, { type: "module" });
  const [dir] = Deno.args;
  for (let round = 0; round < 40; round++) {
    const cache = openCache(dir + "/cache-" + round);
    const { id } = await cache.put("key", dir + "/tree");
    {
      using entry = await cache.get("key");
      await entry.link(dir + "/out-" + round, { mode: "hardlink" });
    }
    Deno.writeTextFileSync(dir + "/out-" + round + "/lib/b.js", "more and more");
    {
      using entry = await cache.get("key");
      const how = await entry.link(dir + "/again").catch(({ kind }) => kind);
      if (how !== "damaged") throw new Error(round + ": " + how);
    }
    Deno.lstatSync(cache.path + "/quarantine/" + id);
  }
  Deno.exit();
`;

test(
  "Entry.link() sets aside what is damaged while the process starts programs",
  ["linux", "true"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ tree: TREE });
    const { code, stderr } = await runProgram(dir, STARTING, ALL_PERMISSIONS, [
      dir.path,
    ]);
    assertEquals(code, 0, stderr);
  },
);

Deno.test("Cache.ensure() builds again what somebody wrote to", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  const ensure = async () => {
    using entry = await cache.ensure("key", (at) => dir.write(TREE, at));
    const done = await entry.link(dir.at("out"), {
      ifExists: "replace",
    }).catch((error) => error.kind);
    return [entry.outcome === "built", done.outcome ?? done];
  };
  assertEquals(await ensure(), [true, "linked"]);
  await writeThrough(cache, "key", dir.at("shared"), WRITES.longer!);
  assertEquals(await ensure(), [false, "damaged"]);
  assertEquals(await ensure(), [true, "replaced"]);
});

Deno.test("Entry.link() finds one changed file among so many that two threads link them", async () => {
  await using dir = TempDir.make();
  const files = (i: number): Tree =>
    Object.fromEntries(
      Array.from({ length: 20 }, (_, j) => [`${j}`, `${i} ${j}`]),
    );
  const folders = Array.from({ length: 100 }, (_, i) => [`${i}`, files(i)]);
  const cache = openCache(dir.at("cache"));
  await using staging = await cache.stage("key");
  dir.write(Object.fromEntries(folders), staging.path);
  const { id } = await staging.commit();
  {
    using entry = (await cache.get("key"))!;
    // The last is not linked before there are two threads.
    const last = [...Deno.readDirSync(entry.path)].at(-1)!.name;
    Deno.writeTextFileSync(`${entry.path}/${last}/3`, "CHANGED");
    const link = () => entry.link(dir.at("out"), { mode: "hardlink" });
    const error = await assertRejects(link, LinkError);
    assertEquals(error.kind, "damaged");
  }
  await staging[Symbol.asyncDispose]();
  assertEquals(await cache.get("key"), undefined);
  await cache.prune();
  assertEquals(exists(`${cache.path}/archive-v1/${id}`), false);
});

Deno.test("Entry.link() leaves a damaged archive to those who use it, and its key is a miss all the same", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("tree"));
  using other = (await cache.get("key"))!;
  await writeThrough(cache, "key", dir.at("out"), WRITES.newer!);
  {
    using entry = (await cache.get("key"))!;
    await assertRejects(() => entry.link(dir.at("out-2")), LinkError);
  }
  assertEquals(await cache.get("key"), undefined);
  assertEquals(Deno.readTextFileSync(`${other.path}/a.js`), "content");
});

Deno.test("Entry.link() leaves a key alone that has got another archive meanwhile", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("tree"));
  await writeThrough(cache, "key", dir.at("out"), WRITES.newer!);
  using entry = (await cache.get("key"))!;
  const { id } = await cache.put("key", dir.at("tree"));
  await assertRejects(() => entry.link(dir.at("out-2")), LinkError);
  using now = await cache.get("key");
  assertEquals(now?.id, id);
});

Deno.test("Cache.verify() says of a file that has the same content that its time is another", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("tree"));
  await writeThrough(cache, "key", dir.at("out"), WRITES.newer!);
  const [damage] = (await cache.verify()).damaged;
  assertEquals(damage?.wrong, ['"/lib/b.js" has another time']);
});

Deno.test("Cache.get() gives what a backup kept with seconds only", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE });
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("tree"));
  using entry = (await cache.get("key"))!;
  for (const path of ["a.js", "lib/b.js"]) {
    const at = `${entry.path}/${path}`;
    const seconds = Math.floor(Deno.statSync(at).mtime!.getTime() / 1000);
    Deno.utimeSync(at, seconds, seconds);
  }
  assertEquals((await entry.link(dir.at("out"))).outcome, "linked");
  assertEquals((await cache.verify()).damaged, []);
});

Deno.test("rebuild-cache get says that what somebody wrote to is a miss, and ensure builds it again", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: TREE });
  const cache = openCache(dir.at("cache"));
  const root = ["--dir", dir.at("cache"), "--mode", "hardlink"];
  const build = [Deno.execPath(), "eval"];
  const script = `Deno.writeTextFileSync(Deno.args[0] + "/new", "built")`;
  for (const key of ["get", "ensure"]) {
    await cache.put(key, dir.at("tree"));
    await writeThrough(cache, key, dir.at(`${key}-1`), WRITES.longer!);
  }
  const got = await runCli(["get", ...root, "get", dir.at("get-2")]);
  assertEquals(got.code, 4);
  assert(got.stderr.includes("not what was put"), got.stderr);
  assert(got.stderr.includes("is not in the cache"), got.stderr);
  assertEquals(exists(dir.at("get-2")), false);
  const args = ["ensure", ...root, "ensure", dir.at("ensure-2")];
  const ensured = await runCli([...args, "--", ...build, script, "{}"]);
  assertEquals(ensured.code, 0, ensured.stderr);
  assertEquals(namesIn(dir.at("ensure-2")), ["new"]);
});
