import {
  assertEquals,
  assertMatch,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { pathToFileURL } from "node:url";
import { CacheError } from "../../lib/error.ts";
import { clearTarget, refuseToReplace } from "../../lib/fs/guard_rails.ts";
import { hasSettings, systemPlaces } from "../../lib/fs/homes.ts";
import { openParent } from "../../lib/fs/open.ts";
import { denoRun, must, ROOT, run } from "../support/command.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

function refusal(path: string, follow = false): string {
  const error = assertThrows(() => clearTarget(path, follow), CacheError);
  assertEquals(error.kind, "refused", error.message);
  return error.message;
}

Deno.test("clearTarget() refuses each dangerous path, with a line that says why", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "x" });
  const home = Deno.env.get(
    Deno.build.os === "windows" ? "USERPROFILE" : "HOME",
  )!;
  assertStringIncludes(refusal(""), "the path is empty");
  assertStringIncludes(refusal("/"), "the root of a file system");
  assertStringIncludes(refusal("."), "the working directory");
  assertMatch(refusal(".."), /the working directory|the root of/);
  assertStringIncludes(refusal(`${ROOT}/lib/..`), "the working directory");
  assertStringIncludes(refusal(home), "the home directory");
  assertStringIncludes(refusal(dir.at("file")), "it is not a directory");
  if (Deno.build.os === "linux") {
    assertStringIncludes(refusal("/usr"), "what the system needs");
  }
  assertStringIncludes(refusal("nul\0byte"), "NUL");
  // A tilde in quotes: "Nothing to clear" would be a lie.
  assertStringIncludes(refusal("~/.cache/pip"), "tilde");
});

test(
  "clearTarget() refuses a symbolic link and names its target, unless it is followed",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ real: { file: "x" } });
    Deno.symlinkSync("real", dir.at("link"));
    Deno.symlinkSync("nowhere", dir.at("dangling"));
    Deno.symlinkSync("/", dir.at("to-root"));
    assertStringIncludes(
      refusal(dir.at("link")),
      `symbolic link to "${dir.at("real")}"`,
    );
    assertStringIncludes(refusal(`${dir.at("link")}/`), "symbolic link");
    assertEquals(clearTarget(dir.at("link"), true).path, dir.at("real"));
    assertStringIncludes(
      refusal(dir.at("dangling"), true),
      "to where nothing is",
    );
    assertStringIncludes(refusal(dir.at("to-root"), true), "root of a file");
  },
);

test(
  "clearTarget() refuses what a second name of the home directory leads to",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    Deno.symlinkSync(Deno.env.get("HOME")!, dir.at("home"));
    assertStringIncludes(refusal(dir.at("home"), true), "the home directory");
  },
);

Deno.test("clearTarget() gives the absolute path, of a string and of a URL", async () => {
  await using dir = TempDir.make();
  dir.write({ "my cache%20": {} });
  const path = Deno.realPathSync(dir.at("my cache%20"));
  assertEquals(clearTarget(`${dir.at("my cache%20")}/`).path, path);
  assertEquals(clearTarget(pathToFileURL(path)).path, path);
});

Deno.test("clearTarget() takes a missing directory, below what exists or not", async () => {
  await using dir = TempDir.make();
  assertEquals(clearTarget(dir.at("missing")).status, undefined);
  assertEquals(clearTarget(dir.at("missing", "below")).status, undefined);
});

test(
  "clearTarget() goes where the OS goes for a .. behind a symbolic link",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ x: { file: "x" }, far: { away: {}, file: "y" } });
    Deno.symlinkSync(dir.at("far", "away"), dir.at("x", "l"));
    assertEquals(clearTarget(`${dir.at("x", "l")}/..`).path, dir.at("far"));
    const error = assertThrows(
      () => clearTarget(`${dir.at("missing")}/../x`),
      CacheError,
    );
    assertEquals(error.kind, "not-found");
  },
);

/** What `clearTarget()` says in a process of its own. */
async function inProcess(
  path: string,
  permissions: string[],
  env: Record<string, string> = {},
  before = "",
): Promise<string> {
  const script = `import { clearTarget } from "${new URL(
    "../../lib/fs/guard_rails.ts",
    import.meta.url,
  )}";
    ${before}
    try {
      clearTarget(${JSON.stringify(path)});
      console.log("fine");
    } catch (error) {
      console.log(error.message);
    }`;
  await using dir = TempDir.make();
  dir.write({ "script.ts": script });
  const args = denoRun("mod.ts").filter((it) => it !== "-A").slice(0, -1);
  const { stdout, stderr } = await run([
    Deno.execPath(),
    ...args,
    "--no-prompt",
    ...permissions,
    dir.at("script.ts"),
  ], { env });
  return stdout + stderr;
}

const DENO_DIR = Deno.env.get("DENO_DIR") ??
  `${Deno.env.get("HOME")}/.cache/deno`;

test(
  "clearTarget() refuses what looks like a home when HOME may not be known",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ home: { ".ssh": {}, documents: {} }, cache: { a: {} } });
    const env = { HOME: dir.at("home"), DENO_DIR };
    for (const ffi of [[], ["--allow-ffi"]]) {
      const clear = (name: string) =>
        inProcess(dir.at(name), ["-R", "-W", ...ffi], env);
      assertStringIncludes(await clear("home"), "home directory");
      assertEquals(await clear("cache"), "fine\n");
    }
    const known = await inProcess(dir.at("home"), ["-RWE"], env);
    assertStringIncludes(known, "the home directory");
  },
);

