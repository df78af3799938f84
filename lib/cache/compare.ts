import { CacheError } from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { type ListedDirectory, parseListingLine } from "../link/listing.ts";
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
      const now = await readContent(archive, options);
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
  const same = lines.length === now.lines.length &&
    lines.every((line, i) => line === now.lines[i]);
  if (!same) {
    const wrong = [...differing(lines, now.lines)];
    return wrong.length > 0 ? wrong : ["The manifest itself is damaged"];
  }
  return COUNTS.filter((it) => header[it] !== now[it])
    .map((it) => `The manifest says ${header[it]} (${it}), not ${now[it]}`);
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
    else if (is !== what) yield `"${printable(path)}" has changed`;
  }
  for (const path of now.keys()) {
    if (!then.has(path)) yield `"${printable(path)}" was not there`;
  }
}

function byPath(lines: readonly string[]): Map<string, string> {
  const all = new Map<string, string>();
  for (const text of lines) {
    let line: ListedDirectory;
    try {
      line = parseListingLine(text);
    } catch (error) {
      if (error instanceof CacheError) continue; // then its text differs
      throw error;
    }
    const { path, mode, files, links } = line;
    if (path !== undefined) all.set(`${path}/`, String(mode));
    for (const [name, ...what] of [...files, ...links]) {
      all.set(`${path ?? ""}/${name}`, JSON.stringify(what));
    }
  }
  return all;
}
