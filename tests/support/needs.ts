import { findServer, SERVERS } from "./server_tools.ts";

/** `posix`, `linux`, `darwin`, `windows`, `junctions`, `root`, `not-root`, `ffi`, `net`, `all permissions`, `deno run` (not `REBUILD_CACHE_BIN`), `npm registry`, `deno's runtime for binaries`, `pip and its index`, `go and its proxy`, `FUSE and its headers`, a server that `scripts/ci/servers.sh` gets, or a program on the PATH (on Windows with its extension). */
export type Need = string;

const separator = Deno.build.os === "windows" ? ";" : ":";
const path = Deno.env.get("PATH")?.split(separator) ?? [];

/** Why a need is not met, or `undefined`. */
function missing(need: Need): string | undefined {
  switch (need) {
    case "posix":
      return Deno.build.os === "windows" ? "needs POSIX" : undefined;
    case "linux":
      return Deno.build.os !== "linux" ? "needs Linux" : undefined;
    case "darwin":
      return Deno.build.os !== "darwin" ? "needs macOS" : undefined;
    case "windows":
      return Deno.build.os !== "windows" ? "needs Windows" : undefined;
    case "junctions":
      return makesJunctions() ? undefined : "needs junctions, as of NTFS";
    case "root":
      return Deno.uid() !== 0 ? "needs root" : undefined;
    case "not-root":
      return Deno.uid() === 0 ? "needs an ordinary user" : undefined;
    case "ffi": // libc can be called, so directories are held open
    case "net": // for a socket
      return mayUse(need) ? undefined : `needs --allow-${need}`;
    case "all permissions": // for /dev and /proc
      return mayUse("all") ? undefined : "needs all permissions";
    case "deno run": // its flags, before the module
      return Deno.env.get("REBUILD_CACHE_BIN")
        ? "needs deno run, not REBUILD_CACHE_BIN"
        : undefined;
    case "deno's runtime for binaries":
      return Deno.env.get("DENORT_BIN") || denoAnswers()
        ? undefined
        : "needs the runtime that deno compile downloads from dl.deno.land";
    case "pip and its index":
      return pipAnswers() ? undefined : "needs pip and its index";
    case "go and its proxy":
      return goAnswers() ? undefined : "needs go and its proxy";
    case "FUSE and its headers":
      return fuseIsThere()
        ? undefined
        : "needs /dev/fuse, cc, pkg-config and the headers of libfuse 3";
    case "npm registry":
      return npmAnswers() ? undefined : "needs npm and its registry";
  }
  if (SERVERS.includes(need)) {
    return findServer(need) === undefined
      ? `needs ${need} (scripts/ci/servers.sh ${need})`
      : undefined;
  }
  for (const folder of path) {
    try {
      if (Deno.statSync(`${folder}/${need}`).isFile) return undefined;
    } catch { /* not there */ }
  }
  return `needs ${need}`;
}

/** Whether the tests themselves may: what they start is asked for with all. */
export function mayUse(what: "ffi" | "net" | "all"): boolean {
  const names = what === "all"
    ? (["read", "write", "env", "run", "sys", "ffi", "net"] as const)
    : [what];
  return names.every((name) =>
    Deno.permissions.querySync({ name }).state === "granted"
  );
}

function makesJunctions(): boolean {
  if (Deno.build.os !== "windows") return false;
  const dir = Deno.makeTempDirSync();
  try {
    Deno.symlinkSync(dir, `${dir}\\junction`, { type: "junction" });
    return true;
  } catch {
    return false;
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function denoAnswers(): boolean {
  const script = "await fetch('https://dl.deno.land/release-latest.txt')";
  const args = ["eval", script];
  return new Deno.Command(Deno.execPath(), {
    args,
    stdout: "null",
    stderr: "null",
  }).outputSync().success;
}

function pipAnswers(): boolean {
  const args = [
    "-m",
    "pip",
    "download",
    "--no-deps",
    "-qd",
    Deno.makeTempDirSync(),
  ];
  try {
    return new Deno.Command("python3", {
      args: [...args, "six==1.16.0"],
      stdout: "null",
      stderr: "null",
    }).outputSync().success;
  } catch {
    return false;
  } finally {
    Deno.removeSync(args.at(-1)!, { recursive: true });
  }
}

function goAnswers(): boolean {
  if (missing("go")) return false;
  const dir = Deno.makeTempDirSync();
  try {
    return new Deno.Command("go", {
      args: ["list", "-m", "rsc.io/quote@v1.5.2"],
      cwd: dir,
      env: { GOMODCACHE: dir, GOFLAGS: "-modcacherw" },
      stdout: "null",
      stderr: "null",
    }).outputSync().success;
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function fuseIsThere(): boolean {
  if (missing("cc") || missing("pkg-config")) return false;
  try {
    if (!Deno.statSync("/dev/fuse").isCharDevice) return false;
  } catch {
    return false;
  }
  // 3.4: the oldest whose calls tests/support/faulty_fs.c uses.
  const args = ["--atleast-version=3.4", "fuse3"];
  return new Deno.Command("pkg-config", {
    args,
    stdout: "null",
    stderr: "null",
  }).outputSync().success;
}

function npmAnswers(): boolean {
  if (missing("npm")) return false;
  const args = ["view", "left-pad@1.3.0", "version", "--fetch-retries=0"];
  return new Deno.Command("npm", { args, stdout: "null", stderr: "null" })
    .outputSync().success;
}

/**
 * A test that is skipped where what it needs is missing; its name then says
 * what.
 */
export function test(
  name: string,
  needs: readonly Need[],
  fn: (t: Deno.TestContext) => Promise<void> | void,
): void {
  const reason = needs.map(missing).find((it) => it !== undefined);
  Deno.test({
    name: reason ? `${name} [skipped: ${reason}]` : name,
    ignore: reason !== undefined,
    fn,
  });
}
