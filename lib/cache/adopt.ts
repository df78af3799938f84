/**
 * Makes what a builder left in a slot the cache's own: no file of it has a name, or an
 * owner, elsewhere, and none has more power than the cache gives.
 *
 * @module
 */

import {
  type Access,
  type Directory,
  inodeKey,
  type Status,
} from "../fs/directory.ts";
import { changeNames } from "../fs/access.ts";
import { type Move, moveLinks } from "../fs/links.ts";
import { ownId } from "../fs/trust.ts";
import { Breath, patiently } from "../os/patience.ts";
import { OWN, TREE } from "./layout.ts";
import { copyTreeInto } from "../link/tree.ts";
import { failure, giveGroup, isShared, look } from "./root.ts";
import { walk } from "./walk.ts";

const isWindows = Deno.build.os === "windows";

/** An inode with more than one name, and those that were found: folder and name. */
interface Linked {
  readonly status: Status;
  readonly names: (readonly [folder: string, name: string])[];
}

/**
 * Goes through the tree in a slot. A file that has a name elsewhere, or belongs to
 * somebody else, becomes a copy of itself; a link into the tree itself leads there
 * wherever it stands; setuid and setgid go; in a group's cache the group may read it,
 * and remove it.
 *
 * @param root What is known of the cache's root.
 * @param move Where the tree was built, and where it will be.
 * @returns How much there is to read.
 */
export async function adopt(
  slot: Directory,
  root: Status,
  move: Move,
  signal?: AbortSignal,
): Promise<{ files: number; bytes: number }> {
  const me = ownId();
  const isOurs = ({ uid }: Status) => me === undefined || uid === me;
  const breath = new Breath(signal);
  const linked = new Map<string, Linked>();
  let single = 0;
  let [files, bytes] = [0, 0];
  const file = (directory: Directory, folder: string, name: string) => {
    const status = look(directory, name);
    if (status?.kind !== "file") return; // whoever reads it says so
    if (status.links === 1 && isOurs(status)) {
      files++;
      bytes += status.size;
      return setAccess(directory, name, status, root);
    }
    const inode = status.links > 1 ? inodeKey(status) : undefined;
    const key = inode ?? `single ${single++}`;
    const known = linked.get(key);
    if (known) known.names.push([folder, name]);
    else {
      files++;
      bytes += status.size;
      linked.set(key, { status, names: [[folder, name]] });
    }
  };
  if (look(slot, TREE)?.kind === "directory") {
    const breathe = () => breath.due();
    await walk(slot, TREE, breathe, async ({ directory, path, entries }) => {
      const owner = isOurs(directory.opened) ? {} : { uid: me! };
      change(directory.path, () => {
        if (owner.uid !== undefined) directory.setAccess(owner);
        give(directory.opened, root, (access) => directory.setAccess(access));
      });
      const links: string[] = [];
      for (const { name, kind } of entries) {
        if (kind === "file") file(directory, path, name);
        else if (kind === "symlink") links.push(name);
        const pause = breath.due();
        if (pause) await pause;
      }
      change(directory.path, () => moveLinks(directory, links, path, move));
    });
  } else file(slot, "", TREE);
  for (const { status, names } of linked.values()) {
    if (names.length === status.links && isOurs(status)) {
      withFolder(
        slot,
        names[0]![0],
        names[0]![1],
        (directory, name) => setAccess(directory, name, status, root),
      );
    } else await replace(slot, names, root, signal);
    const pause = breath.due();
    if (pause) await pause;
  }
  return { files, bytes };
}

/** Gives the names of a foreign inode one of ours. */
async function replace(
  slot: Directory,
  names: Linked["names"],
  root: Status,
  signal: AbortSignal | undefined,
): Promise<void> {
  const [first] = names as [Linked["names"][0]];
  {
    using parent = folderOf(slot, first[0]);
    await copyTreeInto(
      { parent, name: nameIn(first) },
      { parent: slot, name: OWN },
      signal ? { signal } : {},
    );
  }
  const status = look(slot, OWN)!;
  setAccess(slot, OWN, status, root);
  const next = `${OWN}-name`;
  for (const [i, at] of names.entries()) {
    inFolder(slot, at, (directory, name) => {
      if (i === names.length - 1) slot.rename(OWN, directory, name);
      else {
        slot.link(OWN, slot, next);
        slot.rename(next, directory, name);
      }
    });
  }
}

function nameIn([, name]: Linked["names"][0]): string {
  return name;
}

/** A folder of the tree, opened name by name. */
function folderOf(slot: Directory, folder: string): Directory {
  let directory = slot.again();
  if (look(slot, TREE)?.kind !== "directory") return directory;
  for (const name of [TREE, ...folder.split("/").slice(1)]) {
    using above = directory;
    directory = patiently(() => above.open(name));
  }
  return directory;
}

function withFolder(
  slot: Directory,
  folder: string,
  name: string,
  call: (directory: Directory, name: string) => void,
): void {
  using directory = folderOf(slot, folder);
  change(directory.path, () => call(directory, name));
}

/** Replaces a name; the folder's mode and times stay. */
function inFolder(
  slot: Directory,
  [folder, name]: Linked["names"][0],
  call: (directory: Directory, name: string) => void,
): void {
  withFolder(slot, folder, name, (directory, name) => {
    // The slot itself has no times to keep.
    if (name === TREE) call(directory, name);
    else changeNames(directory, () => call(directory, name));
  });
}

function change(path: string, call: () => void): void {
  try {
    patiently(call);
  } catch (error) {
    throw failure("take over", path, error);
  }
}

function setAccess(
  directory: Directory,
  name: string,
  status: Status,
  root: Status,
): void {
  change(directory.path, () => {
    give(status, root, (access) => directory.setAccessOf(name, access));
  });
}

/** What is not the group's, since we are no member of it, is not opened to our own. */
function give(
  status: Status,
  root: Status,
  set: (access: Access) => void,
): void {
  const access = accessFor(status, root);
  if (!access) return;
  const { gid, mode } = access;
  const isGiven = gid === undefined || giveGroup(() => set({ gid }));
  set({ mode: isGiven ? mode! : status.mode & 0o777 });
}

/** What must change; `undefined` if nothing. */
function accessFor(
  { kind, mode, gid }: Status,
  root: Status,
): Access | undefined {
  if (isWindows) return undefined;
  let wanted = mode & 0o777;
  const shared = isShared(root);
  if (shared && kind === "directory") wanted |= 0o070 | (root.mode & 0o2000);
  else if (shared) wanted |= 0o040 | (wanted & 0o100 ? 0o010 : 0);
  if (shared && gid !== root.gid) return { gid: root.gid, mode: wanted };
  return wanted === mode ? undefined : { mode: wanted };
}
