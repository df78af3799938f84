// What `cp -a` keeps, a link keeps. Asked of rsync, which knows nothing of us, and
// of a look at every entry.
import { assertEquals } from "@std/assert";
import {
  ALL_KINDS,
  differences,
  type Entry,
  filled,
  KINDS_NEED,
  look,
  makeAllKinds,
  rsyncLists,
} from "../support/all_kinds.ts";
import { must, runCli } from "../support/command.ts";
import {
  type FileSystem,
  makeFileSystem,
  mountTest,
  TOOLS,
} from "../support/mounts.ts";

const here = import.meta.url;
const MODES = ["clone", "hardlink", "copy", "symlink", "auto"] as const;
type Mode = typeof MODES[number];

/** A tree at a destination, and what it should be. */
interface Linked {
  mode: Mode;
  destination: string;
  /** Directories that stood there before: a merge may leave them as they were. */
  stood?: string[];
  /** What stood there, and isn't in the source. */
  extra?: string[];
}

/** Everything that is not as it should be: nothing, if all is well. */
async function wrongs(
  source: string,
  before: Entry[],
  { mode, destination, stood = [], extra = [] }: Linked,
): Promise<string[]> {
  const after = (await look(destination))
    .filter(({ path }) => !extra.includes(path));
  const isLeft = ({ path }: Entry) => stood.includes(path);
  // In this mode each file is a symbolic link to the source's.
  const isOther = ({ kind }: Entry) => mode === "symlink" && kind === "file";
  const meant = before.filter((entry) => !isLeft(entry) && !isOther(entry));
  const paths = new Set(meant.map(({ path }) => path));
  const found = after.filter(({ path }) => paths.has(path));
  const lines = [...differences(meant, found), ...filled(before, after)];
  for (const entry of before.filter(isOther)) {
    const link = after.find(({ path }) => path === entry.path);
    if (link?.kind !== "link" || link.content !== source + entry.path) {
      lines.push(`${JSON.stringify(entry.path)}: no link to the source's`);
    }
  }
  const names = new Set(before.map(({ path }) => path));
  for (const { path } of after) {
    if (!names.has(path)) lines.push(`${JSON.stringify(path)}: not in source`);
  }
  if (mode === "hardlink") lines.push(...notLinked(before, after));
  for (const line of await rsyncLists(source, destination)) {
    const path = line.slice(12);
    if (mode === "symlink" && line[1] === "f") continue;
    if (line[1] === "d" && stood.some((it) => `${it}/`.slice(1) === path)) {
      continue;
    }
    if (path === "./" && stood.includes("")) continue;
    if (extra.includes(`/${path.replace(/\/$/, "")}`)) continue;
    lines.push(`rsync: ${line}`);
  }
  return lines;
}

/** Files that are not the source's own, empty ones apart, which are made. */
function notLinked(before: Entry[], after: Entry[]): string[] {
  const inodes = new Map(after.map(({ path, inode }) => [path, inode]));
  return before.filter(({ path, kind, size, inode }) =>
    kind === "file" && size !== 0 && inodes.get(path) !== inode
  ).map(({ path }) => `${JSON.stringify(path)}: not hard-linked`);
}

/** Collects what each run did wrong, so that one failure tells all. */
class Wrongs {
  readonly #lines: string[] = [];

  add(what: string, lines: readonly string[]): void {
    this.#lines.push(...lines.map((line) => `${what}: ${line}`));
  }

  async link(what: string, ...args: string[]): Promise<boolean> {
    const { code, stderr } = await runCli(["link", ...args]);
    if (code !== 0) this.add(what, [`exit ${code}: ${stderr.trim()}`]);
    return code === 0;
  }

