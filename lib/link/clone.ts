/**
 * Clones that are proved: the OS's own call for it, which fails where it can't
 * share the blocks, instead of copying silently.
 *
 * It needs `--allow-ffi`. Without it there is no clone: `Deno.copyFile` may share
 * blocks or not, and nobody can tell.
 *
 * @module
 */

import { cError, ERRNO, errnoReader, mayCallC } from "../old/libc.ts";

/** The OS's clone, as long as it is not disposed. */
export interface Cloner extends Disposable {
  /** Clones a file, with mode and times, to a name that does not exist. */
  clone(
    source: string,
    destination: string,
    info: Pick<Deno.FileInfo, "mode" | "atime" | "mtime">,
  ): void;
}

/** The OS's clone, or `undefined` where Deno may not call it or there is none. */
export function openCloner(): Cloner | undefined {
  if (!mayCallC()) return undefined;
  try {
    if (Deno.build.os === "linux") return onLinux();
    if (Deno.build.os === "darwin") return onMacos();
  } catch {
    // No such library: musl, or something stranger.
  }
  return undefined;
}

const encoder = new TextEncoder();

/** Buffers for two paths, used again for every file. */
class Paths {
  #source = new Uint8Array(4096);
  #destination = new Uint8Array(4096);

  source(path: string): Uint8Array<ArrayBuffer> {
    return this.#source = cString(path, this.#source);
  }

  destination(path: string): Uint8Array<ArrayBuffer> {
    return this.#destination = cString(path, this.#destination);
  }
}

/** A path as C has it; in a bigger buffer if need be. */
function cString(
  path: string,
  buffer: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const { read, written } = encoder.encodeInto(path, buffer);
  if (read < path.length || written === buffer.length) {
    return cString(path, new Uint8Array(buffer.length * 2));
  }
  buffer[written] = 0;
  return buffer;
}

function cloneError(errno: number, source: string, destination: string): Error {
  return cError(errno, "clone", source, destination);
}

// include/uapi/asm-generic/fcntl.h; the same on x86-64 and arm64.
const O_RDONLY = 0;
const O_WRONLY = 1;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_CLOEXEC = 0o2000000;
/** `_IOW(0x94, 9, int)` of include/uapi/linux/fs.h. */
const FICLONE = 0x40049409;
const EINTR = 4;
// include/uapi/linux/stat.h; the same on every architecture, unlike fstat's.
const AT_EMPTY_PATH = 0x1000;
const STATX_MODE = 2;
/** Where `stx_mode` is in a `struct statx`, 16 bits in the machine's order. */
const STX_MODE = 28;
const EMPTY = new Uint8Array(1);

function onLinux(): Cloner {
  const library = Deno.dlopen("libc.so.6", {
    open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
    // The request is an unsigned long and the argument an int: both fit an i32.
    ioctl: { parameters: ["i32", "i32", "i32"], result: "i32" },
    fchmod: { parameters: ["i32", "u32"], result: "i32" },
    futimens: { parameters: ["i32", "buffer"], result: "i32" },
    statx: {
      parameters: ["i32", "buffer", "i32", "u32", "buffer"],
      result: "i32",
    },
    close: { parameters: ["i32"], result: "i32" },
    unlink: { parameters: ["buffer"], result: "i32" },
    ...ERRNO,
  });
  const c = library.symbols;
  const errno = errnoReader(c);
  const paths = new Paths();
  const times = new BigInt64Array(4); // two timespecs: seconds, nanoseconds
  /** The result, or the negative errno. */
  const untilDone = (call: () => number): number => {
    for (;;) {
      const result = call();
      if (result >= 0) return result;
      const number = errno();
      if (number !== EINTR) return -number;
    }
  };
  const open = (path: Uint8Array<ArrayBuffer>, flags: number, mode: number) =>
    untilDone(() => c.open(path, flags | O_CLOEXEC, mode));
  const status = new DataView(new ArrayBuffer(256));
  const modeOf = (fd: number): number =>
    c.statx(fd, EMPTY, AT_EMPTY_PATH, STATX_MODE, status.buffer) === 0
      ? status.getUint16(STX_MODE, true) & 0o7777
      : NaN;
  const clone: Cloner["clone"] = (
    source,
    destination,
    { mode, atime, mtime },
  ) => {
    const input = open(paths.source(source), O_RDONLY, 0);
    if (input < 0) throw cloneError(-input, source, destination);
    const to = paths.destination(destination);
    const wanted = mode! & 0o7777;
    const output = open(to, O_WRONLY | O_CREAT | O_EXCL, wanted & 0o777);
    if (output < 0) {
      c.close(input);
      throw cloneError(-output, source, destination);
    }
    let result = untilDone(() => c.ioctl(output, FICLONE, input));
    // Only where the umask, or an ACL, took something: on XFS it costs a transaction.
    if (result >= 0 && modeOf(output) !== wanted) {
      result = untilDone(() => c.fchmod(output, wanted));
    }
    if (result >= 0 && mtime) {
      setTime(times, 0, atime ?? mtime);
      setTime(times, 2, mtime);
      result = untilDone(() => c.futimens(output, times));
    }
    c.close(output);
    c.close(input);
    if (result >= 0) return;
    c.unlink(to); // a clone that failed leaves an empty file
    throw cloneError(-result, source, destination);
  };
  return { clone, [Symbol.dispose]: () => library.close() };
}

/** A timespec: seconds and nanoseconds, both 64 bits wide. */
function setTime(times: BigInt64Array, at: number, date: Date): void {
  const ms = date.getTime();
  const seconds = Math.floor(ms / 1000);
  times[at] = BigInt(seconds);
  times[at + 1] = BigInt((ms - seconds * 1000) * 1_000_000);
}

function onMacos(): Cloner {
  const library = Deno.dlopen("libSystem.dylib", {
    clonefile: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
    __error: { parameters: [], result: "pointer" },
    memcpy: { parameters: ["buffer", "pointer", "usize"], result: "pointer" },
  });
  const c = library.symbols;
  const word = new Int32Array(1);
  const paths = new Paths();
  // It keeps mode and times, and makes nothing when it fails.
  const clone: Cloner["clone"] = (source, destination) => {
    const [from, to] = [paths.source(source), paths.destination(destination)];
    if (c.clonefile(from, to, 0) === 0) return;
    c.memcpy(word, c.__error(), 4n);
    throw cloneError(word[0]!, source, destination);
  };
  return { clone, [Symbol.dispose]: () => library.close() };
}
