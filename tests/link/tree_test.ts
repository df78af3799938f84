import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { LinkError } from "../../lib/link/error.ts";
import { linkFile } from "../../lib/link/file.ts";
import type { LinkMode } from "../../lib/link/ladder.ts";
import type { LinkProgress } from "../../lib/link/options.ts";
import { linkTree } from "../../lib/link/tree.ts";
import { siblingName } from "../../lib/fs/names.ts";
import { cliCommand, must, runCli } from "../support/command.ts";
import {
  type FileSystem,
  makeFileSystem,
  mountTest,
  TOOLS,
} from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { makeManyFiles, namesIn, TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

const here = import.meta.url;
const TREE = {
  a: { b: { file: "x", empty: "" }, none: {} },
  file: "y",
  "run.sh": "#!/bin/sh\n",
};
const OLD = new Date("2001-02-03T04:05:06.789Z");

/** At full size, and from each file system to each other, when asked for. */
const STRESS = Deno.env.get("REBUILD_CACHE_STRESS") !== undefined;
const FILES = STRESS ? 5000 : 2000;

/** A tree with all that a tree may have. */
function makeTree(root: string, links = true): void {
  makeManyFiles(root, FILES / 10, 10);
  Deno.mkdirSync(`${root}/none/deep`, { recursive: true });
  Deno.writeTextFileSync(`${root}/run.sh`, "#!/bin/sh\n");
  Deno.writeTextFileSync(`${root}/empty`, "");
  if (links) {
    Deno.chmodSync(`${root}/run.sh`, 0o755);
    Deno.chmodSync(`${root}/none/deep`, 0o500);
    Deno.symlinkSync("run.sh", `${root}/link`);
    Deno.symlinkSync("/nowhere", `${root}/none/dangling`);
  }
  using sparse = Deno.openSync(`${root}/sparse`, { create: true, write: true });
  sparse.truncateSync(300_000_000);
  sparse.seekSync(200_000_000, Deno.SeekMode.Start);
  sparse.writeSync(new TextEncoder().encode("in the middle"));
  for (
    const name of [
      "run.sh",
      "empty",
      "sparse",
      "0/0/file-0",
      "none",
      "none/deep",
      "0",
    ]
  ) {
    Deno.utimeSync(`${root}/${name}`, OLD, OLD);
  }
}

/** Each path with what must be kept of it. */
function inventory(root: string, modes = true): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (relative: string) => {
    for (const { name } of Deno.readDirSync(root + relative)) {
      const path = `${relative}/${name}`;
      const info = Deno.lstatSync(root + path);
      if (
        info.isSymlink && Deno.readLinkSync(root + path).startsWith("/") &&
        Deno.readLinkSync(root + path) !== "/nowhere"
      ) {
        const to = Deno.statSync(root + path); // of mode symlink
        found[path] = `file ${to.size} ${to.mtime?.getTime()} ${
          modes ? to.mode! & 0o7777 : ""
        }`;
        continue;
      }
      if (info.isSymlink) {
        found[path] = `link ${Deno.readLinkSync(root + path)}`;
      } else {
        const kind = info.isDirectory ? "directory" : `file ${info.size}`;
        found[path] = `${kind} ${info.mtime?.getTime()} ${
          modes ? info.mode! & 0o7777 : ""
        }`;
      }
      if (info.isDirectory) visit(path);
    }
  };
  visit("");
  return found;
}

const KINDS: FileSystem[] = [
  "ext4",
  "xfs",
  "btrfs",
  "btrfs-no-extref",
  "tmpfs",
  "overlay",
];

