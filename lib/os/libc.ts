/**
 * The C library, for what Deno's API cannot say. It takes `--allow-ffi`.
 *
 * Buffers are handed over as addresses. Each is a bigint: Deno takes a number below 2^53
 * as well, but then V8 throws away the code of a hot loop each time that it has optimised
 * it ("not a BigInt", by `--trace-deopt`). Each thread has its own instance of this
 * module, and so its own buffers.
 *
 * @module
 */

import { OsError } from "./error.ts";
import { encodeText } from "./text.ts";

/** Whether Deno may call the C library. Asked, because Deno would stop and ask the user. */
export function mayCallC(): boolean {
  return Deno.permissions.querySync({ name: "ffi" }).state === "granted";
}

// Numbers of Linux: include/uapi/asm-generic/fcntl.h, and, where arm64 has its own,
// arch/arm64/include/uapi/asm/fcntl.h.
const arm = Deno.build.arch === "aarch64";
export const O_RDONLY = 0;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_DIRECTORY = arm ? 0o40000 : 0o200000;
export const O_NOFOLLOW = arm ? 0o100000 : 0o400000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

// include/uapi/linux/fcntl.h
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;

// include/uapi/linux/fs.h
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
/** `_IOW(0x94, 9, int)`. */
export const FICLONE = 0x40049409n;

// include/uapi/linux/fs.h, lseek(2)
export const SEEK_SET = 0;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

// flock(2)
export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;

// include/uapi/asm-generic/errno-base.h and errno.h
export const ENOENT = 2;
export const EINTR = 4;
export const ENXIO = 6;
export const EAGAIN = 11;
export const EACCES = 13;
export const EINVAL = 22;
export const EXDEV = 18;
export const ENOSYS = 38;
export const ENODATA = 61;
export const EOPNOTSUPP = 95;
export const EPERM = 1;
export const EBUSY = 16;
export const ENOTDIR = 20;
export const ELOOP = 40;

const int = "i32";
const uint = "u32";
const pointer = "usize";
/** A ssize_t, of which nobody here asks for more than 2 GiB: its lower half. */
const size = int;

// A tenth of a millisecond each, and as much for each time that some are opened: so they
// are opened in groups, each when the first of it is called.

/** What each run needs. */
const EACH = {
  __errno_location: { parameters: [], result: "pointer" },
  strerror: { parameters: [int], result: "pointer" },
  openat: { parameters: [int, pointer, int, uint], result: int },
  close: { parameters: [int], result: int },
  statx: { parameters: [int, pointer, int, uint, pointer], result: int },
  // The youngest of all (glibc 2.30): where it is, the others are.
  getdents64: { parameters: [int, pointer, pointer], result: size },
  lseek: { parameters: [int, "i64", int], result: "i64" },
  read: { parameters: [int, pointer, pointer], result: size },
  readlinkat: { parameters: [int, pointer, pointer, pointer], result: size },
} as const satisfies Deno.ForeignLibraryInterface;

/** What most runs need that change something. */
const MOST = {
  write: { parameters: [int, pointer, pointer], result: size },
  copy_file_range: {
    parameters: [int, pointer, int, pointer, pointer, uint],
    result: size,
  },
  // The request is an unsigned long and the argument an int: both fit.
  ioctl: { parameters: [int, pointer, int], result: int },
  flock: { parameters: [int, int], result: int },
  mkdirat: { parameters: [int, pointer, uint], result: int },
  linkat: { parameters: [int, pointer, int, pointer, int], result: int },
  symlinkat: { parameters: [pointer, int, pointer], result: int },
  renameat2: { parameters: [int, pointer, int, pointer, uint], result: int },
  unlinkat: { parameters: [int, pointer, int], result: int },
  fchmod: { parameters: [int, uint], result: int },
  futimens: { parameters: [int, pointer], result: int },
  flistxattr: { parameters: [int, pointer, pointer], result: size },
} as const satisfies Deno.ForeignLibraryInterface;

/** What only some files need: owners, attributes, holes, times of a link. */
const SOME = {
  ftruncate: { parameters: [int, "i64"], result: int },
  fsync: { parameters: [int], result: int },
  chmod: { parameters: [pointer, uint], result: int },
  fchown: { parameters: [int, uint, uint], result: int },
  fchownat: { parameters: [int, pointer, uint, uint, int], result: int },
  utimensat: { parameters: [int, pointer, pointer, int], result: int },
  llistxattr: { parameters: [pointer, pointer, pointer], result: size },
  fgetxattr: { parameters: [int, pointer, pointer, pointer], result: size },
  lgetxattr: {
    parameters: [pointer, pointer, pointer, pointer],
    result: size,
  },
  fsetxattr: {
    parameters: [int, pointer, pointer, pointer, int],
    result: int,
  },
  lsetxattr: {
    parameters: [pointer, pointer, pointer, pointer, int],
    result: int,
  },
  fremovexattr: { parameters: [int, pointer], result: int },
} as const satisfies Deno.ForeignLibraryInterface;

