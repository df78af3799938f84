import { assert, assertEquals, assertRejects } from "@std/assert";
import { LinkError } from "../../lib/link/error.ts";
import { linkFile } from "../../lib/link/file.ts";
import { must, runCli } from "../support/command.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import { mayUse, test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const MODES = ["clone", "hardlink", "symlink", "copy"] as const;
const here = import.meta.url;

function ino(path: string): number | null {
  return Deno.statSync(path).ino;
}

Deno.test("linkFile() keeps content, mode and mtime, in each mode", async () => {
  await using dir = TempDir.make();
  dir.write({ cached: "content" });
  const old = new Date("2001-02-03T04:05:06.789Z");
  if (Deno.build.os !== "windows") Deno.chmodSync(dir.at("cached"), 0o751);
  Deno.utimeSync(dir.at("cached"), old, old);
  const modes = Deno.build.os === "windows"
    ? ["hardlink", "copy"] as const
    : MODES;
  for (const mode of modes) {
    const result = await linkFile(dir.at("cached"), dir.at(mode), { mode });
    assertEquals(result.outcome, "linked");
    assertEquals(Deno.readTextFileSync(dir.at(mode)), "content");
    const info = Deno.statSync(dir.at(mode));
    assertEquals(info.mtime, old, mode);
    if (info.mode !== null && Deno.build.os !== "windows") {
      assertEquals(info.mode & 0o7777, 0o751, mode);
    }
    const shares = ino(dir.at(mode)) === ino(dir.at("cached"));
    assertEquals(
      shares,
      result.mode === "hardlink" || result.mode === "symlink",
    );
  }
  assertEquals(namesIn(dir.path), ["cached", ...modes].sort());
});

Deno.test("linkFile() makes an empty file, and does not link it", async () => {
  await using dir = TempDir.make();
  dir.write({ cached: "" });
  const { mode } = await linkFile(dir.at("cached"), dir.at("here"), {
    mode: "hardlink",
  });
  assertEquals(mode, "created");
  assertEquals(Deno.statSync(dir.at("cached")).nlink ?? 1, 1);
});

Deno.test("linkFile() leaves what stands there alone, unless it is to be replaced", async () => {
  await using dir = TempDir.make();
  dir.write({ cached: "new", there: "old", folder: {} });
  const link = (ifExists: "error" | "skip" | "replace", to = "there") =>
    linkFile(dir.at("cached"), dir.at(to), { ifExists, mode: "copy" });
  const error: LinkError = await assertRejects(() => link("error"), LinkError);
  assertEquals(error.kind, "already-exists");
  assertEquals((await link("skip")).mode, "skipped");
  assertEquals(Deno.readTextFileSync(dir.at("there")), "old");
  assertEquals((await link("replace")).outcome, "replaced");
  assertEquals(Deno.readTextFileSync(dir.at("there")), "new");
  await assertRejects(() => link("replace", "folder"), LinkError);
  assertEquals(namesIn(dir.path), ["cached", "folder", "there"]);
});

test(
  "linkFile() never writes through a hard link or a symbolic link that stands there",
  [
    "posix",
  ],
  async () => {
    for (const mode of MODES) {
      await using dir = TempDir.make();
      dir.write({ cached: "new", outside: "precious", pointed: "precious" });
      Deno.linkSync(dir.at("outside"), dir.at("there"));
      Deno.symlinkSync(dir.at("pointed"), dir.at("link"));
      for (const to of ["there", "link"]) {
        await linkFile(dir.at("cached"), dir.at(to), {
          mode,
          ifExists: "replace",
        });
        assertEquals(Deno.readTextFileSync(dir.at(to)), "new");
      }
      assertEquals(Deno.readTextFileSync(dir.at("outside")), "precious");
      assertEquals(Deno.readTextFileSync(dir.at("pointed")), "precious");
    }
  },
);

Deno.test("linkFile() leaves no temporary when the destination is a link to the source already", async () => {
  await using dir = TempDir.make();
  dir.write({ cached: "x" });
  for (let i = 0; i < 2; i++) {
    await linkFile(dir.at("cached"), dir.at("here"), {
      mode: "hardlink",
      ifExists: "replace",
    });
  }
  assertEquals(namesIn(dir.path), ["cached", "here"]);
});

Deno.test("linkFile() says what is wrong with the source or the destination", async () => {
  await using dir = TempDir.make();
  dir.write({ cached: "x", folder: {} });
  const kinds: [string, string, string][] = [
    ["missing", "to", "not-found"],
    ["folder", "to", "is-directory"],
    ["cached", "no/parent", "not-found"],
    ["cached", "cached/below", "not-directory"],
  ];
  for (const [from, to, kind] of kinds) {
    const error: LinkError = await assertRejects(
      () => linkFile(dir.at(from), dir.at(to)),
      LinkError,
    );
    if (Deno.build.os !== "windows") {
      assertEquals(error.kind, kind, error.message);
    }
    assertEquals([error.src, error.dst], [dir.at(from), dir.at(to)]);
  }
  assertEquals(namesIn(dir.path), ["cached", "folder"]);
});

/** Elsewhere nobody can tell whether a copy has all the attributes: it is no reset. */
const RESETS = Deno.build.os === "windows" ||
  Deno.build.os === "linux" && mayUse("ffi");

