/**
 * Puts what is in a cache where it is needed, and knows it again.
 *
 * @module
 */

import { kindOfError } from "../error.ts";
import { makeParent } from "../fs/access.ts";
import { isSameInode, type Status } from "../fs/directory.ts";
import { openParent, type Place } from "../fs/open.ts";
import { taken, type Watch } from "../link/ends.ts";
import type { LinkReport } from "../link/options.ts";
import { lacksParent } from "../link/preview.ts";
import { unchangedTree } from "../link/report.ts";
import { isWithin } from "../os/within.ts";
import type { EntryLinkOptions } from "./archive.ts";
import type { ArchiveId } from "./layout.ts";
import { oursAt } from "./look_at_place.ts";
import { notePlaced } from "./placed.ts";
import type { Root } from "./root.ts";

/** An archive of a cache that is held. */
export interface Held {
  readonly root: Root;
  readonly id: ArchiveId;
  /** Its path, for people. */
  readonly path: string;
}

/** Puts something in its place, and notes it. */
export async function placeNoted(
  held: Held,
  path: string,
  options: EntryLinkOptions,
  link: (options: LinkOptions, watch: Watch) => Promise<LinkReport>,
): Promise<LinkReport> {
  const { ifExists, include, exclude, ...more } = options;
  const both = { ...include && { include }, ...exclude && { exclude } };
  // A part of it is not the archive.
  const isArchive = [include, exclude].every((it) => !it || it.length === 0);
  const isReference = options.mode === "symlink";
  const isDry = options.dryRun === true;
  const report = await place(held, path, ifExists, {
    isArchive,
    isReference,
    isDry,
    link: (ifExists, watch) => link({ ...more, ...both, ifExists }, watch),
  });
  if (report.outcome === "merged" && report.symlinked > 0) {
    using place = openParent(path);
    const what = { isArchive: false, isReference: true };
    await notePlaced(held.root, { id: held.id, place, now: place, ...what });
  }
  return report;
}

/** Options for a link that knows nothing of updates. */
export type LinkOptions =
  & Omit<EntryLinkOptions, "ifExists">
  & { ifExists: Exclude<EntryLinkOptions["ifExists"], "update" | undefined> };

/** How something is put in its place. */
interface How {
  readonly isArchive: boolean;
  readonly isReference: boolean;
  /** Whether nothing is to be changed. */
  readonly isDry: boolean;
  readonly link: (
    ifExists: LinkOptions["ifExists"],
    watch: Watch,
  ) => Promise<LinkReport>;
}

/** So often somebody else may put something there at the same time. */
const TRIES = 10;

async function place(
  held: Held,
  path: string,
  ifExists: EntryLinkOptions["ifExists"],
  how: How,
): Promise<LinkReport> {
  if (ifExists !== "update") {
    return await linkNoted(held, path, ifExists ?? "error", how);
  }
  if (how.isDry) {
    if (lacksParent(path)) {
      return await how.link("error", { makesParents: true });
    }
  } else makeParent(path);
  for (let tries = 0;; tries++) {
    const standing = await oursAt(held.root, path, () => {
      throw taken(held.path, path);
    });
    if (standing?.id === held.id && how.isArchive) return unchangedTree(path);
    const [what, expected] = standing
      ? ["replace", standing.status] as const
      : ["error"] as const;
    try {
      const report = await linkNoted(held, path, what, how, expected);
      if (!how.isDry) standing?.forget();
      return report;
    } catch (error) {
      // A peer was faster: perhaps with the same.
      if (kindOfError(error) !== "already-exists" || tries > TRIES) throw error;
      if (isSameStill(path, expected)) throw error;
    }
  }
}

/** Links, with a note that is there before what it is about. */
async function linkNoted(
  { root, id }: Held,
  path: string,
  ifExists: LinkOptions["ifExists"],
  { isArchive, isReference, link }: How,
  expected?: Status,
): Promise<LinkReport> {
  // What is put into the cache itself goes again.
  if (isWithin(path, root.path)) return await link(ifExists, {});
  let undo = () => {};
  const onFinished = async (now: Pick<Place, "parent" | "name">) => {
    undo();
    using place = openParent(path);
    const noted = { id, place, now, isArchive, isReference };
    undo = await notePlaced(root, noted);
  };
  try {
    return await link(ifExists, { expected, onFinished });
  } catch (error) {
    undo();
    throw error;
  }
}

function isSameStill(path: string, expected: Status | undefined): boolean {
  using place = openParent(path);
  const status = place.parent.look(place.name);
  return expected
    ? status !== undefined && isSameInode(status, expected)
    : status === undefined;
}
