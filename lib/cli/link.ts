import type { Entry, EntryLinkOptions } from "../cache/archive.ts";
import { linkFile } from "../link/file.ts";
import type {
  LinkFileOptions,
  LinkProgress,
  LinkReport,
  LinkTreeOptions,
} from "../link/options.ts";
import { kindOfError } from "../error.ts";
import { globs, linkTree } from "../link/tree.ts";
import { basename } from "../os/path.ts";
import { EXIT, report, untilSignalled } from "./ending.ts";
import { wouldLink } from "./dry_run.ts";
import { complain } from "./output.ts";
import { UsageError } from "./flag.ts";
import type { Call, LINK } from "./flags.ts";
import { leftAsIs, milliseconds, plural, size, thousands } from "./render.ts";
import { type Progress, withMeter } from "./progress.ts";
import { type LockCall, lockOptions } from "./locks.ts";

/** `rebuild-cache link SRC DST` */
export async function run(call: Call<typeof LINK>): Promise<number> {
  const { src, dst, include, exclude } = call.values;
  return await untilSignalled(async (signal) => {
    const only = { include, exclude };
    const linked = await linkAny(src, dst, call, { signal, ...only });
    report(call, linked.result, () => linked.text);
    return EXIT.done;
  });
}

type IfExists = NonNullable<EntryLinkOptions["ifExists"]>;

/** A call of a command that links. */
type LinkCall = LockCall & {
  readonly values:
    & Omit<
      Call<typeof LINK>["values"],
      "ifExists" | "src" | "dst" | "include" | "exclude"
    >
    & {
      readonly ifExists: IfExists;
    };
};

/** What is linked, besides what the flags say. */
interface Linked extends Pick<LinkTreeOptions, "include" | "exclude"> {
  readonly signal: AbortSignal;
  /** The cache's entry that the source is the path of, if it is one. */
  readonly entry?: Entry;
}

/** Links a file or a tree as the flags of {@linkcode LINKS} say. */
export async function linkAny(
  src: string,
  dst: string,
  call: LinkCall,
  { signal, entry, ...only }: Linked,
): Promise<{ result: object; text: string }> {
  const { mode, ifExists, onLinkLimit, maxLinks, strict } = call.values;
  const { mutable, jobs, dryRun } = call.values;
  const both = {
    mode,
    onLinkLimit,
    strict,
    dryRun,
    ...maxLinks !== undefined && { maxLinks },
  };
  const { wait } = lockOptions(call, signal);
  const noMerge = "--if-exists merge is for trees: say replace";
  if (ifExists === "merge" && entry?.isFile) throw new UsageError(noMerge);
  if (!entry && isFile(src)) {
    if (ifExists === "merge") throw new UsageError(noMerge);
    const name = basename(dst);
    const how = {
      ...both,
      ifExists,
      mutable: (await globs(mutable)).some((glob) => glob.test(name)),
      signal,
    };
    const result = await withMeter(call, dst, (update) =>
      linkFile(src, dst, {
        ...how,
        onProgress: (progress) => update(linkProgress(progress)),
      } as LinkFileOptions));
    if (dryRun) return { result, text: wouldLink(result) };
    const fresh = result.reset ? `; ${RESET}` : "";
    const text = `Linked ${dst} (${result.mode})${fresh}`;
    return { result, text };
  }
  const options: EntryLinkOptions = {
    ...both,
    ...only,
    ifExists,
    jobs,
    mutable,
    signal,
    ...wait !== undefined && { wait },
  };
  const result = await withMeter(call, dst, (update) => {
    const onProgress = (progress: LinkProgress) =>
      update(linkProgress(progress, entry));
    return entry
      ? entry.link(dst, { ...options, onProgress })
      : linkTree(src, dst, { ...options, onProgress } as LinkTreeOptions);
  });
  if (dryRun) return { result, text: wouldLink(result) };
  for (const { path, message } of result.failures) {
    complain(`Cannot remove "${path}": ${message}`);
  }
  return { result, text: describe(result, mode, entry?.isFile === true) };
}

/** How far it is, in words: only what has content of its own is a copy. */
function linkProgress(
  { files, bytes, mode = bytes > 0 ? "copy" : undefined }: LinkProgress,
  entry?: Entry,
): Progress {
  const verb = mode === "copy"
    ? "Copying"
    : mode === "clone"
    ? "Cloning"
    : "Linking";
  const total = { total: entry?.files, totalBytes: entry?.bytes };
  return { verb, what: "files", done: files, bytes, ...total };
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

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false; // linkTree says what is wrong
  }
}

/** What is said of a file whose links were at their limit. */
const RESET = "at its link limit, so the cached file has a fresh inode";

function describe(
  report: LinkReport,
  asked: Mode,
  isFile: boolean,
): string {
  const { path, outcome, linkedBytes, durationMs, reset } = report;
  if (outcome === "unchanged" || outcome === "skipped") {
    return leftAsIs(path, outcome);
  }
  const files = (["cloned", "hardlinked", "symlinked", "copied"] as const)
    .filter((mode) => report[mode] > 0)
    .map((mode) => `${thousands(report[mode])} ${mode}`);
  if (report.created > 0) files.push(`${thousands(report.created)} empty`);
  const verb = outcome[0]!.toUpperCase() + outcome.slice(1);
  const where = isFile
    ? ""
    : ` in ${plural(report.directories + 1, "directory", "directories")}`;
  const all = `${verb} ${path}: ${files.join(", ") || "no files"}${where}, ${
    size(linkedBytes)
  }, ${milliseconds(durationMs)}`;
  const also = [
    ...missed(report, asked),
    ...reset > 0
      ? [
        `at the link limit, ${
          plural(reset, "cached file has", "cached files have")
        } a fresh inode`,
      ]
      : [],
  ];
  return [all, ...also].join("; ");
}

const NOUNS = {
  clone: "clone",
  hardlink: "hard link",
  symlink: "symbolic link",
  copy: "copy",
} as const;

type Mode = NonNullable<LinkTreeOptions["mode"]>;

/**
 * Why it is not what was asked for. `auto` asks for nothing in particular, but that
 * files take their space twice is worth a word.
 */
function missed({ fallbacks }: LinkReport, asked: Mode): string[] {
  const wanted = asked === "auto" ? "hardlink" : asked;
  return fallbacks.filter(({ from }) => from === wanted).slice(0, 1)
    .map(({ from, reason }) => `no ${NOUNS[from]}: ${reason}`);
}
