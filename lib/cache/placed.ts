/**
 * Notes of what was put where, so that it can be left alone, or replaced, when the
 * same place is asked for again; and so that what symbolic links lead to is kept.
 *
 * A note's name is a digest of the machine, the path, and the inode that stands there.
 * It is written before that gets its place, so that there is no instant without it. A
 * note may be anybody's: what decides is what stands there now, and that the note is
 * our own.
 *
 * @module
 */

import { kindOfError } from "../error.ts";
import { lockForLife } from "../fs/alive.ts";
import {
  type Directory,
  isSameInode,
  pathIn,
  type Status,
  toMilliseconds,
} from "../fs/directory.ts";
import { realPathOf } from "../fs/guard_rails.ts";
import { parseSiblingName, removeQuietly, siblingName } from "../fs/names.ts";
import { openParent, type Place } from "../fs/open.ts";
import { readText } from "../fs/read.ts";
import { ownId } from "../fs/trust.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { machineId, viewOfMachine } from "../os/machine.ts";
import { patiently } from "../os/patience.ts";
import { sha256 } from "../os/sha256.ts";
import {
  type ArchiveId,
  FOLDERS,
  isId,
  leadsInto,
  parsePlacement,
  placementName,
  referenceName,
} from "./layout.ts";
import {
  failure,
  isShared,
  look,
  makeShared,
  namesIn,
  type Root,
} from "./root.ts";

/** Where something is, and which inode that is. */
interface Standing {
  readonly machine: string;
  /** What this process sees of the machine. */
  readonly view: string | undefined;
  readonly path: string;
  readonly inode: string;
  /**
   * When the inode was made, in milliseconds since 1970: its number may come again.
   * Where that is not known, its device, which may have another number after a restart.
   */
  readonly made: string;
}

/** A note. */
interface Note extends Standing {
  readonly id: ArchiveId;
}

/** Something in a directory. */
type At = Pick<Place, "parent" | "name">;

/** Notes what is about to be put, or was put, at a place. */
export interface Noted {
  /** The archive that it is of. */
  readonly id: ArchiveId;
  /** Where it is, or will be. */
  readonly place: At;
  /** Where it is now. */
  readonly now: At;
  /** Whether it is the archive, and not something with files of it. */
  readonly isArchive: boolean;
  /** Whether it has symbolic links into the archive. */
  readonly isReference: boolean;
}

/**
 * Writes down what is at a place. Where the cache can't be written to, nothing is.
 *
 * @returns What takes the note back.
 */
export async function notePlaced(
  root: Root,
  { id, place, now, isArchive, isReference }: Noted,
): Promise<() => void> {
  const written: string[] = [];
  const undo = () => {
    const folder = root.ifThere("placed");
    for (const name of written) if (folder) removeQuietly(folder, name);
  };
  try {
    const status = now.parent.look(now.name);
    const standing = status && await standingAt(place, now, status);
    if (!standing) return undo;
    const digest = await digestOf(standing);
    const note: Note = { ...standing, id };
    makeShared(root.directory, FOLDERS.placed, root.status());
    const folder = root.folder("placed");
    if (isArchive) written.push(placementName(digest));
    if (isReference) written.push(referenceName(id, digest));
    for (const name of written) write(root, folder, name, note);
  } catch (error) {
    const path = pathIn(place.parent, place.name);
    log.debug(() => `Not noted: "${path}": ${osErrorText(error)}`);
  }
  return undo;
}

/** What this cache has put at a place. */
export interface PlacedHere {
  readonly id: ArchiveId;
  /** Takes the note back, when it is replaced. */
  readonly forget: () => void;
}

/** What this cache has put at a place, if that is what stands there. */
export async function archiveAt(
  root: Root,
  place: At,
  status: Status,
): Promise<PlacedHere | undefined> {
  // What is somebody else's now is not what we put.
  const me = ownId(root.path);
  if (me !== undefined && me !== 0 && status.uid !== me) return undefined;
  const folder = root.ifThere("placed");
  const standing = folder && await standingAt(place, place, status);
  if (!standing) return undefined;
  const digest = await digestOf(standing);
  const name = placementName(digest);
  const note = readNote(root, folder, name, "ours");
  if (!note || !isSame(note, standing)) return undefined;
  const { id } = note;
  const forget = () => {
    removeQuietly(folder, name);
    removeQuietly(folder, referenceName(id, digest));
  };
  return { id, forget };
}

/**
 * Whether symbolic links at a place of this machine lead into an archive.
 *
 * @throws {CacheError} If that can't be read.
 */
export async function isPlaced(root: Root, id: ArchiveId): Promise<boolean> {
  const folder = root.ifThere("placed");
  const machine = await machineId();
  for (const name of folder ? namesIn(folder) : []) {
    if (parsePlacement(name)?.id !== id) continue;
    if (look(folder!, name)?.kind !== "file") continue;
    const note = readNote(root, folder!, name, "anybody's");
    if (note?.machine !== machine || note.id !== id) continue;
    if (await fate(note) !== "gone") return true;
  }
  return false;
}

/** Three months, in milliseconds: older notes of other machines are removed. */
const OLD = 90 * 24 * 60 * 60 * 1000;

/** A minute, in milliseconds: what a newer note is about may not be in its place yet. */
const FRESH = 60 * 1000;

/** An hour, in milliseconds: nobody writes a note for so long. */
const WRITTEN = 60 * 60 * 1000;

