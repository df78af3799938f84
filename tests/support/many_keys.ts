// many_keys.ts ROOT WHAT: does something with a cache, and prints as JSON how many keys
// it was about, and how much memory it took at most.
import { openCache } from "../../lib/cache/cache.ts";

const [root, what] = Deno.args as [string, string];
const cache = openCache(root);
const DO: Record<string, () => Promise<number> | number> = {
  entries: () => cache.entries().length,
  "would-prune": async () =>
    (await cache.prune({ maxEntries: 1, dryRun: true })).evicted.length,
  stats: async () => (await cache.stats()).entries,
  prune: async () => (await cache.prune({ maxEntries: 1 })).evicted.length,
};
const count = await DO[what]!();
const status = Deno.readTextFileSync("/proc/self/status");
const megabytes = Number(/^VmHWM:\s+(\d+)/m.exec(status)![1]) / 1024;
const answer = JSON.stringify({ count, megabytes });
Deno.stdout.writeSync(new TextEncoder().encode(answer));
