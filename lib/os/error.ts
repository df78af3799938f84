/**
 * What an error of the operating system means.
 *
 * Deno gives an error a class, a `code` and a message, and none of the three
 * is enough: `EMLINK`, the error that this project is about, has neither a
 * class nor a `code`; Windows error 1 carries the code `EISDIR`; number 17 is
 * "exists" on Linux and "not the same device" on Windows. What always tells is
 * the number in the message's `(os error N)` together with the platform. So
 * this is the one place that looks at it, and each number has one meaning.
 *
 * @module
 */

/**
 * What an error means, whatever platform it came from.
 *
 * @category Errors
 */
export type ErrorKind =
  /** A name on the path does not exist (any more). */
  | "not-found"
  /** The name is taken. Never a sign that something is unsupported. */
  | "already-exists"
  /** The OS does not permit it to this user, or on this file. */
  | "permission"
  /** Deno itself was not granted the permission (`--allow-…`). */
  | "not-capable"
  /** Source and destination are on different file systems (or mounts). */
  | "cross-device"
  /** A mount point stands in the way of something that crosses no mount. */
  | "mount"
  /** This file system or kernel can not do it at all. */
  | "unsupported"
  /** The file has as many hard links as its file system allows. */
  | "link-limit"
  /** Try again shortly: interrupted, out of file descriptors, locked by a scanner. */
  | "transient"
  /** Somebody uses it: a mount point, a running program. */
  | "busy"
  | "not-empty"
  | "not-directory"
  | "is-directory"
  /** Too many symbolic links on the path. */
  | "loop"
  | "name-too-long"
  /** The call's arguments make no sense to the file system. */
  | "invalid"
  | "read-only"
  /** No space or no quota left. */
  | "no-space"
  | "io"
  /** The file went away on a network file system's server. */
  | "stale"
  /** A program in use can't be written. */
  | "text-busy"
  | "no-locks"
  /** Aborted or killed by a signal. */
  | "interrupted"
  | "other";

type Row = readonly [
  name: string,
  kind: ErrorKind,
  linux: number | undefined,
  macos: number | undefined,
];

/**
 * POSIX errors by name. Numbers of Linux are those of
 * `include/uapi/asm-generic/errno-base.h` (1 to 34) and `errno.h` (35 and up),
 * the same on x86-64 and arm64; those of macOS are `bsd/sys/errno.h` of XNU,
 * which the BSDs share, except for 102.
 */
const POSIX: readonly Row[] = [
  ["EPERM", "permission", 1, 1],
  ["ENOENT", "not-found", 2, 2],
  // Interrupted by a signal: the call has done nothing.
  ["EINTR", "transient", 4, 4],
  ["EIO", "io", 5, 5],
  ["ENXIO", "unsupported", 6, 6],
  ["EBADF", "invalid", 9, 9],
  // ZFS says EAGAIN to a clone of blocks that are not yet written out.
  ["EAGAIN", "transient", 11, 35],
  ["ENOMEM", "other", 12, 12],
  ["EACCES", "permission", 13, 13],
  ["EBUSY", "busy", 16, 16],
  ["EEXIST", "already-exists", 17, 17],
  ["EXDEV", "cross-device", 18, 18],
  ["ENODEV", "unsupported", 19, 19],
  ["ENOTDIR", "not-directory", 20, 20],
  ["EISDIR", "is-directory", 21, 21],
  ["EINVAL", "invalid", 22, 22],
  ["ENFILE", "transient", 23, 23],
  ["EMFILE", "transient", 24, 24],
  // "Inappropriate ioctl": FICLONE on a file system that never heard of it.
  ["ENOTTY", "unsupported", 25, 25],
  ["ETXTBSY", "text-busy", 26, 26],
  ["EFBIG", "no-space", 27, 27],
  ["ENOSPC", "no-space", 28, 28],
  ["EROFS", "read-only", 30, 30],
  ["EMLINK", "link-limit", 31, 31],
  ["EPIPE", "other", 32, 32],
  ["EDEADLK", "transient", 35, 11],
  ["ENAMETOOLONG", "name-too-long", 36, 63],
  ["ENOLCK", "no-locks", 37, 77],
  ["ENOSYS", "unsupported", 38, 78],
  ["ENOTEMPTY", "not-empty", 39, 66],
  ["ELOOP", "loop", 40, 62],
  ["EOVERFLOW", "other", 75, 84],
  // A name that is not UTF-8, or whose case the file system can't tell.
  ["EILSEQ", "invalid", 84, 92],
  ["EOPNOTSUPP", "unsupported", 95, 102],
  ["ENOTSUP", "unsupported", undefined, 45],
  ["ETIMEDOUT", "io", 110, 60],
  ["ESTALE", "stale", 116, 70],
  // "Structure needs cleaning": XFS and ext4 say so of a damaged directory.
  ["EUCLEAN", "io", 117, undefined],
  ["EREMOTEIO", "io", 121, undefined],
  ["EDQUOT", "no-space", 122, 69],
];

