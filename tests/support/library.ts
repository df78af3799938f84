/** Programs that import the library as a user's does, with few permissions. */

import { toFileUrl } from "@std/path/to-file-url";
import {
  denoRun,
  Peer,
  type Ran,
  ROOT,
  run,
  type RunOptions,
} from "./command.ts";
import type { TempDir } from "./temp_dir.ts";

/** What most programs grant: the files, and nothing else. */
export const READ_WRITE = ["--allow-read", "--allow-write"];

/** With everything, FFI included. */
export const ALL = ["-A"];

/**
 * The command that runs a program which is given as text. `LIBRARY` in it stands
 * for `mod.ts`.
 */
export function program(
  dir: TempDir,
  text: string,
  permissions: readonly string[],
  args: readonly string[] = [],
): string[] {
  const file = dir.at(`program-${crypto.randomUUID()}.ts`);
  const library = JSON.stringify(toFileUrl(`${ROOT}/mod.ts`).href);
  Deno.writeTextFileSync(file, text.replaceAll('"LIBRARY"', library));
  // As the other commands are run, except for what is allowed, and the module.
  const flags = denoRun("mod.ts").slice(1, -1).filter((it) => it !== "-A");
  return [
    Deno.execPath(),
    "run",
    "--no-prompt",
    ...permissions,
    ...flags,
    file,
    ...args,
  ];
}

/** Runs a program to its end; how a rejection is told is up to its text. */
export function runProgram(
  dir: TempDir,
  text: string,
  permissions: readonly string[],
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<Ran> {
  return run(program(dir, text, permissions, args), options);
}

/** Starts a program that goes on until it is told to end. */
export function startProgram(
  dir: TempDir,
  text: string,
  permissions: readonly string[],
  args: readonly string[] = [],
): Peer {
  return new Peer(program(dir, text, permissions, args));
}
