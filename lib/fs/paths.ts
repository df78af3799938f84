/**
 * Directories by their paths, with Deno's API: where there are no descriptors. Names
 * are those that Deno has, so one that is not UTF-8 can't be reached. Times are to the
 * millisecond.
 *
 * @module
 */

import { CacheError } from "../error.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { log } from "../log.ts";
import { steady } from "../os/patience.ts";
import { renameExchangeOnMacos } from "../os/macos.ts";
import { fileNumber } from "../os/windows.ts";
import {
  type Access,
  type Attributed,
  type Directory,
  type Entry,
  type EntryKind,
  type FileUse,
  fromMilliseconds,
  isSameInode,
  isSameMoment,
  joinPath,
  mountError,
  notRegular,
  type OpenFile,
  type OpenUse,
  type RenameHow,
  type Status,
  type Time,
  toMilliseconds,
} from "./directory.ts";
import {
  evenReadOnly,
  isReadOnly,
  removeEvenReadOnly,
  renameEvenOver,
  setReadOnly,
} from "./read_only.ts";
import { isFixed, isOursAlone, ownId, staysThere } from "./trust.ts";

const isWindows = Deno.build.os === "windows";

// Deno's calls; made again when a signal came.
const realPathSync = steady(Deno.realPathSync);
const statSync = steady(Deno.statSync);
const lstatSync = steady(Deno.lstatSync);
const mkdirSync = steady(Deno.mkdirSync);
const linkSync = steady(Deno.linkSync);
const symlinkSync = steady(Deno.symlinkSync);
const readLinkSync = steady(Deno.readLinkSync);
const openSync = steady(Deno.openSync);
const chmodSync = steady(Deno.chmodSync);
const chownSync = steady(Deno.chownSync);
const utimeSync = steady(Deno.utimeSync);

/** Deno knows of no extended attributes. */
class Unattributed implements Attributed {
  readonly isKnown = false;

  attributes(): string[];
  attributes(name: string): Uint8Array<ArrayBuffer> | undefined;
  attributes(name?: string): string[] & undefined {
    return (name === undefined ? [] : undefined) as string[] & undefined;
  }

  setAttribute(name: string): void {
    throw new Deno.errors.NotSupported(`Cannot set "${name}" without libc`);
  }

  removeAttribute(): void {}
}

/** A directory known by its path. */
export class PathDirectory extends Unattributed implements Directory {
  readonly path: string;
  readonly #at: string;
  #safe: boolean | undefined;

  /**
   * A directory.
   *
   * @param at Its path.
   * @param shown The path that people know it by.
   * @param opened What was known of it when it was opened.
   */
  constructor(
    at: string,
    safe?: boolean,
    shown: string = at,
    opened?: Status,
  ) {
    super();
    this.#at = at;
    this.path = shown;
    this.#safe = safe;
    this.#opened = opened;
  }

  /** Its path for the OS, which {@linkcode path} need not be. */
  get at(): string {
    return this.#at;
  }

  /** The path of an entry. */
  entry(name: string): string {
    return joinPath(this.#at, name);
  }

  /** The path that people know an entry by. */
  #shown(name: string): string {
    return joinPath(this.path, name);
  }

  /** Opens a directory by its path, symbolic links in it followed. */
  static at(path: string): PathDirectory {
    const real = realPathSync(path);
    const info = statSync(real);
    if (!info.isDirectory) throw notADirectory(path);
    return new PathDirectory(real, undefined, real, toStatus(info, real));
  }

  get safe(): boolean {
    return this.#safe ??= isOursAlone(this.#at);
  }

