/**
 * Clones that are proved: the OS's own call for it, which fails where it can't
 * share the blocks, instead of copying silently.
 *
 * It needs `--allow-ffi`. Without it there is no clone: `Deno.copyFile` may share
 * blocks or not, and nobody can tell.
 *
 * @module
 */

/** The OS's clone, as long as it is not disposed. */
export interface Cloner extends Disposable {
  /** Clones a file to a name that does not exist: its data; on macOS, all of it. */
  clone(source: string, destination: string): void;
}

/** The OS's clone, or `undefined` where Deno may not call it or there is none. */
export function openCloner(): Cloner | undefined {
  // Asked first, because Deno would stop and ask the user on a terminal.
  const { state } = Deno.permissions.querySync({ name: "ffi" });
  if (state !== "granted") return undefined;
  try {
    if (Deno.build.os === "linux") return onLinux();
    if (Deno.build.os === "darwin") return onMacos();
  } catch {
    // No such library: musl, or something stranger.
  }
  return undefined;
}

const encoder = new TextEncoder();

function cString(path: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(`${path}\0`);
}

/** An error as Deno would make it, so that it is classified like all others. */
function cloneError(errno: number, source: string, destination: string): Error {
  return new Error(
    `Cannot clone (os error ${errno}): clone '${source}' -> '${destination}'`,
  );
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

function onLinux(): Cloner {
  const library = Deno.dlopen("libc.so.6", {
    open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
    ioctl: { parameters: ["i32", "u64", "i64"], result: "i32" },
    close: { parameters: ["i32"], result: "i32" },
    unlink: { parameters: ["buffer"], result: "i32" },
    // errno, read without UnsafePointerView.
    __errno_location: { parameters: [], result: "pointer" },
    memcpy: { parameters: ["buffer", "pointer", "usize"], result: "pointer" },
  });
  const c = library.symbols;
  const word = new Int32Array(1);
  const errno = () => {
    c.memcpy(word, c.__errno_location(), 4n);
    return word[0]!;
  };
  const open = (path: Uint8Array<ArrayBuffer>, flags: number): number => {
    for (;;) {
      const fd = c.open(path, flags | O_CLOEXEC, 0o600);
      if (fd >= 0) return fd;
      const number = errno();
      if (number !== EINTR) return -number;
    }
  };
  const clone: Cloner["clone"] = (source, destination) => {
    const to = cString(destination);
    const input = open(cString(source), O_RDONLY);
    if (input < 0) throw cloneError(-input, source, destination);
    const output = open(to, O_WRONLY | O_CREAT | O_EXCL);
    if (output < 0) {
      c.close(input);
      throw cloneError(-output, source, destination);
    }
    let failed = 0;
    do {
      failed = c.ioctl(output, BigInt(FICLONE), BigInt(input)) === 0
        ? 0
        : errno();
    } while (failed === EINTR);
    c.close(output);
    c.close(input);
    if (failed === 0) return;
    c.unlink(to); // a clone that failed leaves an empty file
    throw cloneError(failed, source, destination);
  };
  return { clone, [Symbol.dispose]: () => library.close() };
}

function onMacos(): Cloner {
  const library = Deno.dlopen("libSystem.dylib", {
    clonefile: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
    __error: { parameters: [], result: "pointer" },
    memcpy: { parameters: ["buffer", "pointer", "usize"], result: "pointer" },
  });
  const c = library.symbols;
  const word = new Int32Array(1);
  const clone: Cloner["clone"] = (source, destination) => {
    if (c.clonefile(cString(source), cString(destination), 0) === 0) return;
    c.memcpy(word, c.__error(), 4n);
    throw cloneError(word[0]!, source, destination);
  };
  return { clone, [Symbol.dispose]: () => library.close() };
}
