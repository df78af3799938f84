// rebuild-cache as the user 65534, who has no rights but his own. Loaded as root,
// who can read the modules; then all threads become that user (nptl(7)).
import { main } from "../../cli.ts";

// main() loads each command when it is needed, which would be too late here.
const lib = new URL("../../lib/", import.meta.url);
for (const path of modulesIn(lib)) await import(path.href);

function* modulesIn(directory: URL): Generator<URL> {
  for (const { name, isDirectory } of Deno.readDirSync(directory)) {
    // A remote needs npm's packages, and nobody here has one.
    if (name === "remote") continue;
    if (isDirectory) yield* modulesIn(new URL(`${name}/`, directory));
    // A worker's module is for its own thread.
    else if (name.endsWith(".ts") && name !== "worker.ts") {
      yield new URL(name, directory);
    }
  }
}

const NOBODY = 65534;
const libc = Deno.dlopen("libc.so.6", {
  setgroups: { parameters: ["usize", "pointer"], result: "i32" },
  setgid: { parameters: ["u32"], result: "i32" },
  setuid: { parameters: ["u32"], result: "i32" },
  prctl: { parameters: ["i32", "u64", "u64", "u64", "u64"], result: "i32" },
});
const PR_SET_DUMPABLE = 4;
const failed = libc.symbols.setgroups(0n, null) ||
  libc.symbols.setgid(NOBODY) || libc.symbols.setuid(NOBODY) ||
  // Its own /proc/self belongs to it, as to a process that was never root.
  libc.symbols.prctl(PR_SET_DUMPABLE, 1n, 0n, 0n, 0n);
if (failed || Deno.uid() !== NOBODY) throw new Error("Still root");
Deno.exit(await main(Deno.args));
