// rebuild_as.ts UID GID DIR [MODE [in-place]]: rebuilds DIR as another user. What is
// built has the mode, if one is given. Loaded as root, who can read the modules; then all threads
// become that user (nptl(7)).
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";

const [uid, gid, dir, mode, how] = Deno.args as [
  string,
  string,
  string,
  string?,
  string?,
];
const libc = Deno.dlopen("libc.so.6", {
  setgroups: { parameters: ["usize", "pointer"], result: "i32" },
  setgid: { parameters: ["u32"], result: "i32" },
  setuid: { parameters: ["u32"], result: "i32" },
});
const failed = libc.symbols.setgroups(0n, null) ||
  libc.symbols.setgid(Number(gid)) || libc.symbols.setuid(Number(uid));
if (failed || Deno.uid() !== Number(uid)) throw new Error("Still root");
Deno.umask(0o022);
await rebuildCache(dir, (at) => {
  Deno.writeTextFileSync(`${at}/new`, "new");
  if (mode) Deno.chmodSync(at, parseInt(mode, 8));
}, { inPlace: how === "in-place" });
