import { clearCache } from "../clear/clear.ts";
import { OWNER } from "../clear/delete_asides.ts";
import type { ClearOptions, ClearReport } from "../clear/options.ts";
import { listAsides } from "../clear/sweep.ts";
import { CacheError } from "../error.ts";
import { count } from "../fs/count.ts";
import { clearTarget } from "../fs/guard_rails.ts";
import { log } from "../log.ts";
import { dirname } from "../os/path.ts";
import { DELETE_ASIDES } from "./commands.ts";
import { type Parsed, UsageError } from "./flags.ts";
import { BUSY, lockOptions, skipsBusy } from "./locks.ts";
import { complain, printJson, printLine } from "./output.ts";
import { withMeter } from "./progress.ts";
import { milliseconds, plural, size } from "./render.ts";
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
  const owners = new Map<string, number>();
  for (const dir of dirs) {
    const { path, status } = clearTarget(dir, follow);
    if (status) owners.set(path, status.uid);
  }

  using signals = untilSignal();
  const options: ClearOptions = {
    ...lockOptions(parsed, signals.signal),
    follow,
    recreate: parsed.count("recreate") > 0,
    dryRun: parsed.count("dry-run") > 0,
    defer: background,
    // Each file must be looked at.
    weigh: parsed.count("verbose") > 0 || parsed.count("dry-run") > 0,
  };
  for (const flag of ["in-place", "share", "allow-empty"]) {
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
      if (signals.exitCode !== undefined && error === signals.signal.reason) {
        const message = `Interrupted while clearing "${dir}"`;
        errors.push(new CacheError(message, dir, "interrupted"));
        break;
      }
      if (!(error instanceof CacheError)) throw error;
      const skips = error.kind === "locked" && skipsBusy(parsed);
      (skips ? skipped : errors).push(error);
    }
  }
  if (background && !options.dryRun) {
    for (const report of results) {
      const owner = owners.get(report.path);
      deleteInBackground(asidesOf(report, owner), owner);
    }
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
    for (const report of results) printLine(describe(report, background));
    for (const { message } of skipped) printLine(`Skipped: ${message}`);
  }
  for (const report of results) {
    for (const { path, message } of report.failures) {
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
function asidesOf(
  { path, asides }: ClearReport,
  owner: number | undefined,
): readonly string[] {
  try {
    return listAsides(path, owner);
  } catch {
    return asides;
  }
}

/** A detached process deletes on. If it dies, the next clear sweeps. */
function deleteInBackground(
  asides: readonly string[],
  owner: number | undefined,
): void {
  if (asides.length === 0) return;
  const module = new URL("../clear/delete_asides.ts", import.meta.url).href;
  const args = Deno.build.standalone
    ? [DELETE_ASIDES]
    : ["run", "--quiet", "--no-config", "--no-lock", "-A", module];
  try {
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...args,
        ...owner === undefined ? [] : [`${OWNER}${owner}`],
        ...asides,
      ],
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

function describe(report: ClearReport, background: boolean): string {
  const { path, outcome, strategy, stands, failures, freedBytes } = report;
  const { swept, durationMs } = report;
  const also = swept.length === 0
    ? ""
    : `, and ${plural(swept.length, "aside")} of earlier runs`;
  switch (outcome) {
    case "absent":
      return `Nothing to clear: ${path} does not exist${also}`;
    case "would-clear":
      return `Would clear ${path} (${contentOf(path)}${
        freedBytes === undefined ? "" : `; frees ${size(freedBytes)}`
      })${also}`;
    case "incomplete":
      return `Cleared ${path} but for ${
        plural(failures.length, "entry", "entries")
      }${also}`;
  }
  const how = strategy === "in-place" && stands
    ? `Emptied ${path} in place`
    : `Cleared ${path}`;
  const when = background
    ? `gone in ${milliseconds(report.goneMs)}, deleting in the background`
    : `gone in ${milliseconds(report.goneMs)}, ${
      freedBytes === undefined ? "deleted" : `freed ${size(freedBytes)}`
    } in ${milliseconds(durationMs)}`;
  return `${how} (${when})${also}`;
}

/** What a dry run finds, as far as it can be read. */
function contentOf(path: string): string {
  const { files, directories, failure } = count(path);
  const counted = `${plural(files, "file")}, ${
    plural(directories, "directory", "directories")
  }`;
  return failure
    ? `at least ${counted}; "${failure.path}" can't be read: ${failure.message}`
    : counted;
}
