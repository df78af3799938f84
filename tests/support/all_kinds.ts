import { fromFileUrl } from "@std/path/from-file-url";
import { must, run } from "./command.ts";

const PROGRAM = fromFileUrl(new URL("all_kinds.py", import.meta.url));

/** What the tests here need beside a file system. */
export const KINDS_NEED = ["python3", "rsync"];

/** What any user can have in a tree. */
export const ORDINARY = [
  "plain",
  "modes",
  "times",
  "links",
  "holes",
  "attributes",
  "acls",
  "symlinks",
  "names",
  "read-only",
  "empty",
];

/** What only root can make, or keep; root's own setuid files among it. */
export const ROOTS = ["power", "secret", "owners", "trusted", "capabilities"];

export const ALL_KINDS = [...ORDINARY, ...ROOTS];

/** An entry of a tree, with everything that a copy could lose. */
export interface Entry {
  /** Below the tree, a character for a byte. */
  path: string;
  kind: "file" | "dir" | "link";
  mode: number;
  /** User and group. */
  owner: string;
  /** In nanoseconds. */
  mtime: string;
  /** Of all namespaces; ACLs and capabilities are attributes, too. */
  attributes: Record<string, string>;
  inode: string;
  /** The first path of the same inode. */
  group?: string;
  /** A digest, or where a symbolic link leads. */
  content?: string;
  size?: number;
  blocks?: number;
}

/**
 * Makes a tree with these kinds of entries, whose top directory is 0555. What the
 * file system refuses is left out, and said.
 */
export async function makeAllKinds(
  root: string,
  kinds: readonly string[] = ALL_KINDS,
  owner = 0,
): Promise<void> {
  const ids = [String(owner), String(owner)];
  const refused = JSON.parse(
    await must("python3", PROGRAM, "make", root, ...ids, ...kinds),
  );
  // deno-lint-ignore no-console -- what was not tested
  if (refused.length > 0) console.log("Left out:", refused);
}

/** All entries of a tree, sorted by path. */
export async function look(root: string): Promise<Entry[]> {
  return JSON.parse(await must("python3", PROGRAM, "look", root));
}

/** What of an entry is compared. */
export type Trait =
  | "kind"
  | "mode"
  | "owner"
  | "mtime"
  | "attributes"
  | "group"
  | "content"
  | "size";

export const TRAITS: Trait[] = [
  "kind",
  "mode",
  "owner",
  "mtime",
  "attributes",
  "group",
  "content",
  "size",
];

/** How one tree differs from another, a line for each trait of each entry. */
export function differences(
  source: readonly Entry[],
  destination: readonly Entry[],
  traits: readonly Trait[] = TRAITS,
): string[] {
  const there = new Map(destination.map((entry) => [entry.path, entry]));
  const lines: string[] = [];
  for (const entry of source) {
    const other = there.get(entry.path);
    there.delete(entry.path);
    if (!other) {
      lines.push(`${name(entry)}: missing`);
      continue;
    }
    for (const trait of traits) {
      const [is, was] = [shown(other, trait), shown(entry, trait)];
      if (is !== was) {
        lines.push(`${name(entry)}: ${trait} ${was} is now ${is}`);
      }
    }
  }
  for (const entry of there.values()) {
    lines.push(`${name(entry)}: not in source`);
  }
  return lines;
}

/** Files of which holes were filled: they take up more than a quarter of their size. */
export function filled(
  source: readonly Entry[],
  entries: readonly Entry[],
): string[] {
  const sparse = new Set(
    source.filter(isSparse).map(({ path }) => path),
  );
  return entries
    .filter((entry) =>
      entry.kind === "file" && sparse.has(entry.path) && !isSparse(entry)
    )
    .map((entry) => `${name(entry)}: its holes were filled`);
}

function isSparse({ size = 0, blocks = 0 }: Entry): boolean {
  return size > 2 ** 20 && blocks * 512 < size / 4;
}

function name({ path }: Entry): string {
  return JSON.stringify(path);
}

function shown(entry: Entry, trait: Trait): string {
  const value = entry[trait];
  if (trait === "mode") return (value as number).toString(8);
  return JSON.stringify(value) ?? "nothing";
}

/** What rsync would do to make the destination like the source; nothing is done. */
export async function rsyncLists(
  source: string,
  destination: string,
): Promise<string[]> {
  const { code, stdout, stderr } = await run([
    "rsync",
    "-aHAXS",
    "--numeric-ids",
    "--delete",
    "--dry-run",
    "--itemize-changes",
    "--checksum",
    "--modify-window=-1", // nanoseconds count
    // XFS shows its ACLs a second time, under names that no other knows.
    "--filter=-x system.*",
    "--filter=-x trusted.SGI_ACL_*",
    `${source}/`,
    `${destination}/`,
  ]);
  if (code !== 0) throw new Error(`rsync: ${stderr}`);
  return stdout.split("\n").filter((line) => line !== "");
}

/** The paths below a directory as bytes, a character each, sorted. */
export async function rawNames(directory: string): Promise<string[]> {
  const { stdout } = await new Deno.Command("find", {
    args: [directory, "-mindepth", "1", "-printf", "%y %P\\0"],
    stderr: "inherit",
  }).output();
  return new TextDecoder("latin1").decode(stdout).split("\0")
    .filter((it) => it !== "").sort();
}
