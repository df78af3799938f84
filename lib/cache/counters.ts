/**
 * Counts hits and misses, and notes when a cache was pruned. None of it ever fails what
 * it counts, nor is anything counted where nothing can be written.
 *
 * A counter is a file to which a byte is appended, which needs no lock. It begins with a
 * line that says what it is: other members of a group could put another file there.
 *
 * @module
 */

import { kindOfError } from "../error.ts";
import { type Directory, toMilliseconds } from "../fs/directory.ts";
import { removeQuietly } from "../fs/names.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import {
  type Counter,
  COUNTERS,
  newId,
  PRUNED,
  temporaryName,
} from "./layout.ts";
import { look, type Root, writeFile } from "./root.ts";

const FIRST_LINE = new TextEncoder().encode("rebuild-cache counter\n");
const ONE = new TextEncoder().encode(".");

/** From so many bytes on, a prune lets counters begin anew. */
const LARGEST = 1 << 20;

/** Counts one more. */
export function count(root: Root, counter: Counter): void {
  quietly(counter, () => {
    const folder = root.ifThere("stats");
    if (!folder) return;
    try {
      append(folder, counter);
    } catch (error) {
      if (kindOfError(error) !== "not-found") throw error;
      begin(folder, counter);
    }
  });
}

function append(folder: Directory, counter: Counter): void {
  using file = folder.openFile(counter, "append");
  const line = new Uint8Array(FIRST_LINE.length);
  const length = file.read(line);
  if (length !== line.length || line.some((it, i) => it !== FIRST_LINE[i])) {
    throw new Error("It is no counter");
  }
  file.write(ONE);
}

/** The first one; of several at the same time, one counts. */
function begin(folder: Directory, counter: Counter): void {
  const bytes = new Uint8Array([...FIRST_LINE, ...ONE]);
  using file = folder.openFile(counter, "create", 0o600);
  file.write(bytes);
  if (Deno.build.os === "windows") return;
  // Whoever may write beside it counts, too.
  const mode = 0o600 | folder.status().mode & 0o666;
  if (mode !== 0o600) file.setAccess({ mode });
}

/** How many were counted. */
export function counted(root: Root, counter: Counter): number {
  const folder = root.ifThere("stats");
  const status = folder && look(folder, counter);
  return status?.kind === "file"
    ? Math.max(0, status.size - FIRST_LINE.length)
    : 0;
}

/** Lets the counters begin anew when they are large: both, since they are compared. */
export function renewCounters(root: Root): void {
  quietly("counters", () => {
    const folder = root.ifThere("stats");
    if (!folder) return;
    const isLarge = COUNTERS.some((it) => counted(root, it) > LARGEST);
    if (isLarge) COUNTERS.forEach((it) => removeQuietly(folder, it));
  });
}

/** Notes that a prune begins now: by a new file, which takes the old one's place. */
export function notePrune(root: Root): void {
  quietly(PRUNED, () => {
    const folder = root.ifThere("stats");
    if (!folder) return;
    const tmp = root.folder("tmp");
    const name = temporaryName(newId(), "note");
    try {
      writeFile(tmp, name, new Uint8Array(), root.status(), false);
      tmp.rename(name, folder, PRUNED);
    } catch (error) {
      removeQuietly(tmp, name);
      throw error;
    }
  });
}

/** When the last prune began, in milliseconds since 1970; `undefined`: never. */
export function lastPrune(root: Root): number | undefined {
  const folder = root.ifThere("stats");
  const note = folder && look(folder, PRUNED);
  return note && toMilliseconds(note.modified);
}

function quietly(what: string, call: () => void): void {
  try {
    call();
  } catch (error) {
    log.trace(() => `Not noted: "${what}": ${osErrorText(error)}`);
  }
}