mountTest(
  import.meta.url,
  "clearTarget() refuses the home of another user of this machine, and what it lies in",
  [],
  async (dir) => {
    dir.write({ homes: { anna: { file: "x" }, cache: {} } });
    dir.write({
      passwd: `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1::${dir.at("homes", "cache")}:/bin/sh
anna:x:1001:1001::${dir.at("homes", "anna")}:/bin/sh
`,
    });
    await must("mount", "--bind", dir.at("passwd"), "/etc/passwd");
    assertStringIncludes(
      refusal(dir.at("homes", "anna")),
      "the home directory",
    );
    assertStringIncludes(refusal(dir.at("homes")), "the home directory");
    assertEquals(
      clearTarget(dir.at("homes", "cache")).path,
      dir.at("homes", "cache"),
    );
    // By what it is, not by its name.
    Deno.mkdirSync(dir.at("second"));
    await must("mount", "--bind", dir.at("homes", "anna"), dir.at("second"));
    assertStringIncludes(refusal(dir.at("second")), "the home directory");
  },
);

Deno.test("systemPlaces() and hasSettings() know the system's own directories", () => {
  const set: Record<string, string> = {
    SystemRoot: "D:\\Windows",
    LOCALAPPDATA: "E:\\Local",
    HOME: "/Users/anna",
  };
  const windows = systemPlaces("windows", (name) => set[name]);
  assertEquals(windows.slice(0, 2), [
    "D:\\Windows\\System32",
    "C:\\Program Files",
  ]);
  assertEquals(windows.includes("E:\\Local"), true);
  const macos = systemPlaces("darwin", (name) => set[name]);
  assertEquals(macos.includes("/Library"), true);
  assertEquals(macos.at(-1), "/Users/anna/Library/Application Support");
  for (
    const path of [
      "C:\\Users\\anna\\AppData",
      "c:\\users\\anna\\appdata\\local",
      "\\\\server\\c$\\Users\\anna\\AppData\\Roaming",
      "/Users/anna/Library",
      "/Users/anna/Library/Preferences",
    ]
  ) assertEquals(hasSettings(path), true, path);
  for (
    const path of [
      "C:\\Users\\anna\\AppData\\Local\\pip\\Cache",
      "C:\\Users\\anna\\AppData\\Local\\Temp",
      "/Users/anna/Library/Caches",
      "/Users/anna/Library/Caches/pip",
      "/srv/Library",
    ]
  ) assertEquals(hasSettings(path), false, path);
});

test("clearTarget() refuses Windows' own directories, and users' settings", [
  "windows",
], () => {
  for (
    const name of ["SystemRoot", "ProgramFiles", "LOCALAPPDATA", "APPDATA"]
  ) {
    const path = Deno.env.get(name)!;
    assertMatch(refusal(path), /what the system needs|settings/, path);
    assertMatch(refusal(path.toUpperCase()), /the system needs|settings/, path);
  }
  const settings = `${Deno.env.get("USERPROFILE")}\\AppData`;
  assertMatch(refusal(settings), /what the system needs|settings/);
});

test("clearTarget() refuses macOS' own directories, and users' settings", [
  "darwin",
], () => {
  for (const path of ["/Library", "/System", "/Applications", "/usr", "/etc"]) {
    assertMatch(refusal(path, true), /what the system needs|mount point/, path);
  }
  const library = `${Deno.env.get("HOME")}/Library`;
  assertMatch(refusal(library), /what the system needs|settings/);
});

function replace(path: string): void {
  using place = openParent(path);
  refuseToReplace(place.parent, place.name, path);
}

Deno.test("refuseToReplace() refuses home and working directory, and nothing else", async () => {
  await using dir = TempDir.make();
  dir.write({ dst: { a: "" }, file: "" });
  for (const name of ["dst", "file", "missing"]) replace(dir.at(name));
  const home = Deno.env.get(
    Deno.build.os === "windows" ? "USERPROFILE" : "HOME",
  )!;
  for (const path of [home, Deno.cwd()]) {
    const error = assertThrows(() => replace(path), CacheError);
    assertEquals(error.kind, "refused");
    assertStringIncludes(error.message, `Cannot replace "${path}"`);
  }
});

mountTest(
  import.meta.url,
  "refuseToReplace() refuses a mount point, and what has one inside",
  [],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    dir.write({ dst: { deep: { mounted: {} } } });
    await must("mount", "--bind", mount, dir.at("dst/deep/mounted"));
    for (const path of [mount, dir.at("dst")]) {
      const error = assertThrows(() => replace(path), CacheError);
      assertEquals(error.kind, "refused");
      assertStringIncludes(error.message, "mount point");
    }
  },
);

mountTest(
  import.meta.url,
  "clearTarget() sees a mount inside without all permissions, by libc",
  [],
  async (dir) => {
    const mount = await makeFileSystem(dir, "tmpfs");
    dir.write({ cache: { inner: {} } });
    await must("mount", "--bind", mount, dir.at("cache/inner"));
    const said = await inProcess(dir.at("cache"), ["-RWE", "--allow-ffi"]);
    assertStringIncludes(said, `"${dir.at("cache/inner")}" inside it`);
  },
);

test(
  "clearTarget() takes an absolute path when the working directory was deleted",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ gone: {}, cache: {} });
    const gone = JSON.stringify(dir.at("gone"));
    const before = `Deno.chdir(${gone}); Deno.removeSync(${gone});`;
    const said = await inProcess(dir.at("cache"), ["-RWE"], {}, before);
    assertEquals(said, "fine\n");
  },
);