  get fixed(): boolean {
    return this.safe || staysThere(this.#at);
  }

  pinned(name: string): string | undefined {
    return this.safe ? this.entry(name) : undefined;
  }

  list(only?: EntryKind): Entry[] {
    const entries = steady(() => Array.from(Deno.readDirSync(this.#at)))()
      .map((it) => ({ name: it.name, kind: kindOf(it) }));
    return only ? entries.filter(({ kind }) => kind === only) : entries;
  }

  pieces(only?: EntryKind): Iterable<Entry[]> {
    return [this.list(only)]; // Deno gives all of them or none
  }

  status(): Status {
    return toStatus(lstatSync(this.#at), this.#at);
  }

  look(name: string): Status | undefined {
    try {
      const path = this.entry(name);
      return toStatus(lstatSync(path), path);
    } catch (error) {
      if (errorKind(error) === "not-found") return undefined;
      throw error;
    }
  }

  sizeOf(name: string): number {
    try {
      const { isFile, size } = lstatSync(this.entry(name));
      return isFile ? size : -1;
    } catch {
      return -1;
    }
  }

  /** A path does not tell whether something is mounted there. */
  isLeaf(_name: string): boolean {
    return false;
  }

  isFile(name: string, size: number, modified: Time): boolean {
    const { isFile, size: now, mtime } = lstatSync(this.entry(name));
    const then = fromMilliseconds(mtime?.getTime() ?? 0);
    return isFile && now === size && isSameMoment(modified, then);
  }

  linkFiles(): Iterable<Entry[]> {
    return this.pieces();
  }

  tryLink(name: string, to: Directory): unknown {
    try {
      this.link(name, to, name);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  open(name: string, use: OpenUse = "use"): PathDirectory {
    const path = this.entry(name);
    const info = lstatSync(path);
    if (!info.isDirectory) throw notADirectory(path);
    const isMount = use !== "named" &&
      isMounted(path, info.dev, this.#device(), use === "doomed");
    if (isMount) throw mountError(path);
    const shown = this.#shown(name);
    if (use !== "doomed") {
      const safe = this.#safe ? isClosedToOthers(info) : undefined;
      return new PathDirectory(path, safe, shown, toStatus(info, path));
    }
    const fixed = this.safe || isFixed(path);
    const safe = fixed && claim(path, info);
    return new PathDirectory(path, safe, shown, toStatus(info, path));
  }

  #deviceNumber: number | undefined;
  #device(): number {
    return this.#deviceNumber ??= lstatSync(this.#at).dev;
  }

  make(name: string, mode = 0o777): void {
    mkdirSync(this.entry(name), isWindows ? {} : { mode });
  }

  link(name: string, to: Directory, newName: string): void {
    linkSync(this.entry(name), (to as PathDirectory).entry(newName));
  }

  symlink(text: string, name: string, junction?: string): void {
    const path = this.entry(name);
    const type = junction === undefined ? "file" : "dir";
    try {
      symlinkSync(text, path, { type });
    } catch (error) {
      if (junction === undefined || errorKind(error) !== "unsupported") {
        throw error;
      }
      symlinkSync(junction, path, { type: "junction" });
    }
  }

  readLink(name: string): string {
    return readLinkSync(this.entry(name));
  }

  rename(
    name: string,
    to: Directory,
    newName: string,
    how: RenameHow = "replace",
  ): void {
    const [from, at] = [this.entry(name), (to as PathDirectory).entry(newName)];
    if (how === "exchange") return renameExchangeOnMacos(from, at);
    if (how === "new" && to.look(newName)) {
      throw new Deno.errors.AlreadyExists(`Something stands at "${at}"`);
    }
    renameEvenOver(from, at);
  }

  remove(name: string): void {
    const path = this.entry(name);
    // Deno.remove takes an empty directory, too.
    if (lstatSync(path).isDirectory) {
      throw new Deno.errors.IsADirectory(`"${path}" is a directory`);
    }
    removeEvenReadOnly(path);
  }

  removeDirectory(name: string): void {
    removeEvenReadOnly(this.entry(name));
  }

  openFile(name: string, use: FileUse, mode?: number): OpenFile {
    const path = this.entry(name);
    if (use === "create") {
      const how = { read: true, write: true, createNew: true };
      const file = openSync(
        path,
        isWindows || mode === undefined ? how : { ...how, mode },
      );
      return new PathFile(file, path, this.#shown(name));
    }
    // Looked at first: opening a FIFO waits, and a symbolic link is followed.
    const before = lstatSync(path);
    if (before.isSymlink) {
      throw new CacheError(
        `"${path}" is a symbolic link, which is not followed`,
        path,
        "loop",
      );
    }
    if (!before.isFile) throw notRegular(path);
    const file = new PathFile(
      use === "read"
        ? openSync(path)
        : use === "append"
        ? openSync(path, { read: true, append: true })
        : openToLock(path),
      path,
      this.#shown(name),
    );
    const now = file.status();
    const was = toStatus(before, path);
    if (was.inode === undefined || isSameInode(now, was)) return file;
    file[Symbol.dispose]();
    throw new Deno.errors.NotFound(`"${path}" was replaced meanwhile`);
  }

  setAccess(access: Access): void {
    setAccessOfPath(this.#at, access);
  }

  setAccessOf(name: string, access: Access): void {
    const path = this.entry(name);
    // Deno's calls would follow it.
    if (lstatSync(path).isSymlink) return;
    setAccessOfPath(path, access);
  }

  /** Deno has no call for who is not its owner; nobody else can be here, anyway. */
  touch(name: string): void {
    this.setAccessOf(name, { modified: fromMilliseconds(Date.now()) });
  }

  get opened(): Status {
    return this.#opened ??= this.status();
  }
  #opened: Status | undefined;

  attributesOf(): Attributed {
    return this;
  }

  sync(): void {
    if (isWindows) return; // which flushes no directory
    using file = openSync(this.#at);
    file.syncSync();
  }

  #locked: Deno.FsFile | undefined;

  tryLock(exclusive: boolean): boolean {
    this.#locked ??= openSync(this.#at);
    const file = this.#locked;
    return steady(() => file.tryLockSync(exclusive))();
  }

  again(path: string = this.path): PathDirectory {
    return new PathDirectory(this.#at, this.#safe, path, this.#opened);
  }

  [Symbol.dispose](): void {
    this.#locked?.close();
    this.#locked = undefined;
  }
}

function notADirectory(path: string): Error {
  return new Deno.errors.NotADirectory(`"${path}" is not a directory`);
}

function kindOf(
  { isFile, isDirectory, isSymlink }: Pick<
    Deno.FileInfo,
    "isFile" | "isDirectory" | "isSymlink"
  >,
): EntryKind {
  return isSymlink
    ? "symlink"
    : isDirectory
    ? "directory"
    : isFile
    ? "file"
    : "other";
}

function toStatus(info: Deno.FileInfo, path: string): Status {
  const { ino, blocks } = info;
  const time = (date: Date | null) => fromMilliseconds(date?.getTime() ?? 0);
  return {
    kind: kindOf(info),
    mode: isWindows ? 0 : (info.mode ?? 0) & 0o7777,
    ...isReadOnly(info) && { readOnly: true },
    uid: info.uid ?? 0,
    gid: info.gid ?? 0,
    size: info.size,
    allocated: isWindows || blocks === null ? undefined : blocks * 512,
    links: info.nlink ?? 1,
    device: info.dev,
    // Deno rounds what does not fit a number: then it is many inodes' number.
    inode: ino !== null && Number.isSafeInteger(ino) ? ino : fileNumber(path),
    accessed: time(info.atime),
    modified: time(info.mtime),
    changed: time(info.ctime),
  };
}

/** Of a directory in one that is ours alone: whether it is, too. */
function isClosedToOthers({ mode, uid }: Deno.FileInfo): boolean {
  if (isWindows) return true;
  return mode !== null && (mode & 0o022) === 0 &&
    (uid === 0 || uid === ownId());
}

/** @param maySet Whether it is known that Deno may write there. */
function isMounted(
  path: string,
  device: number,
  parent: number,
  maySet: boolean,
): boolean {
  if (isWindows) return false; // what is mounted in a folder is a junction: a link
  if (device !== parent) return true;
  if (Deno.build.os !== "linux") return false; // no mounts of parts of a device
  // Asked first, because Deno would stop and ask the user on a terminal.
  const may = maySet ||
    Deno.permissions.querySync({ name: "write", path }).state === "granted";
  return may && probeByLink(path);
}

/**
 * Linux gives no directory a second name: link(2) says EPERM. But before that it says
 * EXDEV of what is mounted, if only from another part of the same device (fs/namei.c:
 * do_linkat compares the mounts, vfs_link the rest). Nothing is made or changed.
 */
function probeByLink(path: string): boolean {
  const name = `.no-mount-${crypto.randomUUID()}`;
  try {
    linkSync(path, `${path}/../${name}`);
    return true; // never
  } catch (error) {
    return errorKind(error) === "cross-device";
  }
}

/**
 * Makes a doomed directory ours alone, so that nobody changes it while it is emptied
 * by paths. Nobody can put another one in its place. Whether that was possible.
 */
function claim(path: string, { mode, uid }: Deno.FileInfo): boolean {
  if (isWindows) return true;
  const me = ownId();
  const ours = me !== undefined && uid === me;
  if (ours && mode !== null && (mode & 0o722) === 0o700) return true;
  try {
    if (!ours) {
      if (me !== 0) return false;
      chownSync(path, 0, null);
    }
    chmodSync(path, 0o700);
    return true;
  } catch (error) {
    log.trace(() => `"${path}" stays open to others: ${osErrorText(error)}`);
    return false;
  }
}

function openToLock(path: string): Deno.FsFile {
  try {
    // NFS locks exclusively only what is open for writing.
    const how = { read: true, write: true };
    return evenReadOnly(path, () => openSync(path, how));
  } catch (error) {
    const kind = errorKind(error);
    if (kind !== "permission" && kind !== "read-only") throw error;
    try {
      return openSync(path); // another user's: can be locked all the same
    } catch {
      throw error;
    }
  }
}

function setAccessOfPath(path: string, access: Access): void {
  const { uid, gid, mode, readOnly, modified, accessed } = access;
  if (!isWindows) {
    if (uid !== undefined || gid !== undefined) {
      chownSync(path, uid ?? null, gid ?? null);
    }
    if (mode !== undefined) chmodSync(path, mode);
  }
  if (modified) {
    const date = new Date(toMilliseconds(modified));
    const read = accessed ? new Date(toMilliseconds(accessed)) : date;
    evenReadOnly(path, () => utimeSync(path, read, date));
  }
  if (readOnly) setReadOnly(path, true);
}

/** An open file of Deno's. */
export class PathFile extends Unattributed implements OpenFile {
  readonly path: string;
  readonly #at: string;
  readonly #file: Deno.FsFile;
  #open = true;

  /**
   * A file.
   *
   * @param at Its path.
   * @param shown The path that people know it by.
   */
  constructor(file: Deno.FsFile, at: string, shown: string) {
    super();
    this.#file = file;
    this.#at = at;
    this.path = shown;
  }

  read(into: Uint8Array<ArrayBuffer>): number {
    return steady(() => this.#file.readSync(into))() ?? 0;
  }

  write(bytes: Uint8Array<ArrayBuffer>): void {
    for (let done = 0; done < bytes.length;) {
      const rest = bytes.subarray(done);
      done += steady(() => this.#file.writeSync(rest))();
    }
  }

  get opened(): Status {
    return this.#opened ??= this.status();
  }
  #opened: Status | undefined;

  status(): Status {
    return toStatus(steady(() => this.#file.statSync())(), this.#at);
  }

  /** By its path: Deno changes neither owner nor mode of an open file. */
  setAccess(access: Access): void {
    setAccessOfPath(this.#at, access);
  }

  rewrite(bytes: Uint8Array<ArrayBuffer>): void {
    this.#file.seekSync(0, Deno.SeekMode.Start);
    this.write(bytes);
    this.#file.truncateSync(bytes.length);
  }

  sync(): void {
    steady(() => this.#file.syncSync())();
  }

  tryLock(exclusive: boolean): boolean {
    return steady(() => this.#file.tryLockSync(exclusive))();
  }

  close(): void {
    if (this.#open) this.#file.close();
    this.#open = false;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
