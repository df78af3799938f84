// What an ordinary user's link keeps, and what it leaves out, and says so.
import { assert, assertEquals } from "@std/assert";
import {
  ALL_KINDS,
  differences,
  type Entry,
  filled,
  KINDS_NEED,
  look,
  makeAllKinds,
  ORDINARY,
  rsyncLists,
} from "../support/all_kinds.ts";
import { must, type Ran, runAsNobody, runCli } from "../support/command.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import type { TempDir } from "../support/temp_dir.ts";

const here = import.meta.url;
const NOBODY = 65534;

/** A file system in which everybody may write. */
async function open(dir: TempDir, kind: "ext4" | "btrfs"): Promise<string> {
  Deno.chmodSync(dir.path, 0o755);
  const mount = await makeFileSystem(dir, kind);
  Deno.chmodSync(mount, 0o777);
  return mount;
}

/** What could not be kept, once a kind: an array, of this shape. */
function assertNotKept(
  { code, stdout, stderr }: Ran,
  ...kinds: string[]
): void {
  assertEquals(code, 0, stderr);
  const { notKept } = JSON.parse(stdout).result;
  assert(Array.isArray(notKept), `notKept: ${JSON.stringify(notKept)}`);
  const what: string[] = [];
  for (const each of notKept) {
    what.push(each.what);
    const types = [each.what, each.reason, each.example].map((it) => typeof it);
    assertEquals(types, ["string", "string", "string"]);
    assert(each.count > 0, JSON.stringify(each));
  }
  assertEquals(what.length, new Set(what).size, "once a kind");
  for (const kind of kinds) assert(what.includes(kind), `no ${kind}: ${what}`);
}

/** No file of somebody else's gives power in the copy. */
function assertPowerless(entries: readonly Entry[]): void {
  const powerful = entries.filter(({ kind, mode, attributes }) =>
    kind === "file" &&
    ((mode & 0o6000) !== 0 || "security.capability" in attributes)
  );
  assertEquals(powerful, []);
}

for (const kind of ["ext4", "btrfs"] as const) {
  const needs = [...TOOLS[kind], ...KINDS_NEED];
  mountTest(
    here,
    `rebuild-cache link keeps all of a user's own tree on ${kind}`,
    needs,
    async (dir) => {
      const mount = await open(dir, kind);
      const source = `${mount}/source`;
      await makeAllKinds(source, ORDINARY, NOBODY);
      const before = await look(source);
      const wrong: string[] = [];
      for (const mode of ["clone", "hardlink", "copy", "auto"]) {
        const destination = `${mount}/${mode}`;
        const link = ["link", "--mode", mode, source, destination];
        const { code, stderr } = await runAsNobody(link);
        if (code !== 0) {
          wrong.push(`${mode}: exit ${code}: ${stderr}`);
          continue;
        }
        const after = await look(destination);
        const lines = [
          ...differences(before, after),
          ...filled(before, after),
          ...await rsyncLists(source, destination),
        ];
        wrong.push(...lines.map((line) => `${mode}: ${line}`));
      }
      wrong.push(...differences(before, await look(source)));
      assertEquals(wrong, []);
    },
  );
}

/** Root's, and what another user can read of it. */
const READABLE = [
  "plain",
  "power",
  "owners",
  "times",
  "links",
  "holes",
  "attributes",
  "capabilities",
  "symlinks",
  "names",
  "read-only",
];

for (const merge of [false, true]) {
  mountTest(
    here,
    `rebuild-cache link${
      merge ? " --if-exists merge" : ""
    } makes root's tree a user's own, without its power`,
    ["mkfs.ext4", ...KINDS_NEED],
    async (dir) => {
      const mount = await open(dir, "ext4");
      const [source, destination] = [`${mount}/source`, `${mount}/there`];
      await makeAllKinds(source, READABLE);
      const before = await look(source);
      const how = merge ? ["--if-exists", "merge"] : [];
      const link = ["link", "--json", "--mode", "copy", ...how];
      const linked = await runAsNobody([...link, source, destination]);
      assertNotKept(linked, "owner");
      const after = await look(destination);
      assertPowerless(after);
      const others = after.filter(({ owner }) => owner !== "65534:65534");
      assertEquals(others, []);
      const plain = (entries: Entry[]) =>
        entries.map((entry) => ({
          ...entry,
          // Of files, as we said, and of directories they may go.
          mode: entry.mode & 0o777,
          attributes: Object.fromEntries(
            Object.entries(entry.attributes)
              .filter(([name]) => name.startsWith("user.")),
          ),
        }));
      const lines = differences(plain(before), plain(after), [
        "kind",
        "mode",
        "mtime",
        "attributes",
        "group",
        "content",
        "size",
      ]);
      assertEquals([...lines, ...filled(before, after)], []);
      assertEquals(differences(before, await look(source)), []);
    },
  );
}

mountTest(
  here,
  "rebuild-cache link neither fails nor touches root's tree when a user hard-links it",
  ["mkfs.ext4", ...KINDS_NEED],
  async (dir) => {
    const mount = await open(dir, "ext4");
    const source = `${mount}/source`;
    await makeAllKinds(source, READABLE);
    const before = await look(source);
    for (const mode of ["hardlink", "auto", "clone", "symlink"]) {
      const link = ["link", "--mode", mode, source, `${mount}/${mode}`];
      const { code, stderr } = await runAsNobody(link);
      assertEquals(code, 0, stderr);
    }
    assertEquals(differences(before, await look(source)), []);
  },
);

mountTest(
  here,
  "rebuild-cache link widens no rights and says what a file system can't keep",
  ["mkfs.ext4", ...KINDS_NEED],
  async (dir) => {
    const mount = await makeFileSystem(dir, "ext4");
    const source = `${mount}/source`;
    await makeAllKinds(source, ALL_KINDS);
    // ramfs knows neither attributes nor ACLs.
    const bare = dir.at("bare");
    Deno.mkdirSync(bare);
    await must("mount", "-t", "ramfs", "ramfs", bare);
    const link = ["link", "--json", source, `${bare}/there`];
    assertNotKept(await runCli(link), "xattr", "acl", "capability");
    const [before, after] = [await look(source), await look(`${bare}/there`)];
    const hasAcl = new Set(
      before.filter(({ attributes }) => "system.posix_acl_access" in attributes)
        .map(({ path }) => path),
    );
    assertEquals(hasAcl.size, 2);
    // With the ACL, these bits were its mask, and the group had no right at all.
    for (const { path, mode } of after.filter(({ path }) => hasAcl.has(path))) {
      assertEquals([path, mode & 0o077], [path, 0]);
    }
    const rest = (entries: Entry[]) =>
      entries.filter(({ path }) => !hasAcl.has(path));
    const lines = differences(rest(before), rest(after), [
      "kind",
      "mode",
      "owner",
      "mtime",
      "group",
      "content",
      "size",
    ]);
    assertEquals(lines, []);
  },
);
