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
} as const satisfies Deno.ForeignLibraryInterface;

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
  const library = Deno.dlopen(LIBRARY, SYMBOLS);
  const c = library.symbols;
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
    library.close();
  }
}
