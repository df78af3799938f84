import { CacheError } from "../error.ts";
import { isAbsolute, join } from "../os/path.ts";

/** What a cache is called in the user's directory for caches. */
const NAME = "rebuild-cache";

/**
 * Where a cache is that has no other place: in the user's directory for caches.
 *
 * Needs `--allow-env` for `XDG_CACHE_HOME` and `HOME`; on macOS for `HOME`, on Windows for
 * `LOCALAPPDATA`.
 *
 * @throws {CacheError} Of kind `not-capable` if the variables may not be read; of kind
 * `not-found` if they don't say.
 */
export function defaultRoot(os: typeof Deno.build.os = Deno.build.os): string {
  if (os === "windows") return join(given("LOCALAPPDATA"), NAME);
  if (os === "darwin") return join(given("HOME"), `Library/Caches/${NAME}`);
  const base = variable("XDG_CACHE_HOME");
  // A relative one is to be ignored, says the specification.
  if (base !== undefined && isAbsolute(base)) return join(base, NAME);
  return join(given("HOME"), `.cache/${NAME}`);
}

function given(name: string): string {
  const value = variable(name);
  if (value !== undefined && isAbsolute(value)) return value;
  throw new CacheError(
    `Cannot tell where the cache is: ${name} is ${
      value === undefined ? "not set" : "not an absolute path"
    }. Name a directory`,
    "",
    "not-found",
  );
}

function variable(name: string): string | undefined {
  // Asked first, because Deno would stop and ask the user on a terminal.
  const asked = { name: "env", variable: name } as const;
  if (Deno.permissions.querySync(asked).state === "granted") {
    return Deno.env.get(name) || undefined;
  }
  throw new CacheError(
    `Cannot tell where the cache is: grant --allow-env=${name}, or name a directory`,
    "",
    "not-capable",
  );
}
