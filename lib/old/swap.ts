/**
 * Puts a finished tree where another one stands.
 *
 * @module
 */

import { cError, ERRNO, errnoReader, mayCallC } from "./libc.ts";
import { log } from "../log.ts";
import { siblingPath } from "../fs/names.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";

/** Where the old tree is now. */
export interface Swapped {
  /** Its path, for somebody to delete it; `undefined` if nothing stood there. */
  readonly old: string | undefined;
  /** Whether there was no instant without a tree. */
  readonly exchanged: boolean;
}

/**
 * Puts `tree` at `destination`, in the place of what stands there.
 *
 * By one exchange where the OS has it and Deno may call it (`--allow-ffi`): then
 * there is always a tree. Otherwise by two renames, the first of which puts the old
 * one aside: between them, an instant, there is none. If the second fails, the first
 * is undone; if the process is killed between them, there is none until the next
 * rebuild, as after a clear.
 *
 * @throws What the OS said. What stood there stands there then.
 */
export function swap(tree: string, destination: string): Swapped {
  if (exchange(tree, destination)) {
    log.debug(() => `Exchanged "${tree}" and "${destination}"`);
    return { old: tree, exchanged: true };
  }
  const aside = siblingPath(destination, "stale");
  const moved = renameIfThere(destination, aside);
  try {
    patiently(() => Deno.renameSync(tree, destination));
  } catch (error) {
    if (moved) patiently(() => Deno.renameSync(aside, destination));
    throw error;
  }
  return { old: moved ? aside : undefined, exchanged: false };
}

function renameIfThere(from: string, to: string): boolean {
  try {
    patiently(() => Deno.renameSync(from, to));
    log.debug(() => `Renamed "${from}" to "${to}"`);
    return true;
  } catch (error) {
    if (errorKind(error) === "not-found") return false;
    throw error;
  }
}

/** `AT_FDCWD` of include/uapi/linux/fcntl.h. */
const AT_FDCWD = -100;
/** `RENAME_EXCHANGE` of include/uapi/linux/fs.h, and `RENAME_SWAP` of XNU's stdio.h. */
const EXCHANGE = 2;

const encoder = new TextEncoder();

/** Exchanges two directories by one call. False where that can't be, or one is missing. */
function exchange(a: string, b: string): boolean {
  if (!mayCallC()) return false;
  const call = Deno.build.os === "linux"
    ? onLinux
    : Deno.build.os === "darwin"
    ? onMacos
    : undefined;
  if (!call) return false;
  try {
    call(encoder.encode(`${a}\0`), encoder.encode(`${b}\0`), (errno) => {
      throw cError(errno, "exchange", a, b);
    });
    return true;
  } catch (error) {
    // Whatever it is, two renames will say it again, or work.
    log.debug(() => `No exchange: ${osErrorText(error)}`);
    return false;
  }
}

type Path = Uint8Array<ArrayBuffer>;

function onLinux(a: Path, b: Path, fail: (errno: number) => never): void {
  const library = Deno.dlopen("libc.so.6", {
    renameat2: {
      parameters: ["i32", "buffer", "i32", "buffer", "u32"],
      result: "i32",
    },
    ...ERRNO,
  });
  const { symbols: c } = library;
  const errno = errnoReader(c);
  const failed = c.renameat2(AT_FDCWD, a, AT_FDCWD, b, EXCHANGE) !== 0
    ? errno()
    : undefined;
  library.close();
  if (failed !== undefined) fail(failed);
}

function onMacos(a: Path, b: Path, fail: (errno: number) => never): void {
  const library = Deno.dlopen("libSystem.dylib", {
    renamex_np: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
  });
  const result = library.symbols.renamex_np(a, b, EXCHANGE);
  library.close();
  if (result !== 0) fail(0); // two renames follow, and say why
}
