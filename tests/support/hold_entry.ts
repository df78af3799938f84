// hold_entry.ts ROOT KEY: holds what the key points to until its standard input ends.
import { openCache } from "../../lib/cache/cache.ts";

const [root, key] = Deno.args as [string, string];
await using entry = await openCache(root).get(key);
Deno.stdout.writeSync(new TextEncoder().encode(entry ? "held\n" : "miss\n"));
await Deno.stdin.read(new Uint8Array(1));