Deno.test("linkFile() resets a cached file that has --max-links links, or copies it", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { file: "content" }, out: {} });
  const cached = dir.at("cache", "file");
  const old = new Date("2001-02-03T04:05:06.789Z");
  Deno.utimeSync(cached, old, old);
  let resets = 0;
  for (let i = 0; i < 10; i++) {
    const { mode, reset } = await linkFile(cached, dir.at("out", `${i}`), {
      mode: "hardlink",
      maxLinks: 4,
    });
    assertEquals(mode, RESETS || i < 3 ? "hardlink" : "copy");
    if (reset) resets++;
  }
  // After 3 links, then after 2 more each time: 3, 3, 3, 1.
  assertEquals(resets, RESETS ? 3 : 0);
  assertEquals(Deno.statSync(cached).mtime, old);
  assertEquals(namesIn(dir.at("cache")), ["file"]);
  for (const name of namesIn(dir.at("out"))) {
    assertEquals(Deno.readTextFileSync(dir.at("out", name)), "content");
  }
});

const LONG = "n".repeat(190);

mountTest(
  here,
  "linkFile() resets a file at its real link limit, copies it, or fails",
  TOOLS["btrfs-no-extref"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "btrfs-no-extref");
    dir.write(
      { cache: { file: "content" }, reset: {}, copy: {}, error: {} },
      mount,
    );
    const cached = `${mount}/cache/file`;
    const link = (i: number, onLinkLimit: "reset" | "copy" | "error") =>
      linkFile(cached, `${mount}/${onLinkLimit}/${LONG}${i}`, {
        mode: "hardlink",
        onLinkLimit,
      });
    const results = [];
    for (let i = 0; i < 300; i++) results.push(await link(i, "reset"));
    assert(results.every(({ mode }) => mode === "hardlink"));
    assert(results.some(({ reset }) => reset));
    for (const name of namesIn(`${mount}/reset`)) {
      assertEquals(Deno.readTextFileSync(`${mount}/reset/${name}`), "content");
    }
    const copies = [];
    for (let i = 0; i < 300; i++) copies.push(await link(i, "copy"));
    assert(copies.some(({ mode }) => mode === "copy"));
    let failed: unknown;
    for (let i = 0; i < 300 && !failed; i++) {
      failed = await link(i, "error").then(() => undefined, (error) => error);
    }
    assertEquals((failed as LinkError).kind, "link-limit");
    assertEquals(namesIn(`${mount}/cache`), ["file"]);
  },
);

mountTest(
  here,
  "rebuild-cache link gives every destination its content when 4 processes pass the link limit 1,000 times",
  TOOLS["btrfs-no-extref"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "btrfs-no-extref");
    dir.write({ cache: { file: "content" }, out: {} }, mount);
    await Promise.all(Array.from({ length: 4 }, async (_, process) => {
      const script = new URL("../support/link_many.ts", here).href;
      await must(
        Deno.execPath(),
        "run",
        "-A",
        "--no-check",
        "--no-lock",
        ...importMap(),
        script,
        `${mount}/cache/file`,
        `${mount}/out/${LONG}-${process}-`,
        "250",
      );
    }));
    const names = namesIn(`${mount}/out`);
    assertEquals(names.length, 1000);
    let shared = 0;
    for (const name of names) {
      assertEquals(Deno.readTextFileSync(`${mount}/out/${name}`), "content");
      if (Deno.statSync(`${mount}/out/${name}`).nlink! > 1) shared++;
    }
    assert(shared > 500, `only ${shared} share an inode`);
    assertEquals(namesIn(`${mount}/cache`), ["file"]);
  },
);

function importMap(): string[] {
  const map = Deno.env.get("REBUILD_CACHE_IMPORT_MAP");
  return map ? [`--import-map=${map}`] : [];
}

mountTest(
  here,
  "linkFile() copies a file at its limit when the cache is read-only",
  TOOLS["btrfs-no-extref"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "btrfs-no-extref");
    dir.write({ cache: { file: "content" }, out: {} }, mount);
    await must("chattr", "+i", `${mount}/cache`);
    const modes = new Set<string>();
    for (let i = 0; i < 200; i++) {
      const { mode } = await linkFile(
        `${mount}/cache/file`,
        `${mount}/out/${LONG}${i}`,
        { mode: "hardlink" },
      );
      modes.add(mode);
    }
    await must("chattr", "-i", `${mount}/cache`);
    assertEquals([...modes], ["hardlink", "copy"]);
  },
);

Deno.test("rebuild-cache link takes a bare name, and says how the file got there", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "x" });
  const { code, stdout } = await runCli([
    "link",
    "file",
    "here",
    "--mode",
    "copy",
  ], { cwd: dir.path });
  assertEquals([code, stdout], [0, `Linked here (copy)\n`]);
  const again = await runCli(["link", "file", "here"], { cwd: dir.path });
  assertEquals(again.code, 1);
  const wrong = await runCli(["link", "file", "here", "--mode", "hardlnik"], {
    cwd: dir.path,
  });
  assertEquals(wrong.code, 2);
  assert(wrong.stderr.includes("did you mean hardlink?"), wrong.stderr);
  assertEquals((await runCli(["lnk", "a", "b"])).code, 2);
});
