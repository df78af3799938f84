import { kindOfError } from "../error.ts";
import { type Directory, pathIn, type Status } from "../fs/directory.ts";
import { Keeper } from "../fs/fidelity.ts";
import { removeQuietly } from "../fs/names.ts";
import { openParent, type Place } from "../fs/open.ts";
import {
  openStaging,
  type Staging,
  sweepStagings,
  TREE,
} from "../fs/staging.ts";
import { moveToFree, swapKnown } from "../fs/swap.ts";
import { checkPath } from "../os/arguments.ts";
import { errorKind } from "../os/error.ts";
import { toPath } from "../os/path.ts";
import { Breath, patiently, untilLetGo } from "../os/patience.ts";
import {
  type Destination,
  isExpected,
  openDestination,
  taken,
  unlessOutrun,
  type Watch,
} from "./ends.ts";
import { LinkError, linkFailure } from "./error.ts";
import { LADDERS, pairState } from "./ladder.ts";
import type { ExpectedFile } from "./listing.ts";
import {
  checkLinkOptions,
  type LinkFileOptions,
  type LinkFileReport,
  type LinkReport,
  placeOptions,
} from "./options.ts";
import {
  Candidate,
  noteFallback,
  type PlaceContext,
  type Placed,
  placeFile,
} from "./place.ts";
import { lacksParent } from "./preview.ts";
import { linkReport, noCounts, nothingDone } from "./report.ts";

/**
 * Puts a cached file where it is needed, as cheaply as the file systems allow: by
 * a clone, a hard link, a symbolic link or a copy.
 *
 * The file appears whole or not at all, and nothing is ever written through what
 * stands at the destination: a hard link to a file elsewhere stays as it is. Mode
 * and times are kept. An empty file is made, not
 * linked.
 *
 * Needs `--allow-read` and `--allow-write` for both; with `symlink`, for
 * everything (Deno asks for that). Clones need `--allow-ffi`.
 *
 * @param src The cached file.
 * @param dst Where it should be. Its directory must exist.
 * @param options How to put it there.
 * @returns How it was put there.
 * @throws {LinkError} If it could not be, or, with `ifExists: "error"`, something
 * stands there (`kind` is `already-exists`).
 * @throws {TypeError | RangeError} If an argument is none that it may be.
 * @throws The signal's reason, if it is aborted.
 *
 * @example Linking a file
 * ```ts
 * import { linkFile } from "@rebuild/cache";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * await Deno.writeTextFile(`${dir}/cached`, "content");
 *
 * const { mode } = await linkFile(`${dir}/cached`, `${dir}/here`, {
 *   mode: "hardlink",
 * });
 *
 * assertEquals(mode, "hardlink");
 * assertEquals(await Deno.readTextFile(`${dir}/here`), "content");
 * await Deno.remove(dir, { recursive: true });
 * ```
 *
 * @category Trees
 */
export async function linkFile(
  src: string | URL,
  dst: string | URL,
  options: LinkFileOptions = {},
): Promise<LinkFileReport> {
  checkPath("src", src);
  checkPath("dst", dst);
  checkLinkOptions(options, "file");
  const source = toPath(src);
  const path = toPath(dst);
  using place = openSource(source, path);
  return toFileReport(await linkFileHeld(place, path, options));
}

/** What a report says of its only file. */
export function toFileReport(report: LinkReport): LinkFileReport {
  const { path, reset, linkedBytes, fallbacks, notKept, durationMs } = report;
  const outcome = report.outcome as LinkFileReport["outcome"];
  return {
    ...{ path, outcome, mode: modeOf(report), reset: reset > 0 },
    ...{ linkedBytes, fallbacks, notKept, durationMs },
  };
}

function modeOf(report: LinkReport): LinkFileReport["mode"] {
  if (report.outcome === "skipped") return "skipped";
  if (report.outcome.startsWith("would-")) return "untried";
  if (report.cloned > 0) return "clone";
  if (report.hardlinked > 0) return "hardlink";
  if (report.symlinked > 0) return "symlink";
  return report.copied > 0 ? "copy" : "created";
}

function openSource(source: string, destination: string): Place {
  try {
    return openParent(source);
  } catch (error) {
    const what = `Cannot link "${source}"`;
    throw linkFailure(what, source, destination, error);
  }
}

/**
 * Links a file of a directory that is held open.
 *
 * @param expected What it must be, if that is known; else it is damaged.
 */
