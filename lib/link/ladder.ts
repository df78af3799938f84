/**
 * The ladder: which way of putting a file in place is tried after which, and what
 * an error on one of them means.
 *
 * @module
 */

import type { ErrorKind } from "../os/error.ts";

/**
 * A way of putting a cached file in its place: `clone` (copy-on-write),
 * `hardlink`, `symlink`, `copy`.
 *
 * @category Trees
 */
export type LinkMode = "clone" | "hardlink" | "symlink" | "copy";

/** A mode, or one that chooses: `auto`; or `private`, which shares nothing. */
export type AnyMode = "auto" | "private" | LinkMode;

/** All that may be asked for: `reflink` is what others call `clone`. */
export const MODES: readonly (AnyMode | "reflink")[] = [
  "auto",
  "private",
  "clone",
  "reflink",
  "hardlink",
  "symlink",
  "copy",
];

/** The modes that are tried in order, by what the user asked for. */
export const LADDERS: Readonly<Record<AnyMode, readonly LinkMode[]>> = {
  auto: ["clone", "hardlink", "copy"],
  private: ["clone", "copy"],
  clone: ["clone", "hardlink", "copy"],
  hardlink: ["hardlink", "copy"],
  symlink: ["symlink", "copy"],
  copy: ["copy"],
};

/**
 * What an error on a rung means.
 *
 * - `retire`: the rung does not work between these devices; not tried again.
 * - `down`: not for this file. Retired only if it never worked between these devices.
 * - `retry`: the same again, after a moment, as long as there is time; then `down`.
 * - `limit`: the cached file has all the links that it can have.
 * - `stop`: the next rung would not help, or hide what is wrong.
 */
export type Verdict = "retire" | "down" | "retry" | "limit" | "stop";

/** The table. What is not in it means `stop`, and so does everything on `copy` but `retry`. */
const ON_LINK_CALL: Partial<Record<ErrorKind, Verdict>> = {
  "cross-device": "retire",
  "unsupported": "retire",
  // exFAT, FAT and fs.protected_hardlinks answer EPERM; FUSE on Android EACCES.
  "permission": "down",
  "transient": "retry",
  // A running program: fuse-overlayfs answers so to a link, and not to a copy.
  "text-busy": "down",
  "link-limit": "limit",
};

/** What an error of that kind means on that rung. */
export function verdict(
  mode: LinkMode,
  kind: ErrorKind,
  os: typeof Deno.build.os = Deno.build.os,
): Verdict {
  if (mode === "copy") return kind === "transient" ? "retry" : "stop";
  // FICLONE says EINVAL for what it can't share, such as other block sizes.
  if (mode === "clone" && kind === "invalid") return "retire";
  // ReFS shares a block 8175 times. No other rung but this knows links to a file.
  if (kind === "link-limit" && mode !== "hardlink") return "down";
  // Windows: a virus scanner's handle looks like this, and so does a real refusal.
  if (kind === "permission" && os === "windows") return "retry";
  return ON_LINK_CALL[kind] ?? "stop";
}

/** What has been learnt about a pair of devices in this run. */
export interface PairState {
  /** Rungs that are not tried any more, and the OS's words why. */
  readonly retired: Map<LinkMode, string>;
  /** Rungs that have worked. */
  readonly worked: Set<LinkMode>;
}

/** What has been learnt about each pair of devices in this run. */
export type LadderState = Map<string, PairState>;

/** The state of the pair of devices of a source and a destination. */
export function pairState(
  state: LadderState,
  sourceDevice: number,
  destinationDevice: number,
): PairState {
  const key = `${sourceDevice}:${destinationDevice}`;
  let pair = state.get(key);
  if (!pair) state.set(key, pair = { retired: new Map(), worked: new Set() });
  return pair;
}