/**
 * Windows errors: names and numbers of `winerror.h` (Windows SDK; learn.microsoft.com,
 * "System Error Codes"), without their prefix `ERROR_`.
 */
const WINDOWS: readonly (readonly [string, ErrorKind, number])[] = [
  // What FAT and exFAT answer to a hard link. Deno's code for it is EISDIR.
  ["INVALID_FUNCTION", "unsupported", 1],
  ["FILE_NOT_FOUND", "not-found", 2],
  ["PATH_NOT_FOUND", "not-found", 3],
  ["TOO_MANY_OPEN_FILES", "transient", 4],
  // Also what an open handle below a directory makes of its rename: see mayPass().
  ["ACCESS_DENIED", "permission", 5],
  ["INVALID_HANDLE", "invalid", 6],
  ["INVALID_DRIVE", "not-found", 15],
  ["CURRENT_DIRECTORY", "busy", 16],
  ["NOT_SAME_DEVICE", "cross-device", 17],
  ["WRITE_PROTECT", "read-only", 19],
  ["CRC", "io", 23],
  ["GEN_FAILURE", "io", 31],
  ["SHARING_VIOLATION", "transient", 32],
  ["LOCK_VIOLATION", "transient", 33],
  ["HANDLE_DISK_FULL", "no-space", 39],
  ["NOT_SUPPORTED", "unsupported", 50],
  ["FILE_EXISTS", "already-exists", 80],
  ["INVALID_PARAMETER", "invalid", 87],
  ["BROKEN_PIPE", "other", 109],
  ["DISK_FULL", "no-space", 112],
  ["CALL_NOT_IMPLEMENTED", "unsupported", 120],
  ["INVALID_NAME", "invalid", 123],
  ["DIR_NOT_EMPTY", "not-empty", 145],
  ["BUSY", "busy", 170],
  ["ALREADY_EXISTS", "already-exists", 183],
  ["FILENAME_EXCED_RANGE", "name-too-long", 206],
  ["DIRECTORY", "not-directory", 267],
  ["DELETE_PENDING", "transient", 303],
  // ReFS: a block can be shared 8175 times.
  ["BLOCK_TOO_MANY_REFERENCES", "link-limit", 347],
  ["USER_MAPPED_FILE", "busy", 1224],
  ["TOO_MANY_LINKS", "link-limit", 1142],
  ["DISK_QUOTA_EXCEEDED", "no-space", 1295],
  // A symbolic link without Developer Mode. Not a matter of the file.
  ["PRIVILEGE_NOT_HELD", "unsupported", 1314],
  ["SYMLINK_NOT_SUPPORTED", "unsupported", 1464],
  ["CANT_ACCESS_FILE", "permission", 1920],
  ["CANT_RESOLVE_FILENAME", "loop", 1921],
  ["NOT_A_REPARSE_POINT", "invalid", 4390],
  ["INVALID_REPARSE_DATA", "invalid", 4392],
];

/** What {@linkcode describeOsError} found out. */
export interface OsErrorInfo {
  /** What it means. */
  readonly kind: ErrorKind;
  /** The OS's number, where the error has one. */
  readonly number?: number;
  /** The OS's name, such as `EMLINK` or `TOO_MANY_LINKS`, where it is known. */
  readonly name?: string;
}

/** A platform whose numbers are known. */
export type Platform = "linux" | "macos" | "windows";

/** The platform that this is. */
export const PLATFORM: Platform = Deno.build.os === "windows"
  ? "windows"
  : Deno.build.os === "linux" || Deno.build.os === "android"
  ? "linux"
  : "macos";

