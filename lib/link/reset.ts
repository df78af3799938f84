/**
 * Gives a cached file that has all the hard links that it can have a fresh inode: a
 * copy of it takes its name. Earlier links stay on the old inode.
 *
 * The copy is made in the destination's staging, which is on the same file system,
 * since hard links to there work; so nobody who reads the cached tree ever sees it.
 *
 * Several names of one inode take the copy one after the other, since no call takes
 * them all: who is killed between two leaves them as two inodes, with the same content.
 *
 * @module
 */

import { kindOfError } from "../error.ts";
import { copyContent } from "../fs/copy.ts";
import {
  type Directory,
  isSameInode,
  isSameTime,
  type OpenFile,
  pathIn,
  type Status,
} from "../fs/directory.ts";
import { isLike, Keeper } from "../fs/fidelity.ts";
import { removeQuietly } from "../fs/names.ts";
import { ownId } from "../fs/trust.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import type { PlaceContext } from "./place.ts";

/** A name of a cached file, and where it is to be. */
export interface Link {
  readonly from: Directory;
  readonly name: string;
  readonly to: Directory;
  readonly newName: string;
}

/** A name of a cached file, and, if it was linked already, where it is. */
export interface OtherName {
  readonly from: Directory;
  readonly name: string;
  readonly to: Directory | undefined;
}

let made = 0;

/**
 * Links the names of one cached inode, by a fresh inode if it takes that.
 *
 * @param links Names of one inode. They stay together.
 * @param others Finds its other names in the tree, which go along.
 * @param scratch A directory of ours, on the same file system.
 * @param isFull Whether it is known that the old inode can't be linked to.
 * @returns How they are linked: a `copy` is an inode of their own, since the cached
 * file could not be replaced. `undefined` if nothing was possible, or changed.
 */
export async function resetAndLink(
  links: readonly Link[],
  scratch: Directory,
  context: PlaceContext,
  isFull: boolean,
  others: (old: Status) => Iterable<OtherName> = () => [],
): Promise<"hardlink" | "copy" | undefined> {
  const { counts } = context;
  const [first] = links as [Link, ...Link[]];
  // A peer may have done it since.
  const { maxLinks } = context.options;
  const now = maxLinks < Infinity ? first.from.look(first.name) : undefined;
  const mayLink = !isFull && (!now || now.links < maxLinks);
  if (mayLink && linkAll(links, first)) return "hardlink";
  const fresh = `fresh-${made++}`;
  let old: Status;
  try {
    const copied = await copyExactly(first, scratch, fresh, context);
    if (!copied) return undefined;
    old = copied;
    if (!linkAll(links, { from: scratch, name: fresh })) return undefined;
    const rest = [...others(old)];
    const replaced = replaceAll([...links, ...rest], old, scratch, fresh);
    if (replaced === 0) return "copy";
    for (const { to, name } of rest) {
      if (to) moveAlong(to, name, old, scratch, fresh);
    }
    counts.reset += replaced;
    counts.stranded += Math.max(0, old.links - replaced);
    return "hardlink";
  } finally {
    removeQuietly(scratch, fresh);
  }
}

/** A name at the destination that was linked to the old inode. */
function moveAlong(
  to: Directory,
  name: string,
  old: Status,
  scratch: Directory,
  fresh: string,
): void {
  const now = to.look(name);
  if (!now || !isSameInode(now, old)) return;
  const temporary = `fresh-${made++}`;
  const times = to.status();
  try {
    scratch.link(fresh, scratch, temporary);
    scratch.rename(temporary, to, name);
    keepTimes(to, times);
  } catch (error) {
    // It stays on the old inode, with the same content.
    log.debug(() => `Not moved along: "${pathIn(to, name)}": ${error}`);
  } finally {
    removeQuietly(scratch, temporary);
  }
}

/** Links all, or none. False if there are too many links. */
function linkAll(
  links: readonly Link[],
  { from, name }: Pick<Link, "from" | "name">,
): boolean {
  const done: Link[] = [];
  try {
    for (const link of links) {
      patiently(() => from.link(name, link.to, link.newName));
      done.push(link);
    }
    return true;
  } catch (error) {
    for (const { to, newName } of done) removeQuietly(to, newName);
    if (errorKind(error) === "link-limit") return false;
    throw error;
  }
}

