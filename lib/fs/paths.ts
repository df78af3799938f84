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
import { listMounts } from "../os/mounts.ts";
import { renameExchangeOnMacos } from "../os/macos.ts";
import {
  type Access,
  type Directory,
  type Entry,
  type EntryKind,
  type FileUse,
  fromMilliseconds,
  isSameInode,
  mountError,
  notRegular,
  type OpenFile,
  type OpenUse,
  pathIn,
  type RenameHow,
  type Status,
  toMilliseconds,
} from "./directory.ts";
import { isOursAlone, ownId } from "./trust.ts";

const isWindows = Deno.build.os === "windows";

/** A directory known by its path. */
export class PathDirectory implements Directory {
  readonly path: string;
  #safe: boolean | undefined;

  constructor(path: string, safe?: boolean) {
    this.path = path;
    this.#safe = safe;
  }

  /** Opens a directory by its path, symbolic links in it followed. */
  static at(path: string): PathDirectory {
    const real = Deno.realPathSync(path);
    if (!Deno.statSync(real).isDirectory) throw notADirectory(path);
    return new PathDirectory(real);
  }

  get safe(): boolean {
    return this.#safe ??= isOursAlone(this.path);
  }

  pinned(name: string): string | undefined {
    return this.safe ? pathIn(this, name) : undefined;
  }

  list(): Entry[] {
    const entries: Entry[] = [];
    for (const entry of Deno.readDirSync(this.path)) {
      entries.push({ name: entry.name, kind: kindOf(entry) });
    }
    return entries;
  }

  status(): Status {
    return toStatus(Deno.lstatSync(this.path));
  }

  look(name: string): Status | undefined {
    try {
      return toStatus(Deno.lstatSync(pathIn(this, name)));
    } catch (error) {
      if (errorKind(error) === "not-found") return undefined;
      throw error;
    }
  }

  open(name: string, use: OpenUse = "use"): PathDirectory {
    const path = pathIn(this, name);
    const info = Deno.lstatSync(path);
    if (!info.isDirectory) throw notADirectory(path);
    if (use !== "named" && isMounted(path, info.dev, this.#device())) {
      throw mountError(path);
    }
    if (use !== "doomed") return new PathDirectory(path);
    // Where nobody can say what is mounted, the OS can: it removes no mount point.
    if (listMounts() === undefined) probeByRemoval(path);
    return new PathDirectory(path, this.safe && claim(path, info));
  }

  #deviceNumber: number | undefined;
  #device(): number {
    return this.#deviceNumber ??= Deno.lstatSync(this.path).dev;
  }

  make(name: string, mode = 0o777): void {
    Deno.mkdirSync(pathIn(this, name), isWindows ? {} : { mode });
  }

  link(name: string, to: Directory, newName: string): void {
    Deno.linkSync(pathIn(this, name), pathIn(to, newName));
  }

  symlink(text: string, name: string, leadsToDirectory = false): void {
    const type = leadsToDirectory ? "dir" : "file";
    Deno.symlinkSync(text, pathIn(this, name), { type });
  }

  readLink(name: string): string {
    return Deno.readLinkSync(pathIn(this, name));
  }

  rename(
    name: string,
    to: Directory,
    newName: string,
    how: RenameHow = "replace",
  ): void {
    const [from, at] = [pathIn(this, name), pathIn(to, newName)];
    if (how === "exchange") return renameExchangeOnMacos(from, at);
    if (how === "new" && to.look(newName)) {
      throw new Deno.errors.AlreadyExists(`Something stands at "${at}"`);
    }
    Deno.renameSync(from, at);
  }

  remove(name: string): void {
    const path = pathIn(this, name);
    // Deno.remove takes an empty directory, too.
    if (Deno.lstatSync(path).isDirectory) {
      throw new Deno.errors.IsADirectory(`"${path}" is a directory`);
    }
    Deno.removeSync(path);
  }

  removeDirectory(name: string): void {
    Deno.removeSync(pathIn(this, name));
  }

  openFile(name: string, use: FileUse, mode?: number): OpenFile {
    const path = pathIn(this, name);
    if (use === "create") {
      const how = { write: true, createNew: true };
      const file = Deno.openSync(
        path,
        isWindows || mode === undefined ? how : { ...how, mode },
      );
      return new PathFile(file, path);
    }
    // Looked at first: opening a FIFO waits, and a symbolic link is followed.
    const before = Deno.lstatSync(path);
    if (before.isSymlink) {
      throw new CacheError(
        `"${path}" is a symbolic link, which is not followed`,
        path,
        "loop",
      );
    }
    if (!before.isFile) throw notRegular(path);
    const file = new PathFile(
      use === "read" ? Deno.openSync(path) : openToLock(path),
      path,
    );
    const now = file.status();
    const was = toStatus(before);
    if (was.inode === undefined || isSameInode(now, was)) return file;
    file[Symbol.dispose]();
    throw new Deno.errors.NotFound(`"${path}" was replaced meanwhile`);
  }

  setAccess(access: Access): void {
    setAccessOfPath(this.path, access);
  }