/** Removes notes of what is gone. */
export async function sweepPlaced(root: Root): Promise<void> {
  const folder = root.ifThere("placed");
  if (!folder) return;
  const machine = await machineId();
  const view = viewOfMachine();
  for (const name of namesIn(folder)) {
    const status = look(folder, name);
    if (status?.kind !== "file") continue;
    const age = Date.now() - toMilliseconds(status.modified);
    if (parsePlacement(name)) {
      const note = readNote(root, folder, name, "anybody's");
      // From another container, a place that is there may seem to be gone.
      const isSeen = note?.machine === machine && view !== undefined &&
        note.view === view;
      const goes = isSeen
        ? age > FRESH && await fate(note) === "gone"
        : age > OLD;
      if (goes) removeQuietly(folder, name);
    } else if (parseSiblingName(name)?.kind === "partial") {
      removeUnwritten(folder, name, age);
    }
  }
}

/** Removes a note whose writer is dead: who writes has it locked. */
function removeUnwritten(folder: Directory, name: string, age: number): void {
  try {
    using file = folder.openFile(name, "lock");
    const isDead = lockForLife(file, () => age > WRITTEN);
    if (isDead) removeQuietly(folder, name);
  } catch (error) {
    log.debug(() =>
      `Not swept: "${pathIn(folder, name)}": ${osErrorText(error)}`
    );
  }
}

/** What has become of what a note is about. */
async function fate(note: Note): Promise<"there" | "gone" | "unknown"> {
  try {
    using place = openParent(note.path);
    const status = place.parent.look(place.name);
    const standing = status && await standingAt(place, place, status);
    if (!standing || !isSame(note, standing)) return "gone";
    if (status.kind !== "symlink") return "there";
    const text = place.parent.readLink(place.name);
    return leadsInto(text, note.id) ? "there" : "gone";
  } catch (error) {
    const kind = kindOfError(error);
    const isGone = kind === "not-found" || kind === "not-directory";
    return isGone ? "gone" : "unknown";
  }
}

/** `undefined` where one inode can't be told from another. */
async function standingAt(
  place: At,
  now: At,
  status: Status,
): Promise<Standing | undefined> {
  const { device, inode } = status;
  if (inode === undefined) return undefined;
  const at = now.parent.pinned(now.name) ?? pathIn(now.parent, now.name);
  // NTFS gives what takes a name that was given up just now the time at which its
  // predecessor was made ("tunneling": support.microsoft.com, 172190). But its numbers,
  // from 2^48 on since they have a sequence in front, are given once only.
  const isUnique = Deno.build.os === "windows" && inode >= 2 ** 48;
  const birthtime = isUnique
    ? null
    : patiently(() => Deno.lstatSync(at)).birthtime;
  const again = now.parent.look(now.name);
  if (!again || !isSameInode(again, status)) return undefined;
  return {
    machine: await machineId(),
    view: viewOfMachine(),
    path: pathIn({ path: realPathOf(place.parent) } as Directory, place.name),
    inode: String(inode),
    made: birthtime ? `at ${birthtime.getTime()}` : `on ${device}`,
  };
}

async function digestOf(
  { machine, path, inode, made }: Standing,
): Promise<string> {
  const text = JSON.stringify([machine, path, inode, made]);
  return await sha256(text);
}

function isSame(a: Standing, b: Standing): boolean {
  return a.machine === b.machine && a.path === b.path &&
    a.inode === b.inode && a.made === b.made;
}

/** Whole or not at all. */
function write(
  root: Root,
  folder: Directory,
  name: string,
  note: Note,
  tries = 3,
): void {
  const own = siblingName(name, "partial");
  try {
    // The mode says that nobody else has written it.
    using file = patiently(() => folder.openFile(own, "create", 0o644));
    lockForLife(file); // else a prune just removes it
    file.write(new TextEncoder().encode(JSON.stringify(note)));
    // A member's prune reads it.
    if (isShared(root.status())) file.setAccess({ mode: 0o640 });
    if (Deno.build.os === "windows") file.close(); // it keeps an open file's name
    patiently(() => folder.rename(own, folder, name));
    file.close();
  } catch (error) {
    removeQuietly(folder, own);
    if (tries === 0 || kindOfError(error) !== "not-found") throw error;
    write(root, folder, name, note, tries - 1);
  }
}

/** Longer than a note of ours ever is. */
const LONGEST = 16384;

/** What a note says; `undefined` for what is none. */
function readNote(
  root: Root,
  folder: Directory,
  name: string,
  whose: "ours" | "anybody's",
): Note | undefined {
  try {
    using file = patiently(() => folder.openFile(name, "read"));
    const { uid, mode, size } = file.opened;
    if (size > LONGEST) return undefined;
    if (whose === "ours" && Deno.build.os !== "windows") {
      const isOwn = uid === ownId(root.path) && (mode & 0o022) === 0;
      if (!isOwn) return undefined;
    }
    const note = JSON.parse(readText(file, LONGEST));
    return isNote(note) ? note : undefined;
  } catch (error) {
    const kind = kindOfError(error);
    const isNone = kind === "not-found" || error instanceof SyntaxError;
    if (isNone) return undefined;
    throw failure("read", pathIn(folder, name), error);
  }
}

function isNote(value: unknown): value is Note {
  if (typeof value !== "object" || value === null) return false;
  const { machine, view, path, inode, made, id } = value as Record<
    string,
    unknown
  >;
  return typeof machine === "string" && typeof path === "string" &&
    path.startsWith(Deno.build.os === "windows" ? "" : "/") &&
    !path.includes("\0") && typeof inode === "string" &&
    typeof made === "string" && isId(id) &&
    (view === undefined || typeof view === "string");
}
