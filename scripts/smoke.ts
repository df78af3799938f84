// smoke.ts BINARY [ARG…]: runs the binary on this machine's own file system before it is
// published: clear, also in the background; link, with the worker; put, get, ensure; a
// mount that must stay; on Windows the link limit of NTFS, on macOS clones.
const [binary, ...before] = Deno.args as [string, ...string[]];
const program = Deno.realPathSync(binary);
const dir = Deno.makeTempDirSync({ prefix: "rebuild-cache-smoke-" });
const FILES = 4000; // enough for the worker to be needed

function start(...[command, ...args]: string[]) {
  const { code, stdout, stderr } = new Deno.Command(command!, {
    args,
    cwd: dir,
    env: { NO_COLOR: "1" },
  }).outputSync();
  const [out, err] = [stdout, stderr].map((it) => new TextDecoder().decode(it));
  return { code, out: out!, err: err! };
}

function run(expected: number, ...args: string[]): string {
  const { code, out, err } = start(program, ...before, ...args);
  if (code !== expected) {
    throw new Error(`${args.join(" ")}: exit code ${code}: ${out}${err}`);
  }
  return out;
}

function same(is: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(is), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${a}, not ${b}`);
}

function names(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

/** Links the tree until a second thread took part in it. */
function linkAll() {
  for (let tries = 0;; tries++) {
    const { result } = JSON.parse(run(0, "link", "src", "out", "--json"));
    same(result.cloned + result.hardlinked + result.copied, FILES);
    same(Deno.readTextFileSync(`${dir}/out/7/1007`), "content 1007");
    if (result.threads === 2 || navigator.hardwareConcurrency === 1) {
      return result;
    }
    // A machine with much else to do may start it too late.
    if (tries === 9) throw new Error(`${result.threads} threads, not 2`);
    run(0, "--dir", "out");
  }
}

/** Whoever waits for what is printed waits for no deletion. */
function clearInBackground(): void {
  run(0, "--dir", "out", "--background");
  for (let tries = 0; names(dir).some((it) => it.includes("stale")); tries++) {
    if (tries === 600) throw new Error(`Still there: ${names(dir)}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
}

/** A file system mounted inside is seen, and kept. Linux lets only root mount. */
function leaveMount(): void {
  Deno.mkdirSync(`${dir}/mounted/deep/inner`, { recursive: true });
  Deno.writeTextFileSync(`${dir}/mounted/file`, "x");
  const clear = [program, ...before, "--dir", "mounted"];
  if (Deno.build.os === "linux" && Deno.uid() === 0) {
    const script = `mount -t tmpfs none mounted/deep/inner || exit 9
      echo kept >mounted/deep/inner/file; "$@"; code=$?
      cat mounted/deep/inner/file; exit "$code"`;
    // In a namespace of its own, so that nothing stays mounted.
    const shell = ["unshare", "--mount", "sh", "-c", script, "sh"];
    const { code, out, err } = start(...shell, ...clear);
    same([code, out, names(`${dir}/mounted`)], [2, "kept\n", ["deep", "file"]]);
    if (!err.includes("inner")) throw new Error(err);
  } else if (Deno.build.os === "darwin") {
    const image = `${dir}/image.dmg`;
    const make = ["create", "-size", "10m", "-fs", "HFS+", "-volname", "smoke"];
    same(start("hdiutil", ...make, image).code, 0);
    const inner = `${dir}/mounted/deep/inner`;
    const attach = ["attach", "-nobrowse", "-mountpoint", inner, image];
    same(start("hdiutil", ...attach).code, 0);
    try {
      Deno.writeTextFileSync(`${inner}/file`, "kept");
      run(2, "--dir", "mounted");
      same(Deno.readTextFileSync(`${inner}/file`), "kept");
    } finally {
      start("hdiutil", "detach", "-force", inner);
      Deno.removeSync(image);
    }
  }
  run(0, "--dir", "mounted");
}

try {
  for (let i = 0; i < FILES; i++) {
    const folder = `${dir}/src/${i % 100}`;
    Deno.mkdirSync(folder, { recursive: true });
    Deno.writeTextFileSync(`${folder}/${i}`, `content ${i}`);
  }
  run(0, "--version");
  const linked = linkAll();
  if (Deno.build.os === "darwin") same(linked.cloned, FILES);
  run(0, "put", "--dir", "cache", "key", "src");
  run(0, "get", "--dir", "cache", "key", "again");
  same(Deno.readTextFileSync(`${dir}/again/7/1007`), "content 1007");
  run(4, "get", "--dir", "cache", "nothing", "never");
  const nothing = ["--", Deno.execPath(), "eval", "0"];
  // Refused or not: what it leaves must be whole.
  run(1, "ensure", "--dir", "cache", "empty", "it", ...nothing);
  run(0, "verify", "--dir", "cache");
  run(0, "use", "--dir", "cache", ...nothing);
  run(0, "prune", "--dir", "cache", "--max-size", "0");
  clearInBackground();
  leaveMount();
  run(0, "--dir", "cache");
  const left = names(dir).filter((it) => !/\.lock$|^it$/.test(it));
  same(left, ["again", "src"]);
  if (Deno.build.os === "windows") {
    Deno.writeTextFileSync(`${dir}/popular`, "content");
    for (let i = 0; i < 1100; i++) {
      run(0, "link", "--mode", "hardlink", "popular", `popular-${i}`);
    }
  }
} finally {
  Deno.removeSync(dir, { recursive: true });
}
// deno-lint-ignore no-console -- said to people
console.log("It works");
