/**
 * Directories held open by libc's descriptors (Linux, with `--allow-ffi`).
 *
 * @module
 */

import { CacheError } from "../error.ts";
import { OsError } from "../os/error.ts";
import {
  addressOf,
  allocate,
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  EACCES,
  EAGAIN,
  EINTR,
  ELOOP,
  ENODATA,
  ENOENT,
  EOPNOTSUPP,
  errno,
  failure,
  libc,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  SEEK_SET,
  TextSlot,
  unlessInterrupted,
} from "../os/libc.ts";
import { decodeText } from "../os/text.ts";
import {
  type Access,
  type Attributed,
  type Directory,
  type Entry,
  type EntryKind,
  type FileUse,
  isSameMoment,
  type LinkedFiles,
  mountError,
  notRegular,
  type OpenFile,
  type OpenUse,
  pathIn,
  type RenameHow,
  type Status,
  type Time,
} from "./directory.ts";

const nameSlot = new TextSlot();
const otherSlot = new TextSlot();
const emptyName = new TextSlot();
emptyName.put("");

const dirents = allocate(65536);
const statx = allocate(256);
const timespecs = allocate(32);
const text = allocate(65537);

/** Kinds by `d_type` of linux_dirent64 (include/linux/fs_types.h). */
const BY_DIRENT: readonly (EntryKind | undefined)[] = [
  ...[undefined, "other", "other", undefined, "directory"] as const,
  ...[undefined, "other", undefined, "file", undefined] as const,
  ...["symlink", undefined, "other"] as const,
];

/** The name, the reclen and the type in a `struct linux_dirent64` (getdents64(2)). */
const D_RECLEN = 16;
const D_TYPE = 18;
const D_NAME = 19;

// include/uapi/linux/stat.h: the mask, and where fields are in a `struct statx`.
const STATX_BASIC_STATS = 0x7ff;
const STATX_MNT_ID = 0x1000;
const STX_MASK = 0x00;
const STX_NLINK = 0x10;
const STX_UID = 0x14;
const STX_GID = 0x18;
const STX_MODE = 0x1c;
const STX_INO = 0x20;
const STX_SIZE = 0x28;
const STX_BLOCKS = 0x30;
const STX_ATIME = 0x40;
const STX_CTIME = 0x60;
const STX_MTIME = 0x70;
const STX_DEV_MAJOR = 0x88;
const STX_DEV_MINOR = 0x8c;
const STX_MNT_ID = 0x90;

const STATX_TYPE = 1;
const STATX_MTIME = 0x40;
const STATX_SIZE = 0x200;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFMT = 0o170000;
const BY_MODE: Readonly<Record<number, EntryKind>> = {
  0o100000: "file",
  0o040000: "directory",
  0o120000: "symlink",
};

const CURRENT = O_DIRECTORY | O_CLOEXEC;

/** A directory held by a descriptor. */
export class DescriptorDirectory implements Directory {
  readonly isKnown = true;
  readonly path: string;
  readonly safe = true;
  readonly fixed = true;
  /** The descriptor. -1 when it is disposed. */
  fd: number;
  /** Where it was mounted from: what is opened below must be of the same mount. */
  readonly mount: number;
  readonly opened: Status;
  /** Opened without a right to read it: entries can be reached, but not listed. */
  readonly #pathOnly: boolean;

  constructor(
    fd: number,
    path: string,
    mount: number,
    opened: Status,
    pathOnly: boolean,
  ) {
    this.fd = fd;
    this.opened = opened;
    this.path = path;
    this.mount = mount;
    this.#pathOnly = pathOnly;
  }

  /** Opens a directory by its path, symbolic links in it followed. */
  static at(path: string): DescriptorDirectory {
    return openAt(AT_FDCWD, path, path, CURRENT);
  }

  /** The same directory as another thread holds it open, held a second time. */
  static held(fd: number, path: string): DescriptorDirectory {
    return openAt(fd, ".", path, CURRENT);
  }

  pinned(name: string): string | undefined {
    if (!mayUseProc()) return undefined;
    return `/proc/self/fd/${this.fd}/${name}`;
  }