export async function linkFileHeld(
  from: Pick<Place, "parent" | "name">,
  path: string,
  options: LinkFileOptions,
  expected?: ExpectedFile,
  watch: Watch = {},
): Promise<LinkReport> {
  const once = () => linkFileOnce(from, path, options, expected, watch);
  return await unlessOutrun(options.ifExists, once);
}

async function linkFileOnce(
  from: Pick<Place, "parent" | "name">,
  path: string,
  options: LinkFileOptions,
  expected: ExpectedFile | undefined,
  watch: Watch,
): Promise<LinkReport> {
  const started = performance.now();
  const source = pathIn(from.parent, from.name);
  const { ifExists = "error", signal } = options;
  signal?.throwIfAborted();
  const { dryRun = false } = options;
  const preview = (outcome: LinkReport["outcome"]) => {
    const bytes = lookAtFile(from, source, path).size;
    const built = { ...nothingDone(), bytes, files: 1 };
    return linkReport(path, outcome, built, 0, started);
  };
  if (dryRun && watch.makesParents && lacksParent(path)) {
    return preview("would-link");
  }
  using destination = openDestination(path, source);
  const { existing } = destination;
  if (existing && ifExists === "skip") {
    return linkReport(path, "skipped", nothingDone(), 1, started);
  }
  const stays = existing && ifExists === "error";
  if (stays || !isExpected(existing, watch)) throw taken(source, path);
  if (existing?.kind === "directory") {
    throw new LinkError(
      `Cannot replace "${path}": it is a directory, and "${source}" is a file`,
      source,
      path,
      "is-directory",
    );
  }
  const status = lookAtFile(from, source, path);
  if (dryRun) return preview(existing ? "would-replace" : "would-link");
  try {
    using candidate = new Candidate(from.parent, from.name, expected);
    candidate.check();
    const built = await link(candidate, status, destination, options, watch);
    const outcome = existing ? "replaced" : "linked";
    return linkReport(path, outcome, built, 1, started);
  } catch (error) {
    if (signal?.aborted && error === signal.reason) throw error;
    const known = error instanceof LinkError;
    if (known && error.kind === "already-exists" && !error.cause) throw error;
    throw linkFailure(
      `Cannot put "${source}" at "${path}"`,
      source,
      path,
      known ? error.cause ?? error : error,
      kindOfError(error),
    );
  }
}

async function link(
  source: Candidate,
  status: Status,
  { parent, name: newName, path, existing }: Destination,
  options: LinkFileOptions,
  watch: Watch,
): Promise<Parameters<typeof linkReport>[2]> {
  const { mutable = false, signal, onProgress } = options;
  let bytes = 0;
  const tell = () => onProgress?.({ files: 0, directories: 0, bytes });
  const breath = new Breath(signal, tell);
  const counts = noCounts();
  const keeper = new Keeper("all");
  const place = placeOptions(options);
  const context: PlaceContext = {
    options: place,
    pair: pairState(new Map(), status.device, parent.opened.device),
    counts,
    keeper,
    control: {
      check: () => signal?.throwIfAborted(),
      breathe: () => breath.due(),
      copied: (more) => bytes += more,
    },
    made: new Map(),
    defersLimit: true,
  };
  const replaced = existing !== undefined;
  const done = () => {
    const { notKept } = keeper;
    const { size: bytes } = status;
    return { ...counts, bytes, directories: 0, links: 0, notKept };
  };
  const [rung] = LADDERS[place.mode];
  // A link is there at once, and only if nothing stands there: nothing to rename.
  const isLink = rung === "hardlink" || rung === "symlink";
  if (!replaced && isLink && !mutable && !watch.onFinished) {
    const mode = tryLink(source, status, parent, newName, context);
    if (mode) return done();
  }
  await using staging = openStaging(parent, newName);
  let how: How = "ladder";
  for (;;) {
    const mode = await placeIn(staging, source, mutable, context, path, how);
    try {
      await watch.onFinished?.({ parent: staging.directory, name: TREE });
      const place = { parent, name: newName };
      if (watch.expected) {
        await replaceExpected(staging, place, source, path, watch, signal);
      } else publish(staging, parent, newName, replaced, source.path, path);
      await sweepStagings(parent, newName);
      return done();
    } catch (error) {
      // Some file systems say so only at the rename (btrfs).
      if (mode !== "hardlink" || errorKind(error) !== "link-limit") throw error;
    }
    removeQuietly(staging.directory, TREE);
    counts.hardlinked--;
    // Peers may use up a fresh inode before this rename, but never a copy.
    how = how === "ladder" ? "fresh" : "copy";
  }
}

