/**
 * Deletes asides, and nothing else: what a `--background` clear leaves to a
 * detached process. It runs as `deno run -A delete_asides.ts ASIDE…`, without a
 * configuration, an import map or a package; a compiled binary calls
 * {@linkcode deleteAsides} itself.
 *
 * @module
 */

import { log } from "../log.ts";
import { errorKind } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { type Directory, pathIn, type Status } from "../fs/directory.ts";
import { isOwnSibling, parseSiblingName } from "../fs/names.ts";
import { openParent, type Place } from "../fs/open.ts";
import { type Failure, failureOf, removeTree } from "../fs/remove.ts";

/** Says before the paths whose asides they are, beside our own: `--owner=UID`. */
export const OWNER = "--owner=";

/**
 * Deletes each aside. What has another name, is no directory, is a mount point, or is
 * neither ours nor the owner's is left alone: a slip in whoever calls this must not cost a directory.
 *
 * @param args Absolute paths; before them possibly {@linkcode OWNER} and a user's id.
 * @returns What could not be removed.
 */
export async function deleteAsides(
  args: readonly string[],
  busyTimeout: number,
  signal?: AbortSignal,
): Promise<Failure[]> {
  const failures: Failure[] = [];
  let owner: number | undefined;
  for (const arg of args) {
    if (arg.startsWith(OWNER)) {
      owner = Number(arg.slice(OWNER.length));
      continue;
    }
    let place: Place;
    try {
      place = openParent(arg);
    } catch (error) {
      if (errorKind(error) !== "not-found") {
        failures.push(failureOf(arg, error));
      }
      continue;
    }
    using _ = place;
    const options = { busyTimeout, signal, owner };
    failures.push(...await deleteAside(place.parent, place.name, options));
  }
  return failures;
}

/** Deletes an aside that is ours, or the owner's; anything else is left alone. */
export async function deleteAside(
  parent: Directory,
  name: string,
  { owner, ...options }: {
    busyTimeout: number;
    signal?: AbortSignal | undefined;
    owner: number | undefined;
  },
): Promise<Failure[]> {
  const path = pathIn(parent, name);
  let expected: Status | undefined;
  try {
    expected = patiently(() => parent.look(name));
  } catch (error) {
    return [failureOf(path, error)];
  }
  if (!expected) return []; // somebody else has deleted it
  if (
    parseSiblingName(name)?.kind !== "stale" ||
    !isOwnSibling("stale", expected, owner)
  ) {
    log.warn(() => `Not an aside of ours, so left alone: "${name}"`);
    return [];
  }
  const failures = await removeTree(parent, name, { ...options, expected });
  return failures.filter((it) => it.kind !== "mount" || it.path !== path);
}

if (import.meta.main) await deleteAsides(Deno.args, 60_000);