for (const kind of KINDS) {
  mountTest(
    here,
    `linkTree() keeps all of a tree in every mode, and counts what is so, on ${kind}`,
    [...TOOLS[kind], "cmp"],
    async (dir) => {
      const mount = await makeFileSystem(dir, kind, 4);
      makeTree(`${mount}/source`);
      const before = inventory(`${mount}/source`);
      for (
        const mode of ["auto", "clone", "hardlink", "symlink", "copy"] as const
      ) {
        const to = `${mount}/${mode}`;
        const report = await linkTree(`${mount}/source`, to, { mode });
        assertEquals(inventory(to), before, mode);
        await must("cmp", `${mount}/source/sparse`, `${to}/sparse`);
        assertEquals(report.links, 2);
        assertEquals(countShared(`${mount}/source`, to), report.hardlinked);
        const clones = kind === "xfs" || kind.startsWith("btrfs");
        const expected: Partial<Record<string, LinkMode>> = {
          auto: clones ? "clone" : "hardlink",
          clone: clones ? "clone" : "hardlink",
        };
        const used = expected[mode] ?? mode;
        const count = {
          clone: report.cloned,
          hardlink: report.hardlinked,
          symlink: report.symlinked,
          copy: report.copied,
        }[used as LinkMode];
        assertEquals(
          count,
          mode === "symlink" ? FILES + 3 : FILES + 2,
          JSON.stringify(report),
        );
        assertEquals(report.created, mode === "symlink" ? 0 : 1);
        if (report.cloned) await assertCloned(`${mount}/source/sparse`, to);
        Deno.removeSync(to, { recursive: true });
      }
      assertEquals(namesIn(mount).filter((it) => it !== "lost+found"), [
        "source",
      ]);
    },
  );
}

function countShared(source: string, to: string): number {
  let count = 0;
  for (const [path, what] of Object.entries(inventory(to))) {
    if (!what.startsWith("file")) continue;
    if (Deno.lstatSync(to + path).ino === Deno.lstatSync(source + path).ino) {
      count++;
    }
  }
  return count;
}

async function assertCloned(source: string, to: string): Promise<void> {
  await must("sync");
  const extents = async (path: string) =>
    (await must("filefrag", "-v", path)).match(/\d+\.\. *\d+(?=: *\d+: )/g);
  assertStringIncludes(await must("filefrag", "-v", `${to}/sparse`), "shared");
  assertEquals(await extents(`${to}/sparse`), await extents(source));
}

const PAIRS: [FileSystem, FileSystem][] = STRESS
  ? KINDS.flatMap((from) =>
    KINDS.filter((to) => to !== from).map((to): [FileSystem, FileSystem] => [
      from,
      to,
    ])
  )
  : [
    ["ext4", "xfs"],
    ["btrfs", "tmpfs"],
    ["tmpfs", "btrfs"],
    ["xfs", "ext4"],
    ["overlay", "ext4"],
  ];

for (const [from, to] of PAIRS) {
  mountTest(
    here,
    `linkTree() copies from ${from} to ${to}, and tries each doomed call once`,
    [...TOOLS[from], ...TOOLS[to]],
    async (dir) => {
      const a = await makeFileSystem(dir, from, 4);
      const b = await makeFileSystem(dir, to, 4);
      makeTree(`${a}/source`);
      const report = await linkTree(`${a}/source`, `${b}/there`);
      assertEquals(inventory(`${b}/there`), inventory(`${a}/source`));
      assertEquals([report.copied, report.created], [FILES + 2, 1]);
      assertEquals(report.fallbacks.map(({ from, kind }) => [from, kind]), [[
        "clone",
        "cross-device",
      ], ["hardlink", "cross-device"]]);
      assert(
        report.fallbacks.every(({ count }) => count === 1),
        JSON.stringify(report),
      );
      for (const mode of ["clone", "hardlink", "symlink", "copy"] as const) {
        const options = { mode, ifExists: "replace" } as const;
        await linkTree(`${a}/source`, `${b}/there`, options);
        const found = inventory(`${b}/there`);
        assertEquals(found, inventory(`${a}/source`), mode);
      }
    },
  );
}

mountTest(
  here,
  "linkTree() copies on a file system without links, and names two names that are one there",
  TOOLS.exfat,
  async (dir) => {
    const mount = await makeFileSystem(dir, "exfat");
    dir.write({ source: TREE, clash: { Readme: "a", README: "b" } });
    const report = await linkTree(dir.at("source"), `${mount}/there`);
    assertEquals([report.copied, report.created, report.outcome], [
      3,
      1,
      "linked",
    ]);
    const again = await linkTree(`${mount}/there`, `${mount}/twice`);
    assertEquals(again.copied, 3);
    const error: LinkError = await assertRejects(
      () => linkTree(dir.at("clash"), `${mount}/clash`),
      LinkError,
    );
    assertEquals(error.kind, "already-exists");
    assertStringIncludes(error.message, "/Readme");
    assertStringIncludes(error.message, "/README");
    assertEquals(namesIn(mount), ["there", "twice"]);
  },
);

