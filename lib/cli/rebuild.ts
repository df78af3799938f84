import type { RebuildOptions, RebuildReport } from "../rebuild/options.ts";
import { rebuildCache } from "../rebuild/rebuild.ts";
import { CacheError } from "../error.ts";
import { clearTarget } from "../fs/guard_rails.ts";
import { CommandFailed, runBuild } from "./child.ts";
import { type Parsed, UsageError } from "./flags.ts";
import { lockOptions } from "./locks.ts";
import { complain } from "./output.ts";
import { milliseconds } from "./render.ts";
import { untilSignal } from "./signals.ts";
import { fail, report } from "./ending.ts";

/** `rebuild-cache --dir DIR -- COMMAND…` */
export async function rebuildCommand(parsed: Parsed): Promise<number> {
  const command = parsed.run!;
  const [dir, ...more] = parsed.values("dir");
  const [word] = parsed.positionals;
  if (word !== undefined) {
    throw new UsageError(
      `"${word}" is not understood. The command stands behind --`,
    );
  }
  if (!dir) throw new UsageError("No --dir was given");
  if (more.length > 0) throw new UsageError("A rebuild takes one --dir");
  for (const flag of ["recreate", "background"]) {
    if (parsed.count(flag) > 0) {
      throw new UsageError(`--${flag} is for a clear, without a command`);
    }
  }
  using signals = untilSignal();
  const inPlace = parsed.count("in-place") > 0;
  const follow = parsed.count("follow") > 0;
  const [share] = parsed.values("share");
  if (share !== undefined && parsed.count("no-lock") > 0) {
    throw new UsageError("--share needs the locks that --no-lock leaves out");
  }
  const options: RebuildOptions = {
    ...lockOptions(parsed, signals.signal),
    inPlace,
    follow,
    allowEmpty: parsed.count("allow-empty") > 0,
    ...share !== undefined && { share },
  };
  if (parsed.count("dry-run")) {
    const { path } = clearTarget(dir, follow);
    const text = `Would rebuild ${path} with: ${command.join(" ")}`;
    report(parsed, { path, outcome: "would-rebuild" }, () => text);
    return 0;
  }
  try {
    const result = await rebuildCache(dir, (at) =>
      runBuild(command, at, {
        signal: signals.signal,
        toStderr: parsed.count("json") > 0,
      }), options);
    report(parsed, result, () => describe(result));
    for (const { path, message } of result.failures) {
      complain(`Cannot remove "${path}": ${message}`);
    }
    return 0;
  } catch (error) {
    const kept = inPlace
      ? `: "${dir}" is unfinished, until it is rebuilt or cleared`
      : `: "${dir}" is as it was`;
    if (error instanceof CommandFailed) {
      fail(parsed, "command", `${error.message}${kept}`);
      return signals.exitCode ?? error.code;
    }
    if (error instanceof CacheError && error.kind === "empty") {
      fail(
        parsed,
        "empty",
        `COMMAND left {} (REBUILD_CACHE_OUT) empty${kept}. Say --allow-empty if that is right`,
      );
      return 1;
    }
    if (signals.exitCode === undefined || error !== signals.signal.reason) {
      throw error;
    }
    fail(parsed, "interrupted", `Interrupted${inPlace ? "" : kept}`);
    return signals.exitCode;
  }
}

function describe({ path, outcome, durationMs }: RebuildReport): string {
  return outcome === "shared"
    ? `Rebuilt ${path}: somebody else did, meanwhile (waited ${
      milliseconds(durationMs)
    })`
    : `Rebuilt ${path} (${milliseconds(durationMs)})`;
}
