// cache_when_told.ts: for each JSON request on standard input, does something with a
// cache, and prints one line: {"done": …} or {"error": {"name": …, "kind": …}}. All
// modules are loaded by then, so a tracer sees the calls of the work only.
import { openCache } from "../../lib/cache/cache.ts";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { CacheError } from "../../lib/error.ts";
import { linkTree } from "../../lib/link/tree.ts";
import { setLogSink } from "../../lib/log.ts";

const say = (answer: object) =>
  Deno.stdout.writeSync(
    new TextEncoder().encode(JSON.stringify(answer) + "\n"),
  );

/** What can be asked for. `root` is a cache, or a directory; `dst` does not exist. */
const DO: Record<
  string,
  (root: string, src: string, dst: string) => Promise<unknown>
> = {
  async commit(root, src) {
    await openCache(root, { durable: true, wait: 0 }).put("key", src);
    return "committed";
  },
  async get(root, _, dst) {
    using entry = await openCache(root, { wait: 0 }).get("key");
    if (!entry) return "miss";
    await linkTree(entry.path, dst, { mode: "hardlink" });
    return "got";
  },
  async prune(root) {
    return await openCache(root, { wait: 0 }).prune({ maxEntries: 1 });
  },
  async verify(root) {
    return await openCache(root, { wait: 0 }).verify();
  },
  async rebuild(root, src) {
    await rebuildCache(root, async (at) => {
      await linkTree(src, at, { mode: "copy", ifExists: "merge" });
    }, { wait: 0, allowEmpty: true });
    return "rebuilt";
  },
};

// What is loaded at its first use only.
await import("node:crypto");
const temp = Deno.makeTempDirSync();
const source = Deno.makeTempDirSync();
Deno.writeTextFileSync(`${source}/file`, ""); // nothing is built of nothing
for (const what of ["commit", "prune", "verify", "rebuild"]) {
  await DO[what]!(temp, source, "");
}
Deno.removeSync(source, { recursive: true });
Deno.removeSync(temp, { recursive: true });
Deno.removeSync(`${temp}.lock`);
Deno.removeSync(`${temp}.rebuild.lock`);

const warnings: string[] = [];
setLogSink({ debug() {}, warn: (message) => warnings.push(message) });
say({ ready: true });
const decoder = new TextDecoder();
for await (const chunk of Deno.stdin.readable) {
  warnings.length = 0;
  try {
    const [what, root, src, dst] = JSON.parse(decoder.decode(chunk));
    say({ done: await DO[what]!(root, src, dst), warnings });
  } catch (error) {
    const { name, message } = error as Error;
    const kind = error instanceof CacheError ? error.kind : undefined;
    say({ error: { name, message, kind }, warnings });
  }
}