  /**
   * The descriptor, for what one without a right to read can't do: what the OS says to
   * that (EBADF) tells nothing.
   */
  #readable(what: string): number {
    if (this.#pathOnly) throw new OsError(EACCES, what, this.path);
    return this.fd;
  }

  list(only?: EntryKind): Entry[] {
    const entries: Entry[] = [];
    for (const piece of this.pieces(only)) {
      for (const entry of piece) entries.push(entry);
    }
    return entries;
  }

  pieces(only?: EntryKind): Generator<Entry[]> {
    return this.#pieces((kind) => only !== undefined && kind !== only);
  }

  linkFiles(to: Directory, done: LinkedFiles): Generator<Entry[]> {
    const { fd } = to as DescriptorDirectory;
    const c = libc();
    return this.#pieces((kind, begin) => {
      if (done.failed || kind !== "file") return false;
      const at = dirents.at + BigInt(begin);
      const size = this.#sizeAt(at);
      if (size <= 0) return false;
      if (c.linkat(this.fd, at, fd, at, 0) === 0) {
        done.files++;
        done.bytes += size;
        return true;
      }
      const name = nameAt(dirents.bytes, begin);
      done.failed = { name, error: failure("link", pathIn(this, name)) };
      return false;
    });
  }

  /**
   * All entries, piece by piece.
   *
   * @param takes Whether an entry of a kind, whose name begins there in what was listed,
   * is not wanted any more.
   */
  *#pieces(
    takes: (kind: EntryKind, begin: number) => boolean,
  ): Generator<Entry[]> {
    this.#readable("list");
    // A descriptor remembers how far it was read; a second listing begins anew.
    using own = this.#forListing();
    for (;;) {
      const entries: Entry[] = [];
      if (!this.#listPiece(own.fd, takes, entries)) return;
      yield entries;
    }
  }

  /** What one call gives. Whether there may be more. */
  #listPiece(
    fd: number,
    takes: (kind: EntryKind, begin: number) => boolean,
    entries: Entry[],
  ): boolean {
    const { bytes, view, at } = dirents;
    const c = libc();
    const n = unlessInterrupted(() =>
      c.getdents64(fd, at, BigInt(bytes.length))
    );
    if (n < 0) throw failure("list", this.path);
    for (let offset = 0; offset < n;) {
      const begin = offset + D_NAME;
      const type = bytes[offset + D_TYPE]!;
      offset += view.getUint16(offset + D_RECLEN, true);
      const known = BY_DIRENT[type];
      if (known && takes(known, begin)) continue;
      const name = nameAt(bytes, begin);
      if (name === "." || name === "..") continue;
      const kind = known ?? this.#kindOf(name);
      if (!kind || (!known && takes(kind, begin))) continue;
      entries.push({ name, kind });
    }
    return n > 0;
  }

  #listed = false;

  #forListing(): { fd: number } & Disposable {
    if (!this.#listed) {
      this.#listed = true;
      // btrfs remembers where the directory ended when it was opened, and gives nothing
      // that was made or moved there since, unless it begins anew (6.18).
      if (Number(libc().lseek(this.fd, 0n, SEEK_SET)) !== 0) {
        throw failure("list", this.path);
      }
      return { fd: this.fd, [Symbol.dispose]() {} };
    }
    using held = new DisposableStack();
    const again = held.use(this.again());
    again.#readable("list"); // what it was a moment ago it need not be any more
    held.move();
    return again;
  }

  /** For file systems that don't say what an entry is (DT_UNKNOWN). */
  #kindOf(name: string): EntryKind | undefined {
    return this.look(name)?.kind; // gone meanwhile: no entry
  }

  status(): Status {
    return statusOf(this.fd, this.path);
  }

  look(name: string): Status | undefined {
    const at = nameSlot.put(name);
    const c = libc();
    const flags = AT_SYMLINK_NOFOLLOW;
    if (
      unlessInterrupted(() =>
        c.statx(this.fd, at, flags, STATX_BASIC_STATS, statx.at)
      ) === 0
    ) return readStatus();
    const error = failure("look at", pathIn(this, name));
    if (error.number === ENOENT) return undefined;
    throw error;
  }

  sizeOf(name: string): number {
    return this.#sizeAt(nameSlot.put(name));
  }

  #sizeAt(at: bigint): number {
    const flags = AT_SYMLINK_NOFOLLOW;
    const mask = STATX_TYPE | STATX_SIZE;
    if (libc().statx(this.fd, at, flags, mask, statx.at) !== 0) return -1;
    const isFile = (statx.view.getUint16(STX_MODE, true) & S_IFMT) === S_IFREG;
    return isFile ? wide(STX_SIZE) : -1;
  }

  isLeaf(name: string): boolean {
    const at = nameSlot.put(name);
    const flags = AT_SYMLINK_NOFOLLOW;
    const mask = STATX_BASIC_STATS | STATX_MNT_ID;
    if (libc().statx(this.fd, at, flags, mask, statx.at) !== 0) {
      return false;
    }
    const mode = statx.view.getUint16(STX_MODE, true);
    return (mode & (S_IFMT | 0o700)) === (S_IFDIR | 0o700) &&
      // Its name above, and its own dot.
      statx.view.getUint32(STX_NLINK, true) === 2 &&
      mountInStatx() === this.mount;
  }

  isFile(name: string, size: number, modified: Time): boolean {
    const at = nameSlot.put(name);
    const flags = AT_SYMLINK_NOFOLLOW;
    const mask = STATX_TYPE | STATX_SIZE | STATX_MTIME;
    const c = libc();
    const said = unlessInterrupted(() =>
      c.statx(this.fd, at, flags, mask, statx.at)
    );
    if (said !== 0) throw failure("look at", pathIn(this, name));
    const isFile = (statx.view.getUint16(STX_MODE, true) & S_IFMT) === S_IFREG;
    return isFile && wide(STX_SIZE) === size &&
      isSameMoment(modified, timeAt(STX_MTIME));
  }

  tryLink(name: string, to: Directory): OsError | undefined {
    const at = nameSlot.put(name);
    const { fd } = to as DescriptorDirectory;
    if (libc().linkat(this.fd, at, fd, at, 0) === 0) return undefined;
    return failure("link", pathIn(this, name));
  }

  open(
    name: string,
    use: OpenUse = "use",
    made?: Status,
  ): DescriptorDirectory {
    const path = pathIn(this, name);
    const flags = CURRENT | O_NOFOLLOW;
    if (made) {
      const fd = tryOpen(this.fd, name, flags | O_RDONLY);
      if (fd < 0) throw openError(path);
      return new DescriptorDirectory(fd, path, this.mount, made, false);
    }
    const opened = openAt(this.fd, name, path, flags, use === "doomed");
    if (opened.mount === this.mount || use === "named") return opened;
    opened[Symbol.dispose]();
    throw mountError(path);
  }

  make(name: string, mode = 0o777): void {
    const at = nameSlot.put(name);
    const c = libc();
    const result = unlessInterrupted(() => c.mkdirat(this.fd, at, mode));
    this.#did(result, "make", name);
  }

  link(name: string, to: Directory, newName: string): void {
    const from = nameSlot.put(name);
    const at = newName === name ? from : otherSlot.put(newName);
    const target = to as DescriptorDirectory;
    const c = libc();
    const result = unlessInterrupted(() =>
      c.linkat(this.fd, from, target.fd, at, 0)
    );
    if (result !== 0) throw failure("link", pathIn(this, name));
  }

  symlink(text: string, name: string): void {
    const at = nameSlot.put(name);
    const target = otherSlot.put(text);
    const c = libc();
    const result = unlessInterrupted(() => c.symlinkat(target, this.fd, at));
    this.#did(result, "symlink", name);
  }

  readLink(name: string): string {
    const at = nameSlot.put(name);
    const { bytes } = text;
    const c = libc();
    const n = unlessInterrupted(() =>
      c.readlinkat(this.fd, at, text.at, BigInt(bytes.length))
    );
    this.#did(n, "read the link", name);
    return decodeText(bytes.subarray(0, n));
  }

  rename(
    name: string,
    to: Directory,
    newName: string,
    how: RenameHow = "replace",
  ): void {
    const flags = how === "new"
      ? RENAME_NOREPLACE
      : how === "exchange"
      ? RENAME_EXCHANGE
      : 0;
    const from = nameSlot.put(name);
    const at = otherSlot.put(newName);
    const { fd } = to as DescriptorDirectory;
    const c = libc();
    const result = unlessInterrupted(() =>
      c.renameat2(this.fd, from, fd, at, flags)
    );
    this.#did(result, "rename", name);
  }

  remove(name: string): void {
    const at = nameSlot.put(name);
    const c = libc();
    const result = unlessInterrupted(() => c.unlinkat(this.fd, at, 0));
    this.#did(result, "remove", name);
  }

  removeDirectory(name: string): void {
    const at = nameSlot.put(name);
    const c = libc();
    const result = unlessInterrupted(() =>
      c.unlinkat(this.fd, at, AT_REMOVEDIR)
    );
    this.#did(result, "remove", name);
  }

  openFile(name: string, use: FileUse, mode = 0o666): DescriptorFile {
    const path = pathIn(this, name);
    const common = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    const fd = use === "read"
      ? tryOpen(this.fd, name, O_RDONLY | common)
      : use === "create"
      ? tryOpen(this.fd, name, O_RDWR | O_CREAT | O_EXCL | common, mode)
      : use === "append"
      ? tryOpen(this.fd, name, O_RDWR | O_APPEND | common)
      : openToLock(this.fd, name, common);
    if (fd < 0) throw openError(path);
    const file = new DescriptorFile(fd, path);
    try {
      if (use !== "create" && file.opened.kind !== "file") {
        throw notRegular(path);
      }
      return file;
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
  }

  setAccess(access: Access): void {
    setAccessOfFd(this.#readable("change"), access, this.path);
  }

  attributes(): string[];
  attributes(name: string): Uint8Array<ArrayBuffer> | undefined;
  attributes(name?: string): string[] & Uint8Array<ArrayBuffer> {
    const found = name === undefined
      ? listAttributes(this.#readable("read the attributes of"), this.path)
      : readAttribute(this.fd, name, this.path);
    return found as string[] & Uint8Array<ArrayBuffer>;
  }

  setAttribute(name: string, value: Uint8Array<ArrayBuffer>): void {
    setAttribute(this.fd, name, value, this.path);
  }

  removeAttribute(name: string): void {
    removeAttribute(this.fd, name, this.path);
  }

  /** By its name in /proc, of which the last part is not followed. */
  attributesOf(name: string): Attributed {
    return new LinkAttributes(
      `/proc/self/fd/${this.fd}/${name}`,
      pathIn(this, name),
    );
  }

  setAccessOf(name: string, access: Access): void {
    const c = libc();
    const { uid, gid, mode, modified, accessed } = access;
    if (uid !== undefined || gid !== undefined) {
      const at = nameSlot.put(name);
      const flags = AT_SYMLINK_NOFOLLOW;
      this.#did(
        unlessInterrupted(() =>
          c.fchownat(this.fd, at, uid ?? KEEP, gid ?? KEEP, flags)
        ),
        "change the owner of",
        name,
      );
    }
    if (mode !== undefined) this.#setMode(name, mode);
    if (modified) {
      setTimes(accessed ?? modified, modified);
      const at = nameSlot.put(name);
      const flags = AT_SYMLINK_NOFOLLOW;
      this.#did(
        unlessInterrupted(() => c.utimensat(this.fd, at, timespecs.at, flags)),
        "set the times of",
        name,
      );
    }
  }

  touch(name: string): void {
    const c = libc();
    const at = nameSlot.put(name);
    const flags = AT_SYMLINK_NOFOLLOW;
    this.#did(
      unlessInterrupted(() => c.utimensat(this.fd, at, NOW, flags)),
      "set the times of",
      name,
    );
  }

  /** Through a descriptor of the entry itself: fchmodat(2) would follow it. */
  #setMode(name: string, mode: number): void {
    const path = pathIn(this, name);
    const fd = tryOpen(this.fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) throw openError(path);
    try {
      chmodPathOnly(fd, mode, path);
    } finally {
      libc().close(fd);
    }
  }

  sync(): void {
    if (
      unlessInterrupted(() => libc().fsync(this.#readable("flush"))) !== 0
    ) {
      throw failure("flush", this.path);
    }
  }

  tryLock(exclusive: boolean): boolean {
    return tryLockFd(this.#readable("lock"), exclusive, this.path);
  }

  again(path = this.path): DescriptorDirectory {
    return openAt(this.fd, ".", path, CURRENT);
  }

  [Symbol.dispose](): void {
    if (this.fd >= 0) libc().close(this.fd);
    this.fd = -1;
  }

  #did(result: number, what: string, name: string): void {
    if (result < 0) throw failure(what, pathIn(this, name));
  }
}

/** (uid_t) -1: what chown(2) leaves as it is. */
const KEEP = 0xffffffff;

/** A null pointer: what utimensat(2) takes for this instant. */
const NOW = 0n;

function nameAt(bytes: Uint8Array<ArrayBuffer>, begin: number): string {
  let end = begin;
  for (let byte; (byte = bytes[end]!) !== 0; end++) {
    if (byte >= 0x80) {
      return decodeText(bytes.subarray(begin, bytes.indexOf(0, begin)));
    }
    codes[end - begin] = byte;
  }
  codes.length = end - begin;
  return String.fromCharCode.apply(null, codes);
}

/** A name has 255 bytes at most. */
const codes: number[] = [];

/** A descriptor, or -1. */
function tryOpen(at: number, name: string, flags: number, mode = 0): number {
  const address = nameSlot.put(name);
  const c = libc();
  return unlessInterrupted(() => c.openat(at, address, flags, mode));
}

/** For writing if that is possible: NFS locks exclusively only what is open for that. */
function openToLock(at: number, name: string, flags: number): number {
  const fd = tryOpen(at, name, O_RDWR | flags);
  if (fd >= 0) return fd;
  const number = errno();
  // Another user's, or a read-only file system: it can be locked all the same.
  if (number !== EACCES && number !== EROFS) return -1;
  return tryOpen(at, name, O_RDONLY | flags);
}

const EROFS = 30;

/** What is said to a symbolic link is not what its name is for: say what it is. */
function openError(path: string): Error {
  const error = failure("open", path);
  if (error.number !== ELOOP) return error;
  return new CacheError(
    `"${path}" is a symbolic link, which is not followed`,
    path,
    "loop",
    error,
  );
}

function openAt(
  at: number,
  name: string,
  path: string,
  flags: number,
  doomed = false,
): DescriptorDirectory {
  let pathOnly = false;
  let fd = tryOpen(at, name, flags | O_RDONLY);
  if (fd < 0 && errno() === EACCES) {
    // Not to be read, but its entries may be reached.
    fd = tryOpen(at, name, flags | O_PATH);
    pathOnly = true;
    if (fd < 0) throw failure("open", path);
    if (doomed && makeRemovable(fd, path)) {
      const readable = tryOpen(fd, ".", CURRENT | O_RDONLY);
      if (readable >= 0) {
        libc().close(fd);
        fd = readable;
        pathOnly = false;
      }
    }
  }
  if (fd < 0) throw failure("open", path);
  const c = libc();
  const mask = STATX_BASIC_STATS | STATX_MNT_ID;
  const empty = emptyName.put("");
  if (
    unlessInterrupted(() =>
      c.statx(fd, empty, AT_EMPTY_PATH, mask, statx.at)
    ) !==
      0
  ) {
    const error = failure("look at", path);
    c.close(fd);
    throw error;
  }
  const mount = mountInStatx();
  const opened = readStatus();
  if (doomed && !pathOnly && (opened.mode & 0o700) !== 0o700) {
    // If it is not ours, its removal says so.
    unlessInterrupted(() => libc().fchmod(fd, opened.mode | 0o700));
  }
  return new DescriptorDirectory(fd, path, mount, opened, pathOnly);
}

/** Gives a directory the three owner bits. Whether that was possible. */
function makeRemovable(fd: number, path: string): boolean {
  try {
    chmodPathOnly(fd, statusOf(fd, path).mode | 0o700, path);
    return true;
  } catch {
    return false;
  }
}

/** fchmod(2) refuses a descriptor of O_PATH; its name in /proc is as safe. */
function chmodPathOnly(fd: number, mode: number, path: string): void {
  const proc = otherSlot.put(`/proc/self/fd/${fd}`);
  if (unlessInterrupted(() => libc().chmod(proc, mode)) !== 0) {
    throw failure("change the mode of", path);
  }
}

function statusOf(fd: number, path: string): Status {
  const c = libc();
  const at = emptyName.put("");
  const mask = STATX_BASIC_STATS;
  if (
    unlessInterrupted(() => c.statx(fd, at, AT_EMPTY_PATH, mask, statx.at)) !==
      0
  ) {
    throw failure("look at", path);
  }
  return readStatus();
}

function readStatus(): Status {
  const { view } = statx;
  const mode = view.getUint16(STX_MODE, true);
  return {
    kind: BY_MODE[mode & S_IFMT] ?? "other",
    mode: mode & 0o7777,
    uid: view.getUint32(STX_UID, true),
    gid: view.getUint32(STX_GID, true),
    size: wide(STX_SIZE),
    allocated: wide(STX_BLOCKS) * 512,
    links: view.getUint32(STX_NLINK, true),
    device: deviceInStatx(),
    inode: inodeInStatx(),
    accessed: timeAt(STX_ATIME),
    modified: timeAt(STX_MTIME),
    changed: timeAt(STX_CTIME),
  };
}

/** Before Linux 5.8 there is no mount id: the device is better than nothing. */
function mountInStatx(): number {
  const { view } = statx;
  return view.getUint32(STX_MASK, true) & STATX_MNT_ID
    ? Number(view.getBigUint64(STX_MNT_ID, true))
    : -1 - deviceInStatx();
}

function wide(at: number): number {
  const { view } = statx;
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

function inodeInStatx(): number | bigint {
  const { view } = statx;
  return view.getUint32(STX_INO + 4, true) < 2 ** 21
    ? wide(STX_INO)
    : view.getBigUint64(STX_INO, true);
}

/** As stat(2) has it: `makedev()` of sys/sysmacros.h, as far as a number holds it. */
function deviceInStatx(): number {
  const major = statx.view.getUint32(STX_DEV_MAJOR, true);
  const minor = statx.view.getUint32(STX_DEV_MINOR, true);
  return (minor & 0xff) + (major & 0xfff) * 0x100 +
    (minor >>> 8) * 0x100000 + (major >>> 12) * 2 ** 44;
}

/** A `struct statx_timestamp`: 64 bits of seconds, 32 of nanoseconds. */
function timeAt(at: number): Time {
  const { view } = statx;
  const seconds = view.getInt32(at + 4, true) * 2 ** 32 +
    view.getUint32(at, true);
  return { seconds, nanoseconds: view.getUint32(at + 8, true) };
}

/** Two timespecs: access, modification. */
function setTimes(accessed: Time, modified: Time): void {
  setTime(0, accessed);
  setTime(16, modified);
}

function setTime(at: number, { seconds, nanoseconds }: Time): void {
  const { view } = timespecs;
  view.setInt32(at + 4, Math.floor(seconds / 2 ** 32), true);
  view.setUint32(at, seconds >>> 0, true);
  view.setUint32(at + 8, nanoseconds, true);
  view.setUint32(at + 12, 0, true);
}

function setAccessOfFd(fd: number, access: Access, path: string): void {
  const { uid, gid, mode, accessed, modified } = access;
  const changesOwner = uid !== undefined || gid !== undefined;
  if (
    changesOwner &&
    unlessInterrupted(() => libc().fchown(fd, uid ?? KEEP, gid ?? KEEP)) !==
      0
  ) {
    throw failure("change the owner of", path);
  }
  if (
    mode !== undefined &&
    unlessInterrupted(() => libc().fchmod(fd, mode)) !== 0
  ) {
    throw failure("change the mode of", path);
  }
  if (modified) {
    setTimes(accessed ?? modified, modified);
    const c = libc();
    if (unlessInterrupted(() => c.futimens(fd, timespecs.at)) !== 0) {
      throw failure("set the times of", path);
    }
  }
}

function tryLockFd(fd: number, exclusive: boolean, path: string): boolean {
  const operation = (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB;
  const c = libc();
  if (unlessInterrupted(() => c.flock(fd, operation)) === 0) return true;
  const error = failure("lock", path);
  if (error.number === EAGAIN) return false;
  throw error;
}

/** An open file, by its descriptor. */
export class DescriptorFile implements OpenFile {
  readonly isKnown = true;
  readonly path: string;
  /** The descriptor. -1 when it is closed. */
  fd: number;

  constructor(fd: number, path: string) {
    this.fd = fd;
    this.path = path;
  }

  read(into: Uint8Array<ArrayBuffer>): number {
    const c = libc();
    const at = addressOf(into);
    const n = unlessInterrupted(() => c.read(this.fd, at, BigInt(into.length)));
    if (n < 0) throw failure("read", this.path);
    return n;
  }

  write(from: Uint8Array<ArrayBuffer>): void {
    const c = libc();
    const at = addressOf(from);
    for (let done = 0; done < from.length;) {
      const n = unlessInterrupted(() =>
        c.write(this.fd, at + BigInt(done), BigInt(from.length - done))
      );
      if (n < 0) throw failure("write", this.path);
      done += n;
    }
  }

  get opened(): Status {
    return this.#opened ??= this.status();
  }
  #opened: Status | undefined;

  rewrite(bytes: Uint8Array<ArrayBuffer>): void {
    if (Number(libc().lseek(this.fd, 0n, SEEK_SET)) !== 0) {
      throw failure("write", this.path);
    }
    this.write(bytes);
    const c = libc();
    if (
      unlessInterrupted(() => c.ftruncate(this.fd, BigInt(bytes.length))) !== 0
    ) {
      throw failure("write", this.path);
    }
  }

  status(): Status {
    return statusOf(this.fd, this.path);
  }

  setAccess(access: Access): void {
    setAccessOfFd(this.fd, access, this.path);
  }

  attributes(): string[];
  attributes(name: string): Uint8Array<ArrayBuffer> | undefined;
  attributes(name?: string): string[] & Uint8Array<ArrayBuffer> {
    const found = name === undefined
      ? listAttributes(this.fd, this.path)
      : readAttribute(this.fd, name, this.path);
    return found as string[] & Uint8Array<ArrayBuffer>;
  }

  setAttribute(name: string, value: Uint8Array<ArrayBuffer>): void {
    setAttribute(this.fd, name, value, this.path);
  }

  removeAttribute(name: string): void {
    removeAttribute(this.fd, name, this.path);
  }

  sync(): void {
    if (unlessInterrupted(() => libc().fsync(this.fd)) !== 0) {
      throw failure("flush", this.path);
    }
  }

  tryLock(exclusive: boolean): boolean {
    return tryLockFd(this.fd, exclusive, this.path);
  }

  close(): void {
    const { fd } = this;
    if (fd < 0) return;
    this.fd = -1; // close(2): it is closed whatever is said
    if (libc().close(fd) !== 0) {
      const error = failure("close", this.path);
      if (error.number !== EINTR) throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.fd >= 0) libc().close(this.fd);
    this.fd = -1;
  }
}

/** The attributes of a symbolic link itself. */
class LinkAttributes implements Attributed {
  readonly isKnown = true;
  readonly #at: string;
  readonly #path: string;

  constructor(at: string, path: string) {
    this.#at = at;
    this.#path = path;
  }

  attributes(): string[];
  attributes(name: string): Uint8Array<ArrayBuffer> | undefined;
  attributes(name?: string): string[] & Uint8Array<ArrayBuffer> {
    const at = otherSlot.put(this.#at);
    const { bytes, at: into } = text;
    const c = libc();
    const found = name === undefined
      ? namesFrom(
        unlessInterrupted(() => c.llistxattr(at, into, BigInt(bytes.length))),
        this.#path,
      )
      : valueFrom(
        unlessInterrupted(() =>
          c.lgetxattr(at, nameSlot.put(name), into, BigInt(bytes.length))
        ),
        name,
        this.#path,
      );
    return found as string[] & Uint8Array<ArrayBuffer>;
  }

  setAttribute(name: string, value: Uint8Array<ArrayBuffer>): void {
    text.bytes.set(value);
    const at = otherSlot.put(this.#at);
    const named = nameSlot.put(name);
    const c = libc();
    const result = unlessInterrupted(() =>
      c.lsetxattr(at, named, text.at, BigInt(value.length), 0)
    );
    if (result !== 0) {
      throw failure(`set the attribute ${name} of`, this.#path);
    }
  }
}

const NO_NAMES: string[] = [];

function listAttributes(fd: number, path: string): string[] {
  const { bytes, at } = text; // the kernel gives 64 KiB of names at most
  const c = libc();
  return namesFrom(
    unlessInterrupted(() => c.flistxattr(fd, at, BigInt(bytes.length))),
    path,
  );
}

function namesFrom(n: number, path: string): string[] {
  if (n === 0) return NO_NAMES;
  if (n > 0) return decodeText(text.bytes.subarray(0, n - 1)).split("\0");
  const error = failure("list the attributes of", path);
  if (error.number === EOPNOTSUPP) return NO_NAMES;
  throw error;
}

function readAttribute(
  fd: number,
  name: string,
  path: string,
): Uint8Array<ArrayBuffer> | undefined {
  const { bytes, at } = text; // a value has 64 KiB at most (xattr(7))
  const c = libc();
  const from = nameSlot.put(name);
  const n = unlessInterrupted(() =>
    c.fgetxattr(fd, from, at, BigInt(bytes.length))
  );
  return valueFrom(n, name, path);
}

function valueFrom(
  n: number,
  name: string,
  path: string,
): Uint8Array<ArrayBuffer> | undefined {
  if (n >= 0) return text.bytes.slice(0, n);
  const error = failure(`read the attribute ${name} of`, path);
  if (error.number === ENODATA || error.number === EOPNOTSUPP) return undefined;
  throw error;
}

function setAttribute(
  fd: number,
  name: string,
  value: Uint8Array<ArrayBuffer>,
  path: string,
): void {
  const { bytes, at } = text;
  bytes.set(value);
  const address = nameSlot.put(name);
  const c = libc();
  if (
    unlessInterrupted(() =>
      c.fsetxattr(fd, address, at, BigInt(value.length), 0)
    ) !== 0
  ) {
    throw failure(`set the attribute ${name} of`, path);
  }
}

function removeAttribute(fd: number, name: string, path: string): void {
  const at = nameSlot.put(name);
  const c = libc();
  if (unlessInterrupted(() => c.fremovexattr(fd, at)) === 0) return;
  const error = failure(`remove the attribute ${name} of`, path);
  if (error.number !== ENODATA && error.number !== EOPNOTSUPP) throw error;
}

let proc: boolean | undefined;

/** Whether Deno may use /proc: it asks for all permissions. */
function mayUseProc(): boolean {
  if (proc !== undefined) return proc;
  const asked = { name: "read", path: "/proc/self/mountinfo" } as const;
  if (Deno.permissions.querySync(asked).state !== "granted") {
    return proc = false;
  }
  try {
    Deno.lstatSync("/proc/self/fd");
    return proc = true;
  } catch {
    return proc = false;
  }
}