  end(): void {
    const more = this.#lines.length - 100;
    const rest = more > 0 ? [`and ${more} more`] : [];
    assertEquals([...this.#lines.slice(0, 100), ...rest], []);
  }
}

for (const kind of ["ext4", "xfs", "btrfs", "tmpfs"] as const) {
  const needs = [...TOOLS[kind], ...KINDS_NEED];
  mountTest(
    here,
    `rebuild-cache link keeps what cp -a keeps in each mode on ${kind}`,
    needs,
    async (dir) => {
      const mount = await makeFileSystem(dir, kind);
      const source = `${mount}/source`;
      await makeAllKinds(source);
      const before = await look(source);
      const wrong = new Wrongs();
      for (const mode of MODES) {
        const destination = `${mount}/${mode}`;
        const at = [source, destination];
        if (!await wrong.link(mode, "--mode", mode, ...at)) continue;
        const linked = { mode, destination };
        wrong.add(mode, await wrongs(source, before, linked));
      }
      const after = await look(source);
      wrong.add("source", differences(before, after));
      wrong.end();
    },
  );

  mountTest(
    here,
    `rebuild-cache link --if-exists merge keeps what cp -a keeps on ${kind}`,
    needs,
    async (dir) => {
      const mount = await makeFileSystem(dir, kind);
      const source = `${mount}/source`;
      await makeAllKinds(source);
      const before = await look(source);
      const wrong = new Wrongs();
      for (const mode of MODES) {
        for (const there of ["nothing", "empty", "filled"] as const) {
          const destination = `${mount}/${mode}-${there}`;
          const linked = await prepare(destination, mode, there);
          const what = `${mode} into ${there}`;
          const merge = ["--if-exists", "merge", "--mode", mode];
          if (!await wrong.link(what, ...merge, source, destination)) continue;
          wrong.add(what, await wrongs(source, before, linked));
        }
      }
      const after = await look(source);
      wrong.add("source", differences(before, after));
      wrong.end();
    },
  );

  mountTest(
    here,
    `rebuild-cache link keeps what cp -a keeps when it resets files on ${kind}`,
    needs,
    async (dir) => {
      const mount = await makeFileSystem(dir, kind);
      const source = `${mount}/source`;
      await makeAllKinds(source);
      const before = await look(source);
      const wrong = new Wrongs();
      for (const number of [1, 2, 3]) {
        const destination = `${mount}/${number}`;
        const limit = ["--mode", "hardlink", "--max-links", "5"];
        if (!await wrong.link("link", ...limit, source, destination)) continue;
        const after = await look(destination);
        wrong.add(`${number}`, differences(before, after));
        wrong.add(`${number}`, filled(before, after));
        const rsync = await rsyncLists(source, destination);
        wrong.add(`${number}: rsync`, rsync);
        wrong.add("source", differences(before, await look(source)));
      }
      wrong.end();
    },
  );
}

/** Makes what stands at a destination. */
async function prepare(
  destination: string,
  mode: Mode,
  there: "nothing" | "empty" | "filled",
): Promise<Linked> {
  if (there === "nothing") return { mode, destination };
  Deno.mkdirSync(destination);
  if (there === "empty") return { mode, destination, stood: [""] };
  for (const name of ["plain", "links", "acls", "acls/default"]) {
    Deno.mkdirSync(`${destination}/${name}`);
  }
  const extra = ["/mine", "/plain/mine", "/acls/mine"];
  for (const path of extra) Deno.writeTextFileSync(destination + path, "mine");
  // Files of other content, another mode and another kind stand in the way.
  Deno.writeTextFileSync(`${destination}/plain/file`, "old", { mode: 0o777 });
  Deno.writeTextFileSync(`${destination}/links/one`, "old");
  Deno.linkSync(`${destination}/links/one`, `${destination}/links/two`);
  await must("ln", "-s", "/nowhere", `${destination}/plain/other`);
  const stood = ["", "/plain", "/links", "/acls", "/acls/default"];
  return { mode, destination, stood, extra };
}

const ACROSS: [FileSystem, FileSystem][] = [
  ["ext4", "btrfs"],
  ["btrfs", "tmpfs"],
  ["tmpfs", "xfs"],
  ["xfs", "ext4"],
];
for (const [from, to] of ACROSS) {
  mountTest(
    here,
    `rebuild-cache link keeps what cp -a keeps from ${from} to ${to}`,
    [...TOOLS[from], ...TOOLS[to], ...KINDS_NEED],
    async (dir) => {
      const source = `${await makeFileSystem(dir, from)}/source`;
      const destination = `${await makeFileSystem(dir, to)}/destination`;
      await makeAllKinds(source, ALL_KINDS);
      const before = await look(source);
      const wrong = new Wrongs();
      if (await wrong.link("auto", source, destination)) {
        const linked = { mode: "auto", destination } as const;
        wrong.add("auto", await wrongs(source, before, linked));
      }
      wrong.end();
    },
  );
}

mountTest(
  here,
  "rebuild-cache link keeps hard links of empty files and of symbolic links",
  ["mkfs.ext4", ...KINDS_NEED],
  async (dir) => {
    const mount = await makeFileSystem(dir, "ext4");
    const source = `${mount}/source`;
    await makeAllKinds(source, ["odd-links"]);
    const before = await look(source);
    const wrong = new Wrongs();
    for (const mode of MODES) {
      if (mode === "symlink") continue; // there each name is a link of its own
      const destination = `${mount}/${mode}`;
      const args = ["--mode", mode, source, destination];
      if (!await wrong.link(mode, ...args)) continue;
      wrong.add(mode, differences(before, await look(destination)));
      wrong.add(mode, await rsyncLists(source, destination));
    }
    wrong.end();
  },
);

mountTest(
  here,
  "rebuild-cache link gives no rights by the default ACL of where it puts a tree",
  ["mkfs.btrfs", "setfacl", ...KINDS_NEED],
  async (dir) => {
    const mount = await makeFileSystem(dir, "btrfs");
    const source = `${mount}/source`;
    await makeAllKinds(source);
    const before = await look(source);
    const parent = `${mount}/parent`;
    Deno.mkdirSync(parent);
    await must("setfacl", "-d", "-m", "u:4321:rwx,g::rwx,o::rwx", parent);
    const wrong = new Wrongs();
    for (const mode of ["clone", "copy", "hardlink"] as const) {
      for (const there of ["error", "merge"]) {
        const destination = `${parent}/${mode}-${there}`;
        const how = ["--mode", mode, "--if-exists", there];
        if (!await wrong.link(mode, ...how, source, destination)) continue;
        const linked = { mode, destination };
        wrong.add(mode, await wrongs(source, before, linked));
      }
    }
    wrong.end();
  },
);
