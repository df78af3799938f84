// smoke.ts BINARY: runs the binary on this machine's own file system before it is
// published: clear, link, put, get; on Windows the link limit of NTFS, on macOS the
// clone of a directory.
const [binary, ...before] = Deno.args as [string, ...string[]];
const program = Deno.realPathSync(binary);
const dir = Deno.makeTempDirSync({ prefix: "rebuild-cache-smoke-" });

function run(expected: number, ...args: string[]): string {
  const { code, stdout, stderr } = new Deno.Command(program, {
    args: [...before, ...args],
    cwd: dir,
    env: { NO_COLOR: "1" },
  }).outputSync();
  const [out, err] = [stdout, stderr].map((it) => new TextDecoder().decode(it));
  if (code !== expected) {
    throw new Error(`${args.join(" ")}: exit code ${code}: ${out}${err}`);
  }
  return out!;
}

function same(is: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(is), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${a}, not ${b}`);
}

try {
  for (let i = 0; i < 2000; i++) { // enough for the worker to be needed
    const folder = `${dir}/src/${i % 100}`;
    Deno.mkdirSync(folder, { recursive: true });
    Deno.writeTextFileSync(`${folder}/${i}`, `content ${i}`);
  }
  run(0, "--version");
  const linked = JSON.parse(run(0, "link", "src", "out", "--json")).result;
  same(linked.cloned + linked.hardlinked + linked.copied, 2000);
  same(Deno.readTextFileSync(`${dir}/out/7/1007`), "content 1007");
  run(0, "put", "--dir", "cache", "key", "src");
  run(0, "get", "--dir", "cache", "key", "again");
  same(Deno.readTextFileSync(`${dir}/again/7/1007`), "content 1007");
  run(4, "get", "--dir", "cache", "nothing", "never");
  run(0, "verify", "--dir", "cache");
  run(0, "use", "--dir", "cache", "--", Deno.execPath(), "eval", "0");
  run(0, "prune", "--dir", "cache", "--max-size", "0");
  run(0, "--dir", "cache", "--dir", "out");
  same([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), [
    "again",
    "cache.lock",
    "out.lock",
    "src",
  ]);
  if (Deno.build.os === "windows") {
    Deno.writeTextFileSync(`${dir}/popular`, "content");
    for (let i = 0; i < 1100; i++) {
      run(0, "link", "--mode", "hardlink", "popular", `popular-${i}`);
    }
  }
  if (Deno.build.os === "darwin") same(linked.cloned, 2000);
} finally {
  Deno.removeSync(dir, { recursive: true });
}
// deno-lint-ignore no-console -- said to people
console.log("It works");
