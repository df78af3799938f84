// What a keyed cache keeps of a tree: mode, times, symbolic links, inner hard links
// and holes; not owners, nor setuid, nor ACLs.
import { assertEquals } from "@std/assert";
import {
  ALL_KINDS,
  differences,
  type Entry,
  filled,
  look,
  makeAllKinds,
  ORDINARY,
  type Trait,
} from "../support/all_kinds.ts";
import { type Ran, runAsNobody, runCli } from "../support/command.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";

const here = import.meta.url;
const KEPT: Trait[] = ["kind", "mode", "mtime", "group", "content", "size"];
const ACL = "system.posix_acl_access";

/** As a cache should give it back: without owners, ACLs and what gives power. */
function asKept(entries: readonly Entry[], source: readonly Entry[]): Entry[] {
  const acls = new Set(
    source.filter(({ attributes }) => ACL in attributes)
      .map(({ path }) => path),
  );
  return entries.map((entry) => {
    // The group's bits are the mask of an ACL, whose group has no right here.
    const mask = acls.has(entry.path) && entry.attributes[ACL] ? 0o707 : 0o777;
    return { ...entry, mode: entry.mode & mask };
  });
}

/** Everything that a cache gave away, or lost. */
function wrongs(before: Entry[], after: Entry[], owner: string): string[] {
  const lines = differences(
    asKept(before, before),
    asKept(after, before),
    KEPT,
  );
  for (const { path, kind, mode, owner: is, attributes } of after) {
    const named = JSON.stringify(path);
    if (kind === "file" && mode & 0o6000) lines.push(`${named}: has power`);
    if (is !== owner) lines.push(`${named}: belongs to ${is}`);
    const names = Object.keys(attributes)
      .filter((name) => name.startsWith("system.") || name.includes("capab"));
    if (names.length > 0) lines.push(`${named}: ${names}`);
  }
  return [...lines, ...filled(before, after)];
}

for (const kind of ["ext4", "xfs", "btrfs", "tmpfs"] as const) {
  for (const user of ["root", "a user"]) {
    mountTest(
      here,
      `rebuild-cache put and get keep what a cache keeps for ${user} on ${kind}`,
      ["python3", ...TOOLS[kind]],
      async (dir) => {
        const isRoot = user === "root";
        const cli = isRoot ? runCli : runAsNobody;
        Deno.chmodSync(dir.path, 0o755);
        const mount = await makeFileSystem(dir, kind);
        Deno.chmodSync(mount, 0o777);
        const owner = isRoot ? 0 : 65534;
        const source = `${mount}/source`;
        await makeAllKinds(source, isRoot ? ALL_KINDS : ORDINARY, owner);
        const before = await look(source);
        const cache = ["--dir", `${mount}/cache`];
        const must = async (...args: string[]): Promise<Ran> => {
          const ran = await cli(args, { cwd: mount });
          assertEquals(ran.code, 0, ran.stderr);
          return ran;
        };
        await must("put", ...cache, "key", source);
        await must("get", ...cache, "key", `${mount}/one`);
        await must("verify", ...cache);
        await must("get", ...cache, "key", `${mount}/two`);
        const lines: string[] = [];
        for (const name of ["one", "two"]) {
          const after = await look(`${mount}/${name}`);
          lines.push(...wrongs(before, after, `${owner}:${owner}`));
        }
        lines.push(...differences(before, await look(source)));
        assertEquals(lines, []);
      },
    );
  }
}