Deno.test("linkTree() does what ifExists says", async () => {
  await using dir = TempDir.make();
  dir.write({ source: TREE, there: { old: "old", file: "old" } });
  const link = (ifExists: "error" | "skip" | "replace" | "merge") =>
    linkTree(dir.at("source"), dir.at("there"), { ifExists, mode: "copy" });
  const error: LinkError = await assertRejects(() => link("error"), LinkError);
  assertEquals(error.kind, "already-exists");
  assertEquals((await link("skip")).outcome, "skipped");
  assertEquals(namesIn(dir.at("there")), ["file", "old"]);
  assertEquals((await link("merge")).outcome, "merged");
  assertEquals(namesIn(dir.at("there")), ["a", "file", "old", "run.sh"]);
  assertEquals(Deno.readTextFileSync(dir.at("there", "file")), "y");
  assertEquals((await link("replace")).outcome, "replaced");
  assertEquals(namesIn(dir.at("there")), ["a", "file", "run.sh"]);
  assertEquals(namesIn(dir.path), ["source", "there"]);
});

for (const [what, there] of [["tree", { old: "" }], ["file", "old"]] as const) {
  test(
    `linkTree() gives back what somebody puts in the place of the ${what} to be replaced`,
    ["linux", "strace"],
    async () => {
      await using dir = TempDir.make();
      dir.write({ source: TREE, there, theirs: { precious: "theirs" } });
      const trace = dir.at("trace");
      const linking = runCli(
        ["link", dir.at("source"), dir.at("there"), "--if-exists", "replace"],
        {
          wrap: [
            ...["strace", "-f", "-o", trace, "-e", "trace=renameat2"],
            ...["-e", "inject=renameat2:delay_enter=1000000:when=1"],
          ],
        },
      );
      // strace writes the call when it begins; it exchanges a second later.
      await until("the exchange", () => {
        try {
          return Deno.readTextFileSync(trace).includes("RENAME_EXCHANGE");
        } catch {
          return false;
        }
      });
      Deno.renameSync(dir.at("there"), dir.at("aside"));
      Deno.renameSync(dir.at("theirs"), dir.at("there"));
      const { code, stderr } = await linking;
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, "somebody replaced it meanwhile");
      assertEquals(
        Deno.readTextFileSync(dir.at("there", "precious")),
        "theirs",
      );
      assertEquals(namesIn(dir.path), ["aside", "source", "there", "trace"]);
    },
  );
}

for (const mode of ["copy", "hardlink"]) {
  mountTest(
    here,
    `linkTree({ mode: "${mode}" }) finds each file of a directory in which one is replaced meanwhile`,
    [...TOOLS.btrfs, "strace"],
    async (dir) => {
      const at = await makeFileSystem(dir, "btrfs");
      makeManyFiles(`${at}/source`, 1, 3000);
      const [source, there] = [`${at}/source/0/0`, `${at}/there`];
      const names = namesIn(source);
      const last = [...Deno.readDirSync(source)].at(-1)!.name;
      Deno.copyFileSync(`${source}/${last}`, `${at}/new`);
      const trace = dir.at("trace");
      const linking = runCli(["link", source, there, "--mode", mode], {
        wrap: [
          ...["strace", "-f", "-o", trace, "-P", source],
          ...["-e", "trace=getdents64"],
          ...["-e", "inject=getdents64:delay_enter=1000000:when=2"],
        ],
      });
      // strace writes the second call when it begins; it reads on a second later.
      await until("the second read", () => {
        try {
          return Deno.readTextFileSync(trace).split("getdents64(").length > 2;
        } catch {
          return false;
        }
      });
      Deno.renameSync(`${at}/new`, `${source}/${last}`);
      const { code, stderr } = await linking;
      assertEquals(code, 0, stderr);
      assertEquals(namesIn(there), names);
    },
  );
}

Deno.test("linkTree() replaces what another linkTree() has just put there", async () => {
  await using dir = TempDir.make();
  dir.write({ source: TREE, there: { old: "old" } });
  const all = await Promise.all(
    Array.from(
      { length: 8 },
      () =>
        linkTree(dir.at("source"), dir.at("there"), {
          ifExists: "replace",
          mode: "copy",
        }),
    ),
  );
  assertEquals(all.map((it) => it.outcome), Array(8).fill("replaced"));
  assertEquals(namesIn(dir.at("there")), ["a", "file", "run.sh"]);
  assertEquals(namesIn(dir.path), ["source", "there"]);
});