/** What the cached file was; `undefined` if there can be no copy that is like it. */
async function copyExactly(
  { from, name }: Link,
  scratch: Directory,
  fresh: string,
  { control }: PlaceContext,
): Promise<Status | undefined> {
  using source = from.openFile(name, "read");
  const status = source.opened;
  // Another's file is theirs to make: a copy of ours would be in its place.
  if (!from.safe || status.uid !== ownId() && Deno.build.os !== "windows") {
    log.debug(() => `"${pathIn(from, name)}" is not ours to reset`);
    return undefined;
  }
  let target: OpenFile | undefined;
  let kept = false;
  try {
    target = scratch.openFile(fresh, "create", 0o600);
    await copyContent(source, target, status, control);
    const keeper = new Keeper("all");
    keeper.keep(source, status, target, target.status());
    kept = keeper.notKept.size === 0 && isLike(target.status(), status);
    target.close();
    return kept ? status : undefined;
  } catch (error) {
    kept = false;
    // No right to, or no room for it: a copy elsewhere may do.
    if (["permission", "read-only", "no-space"].includes(kindOfError(error))) {
      log.debug(() =>
        `No reset of "${pathIn(from, name)}": ${osErrorText(error)}`
      );
      return undefined;
    }
    throw error;
  } finally {
    target?.[Symbol.dispose]();
    if (!kept) removeQuietly(scratch, fresh);
  }
}

/**
 * Lets the fresh inode take the cached file's names: all that still are the file that
 * was copied, or, if one of them can't be replaced, none.
 *
 * @returns How many it took.
 */
function replaceAll(
  names: readonly Pick<Link, "from" | "name">[],
  old: Status,
  scratch: Directory,
  fresh: string,
): number {
  /** Names that were taken, and what the old inode is called meanwhile. */
  const taken: { from: Directory; name: string; temporary: string }[] = [];
  const times = names.map(({ from }) => ({ from, status: from.status() }));
  try {
    for (const { from, name } of names) {
      const temporary = `fresh-${made++}`;
      scratch.link(fresh, scratch, temporary);
      const done = replace(from, name, old, scratch, temporary, fresh);
      if (done) taken.push({ from, name, temporary });
    }
    return taken.length;
  } catch (error) {
    // The destination stands, with an inode of its own.
    log.debug(() => `No reset: ${osErrorText(error)}`);
    for (const { from, name, temporary } of taken) {
      exchange(from, name, scratch, temporary);
    }
    taken.length = 0;
    return 0;
  } finally {
    for (const { temporary } of taken) removeQuietly(scratch, temporary);
    for (const { from, status } of times) keepTimes(from, status);
  }
}

/**
 * Lets the fresh inode take one name. The temporary name is the old inode's then; if
 * the name is another file's by now, it is gone.
 */
function replace(
  from: Directory,
  name: string,
  old: Status,
  scratch: Directory,
  temporary: string,
  fresh: string,
): boolean {
  const isOld = (now: Status | undefined) =>
    now !== undefined && isSameInode(now, old) && now.size === old.size &&
    isSameTime(now.modified, old.modified);
  if (isOld(from.look(name))) {
    if (!exchange(from, name, scratch, temporary)) {
      scratch.rename(temporary, from, name);
      return true;
    }
    let out: Status | undefined;
    try {
      out = scratch.look(temporary);
    } catch (error) {
      // What it was can't be told: as it was, then.
      exchange(from, name, scratch, temporary);
      throw error;
    }
    if (isOld(out)) return true;
    // Somebody replaced it at this very instant: what they put there goes back, unless
    // something newer stands there by then, and so on.
    let placed = scratch.look(fresh);
    while (exchange(from, name, scratch, temporary)) {
      const next = scratch.look(temporary);
      if (!next || !out || (placed && isSameInode(next, placed))) break;
      [placed, out] = [out, next];
    }
  }
  removeQuietly(scratch, temporary);
  return false;
}

function exchange(
  from: Directory,
  name: string,
  scratch: Directory,
  temporary: string,
): boolean {
  try {
    scratch.rename(temporary, from, name, "exchange");
    return true;
  } catch (error) {
    const kind = errorKind(error);
    if (kind === "not-found") throw error;
    return false; // no such call here
  }
}

/** A reset is no change of the cached directory. */
function keepTimes(
  directory: Directory,
  { accessed, modified }: Pick<Status, "accessed" | "modified">,
): void {
  try {
    directory.setAccess({ accessed, modified });
  } catch (error) {
    log.trace(() => `"${directory.path}" has new times: ${osErrorText(error)}`);
  }
}
