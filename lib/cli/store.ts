import { type Cache, openCache } from "../cache/cache.ts";
import { type Parsed, UsageError } from "./flags.ts";
import { lockOptions } from "./locks.ts";

/** The cache that `--dir` and `--bucket` name. */
export function openStore(parsed: Parsed, signal: AbortSignal): Cache {
  const [root] = parsed.values("dir");
  if (!root) throw new UsageError("No --dir was given");
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
