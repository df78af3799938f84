/**
 * What a copy keeps of its source beside its content: owner, mode, times, extended
 * attributes with access control lists and capabilities, as `cp -a` does.
 *
 * No file gains power: an owner that can't be kept takes setuid and setgid with it,
 * and an access control list that can't be kept narrows the group's rights to those
 * that the list gave to the group.
 *
 * @module
 */

import { errorKind, osErrorText } from "../os/error.ts";
import {
  type Access,
  type Attributed,
  type Directory,
  isSameTime,
  type OpenFile,
  pathIn,
  type Status,
} from "./directory.ts";

/** What is kept: `all`; or `content`, mode and times, but nobody's rights. */
export type Keep = "all" | "content";

/**
 * Something that could not be kept, told once a kind.
 *
 * @category Trees
 */
export interface NotKept {
  /** `owner`, `setuid`, `acl`, `xattr`, `capability`, `hardlink`. */
  readonly what: string;
  /** Why: what the operating system said. */
  readonly reason: string;
  /** A path that it happened to. */
  readonly example: string;
  /** How many it happened to. */
  readonly count: number;
}

/** Both a file and a directory are, when they are held open. */
type Held =
  & Attributed
  & Pick<OpenFile | Directory, "path" | "setAccess">;

/** Group's rights and all others' of an access control list are in its mode. */
const ACL = "system.posix_acl_access";
const DEFAULT_ACL = "system.posix_acl_default";
const CAPABILITY = "security.capability";

const SPECIAL = 0o6000;

const WITHOUT_LIBC =
  "extended attributes and access control lists can't be read without --allow-ffi";

/** Keeps what can be kept, and counts what can't. */
export class Keeper {
  /** What could not be kept, by what it is. */
  readonly notKept: Map<string, NotKept>;
  readonly #keep: Keep;

  /** What it keeps. */
  get what(): Keep {
    return this.#keep;
  }

  constructor(keep: Keep, notKept: Map<string, NotKept> = new Map()) {
    this.#keep = keep;
    this.notKept = notKept;
  }

  /**
   * Gives a new file or directory what its source has.
   *
   * @param from The source, and what is known of it.
   * @param to What was made.
   * @param made What that has by itself.
   */
  keep(from: Held, status: Status, to: Held, made: Status): void {
    // (Windows has none that this could be.)
    if (!from.isKnown && Deno.build.os !== "windows") {
      this.note("xattr", WITHOUT_LIBC, to.path);
    }
    const access: { -readonly [K in keyof Access]: Access[K] } = {};
    let mode = status.mode;
    if (this.#keep === "content") mode = withoutSpecial(status);
    else if (!this.#keepOwner(status, to, made)) {
      // Another's setuid or setgid bit would be ours now.
      if (mode & SPECIAL) this.note("setuid", "its owner is another", to.path);
      mode &= ~SPECIAL;
    }
    mode = this.#keepAttributes(from, to, to.path, mode, made);
    // An owner that was changed has taken the special bits away.
    if (made.mode !== mode || mode & SPECIAL) access.mode = mode;
    if (status.readOnly && this.#keep === "all") access.readOnly = true;
    access.accessed = status.accessed;
    access.modified = status.modified;
    to.setAccess(access);
  }

  /** A symbolic link's owner, attributes and times. */
  keepLink(
    from: Directory,
    fromName: string,
    status: Status,
    to: Directory,
    name: string,
  ): void {
    if (this.#keep === "all") {
      const path = pathIn(to, name);
      const made = to.look(name);
      if (made && (made.uid !== status.uid || made.gid !== status.gid)) {
        const { uid, gid } = status;
        this.#try("owner", path, () => to.setAccessOf(name, { uid, gid }));
      }
      const [source, target] = [
        from.attributesOf(fromName),
        to.attributesOf(name),
      ];
      this.#keepAttributes(source, target, path, 0);
    }
    const { accessed, modified } = status;
    to.setAccessOf(name, { accessed, modified });
  }

  /** Counts what could not be kept. */
  note(what: string, reason: string, example: string, count = 1): void {
    const known = this.notKept.get(what);
    this.notKept.set(
      what,
      known
        ? { ...known, count: known.count + count }
        : { what, reason, example, count },
    );
  }

  #keepOwner({ uid, gid }: Status, to: Held, made: Status): boolean {
    if (made.uid === uid && made.gid === gid) return true;
    if (this.#try("owner", to.path, () => to.setAccess({ uid, gid }))) {
      return true;
    }
    // Its group, at least, may be one of ours.
    if (made.gid !== gid) {
      try {
        to.setAccess({ gid });
      } catch {
        // told already
      }
    }
    return false;
  }

  /** Gives the mode that remains to be set. */
  #keepAttributes(
    from: Attributed,
    to: Held | Attributed,
    path: string,
    mode: number,
    made?: Status,
  ): number {
    const names = from.attributes();
    if (names.length === 0) return mode;
    // An attribute takes a right to write, also for the owner (xattr(7)).
    const opened = made && (made.mode & 0o200) === 0 && "setAccess" in to &&
      made.kind === "file" && this.#keep === "all";
    if (opened) to.setAccess({ mode: made.mode | 0o200 });
    const before = mode;
    for (const [name, value] of entriesOf(from, names)) {
      const isAcl = name === ACL || name === DEFAULT_ACL;
      const kept = this.#keep === "all" && this.#try(
        isAcl ? "acl" : name === CAPABILITY ? "capability" : "xattr",
        path,
        () => to.setAttribute(name, value),
      );
      // A mode beside a list shows the list's mask where the group's rights are.
      if (!kept && name === ACL) mode = mode & ~0o070 | groupOf(value, mode);
    }
    if (opened && mode === before) to.setAccess({ mode });
    return mode;
  }

  #try(what: string, path: string, call: () => void): boolean {
    try {
      call();
      return true;
    } catch (error) {
      const kind = errorKind(error);
      // Not permitted, not there on this file system. Anything else is an error.
      if (
        kind !== "permission" && kind !== "unsupported" && kind !== "invalid" &&
        kind !== "not-capable"
      ) throw error;
      this.note(what, osErrorText(error), path);
      return false;
    }
  }
}

