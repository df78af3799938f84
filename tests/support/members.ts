// Users with no rights but their own, who share a cache.
import { assertEquals } from "@std/assert";
import { denoRun, run } from "./command.ts";
import type { TempDir } from "./temp_dir.ts";

/** The group of all of them. */
export const GROUP = 4242;

/** Does something with a cache as a user of the group, and gives the answer. */
export async function as(uid: number, umask: number, ...args: string[]) {
  const { code, stdout, stderr } = await run([
    ...[Deno.execPath(), ...denoRun("tests/support/as_member.ts")],
    ...[String(uid), String(GROUP), String(umask), ...args],
  ]);
  assertEquals([code, stderr], [0, ""]);
  return JSON.parse(stdout);
}

/** A directory of the group, and one for each of two users. */
export function prepare(dir: TempDir): void {
  Deno.chmodSync(dir.path, 0o755);
  for (const [i, name] of ["shared", "one", "two"].entries()) {
    Deno.mkdirSync(dir.at(name));
    Deno.chownSync(dir.at(name), 1000 + i, GROUP);
  }
  Deno.chmodSync(dir.at("shared"), 0o2770);
}
