/**
 * The mount table of Linux. Elsewhere, and where Deno may not read `/proc` (it
 * asks for `--allow-all`), there is none, and nothing is known.
 *
 * @module
 */

import { log } from "../log.ts";
import { isWithin } from "./within.ts";

/** A line of the mount table. */
export interface Mount {
  /** Where it is mounted. */
  readonly point: string;
  /** The type of its file system, such as `ext4`. */
  readonly type: string;
}

const TABLE = "/proc/self/mountinfo";

/** All mounts, in the order in which they were made; `undefined` if not known. */
export function listMounts(): Mount[] | undefined {
  if (Deno.build.os !== "linux") return undefined;
  // Asked first, because Deno would stop and ask the user on a terminal.
  const asked = { name: "read", path: TABLE } as const;
  if (Deno.permissions.querySync(asked).state !== "granted") return undefined;
  try {
    return Deno.readTextFileSync(TABLE).split("\n").filter(Boolean).map(parse);
  } catch (error) {
    log.debug(() => `Cannot read ${TABLE}: ${error}`);
    return undefined;
  }
}

/** The type of the file system that holds an absolute path without symbolic links. */
export function fileSystemType(path: string): string | undefined {
  let found: Mount | undefined;
  for (const mount of listMounts() ?? []) {
    // A later mount at the same place hides an earlier one.
    if (isWithin(path, mount.point) && isWithin(mount.point, found?.point)) {
      found = mount;
    }
  }
  return found?.type;
}

/** proc_pid_mountinfo(5): `36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 - ext3 /dev/root rw`. */
function parse(line: string): Mount {
  const [before = "", after = ""] = line.split(" - ", 2);
  return {
    // Space, tab, newline and backslash are in octal.
    point: before.split(" ")[4]!.replace(
      /\\([0-7]{3})/g,
      (_, octal) => String.fromCharCode(parseInt(octal, 8)),
    ),
    type: after.split(" ", 1)[0]!,
  };
}
