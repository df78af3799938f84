/**
 * Calls of macOS that Deno's API does not have. They take `--allow-ffi`.
 *
 * @module
 */

import { OsError } from "./error.ts";
import { mayCallC } from "./libc.ts";

/** By its full path: a bare name may load a file from the working directory (dlopen(3)). */
const LIBRARY = "/usr/lib/libSystem.B.dylib";

const SYMBOLS = {
  clonefile: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
  renamex_np: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
  __error: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** `RENAME_SWAP` of XNU's stdio.h. */
const RENAME_SWAP = 2;

let opened: Deno.StaticForeignLibraryInterface<typeof SYMBOLS> | undefined;

/** Whether macOS' own calls can be made. */
export function hasMacosCalls(): boolean {
  return Deno.build.os === "darwin" && mayCallC();
}

function calls(): Deno.StaticForeignLibraryInterface<typeof SYMBOLS> {
  return opened ??= Deno.dlopen(LIBRARY, SYMBOLS).symbols;
}

/** Loads what can be loaded: for tests, which take what stays loaded for a leak. */
export function preloadMacosCalls(): void {
  if (hasMacosCalls()) calls();
}

const encoder = new TextEncoder();
const cString = (path: string) => encoder.encode(`${path}\0`);

function check(result: number, call: string, path: string): void {
  if (result === 0) return;
  const number = new Deno.UnsafePointerView(calls().__error()!).getInt32();
  throw new OsError(number, call, path);
}

/** `CLONE_NOFOLLOW` and `CLONE_NOOWNERCOPY` of XNU's sys/clonefile.h. */
const [NO_FOLLOW, NO_OWNER] = [1, 2];

/**
 * The flags of a clone. Root's would keep the source's owner: as on Linux, that is for
 * those who want `all`, and not only the `content`.
 */
export function cloneFlags(keep: "all" | "content"): number {
  return keep === "all" ? NO_FOLLOW : NO_FOLLOW | NO_OWNER;
}

/**
 * Clones a file or a whole directory: clonefile(2). It keeps mode and times, root's also
 * the owner unless only the `content` is wanted, and makes nothing when it fails.
 */
export function cloneOnMacos(
  source: string,
  destination: string,
  keep: "all" | "content",
): void {
  const [from, to] = [cString(source), cString(destination)];
  check(calls().clonefile(from, to, cloneFlags(keep)), "clone", source);
}

/** Exchanges two directories: renamex_np(2). */
export function renameExchangeOnMacos(a: string, b: string): void {
  if (!hasMacosCalls()) {
    throw new Deno.errors.NotSupported("No call exchanges two names here");
  }
  check(
    calls().renamex_np(cString(a), cString(b), RENAME_SWAP),
    "exchange",
    a,
  );
}
