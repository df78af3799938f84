import type { Cache } from "../cache/interface.ts";
import { unchangedTree } from "../link/report.ts";
import { osFailure } from "../error.ts";
import { errorKind } from "../os/error.ts";
import { toPath } from "../os/path.ts";
import { report } from "./ending.ts";
import type { Call } from "./flags.ts";
import { leftAsIs } from "./render.ts";

/**
 * Looks at a destination before anything is done for it.
 *
 * @returns Whether it is what the key points to, which is reported then.
 * @throws {CacheError} If something else stands there than what the cache put there.
 */
export async function isUnchanged(
  call: Call & { readonly values: { readonly ifExists: string } },
  cache: Cache,
  key: string,
  dst: string,
): Promise<boolean> {
  if (call.values.ifExists !== "update") return false;
  const placement = await cache.placement(key, dst);
  if (placement.state !== "current") return false;
  const link = unchangedTree(toPath(dst));
  report(
    call,
    { outcome: "hit", key, link },
    () => leftAsIs(dst, "unchanged"),
  );
  return true;
}

/** Whether anything stands at a path. */
export function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    const kind = errorKind(error);
    if (kind === "not-found" || kind === "not-directory") return false;
    throw osFailure("look at", path, error);
  }
}