Deno.test("linkTree() changes nothing in a merge when a file is in a directory's place or the reverse", async () => {
  await using dir = TempDir.make();
  for (
    const there of [{ a: "a file", file: "old" }, { file: {}, old: "old" }]
  ) {
    dir.write({ source: TREE, there });
    const before = namesIn(dir.at("there"));
    const error: LinkError = await assertRejects(
      () => linkTree(dir.at("source"), dir.at("there"), { ifExists: "merge" }),
      LinkError,
    );
    assertStringIncludes(error.message, "Nothing was changed");
    assertEquals(namesIn(dir.at("there")), before);
    Deno.removeSync(dir.at("there"), { recursive: true });
  }
});

test("linkTree() never writes through links that stand in the destination", [
  "posix",
], async () => {
  for (const mode of ["clone", "hardlink", "symlink", "copy"] as const) {
    await using dir = TempDir.make();
    dir.write({
      source: { file: "new", sub: { file: "new" } },
      outside: { file: "precious" },
      there: {},
    });
    Deno.linkSync(dir.at("outside", "file"), dir.at("there", "file"));
    await linkTree(dir.at("source"), dir.at("there"), {
      ifExists: "merge",
      mode,
    });
    assertEquals(Deno.readTextFileSync(dir.at("there", "file")), "new");
    await linkTree(dir.at("source"), dir.at("there"), {
      ifExists: "replace",
      mode,
    });
    Deno.removeSync(dir.at("there"), { recursive: true });
    // A symbolic link where a directory should be is a conflict.
    Deno.mkdirSync(dir.at("there"));
    Deno.symlinkSync(dir.at("outside"), dir.at("there", "sub"));
    await assertRejects(
      () =>
        linkTree(dir.at("source"), dir.at("there"), {
          ifExists: "merge",
          mode,
        }),
      LinkError,
    );
    assertEquals(Deno.readTextFileSync(dir.at("outside", "file")), "precious");
    assertEquals(namesIn(dir.at("outside")), ["file"]);
  }
});

Deno.test("linkTree() takes what the globs say", async () => {
  await using dir = TempDir.make();
  dir.write({
    source: {
      src: { "a.ts": "a", "a.js": "a", deep: { "b.ts": "b" } },
      node_modules: { "c.ts": "c" },
      "data.db": "d",
    },
  });
  const report = await linkTree(dir.at("source"), dir.at("there"), {
    mode: "hardlink",
    include: ["**/*.ts", "*.db"],
    exclude: ["node_modules"],
    mutable: ["*.db"],
  });
  assertEquals([report.hardlinked, report.copied], [2, 1]);
  assertEquals(namesIn(dir.at("there")), ["data.db", "src"]);
  assertEquals(namesIn(dir.at("there", "src")), ["a.ts", "deep"]);
});

Deno.test("linkTree() refuses to link a tree into itself, or over what it lies in", async () => {
  await using dir = TempDir.make();
  dir.write({ source: TREE });
  for (const to of [dir.at("source"), dir.at("source", "a", "in"), dir.path]) {
    const error: LinkError = await assertRejects(
      () => linkTree(dir.at("source"), to, { ifExists: "replace" }),
      LinkError,
    );
    assertEquals(error.kind, "refused");
  }
});

test(
  "linkTree() names a FIFO, and leaves nothing",
  ["posix", "mkfifo"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ source: TREE });
    await must("mkfifo", dir.at("source", "a", "fifo"));
    const error: LinkError = await assertRejects(
      () => linkTree(dir.at("source"), dir.at("there")),
      LinkError,
    );
    assertStringIncludes(error.message, "a/fifo");
    assertEquals(namesIn(dir.path), ["source"]);
  },
);

Deno.test("linkTree() is complete with one thread and with three, and strict fails instead of falling back", async () => {
  await using dir = TempDir.make();
  makeManyFiles(dir.at("source"), 600, 10);
  for (const jobs of [1, 2, 3]) {
    const report = await linkTree(dir.at("source"), dir.at(`${jobs}`), {
      mode: "hardlink",
      jobs,
    });
    assertEquals([report.threads, report.hardlinked, report.directories], [
      jobs,
      6000,
      660,
    ]);
    assertEquals(Object.keys(inventory(dir.at(`${jobs}`), false)).length, 6660);
  }
});