  setAccessOf(name: string, access: Access): void {
    const path = pathIn(this, name);
    // Deno's calls would follow it.
    if (Deno.lstatSync(path).isSymlink) return;
    setAccessOfPath(path, access);
  }

  sync(): void {
    if (isWindows) return; // which flushes no directory
    using file = Deno.openSync(this.path);
    file.syncSync();
  }

  #locked: Deno.FsFile | undefined;

  tryLock(exclusive: boolean): boolean {
    this.#locked ??= Deno.openSync(this.path);
    return this.#locked.tryLockSync(exclusive);
  }

  again(): PathDirectory {
    return new PathDirectory(this.path, this.#safe);
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

function toStatus(info: Deno.FileInfo): Status {
  const { ino, blocks } = info;
  const time = (date: Date | null) => fromMilliseconds(date?.getTime() ?? 0);
  return {
    kind: kindOf(info),
    mode: isWindows ? 0 : (info.mode ?? 0) & 0o7777,
    uid: info.uid ?? 0,
    gid: info.gid ?? 0,
    size: info.size,
    allocated: isWindows || blocks === null ? undefined : blocks * 512,
    links: info.nlink ?? 1,
    device: info.dev,
    // Deno rounds what does not fit a number: then it is many inodes' number.
    inode: ino !== null && Number.isSafeInteger(ino) ? ino : undefined,
    accessed: time(info.atime),
    modified: time(info.mtime),
    changed: time(info.ctime),
  };
}

function isMounted(path: string, device: number, parent: number): boolean {
  if (!isWindows && device !== parent) return true;
  return listMounts()?.some(({ point }) => point === path) ?? false;
}

/**
 * rmdir(2) says EBUSY of a mount point before it says ENOTEMPTY of a directory with
 * something in it (fs/namei.c, vfs_rmdir). It takes an empty one away, which is what
 * it is doomed to.
 *
 * @throws `not-found` if it was empty and is gone.
 */
function probeByRemoval(path: string): void {
  if (isWindows) return; // no mount below a directory but junctions, which are links
  try {
    Deno.removeSync(path);
  } catch (error) {
    const kind = errorKind(error);
    if (kind === "busy") throw mountError(path);
    return; // not empty, or not to be removed: that will be said again
  }
  throw new Deno.errors.NotFound(`"${path}" is gone`);
}

/**
 * Makes a doomed directory ours alone, so that nobody changes it while it is emptied
 * by paths. Its parent is ours alone already. Whether that was possible.
 */
function claim(path: string, { mode, uid }: Deno.FileInfo): boolean {
  if (isWindows) return true;
  const me = ownId();
  const ours = me !== undefined && uid === me;
  if (ours && mode !== null && (mode & 0o722) === 0o700) return true;
  try {
    if (!ours) {
      if (me !== 0) return false;
      Deno.chownSync(path, 0, null);
    }
    Deno.chmodSync(path, 0o700);
    return true;
  } catch (error) {
    log.trace(() => `"${path}" stays open to others: ${osErrorText(error)}`);
    return false;
  }
}

function openToLock(path: string): Deno.FsFile {
  try {
    // NFS locks exclusively only what is open for writing.
    return Deno.openSync(path, { read: true, write: true });
  } catch (error) {
    const kind = errorKind(error);
    if (kind !== "permission" && kind !== "read-only") throw error;
    try {
      return Deno.openSync(path); // another user's: can be locked all the same
    } catch {
      throw error;
    }
  }
}

function setAccessOfPath(path: string, access: Access): void {
  const { uid, gid, mode, modified, accessed } = access;
  if (!isWindows) {
    if (uid !== undefined || gid !== undefined) {
      Deno.chownSync(path, uid ?? null, gid ?? null);
    }
    if (mode !== undefined) Deno.chmodSync(path, mode);
  }
  if (!modified) return;
  const date = new Date(toMilliseconds(modified));
  const read = accessed ? new Date(toMilliseconds(accessed)) : date;
  Deno.utimeSync(path, read, date);
}

/** An open file of Deno's. */
export class PathFile implements OpenFile {
  readonly path: string;
  readonly #file: Deno.FsFile;
  #open = true;

  constructor(file: Deno.FsFile, path: string) {
    this.#file = file;
    this.path = path;
  }

  read(into: Uint8Array<ArrayBuffer>): number {
    return this.#file.readSync(into) ?? 0;
  }

  write(bytes: Uint8Array<ArrayBuffer>): void {
    for (let done = 0; done < bytes.length;) {
      done += this.#file.writeSync(bytes.subarray(done));
    }
  }

  status(): Status {
    return toStatus(this.#file.statSync());
  }

  /** By its path: Deno changes neither owner nor mode of an open file. */
  setAccess(access: Access): void {
    setAccessOfPath(this.path, access);
  }

  sync(): void {
    this.#file.syncSync();
  }

  tryLock(exclusive: boolean): boolean {
    return this.#file.tryLockSync(exclusive);
  }

  close(): void {
    if (this.#open) this.#file.close();
    this.#open = false;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