/** By the ladder; by a fresh inode, since the old one is full; or by a copy. */
type How = "ladder" | "fresh" | "copy";

/** The mode, if the first rung works; nothing is there if it does not. */
function tryLink(
  source: Candidate,
  status: Status,
  parent: Directory,
  name: string,
  context: PlaceContext,
): Placed | undefined {
  const { options, counts } = context;
  if (status.size === 0 && options.mode === "hardlink") return undefined;
  if (options.mode === "hardlink") {
    if (status.links >= options.maxLinks || !source.sharesTime) {
      return undefined;
    }
  }
  try {
    if (options.mode === "symlink") parent.symlink(source.path, name);
    else source.from.link(source.name, parent, name);
    counts[options.mode === "symlink" ? "symlinked" : "hardlinked"]++;
    return options.mode as Placed;
  } catch (error) {
    if (errorKind(error) === "already-exists") {
      throw taken(source.path, pathIn(parent, name));
    }
    return undefined; // the ladder says what it means
  }
}

/** Puts the file into the staging. */
async function placeIn(
  { directory: to }: Staging,
  source: Candidate,
  mutable: boolean,
  context: PlaceContext,
  path: string,
  how: How,
): Promise<Placed> {
  const { counts, options } = context;
  const { from, name } = source;
  if (how === "ladder") {
    const mode = await placeFile(source, to, TREE, mutable, context);
    if (mode !== "links") return mode;
  }
  const full = new Error("It has all the links that it can have");
  if (options.onLinkLimit === "error") {
    const what = `Cannot hardlink "${source.path}" to "${path}"`;
    throw linkFailure(what, source.path, path, full, "link-limit");
  }
  if (options.onLinkLimit === "reset" && how !== "copy") {
    const links = [{ from, name, to, newName: TREE }];
    const { resetAndLink } = await import("./reset.ts"); // few files need it
    const mode = await resetAndLink(links, to, context, how === "fresh");
    if (mode) {
      if (mode === "hardlink") counts.hardlinked++;
      else counts.copied++;
      return mode;
    }
  }
  noteFallback(counts, "hardlink", "link-limit", full, source.path);
  return await placeFile(source, to, TREE, mutable, {
    ...context,
    options: { ...options, mode: "copy" },
  });
}

/**
 * Gives the file its name: over what stands there, or only if nothing does, which a
 * link can tell, where a rename would replace.
 */
function publish(
  { directory }: Staging,
  parent: Directory,
  name: string,
  replace: boolean,
  source: string,
  path: string,
): void {
  if (replace) {
    patiently(() => directory.rename(TREE, parent, name));
    // Of two links to one inode the rename does nothing, and leaves this one.
    removeQuietly(directory, TREE);
    return;
  }
  try {
    moveToFree({ parent: directory, name: TREE }, { parent, name });
  } catch (error) {
    if (errorKind(error) !== "already-exists") throw error;
    throw taken(source, path);
  }
}

/** Replaces what should stand there; what stands there instead is put back. */
async function replaceExpected(
  { directory }: Staging,
  place: Pick<Place, "parent" | "name">,
  source: Candidate,
  path: string,
  watch: Watch,
  signal: AbortSignal | undefined,
): Promise<void> {
  const tree = { parent: directory, name: TREE };
  const isKnown = (now: Status) => isExpected(now, watch);
  const refusal = () => taken(source.path, path);
  const { old } = await untilLetGo(
    () => swapKnown(tree, place, isKnown, refusal),
    signal,
  );
  if (old) removeQuietly(old.parent, old.name);
}

function lookAtFile(
  { parent, name }: Pick<Place, "parent" | "name">,
  source: string,
  destination: string,
): Status {
  let status: Status | undefined;
  try {
    status = parent.look(name);
  } catch (error) {
    const what = `Cannot look at "${source}"`;
    throw linkFailure(what, source, destination, error);
  }
  if (status?.kind === "file") return status;
  throw notAFile(source, destination, status);
}

function notAFile(
  source: string,
  destination: string,
  status: Status | undefined,
): LinkError {
  const [what, kind] = !status
    ? ["it does not exist", "not-found"] as const
    : status.kind === "directory"
    ? ["it is a directory", "is-directory"] as const
    : ["it is not a regular file", "unsupported"] as const;
  return new LinkError(
    `Cannot link "${source}": ${what}`,
    source,
    destination,
    kind,
  );
}
