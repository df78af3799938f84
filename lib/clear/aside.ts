import { CacheError, osFailure } from "../error.ts";
import { type Directory, pathIn, type Status } from "../fs/directory.ts";
import { type HeldTarget, isWhatWasChecked } from "../fs/guard_rails.ts";
import { siblingName } from "../fs/names.ts";
import type { Place } from "../fs/open.ts";
import { moveToFree } from "../fs/swap.ts";
import { log } from "../log.ts";
import { type ErrorKind, errorKind, osErrorText } from "../os/error.ts";
import { Budget, mayPass, patiently } from "../os/patience.ts";

/**
 * Why a directory can't be renamed although its entries may be removed: a mount
 * point is busy; an overlay's lower directory is cross-device (overlayfs without
 * `redirect_dir`, as in container images); the parent is not writable, full, or
 * read-only; its name leaves no room for a suffix.
 */
const CLEAR_IN_PLACE: ReadonlySet<ErrorKind> = new Set([
  "busy",
  "cross-device",
  "permission",
  "read-only",
  "no-space",
  "name-too-long",
  "unsupported",
  "invalid",
  "transient",
]);

/** What was taken out of everybody's way, to be deleted. */
export interface Aside {
  readonly parent: Directory;
  readonly name: string;
  readonly path: string;
  /** What it was when it was checked. */
  readonly expected: Status;
}

/**
 * Renames a directory aside, trying again while it is only busy for a moment (Windows:
 * a scanner's handle).
 *
 * @returns The aside, if it was still there; or the error, when it can't be renamed but
 * may be cleared in place.
 */
export async function renameAside(
  { parent, name }: Place,
  target: HeldTarget,
  { busyTimeout, signal }: {
    busyTimeout: number;
    signal?: AbortSignal | undefined;
  },
): Promise<{ aside?: Aside; refusal?: unknown }> {
  const aside = siblingName(name, "stale");
  const budget = new Budget(busyTimeout, signal);
  for (let tries = 0;; tries++) {
    try {
      parent.rename(name, parent, aside);
      break;
    } catch (error) {
      const kind = errorKind(error);
      if (kind === "not-found") {
        log.debug(() => `"${target.path}" is gone: somebody else cleared it`);
        return {};
      }
      // POSIX says busy of mount points only, and those don't pass.
      const passes = mayPass(kind) &&
        (kind !== "busy" || Deno.build.os === "windows");
      if (passes && await budget.wait(tries)) continue;
      if (CLEAR_IN_PLACE.has(kind)) return { refusal: error };
      const hint = "Nothing was cleared";
      throw osFailure("rename aside", target.path, error, hint);
    }
  }
  const path = pathIn(parent, aside);
  log.debug(() => `Renamed "${target.path}" to "${path}"`);
  let expected: Status | undefined;
  try {
    expected = closeToOthers(parent, aside, target);
  } catch (error) {
    const left = putBack(parent, aside, name);
    throw osFailure("clear", target.path, error, left);
  }
  if (expected) return { aside: { parent, name: aside, path, expected } };
  // Somebody put another directory there after the check. It is not ours to clear.
  const left = putBack(parent, aside, name);
  throw new CacheError(
    `Cannot clear "${target.path}": somebody replaced it meanwhile. ${left}`,
    target.path,
    "refused",
  );
}

/**
 * Makes an aside readable to us alone, as long as it is deleted. Through the directory
 * itself, and only if it is what was checked.
 *
 * @returns What it is; `undefined` if it is another one.
 */
function closeToOthers(
  parent: Directory,
  aside: string,
  checked: HeldTarget,
): Status | undefined {
  using directory = patiently(() => parent.open(aside, "named"));
  const status = directory.opened;
  if (!isWhatWasChecked(status, checked)) return undefined;
  try {
    if (directory.safe) directory.setAccess({ mode: 0o700 });
  } catch (error) {
    log.trace(() => `"${aside}" stays open to others: ${osErrorText(error)}`);
  }
  return status;
}

/** @returns Where it is now, to be told. */
function putBack(parent: Directory, aside: string, name: string): string {
  try {
    moveToFree({ parent, name: aside }, { parent, name });
    return "Nothing was cleared";
  } catch (error) {
    return `It is "${pathIn(parent, aside)}" now, and could not be put back: ${
      osErrorText(error)
    }`;
  }
}
