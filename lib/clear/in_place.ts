import { osFailure } from "../error.ts";
import { type Directory, type Entry, pathIn } from "../fs/directory.ts";
import { listSlowly } from "../fs/list.ts";
import { removeQuietly, siblingName } from "../fs/names.ts";
import { type Failure, removeEntry, removeTree } from "../fs/remove.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { Breath, Budget, patiently } from "../os/patience.ts";
import type { Aside } from "./aside.ts";

/** What a clear in place leaves to be deleted. */
export interface Emptied {
  /** The aside inside, with what was in the directory; absent if none could be made. */
  readonly aside: Aside | undefined;
  /** What could not be removed, and why. */
  readonly failures: readonly Failure[];
}

/**
 * Empties a directory where it stands. Each subdirectory is renamed, atomically, into an
 * aside inside; a file is removed atomically anyway (and on an overlay's lower layer, a
 * rename would copy it first).
 */
export async function clearInPlace(
  directory: Directory,
  options: { busyTimeout: number; signal?: AbortSignal | undefined },
): Promise<Emptied> {
  const { signal } = options;
  const budget = new Budget(options.busyTimeout, signal);
  const failures: Failure[] = [];
  const breath = new Breath(signal);
  let entries: Entry[];
  try {
    entries = await listSlowly(directory, () => breath.due());
  } catch (error) {
    signal?.throwIfAborted();
    throw osFailure("list", directory.path, error, "Nothing was cleared");
  }
  const name = siblingName("", "stale");
  using aside = makeAside(directory, name);
  for (const entry of entries) {
    signal?.throwIfAborted();
    const pause = breath.due();
    if (pause) await pause;
    if (entry.kind !== "directory") {
      const failure = await removeEntry(directory, entry.name, false, budget);
      if (failure) failures.push(failure);
    } else if (!aside || !moveInto(aside, directory, entry.name)) {
      failures.push(...await removeTree(directory, entry.name, options));
    }
  }
  failures.push(...unspeakable(directory, entries));
  return {
    aside: aside && {
      parent: directory,
      name,
      path: pathIn(directory, name),
      expected: aside.opened,
    },
    failures,
  };
}

function makeAside(directory: Directory, name: string): Directory | undefined {
  try {
    patiently(() => directory.make(name, 0o700));
    const aside = patiently(() => directory.open(name));
    void aside.opened; // asked for now, where an error does no harm
    return aside;
  } catch (error) {
    removeQuietly(directory, name);
    log.debug(() => `No aside in "${directory.path}": ${osErrorText(error)}`);
    return undefined;
  }
}

/** Moves a subdirectory into the aside inside. Whether that was possible. */
function moveInto(aside: Directory, from: Directory, name: string): boolean {
  try {
    from.rename(name, aside, name);
    return true;
  } catch (error) {
    if (errorKind(error) === "not-found") return true;
    log.debug(() =>
      `Cannot move "${pathIn(from, name)}" into "${aside.path}" (${
        osErrorText(error)
      }), so deleting it where it is`
    );
    return false;
  }
}

/** Entries that no path leads to, since their names are not valid UTF-8. */
function unspeakable(
  directory: Directory,
  listed: readonly Entry[],
): Failure[] {
  if (!listed.some(({ name }) => name.includes("\uFFFD"))) return [];
  return listAgain(directory)
    .filter(({ name }) => name.includes("\uFFFD"))
    .map(({ name }) => ({
      path: pathIn(directory, name),
      kind: "invalid",
      message: "Deno cannot name it, since its name is not valid UTF-8: " +
        "grant --allow-ffi, or remove it with another tool",
    }));
}

function listAgain(directory: Directory): Entry[] {
  try {
    return patiently(() => directory.list());
  } catch (error) {
    throw osFailure("list", directory.path, error);
  }
}
