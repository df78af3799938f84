import {
  rebuildCache,
  type RebuildOptions,
  type RebuildReport,
} from "../rebuild/rebuild.ts";
import { clearTarget } from "../fs/guard_rails.ts";
import { runBuild } from "./child.ts";
import { EXIT, report, untilSignalled } from "./ending.ts";
import type { Call, REBUILD } from "./flags.ts";
import { lockOptions } from "./locks.ts";
import { milliseconds } from "./render.ts";

/** `rebuild-cache rebuild DIR -- COMMAND…` */
export async function run(call: Call<typeof REBUILD>): Promise<number> {
  const { run: command, values } = call;
  const { dir, inPlace, follow, always, dryRun, json } = values;
  return await untilSignalled(async (signal) => {
    const options: RebuildOptions = {
      ...lockOptions(call, signal),
      inPlace,
      follow,
      always,
      key: JSON.stringify([inPlace, ...command]),
    };
    if (dryRun) {
      const { path } = clearTarget(dir, follow);
      const text = `Would rebuild ${path} with: ${command.join(" ")}`;
      report(call, { path, outcome: "would-rebuild" }, () => text);
      return EXIT.done;
    }
    const result = await rebuildCache(
      dir,
      (at) => runBuild(command, at, { signal, toStderr: json }),
      options,
    );
    report(call, result, () => describe(result));
    return EXIT.done;
  }, inPlace ? "" : `: "${dir}" is as it was`);
}

function describe({ path, outcome, durationMs }: RebuildReport): string {
  return outcome === "shared"
    ? `Rebuilt ${path}: somebody else did, meanwhile (waited ${
      milliseconds(durationMs)
    })`
    : `Rebuilt ${path} (${milliseconds(durationMs)})`;
}