/** Takes away the access control lists that a directory got from where it was made. */
export function removeInherited(
  directory: Directory,
  but: readonly string[] = [],
) {
  for (const name of directory.attributes()) {
    if ((name === ACL || name === DEFAULT_ACL) && !but.includes(name)) {
      directory.removeAttribute(name);
    }
  }
}

/** Without setuid and setgid, which are powers of an owner that is not kept. */
function withoutSpecial({ kind, mode }: Status): number {
  // A directory's setgid bit gives nobody power, but a group to what is made there.
  return kind === "directory" ? mode & 0o1777 : mode & 0o777;
}

function* entriesOf(
  from: Attributed,
  names: readonly string[],
): Generator<[name: string, value: Uint8Array<ArrayBuffer>]> {
  for (const name of names) {
    // What the kernel makes itself, and what a file gets from where it is. XFS shows
    // its access control lists to root a second time.
    if (
      name === "security.selinux" || name.startsWith("btrfs.") ||
      name.startsWith("trusted.SGI_ACL_")
    ) continue;
    const value = from.attributes(name);
    if (value) yield [name, value];
  }
}

/**
 * The rights that a list gives to the owning group: its entry, within its mask.
 * Entries are 8 bytes: tag, rights, id (include/uapi/linux/posix_acl_xattr.h).
 */
function groupOf(list: Uint8Array<ArrayBuffer>, mode: number): number {
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
  const ACL_GROUP_OBJ = 0x04;
  const ACL_MASK = 0x10;
  let [group, mask] = [0, 7];
  for (let at = 4; at + 8 <= list.length; at += 8) {
    const tag = view.getUint16(at, true);
    if (tag === ACL_GROUP_OBJ) group = view.getUint16(at + 2, true);
    if (tag === ACL_MASK) mask = view.getUint16(at + 2, true);
  }
  return (group & mask & 7) << 3 & mode;
}

/** Whether nothing that is kept differs: for a file that shall take another's place. */
export function isLike(a: Status, b: Status): boolean {
  return a.uid === b.uid && a.gid === b.gid && a.mode === b.mode &&
    (a.readOnly ?? false) === (b.readOnly ?? false) &&
    a.size === b.size && isSameTime(a.modified, b.modified);
}
