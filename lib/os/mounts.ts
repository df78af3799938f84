/**
 * The mount table of Linux. Elsewhere, and where neither Deno may read `/proc` (it
 * asks for `--allow-all`) nor libc may be called, there is none, and nothing is known.
 *
 * @module
 */

import { log } from "../log.ts";
import {
  allocate,
  AT_FDCWD,
  failure,
  hasLibc,
  libc,
  O_CLOEXEC,
  O_RDONLY,
  TextSlot,
  unlessInterrupted,
} from "./libc.ts";
import { isWithin } from "./within.ts";

/** A line of the mount table. */
export interface Mount {
  /** Where it is mounted. */
  readonly point: string;
  /** The type of its file system, such as `ext4`. */
  readonly type: string;
  /** Its device, `major:minor`. */
  readonly device: string;
  /** The directory of its file system that is mounted: not the top one of a bind mount. */
  readonly root: string;
}

const TABLE = "/proc/self/mountinfo";

/** All mounts, in the order in which they were made; `undefined` if not known. */
export function listMounts(): Mount[] | undefined {
  return Deno.build.os === "linux" ? readMounts() : undefined;
}

function readMounts(): Mount[] | undefined {
  try {
    return readTable()?.split("\n").filter(Boolean).map(parse);
  } catch (error) {
    log.debug(() => `Cannot read ${TABLE}: ${error}`);
    return undefined;
  }
}

function readTable(): string | undefined {
  if (hasLibc()) return readByLibc();
  // Asked first, because Deno would stop and ask the user on a terminal.
  const asked = { name: "read", path: TABLE } as const;
  const { state } = Deno.permissions.querySync(asked);
  return state === "granted" ? Deno.readTextFileSync(TABLE) : undefined;
}

function readByLibc(): string {
  const path = new TextSlot().put(TABLE);
  const c = libc();
  const fd = unlessInterrupted(() =>
    c.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0)
  );
  if (fd < 0) throw failure("open", TABLE);
  try {
    const { bytes, at } = allocate(65536);
    const decoder = new TextDecoder();
    for (let text = "";;) {
      const n = unlessInterrupted(() => c.read(fd, at, BigInt(bytes.length)));
      if (n < 0) throw failure("read", TABLE);
      if (n === 0) return text + decoder.decode();
      text += decoder.decode(bytes.subarray(0, n), { stream: true });
    }
  } finally {
    c.close(fd);
  }
}

/** The mount that an absolute path without symbolic links lies on. */
function mountOf(path: string): Mount | undefined {
  let found: Mount | undefined;
  for (const mount of listMounts() ?? []) {
    // A later mount at the same place hides an earlier one.
    if (isWithin(path, mount.point) && isWithin(mount.point, found?.point)) {
      found = mount;
    }
  }
  return found;
}

/** The type of the file system that holds an absolute path without symbolic links. */
export function fileSystemType(path: string): string | undefined {
  return mountOf(path)?.type;
}

/**
 * Where a path lies on its file system, whatever mount leads there; `undefined` if
 * that is not known. Two paths to one place have one of these.
 */
export function placeOnDevice(path: string): string | undefined {
  const mount = mountOf(path);
  if (!mount) return undefined;
  const { point, root, device } = mount;
  const below = path.slice(point === "/" ? 0 : point.length);
  const inner = `${root === "/" ? "" : root}${below === "/" ? "" : below}`;
  return `/${device}${inner}`;
}

/** proc_pid_mountinfo(5): `36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 - ext3 /dev/root rw`. */
function parse(line: string): Mount {
  const [before = "", after = ""] = line.split(" - ", 2);
  const [, , device = "", root = "", point = ""] = before.split(" ");
  return {
    device,
    root: unescape(root),
    point: unescape(point),
    type: after.split(" ", 1)[0]!,
  };
}

/** Space, tab, newline and backslash are in octal. */
function unescape(text: string): string {
  return text.replace(
    /\\([0-7]{3})/g,
    (_, octal) => String.fromCharCode(parseInt(octal, 8)),
  );
}
