// race_target.ts UID GID FFI: does with the library what it is told, as that user, with
// or without FFI (`ffi`, `no-ffi`). Each line of standard input is a JSON list of
// calls, each a list of a name of DO and its arguments; once it is done, one line is
// printed: {"done": …} or {"error": {"name": …, "kind": …, "message": …}}. Whoever asks
// waits for it before asking again.
import {
  clearCache,
  linkTree,
  openCache,
  setLogSink,
  sweepAsides,
} from "../../mod.ts";

// deno-lint-ignore no-explicit-any -- what JSON holds
type Call = (...args: any[]) => Promise<unknown>;

const CACHE = { wait: 5000 };

const DO: Record<string, Call> = {
  clear: (dir, options) =>
    clearCache(dir, { busyTimeout: 100, wait: 5000, ...options }),
  sweep: (dir) => sweepAsides(dir, { busyTimeout: 100 }),
  link: (src, dst, options) => linkTree(src, dst, options),
  put: (root, key, src) => openCache(root, CACHE).put(key, src),
  prune: (root, options) => openCache(root, CACHE).prune(options),
  async get(root, key, dst, options) {
    using entry = await openCache(root, CACHE).get(key);
    return entry ? await entry.link(dst, options) : "miss";
  },
};

/** Loads whatever is loaded at its first use, which another user could not read. */
async function warmUp(): Promise<void> {
  const dir = Deno.makeTempDirSync();
  const [src, dst, root] = [`${dir}/src/a`, `${dir}/dst`, `${dir}/root`];
  Deno.mkdirSync(src, { recursive: true });
  Deno.writeTextFileSync(`${src}/file`, "content");
  const options = { mode: "hardlink", maxLinks: 1 };
  const calls: [string, ...unknown[]][] = [
    ["link", `${dir}/src`, dst, {}],
    ["link", `${dir}/src`, dst, { ...options, ifExists: "merge" }],
    ["link", `${dir}/src`, dst, { ...options, ifExists: "replace" }],
    ["put", root, "key", src],
    ["get", root, "key", `${dir}/got`, {}],
    ["prune", root, { maxEntries: 0 }],
    ["clear", dst, { recreate: true }],
    ["sweep", dst],
  ];
  // Without FFI some may be refused.
  for (const [name, ...args] of calls) await DO[name]!(...args).catch(() => {});
  Deno.removeSync(dir, { recursive: true });
}

const [uid, gid, ffi] = Deno.args as [string, string, string];
setLogSink({ debug() {}, warn() {} });
if (uid === "0") await warmUp();
else {
  const libc = Deno.dlopen("libc.so.6", {
    setgroups: { parameters: ["usize", "buffer"], result: "i32" },
    setgid: { parameters: ["u32"], result: "i32" },
    setuid: { parameters: ["u32"], result: "i32" },
    prctl: { parameters: ["i32", "usize"], result: "i32" },
  });
  // Before the library looks whether it may.
  if (ffi === "no-ffi") Deno.permissions.revokeSync({ name: "ffi" });
  await warmUp();
  const { setgroups, setgid, setuid, prctl } = libc.symbols;
  Deno.umask(0o002);
  const failed = setgroups(1n, new Uint32Array([Number(gid)])) ||
    setgid(Number(gid)) || setuid(Number(uid)) ||
    prctl(4, 1n); // PR_SET_DUMPABLE: as a process that always was this user's
  if (failed || Deno.uid() !== Number(uid)) throw new Error("Still root");
}

const say = (answer: object) =>
  Deno.stdout.writeSync(
    new TextEncoder().encode(`${JSON.stringify(answer)}\n`),
  );
say({ ready: true, ffi: Deno.permissions.querySync({ name: "ffi" }).state });
const decoder = new TextDecoder();
let asked = "";
for await (const chunk of Deno.stdin.readable) {
  asked += decoder.decode(chunk, { stream: true });
  if (!asked.endsWith("\n")) continue;
  const calls = JSON.parse(asked);
  asked = "";
  try {
    const done: unknown[] = [];
    for (const [name, ...args] of calls) done.push(await DO[name]!(...args));
    say({ done: done.length });
  } catch (error) {
    const { name, kind, message } = error as Error & { kind?: string };
    say({ error: { name, kind, message } });
  }
}
