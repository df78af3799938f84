/**
 * Names of the siblings that a run makes beside a directory: asides (`stale`,
 * garbage by construction), stagings (`partial`, not yet whole), what could not be put
 * back (`kept`), and the notes of who holds a lock (`holder`) or waits for one (`waits`).
 *
 * A name carries the process id for the people who look at it. It proves
 * nothing: containers that share a cache share process ids. The random part is
 * what keeps two runs apart.
 *
 * @module
 */

import { errorKind } from "../os/error.ts";
import { foldName } from "../os/text.ts";
import type { Directory, Status } from "./directory.ts";
import { ownId } from "./trust.ts";

/**
 * An aside (`stale`), a staging (`partial`), what could not be put back in its place and
 * nobody sweeps (`kept`), or a note of who holds a lock (`holder`) or waits for one
 * (`waits`).
 */
export type SiblingKind = "stale" | "partial" | "kept" | "holder" | "waits";

/** A sibling's name, taken apart. */
export interface SiblingName {
  /** The name of what it stands beside, possibly cut (see {@linkcode siblingName}). */
  readonly stem: string;
  /** What it is. */
  readonly kind: SiblingKind;
  /** The process that made it. */
  readonly pid: number;
}

const PATTERN =
  /^(.*)\.(stale|partial|kept|holder|waits)-(\d{1,10})-([0-9a-f]{12})$/s;

/**
 * A name has at most 255 bytes on every file system that we know (eCryptfs: 143);
 * `.partial-`, ten digits, `-` and twelve hex digits take 32 of them.
 */
const LONGEST_STEM = 220;

const encoder = new TextEncoder();

/**
 * A new name beside `name`: `<name>.stale-<pid>-<random>`. The stem of a very
 * long name is cut, so that the sibling's name is never too long. Two
 * directories whose names share their first 220 bytes share asides too, which
 * does no harm: an aside is garbage, whoever made it.
 */
export function siblingName(name: string, kind: SiblingKind): string {
  const random = crypto.getRandomValues(new Uint8Array(6));
  const hex = Array.from(random, (byte) => byte.toString(16).padStart(2, "0"));
  return `${cutStem(name)}.${kind}-${Deno.pid}-${hex.join("")}`;
}

/** Removes an entry that may never have been made, or is renamed already: a file, or an empty directory. */
export function removeQuietly(directory: Directory, name: string): void {
  try {
    directory.remove(name);
  } catch (error) {
    if (errorKind(error) === "not-found") return;
    try {
      directory.removeDirectory(name);
    } catch {
      // Not to be removed: then a sweep does it.
    }
  }
}

/** Takes a sibling's name apart, or gives `undefined` for any other name. */
export function parseSiblingName(name: string): SiblingName | undefined {
  const match = PATTERN.exec(name);
  if (!match) return undefined;
  return {
    stem: match[1]!,
    kind: match[2] as SiblingKind,
    pid: Number(match[3]),
  };
}

/**
 * The names in a directory that siblings of that kind have: whoever made them, and also
 * if they named it in other case (or, on macOS, composed otherwise) where that is the
 * same to the file system. There, what is listed in their case is found in ours.
 */
export function listSiblingsIn(
  directory: Directory,
  name: string,
  kind: SiblingKind,
): string[] {
  const names = directory.list().map(({ name }) => name);
  const stem = cutStem(name);
  const folded = foldName(stem);
  return names.filter((entry) => {
    const sibling = parseSiblingName(entry);
    if (sibling?.kind !== kind) return false;
    if (sibling.stem === stem) return true;
    if (foldName(sibling.stem) !== folded) return false;
    const ours = stem + entry.slice(sibling.stem.length);
    return !names.includes(ours) && directory.look(ours) !== undefined;
  });
}

/** The names in a directory that siblings of that kind have, whatever they stand beside. */
export function listSiblings(
  directory: Directory,
  kind: SiblingKind,
): string[] {
  return directory.list().flatMap(({ name }) =>
    parseSiblingName(name)?.kind === kind ? [name] : []
  );
}

/**
 * The names in a directory of the siblings of that kind that runs left beside
 * `name`. Only directories of ours, or of whom `owner` says: a name proves nothing.
 */
export function findSiblings(
  directory: Directory,
  name: string,
  kind: SiblingKind,
  owner: number | undefined,
): string[] {
  return listSiblingsIn(directory, name, kind).filter((entry) => {
    const status = directory.look(entry);
    return status !== undefined && isOwnSibling(kind, status, owner);
  });
}

/** Whether what has a sibling's name is what we make, and ours, or the owner's. */
export function isOwnSibling(
  kind: SiblingKind,
  status: Status,
  owner: number | undefined,
): boolean {
  if (status.kind !== (isNote(kind) ? "file" : "directory")) return false;
  const me = ownId();
  return me === undefined || status.uid === me || status.uid === owner;
}

/** Whether it is a file, for people or for peers to read. */
export function isNote(kind: SiblingKind): boolean {
  return kind === "holder" || kind === "waits";
}

function cutStem(name: string): string {
  if (name.length * 3 <= LONGEST_STEM) return name;
  const bytes = encoder.encode(name);
  if (bytes.length <= LONGEST_STEM) return name;
  let stem = "";
  let length = 0;
  for (const character of name) {
    length += encoder.encode(character).length;
    if (length > LONGEST_STEM) break;
    stem += character;
  }
  return stem;
}
