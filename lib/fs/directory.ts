/**
 * A directory that is held open. What is done to its entries is done by name,
 * through it, never by a path that somebody else could have changed meanwhile.
 *
 * There are two kinds: `descriptors.ts` has libc's calls, which are safe whoever
 * else may write there. `paths.ts` has Deno's, and is safe only where nobody else
 * may; it knows where that is ({@linkcode Directory.safe}).
 *
 * @module
 */

import { CacheError } from "../error.ts";
import type { ErrorKind } from "../os/error.ts";

/** What an entry is. */
export type EntryKind = "file" | "directory" | "symlink" | "other";

/** An entry of a directory. */
export interface Entry {
  /** Its name, without loss (see `os/text.ts`). */
  readonly name: string;
  /** What it is. */
  readonly kind: EntryKind;
}

/** A point in time, as file systems have it: to the nanosecond. */
export interface Time {
  /** Seconds since 1970. */
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** What is known of an entry. A symbolic link is itself, not what it leads to. */
export interface Status {
  readonly kind: EntryKind;
  /** Permissions with setuid, setgid and sticky: 0o7777 at most. 0 on Windows. */
  readonly mode: number;
  /** Whether a file has Windows' read-only attribute. */
  readonly readOnly?: boolean;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of a file. */
  readonly size: number;
  /** Bytes on the disk; `undefined` where that is not known. */
  readonly allocated: number | undefined;
  /** Names that it has. */
  readonly links: number;
  readonly device: number;
  /** The inode's number; `undefined` where it can't be told from another's. */
  readonly inode: number | bigint | undefined;
  readonly accessed: Time;
  readonly modified: Time;
  /** When its content or its inode was changed. */
  readonly changed: Time;
}

/** Owner, group, mode, times of an entry: those that are given. */
export interface Access {
  readonly uid?: number;
  readonly gid?: number;
  readonly mode?: number;
  /** Windows' read-only attribute is given, and never taken. */
  readonly readOnly?: true;
  readonly accessed?: Time;
  readonly modified?: Time;
}

/**
 * What a rename does with an entry that has the new name: `replace` it, be refused
 * by it (`new`), or `exchange` both.
 */
export type RenameHow = "replace" | "new" | "exchange";

/** How a file is opened: to read it, to write a new one, to lock it, or to read it and `append` to it. */
export type FileUse = "read" | "create" | "lock" | "append";

/**
 * Why a directory is opened: to use it, to remove what is in it, or since the user
 * `named` it: then it may be a mount point.
 */
export type OpenUse = "use" | "doomed" | "named";

/** What has extended attributes. */
export interface Attributed {
  /** Whether anything is known of them, and of times below a millisecond. */
  readonly isKnown: boolean;
  /** The names of its extended attributes. */
  attributes(): string[];
  /** The value of an extended attribute; `undefined` if it has none of that name. */
  attributes(name: string): Uint8Array<ArrayBuffer> | undefined;
  setAttribute(name: string, value: Uint8Array<ArrayBuffer>): void;
}

/** An open file. Dispose of it; `close()` says what the OS says to that. */
export interface OpenFile extends Disposable, Attributed {
  /** Its path, for people. */
  readonly path: string;
  /** What was known of it when it was opened. */
  readonly opened: Status;
  /** Reads on; gives how many bytes, 0 at the end. */
  read(into: Uint8Array<ArrayBuffer>): number;
  /** Writes all of it. */
  write(bytes: Uint8Array<ArrayBuffer>): void;
  /**
   * Writes it in the place of what the file has in it, from its beginning on. Whoever
   * reads meanwhile finds all of it where both are short and of one length.
   */
  rewrite(bytes: Uint8Array<ArrayBuffer>): void;
  status(): Status;
  setAccess(access: Access): void;
  removeAttribute(name: string): void;
  /** Waits until it is on the disk. */
  sync(): void;
  /** Tries to lock it. False if somebody has the lock. */
  tryLock(exclusive: boolean): boolean;
  /** Closes it, and throws if that fails: what was written may be lost then. */
  close(): void;
}

/** What {@linkcode Directory.linkFiles} has linked. */
export interface LinkedFiles {
  files: number;
  bytes: number;
  /** The first file that could not be linked, and why. */
  failed?: { readonly name: string; readonly error: unknown };
}

/** A directory that is held open. */
export interface Directory extends Disposable, Attributed {
  /** The path by which it was reached, for people, and for programs that need one. */
  readonly path: string;
  /**
   * Whether what is done through it can't be led astray: always with descriptors; by
   * paths, where nobody else can change the directory or what it lies in.
   */
  readonly safe: boolean;
  /**
   * Whether it is what is listed and changed, although others may be able to change
   * what is in it: always with descriptors; by paths, where nobody else can put something
   * else in its place.
   */
  readonly fixed: boolean;
  /**
   * A path that leads to an entry whatever is done to the directories above; where
   * there is none, `undefined`. For Deno's own calls.
   */
  pinned(name: string): string | undefined;
  /** What was known of the directory when it was opened. */
  readonly opened: Status;
  /** All entries, or all of a kind. A read error is an error, never an end. */
  list(only?: EntryKind): Entry[];
  /** The same, piece by piece where there are many, so that a signal is heard meanwhile. */
  pieces(only?: EntryKind): Iterable<Entry[]>;
  /** What is known of the directory itself. */
  status(): Status;
  /** What is known of an entry; `undefined` if there is none. Never follows. */
  look(name: string): Status | undefined;
  /**
   * Bytes of a regular file; -1 if it is none, or can't be looked at. What a loop over
   * many files needs: nothing is allocated.
   */
  sizeOf(name: string): number;
  /**
   * Whether an entry is a directory, of the same mount, whose owner may do all with it,
   * and that no directory lies in: told by its links, of which each directory in it is
   * one on most file systems. False where that can't be told.
   */
  isLeaf(name: string): boolean;
  /**
   * Whether an entry is a regular file of a size, last modified at a time (see
   * {@linkcode isSameMoment}). For loops, too.
   */
  isFile(name: string, size: number, modified: Time): boolean;
  /** Gives an entry the same name in another directory; gives the error, not throws it. */
  tryLink(name: string, to: Directory): unknown;
  /**
   * Gives all files that have content the same names in another directory, as they are
   * listed: no name becomes a text. Piece by piece, it gives what is left: all other
   * entries, and all files from the first one on that could not be linked. Where names
   * are always texts, that is everything.
   *
   * @param done Where what was linked is counted.
   */
  linkFiles(to: Directory, done: LinkedFiles): Iterable<Entry[]>;
  /**
   * Opens a directory in it. Never follows, and crosses no mount: that is an error of
   * kind `mount`, unless it was `named`. What is `doomed` is made readable and
   * writable if need be.
   *
   * @param made What is known of it, where it was made just now and nobody else can
   * have touched it: then it is not looked at.
   */
  open(name: string, use?: OpenUse, made?: Status): Directory;
  /** Makes a directory. The mode is subject to the umask. */
  make(name: string, mode?: number): void;
  /** Gives an entry a second name. */
  link(name: string, to: Directory, newName: string): void;
  /**
   * Makes a symbolic link.
   *
   * @param junction On Windows, for a link to a directory: where it leads, by an absolute
   * path, for a junction if its user may make no symbolic link.
   */
  symlink(text: string, name: string, junction?: string): void;
  readLink(name: string): string;
  rename(name: string, to: Directory, newName: string, how?: RenameHow): void;
  /** Removes an entry that is no directory. */
  remove(name: string): void;
  /** Removes an empty directory. */
  removeDirectory(name: string): void;
  /** Opens a regular file; anything else is an error. Never follows, never waits. */
  openFile(name: string, use: FileUse, mode?: number): OpenFile;
  /** Sets what is given of the directory itself. */
  setAccess(access: Access): void;
  removeAttribute(name: string): void;
  /** Sets what is given of an entry. Never follows. A symbolic link has no mode. */
  setAccessOf(name: string, access: Access): void;
  /**
   * Sets the times of a file to now, which everybody may who may write to it: others
   * than its owner may give it no times of their own choice. Never follows.
   */
  touch(name: string): void;
  /** An entry as what has attributes of its own: also a symbolic link. */
  attributesOf(name: string): Attributed;
  /** Waits until its entries' names are on the disk. */
  sync(): void;
  /** Tries to lock the directory itself. False if somebody has the lock. */
  tryLock(exclusive: boolean): boolean;
  /**
   * The same directory, held a second time.
   *
   * @param path What it is called from then on, where people know it by another path
   * than that of a staging.
   */
  again(path?: string): Directory;
}

/** The path of an entry, for people. */
export function pathIn(
  { path }: Pick<Directory, "path">,
  name: string,
): string {
  return joinPath(path, name);
}

/** The path of an entry of the directory at a path. */
export function joinPath(path: string, name: string): string {
  // Only a root ends so. (A deep path is put together when somebody reads it.)
  return path.length <= 3 && /[/\\]$/.test(path)
    ? path + name
    : `${path}${Deno.build.os === "windows" ? "\\" : "/"}${name}`;
}

/** Which inode it is, as a key; `undefined` where two can't be told apart. */
export function inodeKey({ device, inode }: Status): string | undefined {
  return inode === undefined ? undefined : `${device}:${inode}`;
}

/** Whether both are one inode. Where that can't be told, they are not. */
export function isSameInode(a: Status, b: Status): boolean {
  return a.inode !== undefined && a.inode === b.inode && a.device === b.device;
}

/** Whether two points in time are one. */
export function isSameTime(a: Time, b: Time): boolean {
  return a.seconds === b.seconds && a.nanoseconds === b.nanoseconds;
}

/**
 * Whether a file that was modified at one time was not modified since. Deno's own calls
 * know milliseconds, and archives of backups often seconds only.
 */
export function isSameMoment(then: Time, now: Time): boolean {
  if (then.seconds !== now.seconds) return false;
  if (now.nanoseconds === 0) return true;
  const [a, b] = [then.nanoseconds, now.nanoseconds];
  return Math.floor(a / 1e6) === Math.floor(b / 1e6);
}

/** A time of JavaScript's: milliseconds since 1970. */
export function toMilliseconds({ seconds, nanoseconds }: Time): number {
  return seconds * 1000 + Math.floor(nanoseconds / 1e6);
}

/** A point in time by milliseconds since 1970. */
export function fromMilliseconds(milliseconds: number): Time {
  const seconds = Math.floor(milliseconds / 1000);
  const rest = milliseconds - seconds * 1000;
  return { seconds, nanoseconds: Math.round(rest * 1e6) };
}

/** The error that something is mounted where a tree is to be walked. */
export function mountError(path: string): CacheError {
  return new CacheError(
    `"${path}" is a mount point, and what is mounted there is not touched. Unmount it first`,
    path,
    "mount",
  );
}

/** The error that a file is none that can be opened here. */
export function notRegular(path: string, kind: ErrorKind = "invalid") {
  return new CacheError(`"${path}" is not a regular file`, path, kind);
}
