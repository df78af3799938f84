import type { Entry } from "../cache/archive.ts";
import { kindOfError } from "../error.ts";
import { linkFile } from "../link/file.ts";
import type {
  LinkProgress,
  LinkReport,
  LinkTreeOptions,
} from "../link/options.ts";
import { linkTree } from "../link/tree.ts";
import { basename } from "../os/path.ts";
import { type Parsed, UsageError, wholeNumber } from "./flags.ts";
import { milliseconds, plural, size, thousands } from "./render.ts";
import { withMeter } from "./progress.ts";
import { untilSignal } from "./signals.ts";
import { lockOptions } from "./locks.ts";
import { report, untilInterrupted } from "./ending.ts";

/** `rebuild-cache link SRC DST` */
export async function linkCommand(parsed: Parsed): Promise<number> {
  const [src, dst, ...more] = parsed.positionals;
  if (!src || !dst || more.length > 0) {
    throw new UsageError("link takes two paths: link SRC DST");
  }
  using signals = untilSignal();
  return await untilInterrupted(signals, parsed, async () => {
    const linked = await linkAny(src, dst, parsed, signals.signal);
    report(parsed, linked.result, () => linked.text);
    return 0;
  });
}

/**
 * Links a file or a tree as the flags of {@linkcode LINKS} say.
 *
 * @param entry The cache's entry that `src` is the path of, if it is one.
 */
export async function linkAny(
  src: string,
  dst: string,
  parsed: Parsed,
  signal: AbortSignal,
  entry?: Entry,
): Promise<{ result: object; text: string }> {
  const one = <T>(flag: string) => parsed.values(flag)[0] as T | undefined;
  const { ifExists, ...both } = given({
    mode: one<NonNullable<LinkTreeOptions["mode"]>>("mode"),
    ifExists: one<NonNullable<LinkTreeOptions["ifExists"]>>("if-exists"),
    onLinkLimit: one<NonNullable<LinkTreeOptions["onLinkLimit"]>>(
      "on-link-limit",
    ),
    maxLinks: wholeNumber(parsed, "max-links"),
    strict: parsed.count("strict") > 0,
  });
  const mutable = parsed.values("mutable");
  const { wait } = lockOptions(parsed, signal);
  const waits = { signal, ...wait !== undefined && { wait } };
  if (ifExists === "merge" && entry?.isFile) {
    throw new UsageError("--if-exists merge is for trees: say replace");
  }
  if (!entry && isFile(src)) {
    if (ifExists === "merge") {
      throw new UsageError("--if-exists merge is for trees: say replace");
    }
    const how = {
      ...both,
      ...ifExists && { ifExists },
      mutable: await matchesAny(mutable, basename(dst)),
      signal,
    };
    const result = await linkFile(src, dst, how);
    const text = `Linked ${dst} (${result.mode})`;
    return { result: { path: dst, ...result }, text };
  }
  const jobs = wholeNumber(parsed, "jobs");
  const options: LinkTreeOptions = {
    ...both,
    ...ifExists && { ifExists },
    ...jobs && { jobs },
    include: parsed.values("include"),
    exclude: parsed.values("exclude"),
    mutable,
    ...waits,
  };
  const result = await withMeter(parsed, "Linking", (update) => {
    const onProgress = ({ files, bytes }: LinkProgress) =>
      update({
        what: "files",
        done: files,
        bytes,
        ...entry && { total: entry.files },
      });
    return entry
      ? entry.link(dst, { ...options, onProgress })
      : linkTree(src, dst, { ...options, onProgress });
  });
  return { result, text: describe(result, entry?.isFile === true) };
}

/** What was linked; nothing if it is damaged, which was said, and is as good as a miss. */
export async function unlessDamaged<T>(
  linking: Promise<T>,
): Promise<T | undefined> {
  try {
    return await linking;
  } catch (error) {
    if (kindOfError(error) !== "damaged") throw error;
    return undefined;
  }
}

async function matchesAny(
  globs: readonly string[],
  name: string,
): Promise<boolean> {
  if (globs.length === 0) return false;
  const { globToRegExp } = await import("@std/path/posix/glob-to-regexp");
  return globs.some((glob) =>
    globToRegExp(glob, { globstar: true }).test(name)
  );
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

function describe(report: LinkReport, isFile: boolean): string {
  const { path, outcome, bytes, durationMs, fallbacks } = report;
  if (outcome === "skipped") return `Skipped ${path}: it is there`;
  const files = (["cloned", "hardlinked", "symlinked", "copied"] as const)
    .filter((mode) => report[mode] > 0)
    .map((mode) => `${thousands(report[mode])} ${mode}`);
  if (report.created > 0) files.push(`${thousands(report.created)} empty`);
  const [fallback] = fallbacks;
  const why = fallback ? `; no ${fallback.from}: ${fallback.reason}` : "";
  const verb = outcome[0]!.toUpperCase() + outcome.slice(1);
  const where = isFile
    ? ""
    : ` in ${plural(report.directories + 1, "directory", "directories")}`;
  return `${verb} ${path}: ${files.join(", ") || "no files"}${where}, ${
    size(bytes)
  }, ${milliseconds(durationMs)}${why}`;
}
