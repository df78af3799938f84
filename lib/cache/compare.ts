import { CacheError } from "../error.ts";
import {
  type Directory,
  isSameMoment,
  pathIn,
  type Time,
} from "../fs/directory.ts";
import {
  contentLine,
  isMarked,
  type ListedDirectory,
  type ListedFile,
  markOf,
  parseListingLine,
} from "../link/listing.ts";
import { printable } from "../os/text.ts";
import { type Content, readContent, type ReadOptions } from "./content.ts";
import { MANIFEST, TREE } from "./layout.ts";
import { Damaged, type Header, OLD, readManifest } from "./manifest.ts";
import { look, namesIn } from "./root.ts";
import { NotKept } from "./walk.ts";

/** What a comparison found. */
export interface Compared {
  /** What is wrong, the first ten of it; empty if nothing is. */
  readonly wrong: readonly string[];
  /** What the manifest says, if it says anything. */
  readonly header?: Header;
}

/**
 * Compares an archive with its manifest: content, header and layout. Only what was
 * read, and is another, is a difference.
 *
 * @returns `undefined` if it is of an older version, which nothing is known of.
 * @throws {CacheError} If something can't be read.
 */
export async function compare(
  archive: Directory,
  options: ReadOptions = {},
): Promise<Compared | undefined> {
  let header: Header | undefined;
  try {
    const manifest = await readManifest(archive);
    if (manifest === OLD) return undefined;
    header = manifest.header;
    const wrong = strangers(archive);
    if (!look(archive, TREE)) {
      wrong.unshift(`"${pathIn(archive, TREE)}" is missing`);
    } else {
      const trees = [pathIn(archive, TREE)];
      const now = await readContent(archive, { ...options, trees });
      wrong.push(...differences(header, manifest.listing.text, now));
    }
    return { wrong: wrong.slice(0, 10), header };
  } catch (error) {
    const isDamage = error instanceof Damaged || error instanceof NotKept;
    if (!isDamage) throw error;
    const wrong = [printable(error.message, 1000)];
    return header ? { wrong, header } : { wrong };
  }
}

/** What an archive has beside its tree and its manifest. */
function strangers(archive: Directory): string[] {
  const own: readonly string[] = [TREE, MANIFEST];
  // NFS keeps what was removed while it was open.
  return namesIn(archive)
    .filter((name) => !own.includes(name) && !name.startsWith(".nfs"))
    .map((name) => `"${printable(name)}" does not belong there`);
}

const COUNTS = ["files", "directories", "bytes", "digest"] as const;

function differences(header: Header, text: string, now: Content): string[] {
  const lines = text.split("\n").slice(0, -1);
  const isSame = (line: string, i: number) => isSameLine(line, now.lines[i]);
  if (lines.length !== now.lines.length || !lines.every(isSame)) {
    const wrong = [...differing(lines, now.lines)];
    if (wrong.length > 0) return wrong;
    const then = lines.map(withoutTimes);
    const found = now.lines.map(withoutTimes);
    if (then.length !== found.length || then.some((it, i) => it !== found[i])) {
      return ["The manifest itself is damaged"];
    }
  }
  // Inodes don't tell which names are one file: archives share them.
  const known = { ...now, bytes: bytesOf(lines) };
  return COUNTS.filter((it) => header[it] !== known[it])
    .map((it) => `The manifest says ${header[it]} (${it}), not ${known[it]}`);
}

/** Whether a directory is as it was, as far as no line needs to be told of. */
function isSameLine(then: string, now: string | undefined): boolean {
  if (now === undefined || then === now) return then === now;
  try {
    const [was, is] = [parseListingLine(then), parseListingLine(now)];
    return contentLine(was) === contentLine(is) &&
      was.files.every((file, i) => isSameTime(file, is.files[i]!));
  } catch (error) {
    if (error instanceof CacheError) return false;
    throw error;
  }
}

/** Whether an inode's time is the file's, or that of a shared inode. */
function isSameTime(was: ListedFile, is: ListedFile): boolean {
  const [, , , digest, ...then] = was;
  const [, , , , seconds, nanoseconds] = is;
  const now = { seconds, nanoseconds };
  return isMarked(now, markOf(digest)) ||
    isSameMoment({ seconds: then[0], nanoseconds: then[1] }, now);
}

/** Bytes of all files; what has several names counts once. */
function bytesOf(lines: readonly string[]): number {
  const groups = new Set<number>();
  let bytes = 0;
  for (const line of lines) {
    for (const [, size, , , , , group] of parseListingLine(line).files) {
      if (group === undefined || !groups.has(group)) bytes += size;
      if (group !== undefined) groups.add(group);
    }
  }
  return bytes;
}

function* differing(
  before: readonly string[],
  after: readonly string[],
): Generator<string> {
  const then = byPath(before);
  const now = byPath(after);
  for (const [path, what] of then) {
    const is = now.get(path);
    if (is === undefined) yield `"${printable(path)}" is missing`;
    else if (is.what !== what.what) yield `"${printable(path)}" has changed`;
    else if (
      !isSameMoment(what.modified, is.modified) &&
      !(what.mark && isMarked(is.modified, what.mark))
    ) {
      yield `"${printable(path)}" has another time`;
    }
  }
  for (const path of now.keys()) {
    if (!then.has(path)) yield `"${printable(path)}" was not there`;
  }
}

/** The text itself, if it is no line: then it differs. */
function withoutTimes(line: string): string {
  try {
    return contentLine(parseListingLine(line));
  } catch (error) {
    if (error instanceof CacheError) return line;
    throw error;
  }
}

/** What is compared of an entry. */
interface Told {
  readonly what: string;
  readonly modified: Time;
  readonly mark?: number;
}

/** The time of what has none that is compared. */
const NEVER: Time = { seconds: 0, nanoseconds: 0 };

function byPath(lines: readonly string[]): Map<string, Told> {
  const all = new Map<string, Told>();
  for (const text of lines) {
    let line: ListedDirectory;
    try {
      line = parseListingLine(text);
    } catch (error) {
      if (error instanceof CacheError) continue; // then its text differs
      throw error;
    }
    const { path, mode, files, links } = line;
    if (path !== undefined) {
      all.set(`${path}/`, { what: String(mode), modified: NEVER });
    }
    for (const [name, ...file] of files) {
      const [size, mode, digest, seconds, nanoseconds] = file;
      const what = JSON.stringify([size, mode, digest]);
      const modified = { seconds, nanoseconds };
      const mark = markOf(digest);
      all.set(`${path ?? ""}/${name}`, { what, modified, mark });
    }
    for (const [name, text] of links) {
      all.set(`${path ?? ""}/${name}`, {
        what: JSON.stringify(text),
        modified: NEVER,
      });
    }
  }
  return all;
}