const CALLS = { ...EACH, ...MOST, ...SOME };

/** The same on another thread of the runtime: no errno, but nothing waits. */
const ELSEWHERE = {
  copy_file_range: { ...CALLS.copy_file_range, nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

const NAME = "libc.so.6";

type Symbols<T extends Deno.ForeignLibraryInterface> =
  Deno.StaticForeignLibraryInterface<T>;

type Calls = Symbols<typeof CALLS>;

let calls: Calls | null | undefined;
let elsewhere: Symbols<typeof ELSEWHERE> | undefined;

/** Whether directories can be held open by libc: Linux on x64 and arm64, with `--allow-ffi`. */
export function hasLibc(): boolean {
  return openLibc() !== null;
}

/**
 * The calls. Only where {@linkcode hasLibc}. Use them as methods of this object, which
 * has most of them only from their first use on.
 */
export function libc(): Calls {
  return openLibc()!;
}

function openLibc(): Calls | null {
  if (calls !== undefined) return calls;
  const { os, arch } = Deno.build;
  // Struct layouts below are those of 64 bits, little-endian.
  const known = os === "linux" && (arch === "x86_64" || arch === "aarch64");
  if (!known || !mayCallC()) return calls = null;
  try {
    // What opening does to errno is over before the first call fails.
    return calls = { ...openers(MOST), ...openers(SOME), ...open(EACH) };
  } catch {
    return calls = null; // no glibc
  }
}

/** The calls of a group, of which the first that is made opens all. */
function openers<T extends Partial<typeof CALLS>>(group: T): Symbols<T> {
  const opener = (name: keyof T) => (...parameters: unknown[]) => {
    const own = open(group);
    Object.assign(calls!, own);
    return (own[name] as (...parameters: unknown[]) => unknown)(...parameters);
  };
  const names = Object.keys(group) as (keyof T)[];
  return Object.fromEntries(
    names.map((name) => [name, opener(name)]),
  ) as unknown as Symbols<T>;
}

function open<T extends Deno.ForeignLibraryInterface>(symbols: T): Symbols<T> {
  return Deno.dlopen(NAME, symbols).symbols;
}

/** Calls that nothing waits for. Who needs an errno makes the call again, waiting. */
export function callsElsewhere(): Symbols<typeof ELSEWHERE> {
  return elsewhere ??= open(ELSEWHERE);
}

/**
 * Opens all of it now, where it can be opened. The library's front door does so when it
 * is imported, so that no test of a program that uses us finds it opened in its middle,
 * which Deno's resource sanitizer takes for a leak.
 */
export function preloadLibc(): void {
  if (!hasLibc()) return;
  Object.assign(libc(), open({ ...MOST, ...SOME }));
  callsElsewhere();
}

let errnoAt: Deno.UnsafePointerView | undefined;

/** What the last call that failed said. To be read before anything else is called. */
export function errno(): number {
  errnoAt ??= new Deno.UnsafePointerView(libc().__errno_location()!);
  return errnoAt.getInt32();
}

/** Memory that C can be told of. */
export interface Memory {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  /** Its address. */
  readonly at: bigint;
}

/** Memory of so many bytes. Keep it: what is collected is freed. */
export function allocate(length: number): Memory {
  const bytes = new Uint8Array(length);
  const at = hasLibc() ? addressOf(bytes) : 0n;
  return { bytes, view: new DataView(bytes.buffer), at };
}

/** Where bytes are, for as long as somebody holds them. */
export function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}

/** A place for a text that C reads, used again by the next one. */
export class TextSlot {
  #memory: Memory | undefined;
  #text: string | undefined;

  /** Puts a text there, and gives its address. */
  put(text: string): bigint {
    if (text === this.#text) return this.#memory!.at; // two calls about one name
    // Three bytes for a UTF-16 unit at most, and the NUL.
    const most = text.length * 3 + 1;
    let memory = this.#memory;
    if (!memory || memory.bytes.length < most) {
      memory = this.#memory = allocate(Math.max(4096, most));
    }
    const { bytes } = memory;
    let i = 0;
    for (; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) break;
      bytes[i] = unit;
    }
    bytes[i < text.length ? encodeText(text, bytes) : i] = 0;
    this.#text = text;
    return memory.at;
  }
}

/** The value of a call that gives -1 for an error; made again when a signal came. */
export function unlessInterrupted(call: () => number): number {
  for (;;) {
    const value = call();
    if (value >= 0 || errno() !== EINTR) return value;
  }
}

/** The error of the call that has just failed. */
export function failure(call: string, path: string): OsError {
  const number = errno();
  return new OsError(number, call, path, errorText(number));
}

const errorTexts = new Map<number, string>();

/** What people read: `Permission denied`. */
function errorText(number: number): string {
  let text = errorTexts.get(number);
  if (text === undefined) {
    const at = libc().strerror(number);
    text = at === null
      ? `Error ${number}`
      : Deno.UnsafePointerView.getCString(at);
    errorTexts.set(number, text);
  }
  return text;
}
