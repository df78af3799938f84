/**
 * Calls of Windows that Deno's API does not have. They take `--allow-ffi`.
 *
 * @module
 */

import { mayCallC } from "./libc.ts";

/** One of the libraries that Windows loads from its own directory only ("known DLLs"). */
const LIBRARY = "kernel32.dll";

const SYMBOLS = {
  GetStdHandle: { parameters: ["i32"], result: "pointer" },
  GetHandleInformation: { parameters: ["pointer", "buffer"], result: "i32" },
  SetHandleInformation: {
    parameters: ["pointer", "u32", "u32"],
    result: "i32",
  },
  // (Handles of files as numbers: -1 is none.)
  CreateFileW: {
    parameters: ["buffer", "u32", "u32", "pointer", "u32", "u32", "pointer"],
    result: "isize",
  },
  GetFileInformationByHandleEx: {
    parameters: ["isize", "i32", "buffer", "u32"],
    result: "i32",
  },
  CloseHandle: { parameters: ["isize"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

let opened: Deno.StaticForeignLibraryInterface<typeof SYMBOLS> | undefined;

function calls(): Deno.StaticForeignLibraryInterface<typeof SYMBOLS> {
  return opened ??= Deno.dlopen(LIBRARY, SYMBOLS).symbols;
}

/** Loads what can be loaded: for tests, which take what stays loaded for a leak. */
export function preloadWindowsCalls(): void {
  if (Deno.build.os === "windows" && mayCallC()) calls();
}

/** `STD_INPUT_HANDLE`, `STD_OUTPUT_HANDLE` and `STD_ERROR_HANDLE` of winbase.h. */
const STANDARD = [-10, -11, -12];

/** `HANDLE_FLAG_INHERIT` of handleapi.h. */
const INHERIT = 1;

/**
 * Makes a call whose child process gets none of our standard handles. Windows gives it
 * all that we have inherited, also if it is told to use others: whoever waits for the end
 * of our output would wait for its end. Without `--allow-ffi` it gets them.
 */
export function withoutHandles<T>(call: () => T): T {
  if (Deno.build.os !== "windows" || !mayCallC()) return call();
  const c = calls();
  const flags = new Uint32Array(1);
  const held = STANDARD.map((it) => c.GetStdHandle(it)).filter((it) =>
    it !== null && c.GetHandleInformation(it, flags) !== 0 &&
    (flags[0]! & INHERIT) !== 0
  );
  try {
    for (const it of held) c.SetHandleInformation(it, INHERIT, 0);
    return call();
  } finally {
    for (const it of held) c.SetHandleInformation(it, INHERIT, INHERIT);
  }
}

/** Shares of CreateFileW (winnt.h): to read, to write and to delete. */
const SHARE_ALL = 1 | 2 | 4;
/** `OPEN_EXISTING` of fileapi.h. */
const OPEN_EXISTING = 3;
/** `FILE_FLAG_BACKUP_SEMANTICS` (directories, too) and `…_OPEN_REPARSE_POINT` (a link itself). */
const OPEN_ANYTHING = 0x0200_0000 | 0x0020_0000;
/** `FileIdInfo` of minwinbase.h: the volume's number in 8 bytes, the file's in 16. */
const FILE_ID_INFO = 18;

let may: boolean | undefined;

/**
 * The number of a file or directory on its volume, whole: Deno rounds what is longer than
 * 53 bits. `undefined` where it is not known, as without `--allow-ffi`.
 *
 * @param path An absolute path, of which no link is followed at its end.
 */
export function fileNumber(path: string): bigint | undefined {
  if (!(may ??= Deno.build.os === "windows" && mayCallC())) return undefined;
  const c = calls();
  const text = wide(path);
  const share = SHARE_ALL;
  const handle = Number(
    c.CreateFileW(text, 0, share, null, OPEN_EXISTING, OPEN_ANYTHING, null),
  );
  if (handle === -1) return undefined;
  try {
    const info = new BigUint64Array(3);
    const size = info.byteLength;
    const found = c.GetFileInformationByHandleEx(
      BigInt(handle),
      FILE_ID_INFO,
      info,
      size,
    );
    return found === 0 ? undefined : info[1]! | (info[2]! << 64n);
  } finally {
    c.CloseHandle(BigInt(handle));
  }
}

/** A path in UTF-16, in the spelling that may be longer than 260 characters. */
function wide(path: string): Uint16Array<ArrayBuffer> {
  const long = path.startsWith("\\\\")
    ? `\\\\?\\UNC\\${path.slice(2)}`
    : `\\\\?\\${path}`;
  return Uint16Array.from(
    [...Array(long.length + 1).keys()],
    (i) => long.charCodeAt(i) || 0,
  );
}
