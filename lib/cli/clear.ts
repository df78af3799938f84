import { clearCache } from "../clear/clear.ts";
import { OWNER } from "../clear/delete_asides.ts";
import type { ClearOptions, ClearReport } from "../clear/options.ts";
import { listAsides } from "../clear/sweep.ts";
import { CacheError } from "../error.ts";
import { contentOf } from "./dry_run.ts";
import { clearTarget } from "../fs/guard_rails.ts";
import { log } from "../log.ts";
import { dirname } from "../os/path.ts";
import { withoutHandles } from "../os/windows.ts";
import { DELETE_ASIDES } from "./commands.ts";
import { EXIT } from "./ending.ts";
import { UsageError } from "./flag.ts";
import type { Call, CLEAR } from "./flags.ts";
import { lockOptions } from "./locks.ts";
import { complain, printJson, printLine } from "./output.ts";
import { withMeter } from "./progress.ts";
import { milliseconds, plural, size } from "./render.ts";
import { untilSignal } from "./signals.ts";

/** `rebuild-cache clear DIR…` */
export async function run(call: Call<typeof CLEAR>): Promise<number> {
  const { follow, background, recreate, dryRun, json, quiet, verbose } =
    call.values;
  const dirs = [...new Set(call.values.dir)];
  if (background && !startsItself(Deno)) {
    throw new UsageError(
      "--background is not possible in this program: it would have to start itself. Leave it out, or run rebuild-cache",
    );
  }
  // All of them are checked before any of them is cleared.
  const owners = new Map<string, number>();
  for (const dir of dirs) {
    const { path, status } = clearTarget(dir, follow);
    if (status) owners.set(path, status.uid);
  }

  using signals = untilSignal();
  const options: ClearOptions = {
    ...lockOptions(call, signals.signal),
    follow,
    recreate,
    dryRun,
    defer: background,
    // Each file must be looked at.
    weigh: verbose > 0 || dryRun,
  };
  const results: ClearReport[] = [];
  const errors: CacheError[] = [];
  const skipped: CacheError[] = [];
  for (const dir of dirs) {
    try {
      results.push(
        await withMeter(call, dir, (update) =>
          clearCache(dir, {
            ...options,
            onProgress: (progress) =>
              update({ verb: "Deleting", what: "entries", ...progress }),
          })),
      );
    } catch (error) {
      const known = error === signals.signal.reason
        ? new CacheError(
          `Interrupted while clearing "${dir}"`,
          dir,
          "interrupted",
        )
        : error;
      if (!(known instanceof CacheError)) throw error;
      const skips = known.kind === "locked" && call.values.ifBusy === "skip";
      (skips ? skipped : errors).push(known);
      if (known.kind === "interrupted") break;
    }
  }
  if (background && !dryRun) {
    for (const report of results) {
      const owner = owners.get(report.path);
      deleteInBackground(asidesOf(report, owner), owner);
    }
  }
  if (json) {
    const plain = (list: CacheError[]) =>
      list.map(({ path, kind, message }) => ({ path, kind, message }));
    printJson("clear", {
      results,
      skipped: plain(skipped),
      errors: plain(errors),
    });
  } else if (!quiet) {
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
  return failed ? EXIT.failed : errors.length > 0 ? EXIT.busy : EXIT.done;
}

/**
 * Whether a process that deletes on can be started: with Deno, or with a compiled
 * binary if that is ours. Another program that compiled `main()` into itself would not
 * know what it is started for.
 */
export function startsItself(
  { build, mainModule }: {
    build: { standalone: boolean };
    mainModule: string;
  },
): boolean {
  return !build.standalone ||
    mainModule === import.meta.resolve("../../cli.ts"); // which is not imported
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
    const command = new Deno.Command(Deno.execPath(), {
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
    });
    withoutHandles(() => command.spawn()).unref();
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
      return `Cleared ${path} except for ${
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
