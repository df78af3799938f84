import { clearCache } from "../clear/clear.ts";
import type { ClearOptions, ClearReport } from "../clear/options.ts";
import { listAsides } from "../clear/sweep.ts";
import { CacheError } from "../error.ts";
import { clearTarget } from "../fs/guard_rails.ts";
import { log } from "../log.ts";
import { dirname } from "../os/path.ts";
import { DELETE_ASIDES } from "./commands.ts";
import { type Parsed, UsageError } from "./flags.ts";
import { BUSY, lockOptions, skipsBusy } from "./locks.ts";
import { complain, print, printJson } from "./output.ts";
import { withMeter } from "./progress.ts";
import { milliseconds, plural } from "./render.ts";
import { untilSignal } from "./signals.ts";

/** `rebuild-cache --dir DIR …` */
export async function clearCommand(parsed: Parsed): Promise<number> {
  const dirs = [...new Set(parsed.values("dir"))];
  if (parsed.positionals.length > 0) {
    const [word] = parsed.positionals;
    throw new UsageError(
      `"${word}" is not understood. To clear a directory, say --dir ${word}`,
    );
  }
  if (dirs.length === 0) throw new UsageError("No --dir was given");
  const follow = parsed.count("follow") > 0;
  const background = parsed.count("background") > 0;
  // All of them are checked before any of them is cleared.
  for (const dir of dirs) clearTarget(dir, follow);

  using signals = untilSignal();
  const options: ClearOptions = {
    ...lockOptions(parsed, signals.signal),
    follow,
    recreate: parsed.count("recreate") > 0,
    dryRun: parsed.count("dry-run") > 0,
    defer: background,
  };
  for (const flag of ["in-place", "always"]) {
    if (parsed.count(flag) > 0) {
      throw new UsageError(`--${flag} is for a rebuild: add -- COMMAND`);
    }
  }
  const results: ClearReport[] = [];
  const errors: CacheError[] = [];
  const skipped: CacheError[] = [];
  for (const dir of dirs) {
    try {
      results.push(
        await withMeter(parsed, `Deleting ${dir}`, (update) =>
          clearCache(dir, {
            ...options,
            onProgress: (progress) =>
              update({ what: "directories", ...progress }),
          })),
      );
    } catch (error) {
      if (!(error instanceof CacheError)) throw error;
      const skips = error.kind === "locked" && skipsBusy(parsed);
      (skips ? skipped : errors).push(error);
      if (error.kind === "interrupted") break;
    }
  }
  if (background && !options.dryRun) {
    deleteInBackground(results.flatMap(asidesOf));
  }
  if (parsed.count("json")) {
    const plain = (list: CacheError[]) =>
      list.map(({ path, kind, message }) => ({ path, kind, message }));
    printJson("clear", {
      results,
      skipped: plain(skipped),
      errors: plain(errors),
    });
  } else if (!parsed.count("quiet")) {
    for (const report of results) print(await describe(report, background));
    for (const { message } of skipped) print(`Skipped: ${message}`);
  }
  for (const report of results) {
    for (const { path, message } of report.left) {
      complain(`Cannot remove "${path}": ${message}`);
    }
  }
  for (const error of errors) complain(error.message);
  if (signals.exitCode !== undefined) return signals.exitCode;
  const failed = errors.some(({ kind }) => kind !== "locked") ||
    results.some(({ outcome }) => outcome === "incomplete");
  return failed ? 1 : errors.length > 0 ? BUSY : 0;
}

/** Its own asides, and those of earlier runs, where they can be listed. */
function asidesOf({ path, asides }: ClearReport): readonly string[] {
  try {
    return listAsides(path);
  } catch {
    return asides;
  }
}

/** A detached process deletes on. If it dies, the next clear sweeps. */
function deleteInBackground(asides: readonly string[]): void {
  if (asides.length === 0) return;
  const module = new URL("../clear/delete_asides.ts", import.meta.url).href;
  const args = Deno.build.standalone
    ? [DELETE_ASIDES]
    : ["run", "--quiet", "--no-config", "--no-lock", "-A", module];
  try {
    const child = new Deno.Command(Deno.execPath(), {
      args: [...args, ...asides],
      cwd: dirname(Deno.execPath()),
      detached: true,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    child.unref();
  } catch (error) {
    log.warn(() =>
      `No process to delete in the background, so the next clear does it: ${error}`
    );
  }
}

async function describe(
  report: ClearReport,
  background: boolean,
): Promise<string> {
  const { path, outcome, strategy, stands, left, swept, durationMs } = report;
  const also = swept.length === 0
    ? ""
    : `, and ${plural(swept.length, "aside")} of earlier runs`;
  switch (outcome) {
    case "absent":
      return `Nothing to clear: ${path} does not exist${also}`;
    case "would-clear":
      return `Would clear ${path} (${await contentOf(path)})${also}`;
    case "incomplete":
      return `Cleared ${path} but for ${
        plural(left.length, "entry", "entries")
      }${also}`;
  }
  const how = strategy === "in-place" && stands
    ? `Emptied ${path} in place`
    : `Cleared ${path}`;
  const when = background
    ? `gone in ${milliseconds(report.goneMs)}, deleting in the background`
    : `gone in ${milliseconds(report.goneMs)}, deleted in ${
      milliseconds(durationMs)
    }`;
  return `${how} (${when})${also}`;
}

async function contentOf(path: string): Promise<string> {
  const { walkSync } = await import("@std/fs/walk"); // 12 ms that only this needs
  let files = 0;
  let directories = -1; // not itself
  for (const entry of walkSync(path, { followSymlinks: false })) {
    if (entry.isDirectory) directories++;
    else files++;
  }
  return `${plural(files, "file")}, ${
    plural(directories, "directory", "directories")
  }`;
}
