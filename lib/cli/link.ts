import { linkFile } from "../link/file.ts";
import type {
  LinkFileOptions,
  LinkReport,
  LinkTreeOptions,
} from "../link/options.ts";
import { linkTree } from "../link/tree.ts";
import { type Parsed, UsageError, wholeNumber } from "./flags.ts";
import { print, printJson } from "./output.ts";
import { milliseconds, plural, size, thousands } from "./render.ts";
import { untilSignal } from "./signals.ts";

/** `rebuild-cache link SRC DST` */
export async function linkCommand(parsed: Parsed): Promise<number> {
  const [src, dst, ...more] = parsed.positionals;
  if (!src || !dst || more.length > 0) {
    throw new UsageError("link takes two paths: link SRC DST");
  }
  using signals = untilSignal();
  const one = <T>(flag: string) => parsed.values(flag)[0] as T | undefined;
  const options: LinkTreeOptions = given({
    mode: one<NonNullable<LinkTreeOptions["mode"]>>("mode"),
    ifExists: one<NonNullable<LinkTreeOptions["ifExists"]>>("if-exists"),
    onLinkLimit: one<NonNullable<LinkTreeOptions["onLinkLimit"]>>(
      "on-link-limit",
    ),
    maxLinks: wholeNumber(parsed, "max-links"),
    jobs: wholeNumber(parsed, "jobs"),
    strict: parsed.count("strict") > 0,
    include: parsed.values("include"),
    exclude: parsed.values("exclude"),
    mutable: parsed.values("mutable"),
    signal: signals.signal,
  });
  const json = parsed.count("json") > 0;
  const quiet = parsed.count("quiet") > 0;
  try {
    if (isFile(src)) {
      if (options.ifExists === "merge") {
        throw new UsageError("--if-exists merge is for trees: say replace");
      }
      const result = await linkFile(src, dst, options as LinkFileOptions);
      if (json) printJson("link", { result: { path: dst, ...result } });
      else if (!quiet) print(`Linked ${dst} (${result.mode})`);
    } else {
      const result = await linkTree(src, dst, options);
      if (json) printJson("link", { result });
      else if (!quiet) print(describe(result));
    }
  } catch (error) {
    if (signals.exitCode !== undefined && signals.signal.reason === error) {
      return signals.exitCode;
    }
    throw error;
  }
  return 0;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false; // linkTree says what is wrong
  }
}

/** Without what was not given. */
function given<T extends object>(
  options: T,
): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as { [K in keyof T]: Exclude<T[K], undefined> };
}

function describe(report: LinkReport): string {
  const { path, outcome, bytes, durationMs, fallbacks } = report;
  if (outcome === "skipped") return `Skipped ${path}: it is there`;
  const files = (["cloned", "hardlinked", "symlinked", "copied"] as const)
    .filter((mode) => report[mode] > 0)
    .map((mode) => `${thousands(report[mode])} ${mode}`);
  if (report.created > 0) files.push(`${thousands(report.created)} empty`);
  const [fallback] = fallbacks;
  const why = fallback ? `; no ${fallback.from}: ${fallback.reason}` : "";
  const verb = outcome[0]!.toUpperCase() + outcome.slice(1);
  return `${verb} ${path}: ${files.join(", ") || "no files"} in ${
    plural(report.directories + 1, "directory", "directories")
  }, ${size(bytes)}, ${milliseconds(durationMs)}${why}`;
}
