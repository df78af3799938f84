import { type Cache, openCache } from "../cache/cache.ts";
import { type Parsed, UsageError } from "./flags.ts";
import { lockOptions } from "./locks.ts";

/** Names the cache where `--dir` does not. */
const ROOT = "REBUILD_CACHE_ROOT";

/** The cache that `--dir` and `--bucket` name; by default the user's. */
export function openStore(parsed: Parsed, signal: AbortSignal): Cache {
  const [root = Deno.env.get(ROOT) || undefined] = parsed.values("dir");
  const [bucket] = parsed.values("bucket");
  return openCache(root, {
    ...lockOptions(parsed, signal),
    durable: parsed.count("durable") > 0,
    ...bucket !== undefined && { bucket },
  });
}

/** The key and the path of a command that takes both. */
export function keyAndPath(
  { command, positionals: [key, path, ...more] }: Parsed,
  usage: string,
): [key: string, path: string] {
  if (key === undefined || !path || more.length > 0) {
    throw new UsageError(`${command} takes a key and a path: ${usage}`);
  }
  return [key, path];
}
