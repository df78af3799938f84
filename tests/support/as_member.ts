// as_member.ts UID GID UMASK WHAT ROOT KEY PATH: does something with a cache as another
// user, who has no rights but their own, and prints its result, or its error, as JSON.
// Loaded as root, who can read the modules; then all threads become that user (nptl(7)).
import "node:crypto";
import { openCache } from "../../lib/cache/cache.ts";
import { CacheError } from "../../lib/error.ts";

const [uid, gid, umask] = Deno.args.slice(0, 3).map(Number) as [
  number,
  number,
  number,
];
const [what, root, key, path] = Deno.args.slice(3) as [
  string,
  string,
  string,
  string,
];
const libc = Deno.dlopen("libc.so.6", {
  setgroups: { parameters: ["usize", "pointer"], result: "i32" },
  setgid: { parameters: ["u32"], result: "i32" },
  setuid: { parameters: ["u32"], result: "i32" },
  umask: { parameters: ["u32"], result: "u32" },
});
libc.symbols.umask(umask);
const failed = libc.symbols.setgroups(0n, null) ||
  libc.symbols.setgid(gid) || libc.symbols.setuid(uid);
if (failed || Deno.uid() !== uid) throw new Error("Still root");

const cache = openCache(root, { wait: 0 });
const DO: Record<string, () => unknown> = {
  put: () => cache.put(key, path),
  async get() {
    using entry = await cache.get(key);
    return entry ? await entry.link(path, { mode: "copy" }) : "miss";
  },
  async stage() {
    await using staging = await cache.stage(key);
    await new Deno.Command("cp", { args: ["-r", path, staging.path] }).output();
    Deno.chmodSync(staging.path, 0o555);
    return await staging.commit();
  },
  verify: () => cache.verify(),
  prune: () => cache.prune({ maxSize: 0 }),
  stats: () => cache.stats(),
  entries: () => cache.entries(),
};
let answer: object;
try {
  answer = { done: await DO[what]!() };
} catch (error) {
  const { message } = error as Error;
  const kind = error instanceof CacheError ? error.kind : "not ours";
  answer = { error: { kind, message } };
}
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(answer)));
