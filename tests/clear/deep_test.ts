// Trees that are deeper than any path is long, or any stack high.
import { assert, assertEquals } from "@std/assert";
import { type Ran, runAsNobody, runCli } from "../support/command.ts";
import { type Deep, depths, makeDeep } from "../support/deep_tree.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import { namesIn } from "../support/temp_dir.ts";

const here = import.meta.url;
const FULL = Deno.env.get("REBUILD_CACHE_STRESS") !== undefined;
const ONE: Deep = { levels: FULL ? 100_000 : 40_000, trees: 1 };
const MANY: Deep = FULL
  ? { levels: 5000, trees: 200 }
  : { levels: 3000, trees: 20 };

/** A directory takes a block and an inode of ext4; images are sparse. */
const GIGABYTES = FULL ? 48 : 6;

/** Neither killed nor crashed; what went wrong is said in one line. */
function assertCalm({ code, signal, stderr }: Ran, ...codes: number[]): void {
  const said = stderr.slice(0, 2000);
  assert(signal === null && codes.includes(code), `exit ${code}: ${said}`);
  if (code === 0) return;
  assertEquals(stderr.trimEnd().split("\n").length, 1, said);
  assert(stderr.startsWith("rebuild-cache: "), said);
}

/** What there is beside what a file system has of its own. */
function leftIn(directory: string): string[] {
  return namesIn(directory).filter((name) => name !== "lost+found");
}

function assertDepth(found: string[], { levels }: Deep): void {
  assertEquals(found, [`${levels} ${levels - 1}`]);
}

for (const kind of ["ext4", "xfs", "btrfs", "tmpfs"] as const) {
  const needs = ["python3", ...TOOLS[kind]];
  for (const deep of [ONE, MANY]) {
    const trees = `${deep.trees} x ${deep.levels} levels`;

    mountTest(
      here,
      `rebuild-cache --dir clears ${trees} on ${kind}`,
      needs,
      async (dir) => {
        const mount = await makeFileSystem(dir, kind, GIGABYTES);
        await makeDeep(`${mount}/cache`, deep);
        assertCalm(await runCli(["--dir", `${mount}/cache`]), 0);
        assertEquals(leftIn(mount), []);
      },
    );

    mountTest(
      here,
      `rebuild-cache link links ${trees}, or says why not, on ${kind}`,
      needs,
      async (dir) => {
        const mount = await makeFileSystem(dir, kind, GIGABYTES);
        const [source, destination] = [`${mount}/source`, `${mount}/there`];
        await makeDeep(source, deep);
        const linked = await runCli(["link", source, destination]);
        assertCalm(linked, 0, 1);
        if (linked.code === 0) assertDepth(await depths(destination), deep);
        const names = linked.code === 0 ? ["source", "there"] : ["source"];
        assertEquals(leftIn(mount), names);
        assertDepth(await depths(source), deep);
      },
    );
  }
}

const REPLACED = "ext4";
mountTest(
  here,
  "rebuild-cache link --if-exists replace takes a deep tree away",
  ["python3", ...TOOLS[REPLACED]],
  async (dir) => {
    const mount = await makeFileSystem(dir, REPLACED, GIGABYTES);
    Deno.mkdirSync(`${mount}/source`);
    Deno.writeTextFileSync(`${mount}/source/new`, "new");
    await makeDeep(`${mount}/there`, ONE);
    const replace = ["link", "--if-exists", "replace"];
    const at = [`${mount}/source`, `${mount}/there`];
    assertCalm(await runCli([...replace, ...at]), 0);
    assertEquals(namesIn(`${mount}/there`), ["new"]);
    assertEquals(leftIn(mount), ["source", "there"]);
  },
);

mountTest(
  here,
  "rebuild-cache link --if-exists merge puts a deep tree into another, or says why not",
  ["python3"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    const [source, destination] = [`${mount}/source`, `${mount}/there`];
    await makeDeep(source, ONE);
    await makeDeep(destination, { levels: 10, trees: 1 });
    const merge = ["link", "--if-exists", "merge"];
    const merged = await runCli([...merge, source, destination]);
    assertCalm(merged, 0, 1);
    if (merged.code === 0) assertDepth(await depths(destination), ONE);
    assertDepth(await depths(source), ONE);
  },
);

mountTest(
  here,
  "rebuild-cache clears a deep tree in place where the parent is not writable",
  ["python3"],
  async (dir) => {
    Deno.chmodSync(dir.path, 0o755);
    const mount = await makeFileSystem(dir, "tmpfs");
    Deno.chmodSync(mount, 0o755);
    await makeDeep(`${mount}/cache`, ONE, 65534);
    assertCalm(await runAsNobody(["--dir", `${mount}/cache`]), 0);
    assertEquals(namesIn(`${mount}/cache`), []);
  },
);

mountTest(
  here,
  "rebuild-cache --recreate and --dry-run handle a deep tree",
  ["python3"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    const cache = `${mount}/cache`;
    await makeDeep(cache, ONE);
    assertCalm(await runCli(["--recreate", "--dir", cache]), 0);
    assertEquals([leftIn(mount), namesIn(cache)], [["cache"], []]);
    Deno.removeSync(cache);
    await makeDeep(cache, ONE);
    assertCalm(await runCli(["--dry-run", "--dir", cache]), 0);
    assertEquals(leftIn(mount), ["cache"]);
  },
);

mountTest(
  here,
  "rebuild-cache --dir sweeps the deep aside of a process that died",
  ["python3"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    // As our own clear leaves it when it is killed; this number no process has.
    await makeDeep(`${mount}/cache.stale-4194305-0123456789ab`, ONE);
    Deno.mkdirSync(`${mount}/cache`);
    assertCalm(await runCli(["--dir", `${mount}/cache`]), 0);
    assertEquals(leftIn(mount), []);
  },
);

mountTest(
  here,
  "rebuild-cache put keeps a deep tree, or says why not, and prune takes it away",
  ["python3"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    const [source, destination] = [`${mount}/source`, `${mount}/there`];
    await makeDeep(source, ONE);
    const cache = ["--dir", `${mount}/cache`];
    const put = await runCli(["put", ...cache, "key", source]);
    assertCalm(put, 0, 1);
    if (put.code === 0) {
      assertCalm(await runCli(["verify", ...cache]), 0);
      const got = await runCli(["get", ...cache, "key", destination]);
      assertCalm(got, 0, 1);
      if (got.code === 0) assertDepth(await depths(destination), ONE);
      assertCalm(await runCli(["prune", ...cache, "--max-entries", "0"]), 0);
      const listed = await runCli(["ls", ...cache, "--json"]);
      assertEquals(JSON.parse(listed.stdout).result.entries, []);
      for (const name of namesIn(`${mount}/cache`)) {
        if (!name.startsWith("archive-")) continue;
        assertEquals(namesIn(`${mount}/cache/${name}`), []);
      }
    }
    assertDepth(await depths(source), ONE);
    assertCalm(await runCli(cache), 0);
    assertEquals(leftIn(mount).includes("cache"), false);
  },
);

mountTest(
  here,
  "rebuild-cache --dir DIR -- COMMAND replaces a deep tree by another",
  ["python3"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    const cache = `${mount}/cache`;
    await makeDeep(cache, ONE);
    const build = ["--", "sh", "-c", 'echo new > "$1/new"', "sh", "{}"];
    assertCalm(await runCli(["--dir", cache, ...build]), 0);
    assertEquals([leftIn(mount), namesIn(cache)], [["cache"], ["new"]]);
  },
);
