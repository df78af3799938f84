/** Mounts that lie in what a command would remove. */

import { must } from "./command.ts";
import { makeFileSystem, TOOLS } from "./mounts.ts";
import type { Need } from "./needs.ts";
import type { TempDir } from "./temp_dir.ts";

/** `bind` is on the same device, so only the mount's id tells it. */
export const MOUNTS = ["bind", "tmpfs", "exfat"] as const;

/** What is mounted. */
export type MountKind = typeof MOUNTS[number];

/** The programs that each needs. */
export function toolsFor(kind: MountKind): Need[] {
  return kind === "bind" ? ["sh"] : ["sh", ...TOOLS[kind]];
}

const CONTENT = {
  "photos": { "one": "first", "two": "second" },
  "note": "mine",
};

/**
 * Makes a volume with files in it, and mounts it at `point`, if there is one.
 *
 * @returns A path of the volume that nobody removes.
 */
export async function mountOf(
  dir: TempDir,
  kind: MountKind,
  point?: string,
): Promise<string> {
  let volume: string;
  if (kind === "bind") {
    volume = dir.at(`volume-${crypto.randomUUID()}`);
    Deno.mkdirSync(volume);
  } else {
    volume = await makeFileSystem(dir, kind);
  }
  dir.write(CONTENT, volume);
  if (point !== undefined) await must("mount", "--bind", volume, point);
  return volume;
}
