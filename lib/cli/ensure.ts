import type { Entry } from "../cache/archive.ts";
import type { Cache } from "../cache/interface.ts";
import type { Ensured } from "../cache/ensure.ts";
import type { EnsureOptions } from "../cache/fallback.ts";
import { Ended, EXIT, report, untilSignalled } from "./ending.ts";
import type { Call, ENSURE } from "./flags.ts";
import { CacheError } from "../error.ts";
import { dirname, toPath } from "../os/path.ts";
import { printable } from "../os/text.ts";
import { refuseToReplace } from "../fs/guard_rails.ts";
import { openParent } from "../fs/open.ts";
import { STANDS_THERE } from "../link/error.ts";
import { keyWithHash } from "./key.ts";
import { isThere, isUnchanged } from "./placing.ts";
import { putProgress, withMeter } from "./progress.ts";
import { openShared } from "./remote.ts";

/** What is damaged is built again, so often. */
const TRIES = 2;

/** `rebuild-cache ensure KEY DST -- COMMAND…` */
export async function run(call: Call<typeof ENSURE>): Promise<number> {
  const { dst, json, ifExists, fallback } = call.values;
  const { allowEmpty, refresh, dryRun } = call.values;
  const line = { allowEmpty, refresh, fallback };
  return await untilSignalled(async (signal) => {
    const { cache, asked } = await openShared(call, signal);
    using _ = asked;
    const { onRemote } = asked;
    // Before a command that may take long.
    if (ifExists === "error") checkFree(dst);
    if (ifExists === "replace") checkReplaceable(dst);
    const key = await keyWithHash(
      call,
      call.values.key,
      signal,
      cache.path,
      dst,
    );
    if (!refresh && await isUnchanged(call, cache, key, dst)) return EXIT.done;
    // What is there already needs none of these.
    const [{ runBuild }, { linkAny, unlessDamaged }] = await Promise.all([
      import("./child.ts"),
      import("./link.ts"),
    ]);
    if (dryRun) {
      using entry = refresh ? undefined : await cache.get(key, {
        fallback,
      });
      if (entry?.outcome !== "hit") return wouldBuild(call, key, entry);
      const linking = linkAny(entry.path, dst, call, { signal, entry });
      const { result, text } = await linking;
      report(call, { outcome: "hit", key, link: result }, () => text);
      return EXIT.done;
    }
    const build = async (at: string) => {
      try {
        await runBuild(call.run, at, { signal, toStderr: json });
      } catch (error) {
        throw error instanceof Ended ? nothingPut(error, key) : error;
      }
    };
    for (let tries = 0;; tries++) {
      using entry = await withMeter(
        call,
        dst,
        (update) =>
          ensure(cache, key, build, {
            ...line,
            onRemote,
            onProgress: (progress) => update(putProgress(progress)),
          }),
      );
      const { outcome, matchedKey } = entry;
      const linking = linkAny(entry.path, dst, call, { signal, entry });
      const linked = await (tries < TRIES ? unlessDamaged(linking) : linking);
      if (!linked) continue; // its key is a miss now
      const { result, text } = linked;
      asked.check();
      const from = matchedKey === undefined
        ? ""
        : ` from ${printable(matchedKey)}`;
      report(
        call,
        {
          // COMMAND found an older tree in its directory.
          outcome: matchedKey === undefined ? outcome : "partial",
          key,
          ...matchedKey !== undefined && { matchedKey },
          link: result,
          ...asked.json,
        },
        () =>
          outcome === "built"
            ? `Built ${printable(key)}${from}. ${text}`
            : text,
      );
      return EXIT.done;
    }
  });
}

/** What a dry run says where a COMMAND would be run. */
function wouldBuild(
  call: Call<typeof ENSURE>,
  key: string,
  from: Entry | undefined,
): number {
  const { matchedKey } = from ?? {};
  const begun = matchedKey === undefined
    ? ""
    : `, beginning with ${printable(matchedKey)},`;
  const result = {
    outcome: "would-build",
    key,
    ...matchedKey !== undefined && { matchedKey },
  };
  report(
    call,
    result,
    () =>
      `Would run ${call.run.join(" ")}${begun} and put what it makes under ${
        printable(key)
      }, then at ${call.values.dst}`,
  );
  return EXIT.done;
}

function nothingPut({ code, kind, message }: Ended, key: string): Ended {
  const why = `${message}: nothing was put under "${printable(key)}"`;
  return new Ended(code, kind, why);
}

/** With words of the command line for what is empty. */
async function ensure(
  cache: Cache,
  key: string,
  build: (at: string) => Promise<void>,
  options: EnsureOptions,
): Promise<Ensured> {
  try {
    return await cache.ensure(key, build, options);
  } catch (error) {
    if (!(error instanceof CacheError) || error.kind !== "empty") throw error;
    throw new CacheError(
      `COMMAND wrote nothing: nothing was put under "${
        printable(key)
      }". It must write to the directory that {} stands for in its arguments (or REBUILD_CACHE_OUT); else say --allow-empty`,
      error.path,
      "empty",
    );
  }
}

/** What stands in the way, or is missing, is said before the command is run. */
function checkFree(dst: string): void {
  const path = toPath(dst);
  const parent = dirname(path);
  const [why, kind] = isThere(path)
    ? [STANDS_THERE, "already-exists"] as const
    : isThere(parent)
    ? []
    : [`"${parent}" does not exist`, "not-found"] as const;
  if (!why) return;
  throw new CacheError(`Cannot put anything at "${dst}": ${why}`, path, kind);
}

/** What must never be replaced is refused before the command is run. */
function checkReplaceable(dst: string): void {
  const path = toPath(dst);
  if (!isThere(path)) return;
  using place = openParent(path);
  refuseToReplace(place.parent, place.name, path);
}