test(
  "linkTree() leaves nothing that the next one does not sweep when it is killed",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    makeManyFiles(dir.at("source"), 1000, 10);
    const line = ["link", dir.at("source"), dir.at("there")];
    line.push("--mode", "hardlink");
    const started = performance.now();
    assertEquals((await runCli(line)).code, 0);
    const duration = performance.now() - started;
    Deno.removeSync(dir.at("there"), { recursive: true });
    let left = 0;
    for (let kill = 0; kill < 8 || (left === 0 && kill < 99); kill++) {
      const [program, ...args] = cliCommand(line);
      const link = new Deno.Command(program!, {
        args,
        stdout: "null",
        stderr: "null",
      }).spawn();
      // Over its whole life, which is longer on a machine that has become busier.
      const moment = duration * ((kill + Math.random()) / 8);
      await new Promise((resolve) => setTimeout(resolve, moment));
      try {
        link.kill("SIGKILL");
      } catch { /* it was faster */ }
      await link.status;
      const there = namesIn(dir.path).includes("there");
      if (there) {
        assertEquals(
          Object.keys(inventory(dir.at("there"))).length,
          11_100,
        );
      }
      left += namesIn(dir.path).length - (there ? 2 : 1);
      await linkTree(dir.at("source"), dir.at("there"), {
        mode: "hardlink",
        ifExists: "replace",
      });
      assertEquals(namesIn(dir.path), ["source", "there"]);
      Deno.removeSync(dir.at("there"), { recursive: true });
    }
    assert(left > 0, "no kill hit the build");
  },
);

test(
  "linkTree() leaves the staging of a builder that lives",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    const staging = siblingName("there", "partial");
    dir.write({ source: TREE, [staging]: { ".lock": "", tree: TREE } });
    using lock = Deno.openSync(dir.at(staging, ".lock"), {
      read: true,
      write: true,
    });
    lock.lockSync(true);
    await linkTree(dir.at("source"), dir.at("there"));
    assertEquals(namesIn(dir.path), ["source", "there", staging].sort());
  },
);

for (const jobs of [1, 2]) {
  Deno.test(`linkTree() tells how far it is, and at the end what it did, with ${jobs} threads at most`, async () => {
    await using dir = TempDir.make();
    makeManyFiles(dir.at("source"), 600, 8);
    const told: LinkProgress[] = [];
    const { directories, linkedBytes: bytes } = await linkTree(
      dir.at("source"),
      dir.at("there"),
      { mode: "copy", jobs, onProgress: (progress) => told.push(progress) },
    );
    assertEquals(told.at(-1), {
      files: 4800,
      directories: directories + 1,
      bytes,
      mode: "copy",
    });
    const files = told.map((it) => it.files);
    assertEquals(files, files.toSorted((a, b) => a - b));
  });
}

test("linkTree() names what it can't read, and leaves nothing", [
  "linux",
], async () => {
  await using dir = TempDir.make();
  // Its files are of no size, and some can't be read, not even by root.
  const error = await assertRejects(
    () => linkTree("/proc/self/task", dir.at("there"), { mode: "copy" }),
    LinkError,
  );
  assertStringIncludes(error.message, "/proc/");
  assertEquals(namesIn(dir.path), []);
});

for (const ifExists of ["skip", "merge", "replace"] as const) {
  Deno.test(`linkTree() and linkFile() do as '${ifExists}' says when many link to one place at once`, async () => {
    await using dir = TempDir.make();
    dir.write({ source: TREE });
    const many = <T>(link: () => Promise<T>) =>
      Promise.all(Array.from({ length: 4 }, link));
    const how = { ifExists, mode: "copy" } as const;
    const trees = await many(() =>
      linkTree(dir.at("source"), dir.at("tree"), how)
    );
    const outcomes = Map.groupBy(trees, ({ outcome }) => outcome);
    const late = { skip: "skipped", merge: "merged", replace: "replaced" };
    assertEquals(outcomes.get("linked")?.length, 1);
    assertEquals(outcomes.get(late[ifExists] as "merged")?.length, 3);
    assertEquals(namesIn(dir.at("tree")), namesIn(dir.at("source")));
    if (ifExists !== "merge") {
      const files = await many(() =>
        linkFile(dir.at("source/run.sh"), dir.at("file"), { ...how, ifExists })
      );
      const skipped = files.filter(({ mode }) => mode === "skipped").length;
      assertEquals(skipped, ifExists === "skip" ? 3 : 0);
    }
    assertEquals(
      namesIn(dir.path),
      [...ifExists === "merge" ? [] : ["file"], "source", "tree"],
    );
  });
}
