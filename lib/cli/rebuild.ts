import { CacheError } from "../error.ts";
import type { RebuildOptions, RebuildReport } from "../rebuild/options.ts";
import { rebuildCache } from "../rebuild/rebuild.ts";
import { clearTarget } from "../fs/guard_rails.ts";
import { runBuild } from "./child.ts";
import { Ended, EXIT, report, untilSignalled } from "./ending.ts";
import { UsageError } from "./flag.ts";
import type { Call, REBUILD } from "./flags.ts";
import { lockOptions } from "./locks.ts";
import { complain } from "./output.ts";
import { milliseconds } from "./render.ts";

/** `rebuild-cache rebuild DIR -- COMMAND…` */
export async function run(call: Call<typeof REBUILD>): Promise<number> {
  const { run: command, values } = call;
  const { dir, inPlace, follow, share, allowEmpty, dryRun, json } = values;
  if (share !== undefined && values.noLock) {
    throw new UsageError("--share needs the locks that --no-lock leaves out");
  }
  const kept = inPlace
    ? `: "${dir}" is unfinished, until it is rebuilt or cleared`
    : `: "${dir}" is as it was`;
  return await untilSignalled(async (signal) => {
    const options: RebuildOptions = {
      ...lockOptions(call, signal),
      inPlace,
      follow,
      allowEmpty,
      ...share !== undefined && { share },
    };
    if (dryRun) {
      const { path } = clearTarget(dir, follow);
      const text = `Would rebuild ${path} with: ${command.join(" ")}`;
      report(call, { path, outcome: "would-rebuild" }, () => text);
      return EXIT.done;
    }
    const build = (at: string) =>
      runBuild(command, at, { signal, toStderr: json });
    try {
      const result = await rebuildCache(dir, build, options);
      report(call, result, () => describe(result));
      for (const { path, message } of result.failures) {
        complain(`Cannot remove "${path}": ${message}`);
      }
      return EXIT.done;
    } catch (error) {
      if (!(error instanceof CacheError) || error.kind !== "empty") throw error;
      const why = "COMMAND left {} (REBUILD_CACHE_OUT) empty";
      const help = "Say --allow-empty if that is right";
      throw new Ended(EXIT.failed, "empty", `${why}${kept}. ${help}`);
    }
  }, kept);
}

function describe({ path, outcome, durationMs }: RebuildReport): string {
  return outcome === "shared"
    ? `Rebuilt ${path}: somebody else did, meanwhile (waited ${
      milliseconds(durationMs)
    })`
    : `Rebuilt ${path} (${milliseconds(durationMs)})`;
}