function tableFor(platform: Platform): Map<number, OsErrorInfo> {
  const table = new Map<number, OsErrorInfo>();
  if (platform === "windows") {
    for (const [name, kind, number] of WINDOWS) {
      table.set(number, { kind, number, name });
    }
    return table;
  }
  for (const [name, kind, linux, macos] of POSIX) {
    const number = platform === "linux" ? linux : macos;
    if (number !== undefined) table.set(number, { kind, number, name });
  }
  return table;
}

let ownTable: Map<number, OsErrorInfo> | undefined;

function ownInfo(number: number): OsErrorInfo | undefined {
  return (ownTable ??= tableFor(PLATFORM)).get(number);
}

/** An error of a call to the C library. Its number stays a number. */
export class OsError extends Error {
  /** The class's name. */
  override name = "OsError";
  /** The OS's number. */
  readonly number: number;
  /** What was called, as a verb. */
  readonly call: string;
  /** What it was about. */
  readonly path: string;

  /**
   * An error of a call.
   *
   * @param number The OS's number (errno).
   * @param call What was called.
   * @param path What it was about.
   * @param text What the OS says to it; its name for it, by default.
   */
  constructor(number: number, call: string, path: string, text?: string) {
    const said = text ?? ownInfo(number)?.name ?? "error";
    super(`${said} (os error ${number}): ${call} '${path}'`);
    this.number = number;
    this.call = call;
    this.path = path;
  }
}

/**
 * The number that the operating system gave: of an {@linkcode OsError}, or from
 * `(os error N)` in the message of an error of Deno's. `undefined` where the error
 * did not come from the OS.
 *
 * The first match counts: a path comes later in the message, and may say
 * anything.
 */
export function osErrorNumber(error: unknown): number | undefined {
  if (error instanceof OsError) return error.number;
  if (!(error instanceof Error)) return undefined;
  const match = /\(os error (\d+)\)/.exec(error.message);
  return match ? Number(match[1]) : undefined;
}

/**
 * What an error means: its kind, and the OS's number and name where it has
 * them.
 *
 * @param error What was thrown.
 * @param platform For tests; the one that runs, by default.
 */
export function describeOsError(
  error: unknown,
  platform: Platform = PLATFORM,
): OsErrorInfo {
  const number = osErrorNumber(error);
  if (number !== undefined) {
    const info = platform === PLATFORM
      ? ownInfo(number)
      : tableFor(platform).get(number);
    return info ?? { kind: "other", number };
  }
  return { kind: kindByClass(error) };
}

/** The kind of an error: {@linkcode describeOsError}, when nothing else matters. */
export function errorKind(error: unknown): ErrorKind {
  return describeOsError(error).kind;
}

/**
 * Classes that Deno throws without an OS number (checked before the call, or by
 * Deno itself), most telling first.
 */
const BY_CLASS: readonly [new (message?: string) => Error, ErrorKind][] = [
  [Deno.errors.NotCapable, "not-capable"],
  [Deno.errors.NotFound, "not-found"],
  [Deno.errors.AlreadyExists, "already-exists"],
  [Deno.errors.PermissionDenied, "permission"],
  [Deno.errors.NotADirectory, "not-directory"],
  [Deno.errors.IsADirectory, "is-directory"],
  [Deno.errors.FilesystemLoop, "loop"],
  [Deno.errors.Interrupted, "transient"],
  [Deno.errors.WouldBlock, "transient"],
  [Deno.errors.Busy, "busy"],
  [Deno.errors.NotSupported, "unsupported"],
  [Deno.errors.TimedOut, "io"],
  [Deno.errors.BadResource, "invalid"],
  [TypeError, "invalid"],
];

function kindByClass(error: unknown): ErrorKind {
  for (const [errorClass, kind] of BY_CLASS) {
    if (error instanceof errorClass) return kind;
  }
  if (error instanceof DOMException && error.name === "AbortError") {
    return "interrupted";
  }
  return "other";
}

/**
 * What the OS said, without the path that Deno puts behind it:
 * `Directory not empty (os error 39)`.
 */
export function osErrorText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const match = /^[^]*?\(os error \d+\)/.exec(message);
  return match ? match[0] : message;
}
